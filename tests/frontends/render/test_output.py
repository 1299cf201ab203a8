"""A file is replaced whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gossipreg.errors import StorageError
from gossipreg.frontends.render.output import replace
from tests.syncs import recorded


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_new_file_can_be_read_by_every_user(file: Path) -> None:
    assert replace(file, "one")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("one", 0o644)


def test_an_equal_text_touches_nothing(file: Path) -> None:
    replace(file, "one")
    before = file.stat()
    assert not replace(file, "one")
    after = file.stat()  # not its atime, which reading it may move
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_mode_and_owner_stay_and_nothing_else_is_left_behind(file: Path) -> None:
    file.write_text("one")
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1234, 1234)
    owner = file.stat().st_uid
    assert replace(file, "two")
    assert (file.read_text(), file.stat().st_mode & 0o777, file.stat().st_uid) == ("two", 0o640, owner)
    assert list(file.parent.iterdir()) == [file]


def test_a_reader_that_has_the_old_file_open_goes_on_reading_the_old_text(file: Path) -> None:
    replace(file, "one")
    with file.open() as opened:
        replace(file, "two, and longer")
        assert opened.read() == "one"


def test_what_was_written_outlives_a_loss_of_power(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = recorded(monkeypatch)
    replace(file, "one")
    assert [sync.of for sync in synced] == ["file", "directory"]
    assert [file.name in sync.names for sync in synced] == [False, True]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null")], ids=["pipe", "device"])
def test_what_is_no_file_is_neither_replaced_nor_waited_for(file: Path, make: Callable[[Path], object]) -> None:
    make(file)
    with pytest.raises(StorageError, match="it is a pipe, a device or a socket, not a file"):
        replace(file, "one")
    assert not file.is_file()
    assert list(file.parent.iterdir()) == [file]


def left_by_a_killed_process(file: Path) -> Path:
    """The temporary file of a process that is killed just before it replaces ``file``."""
    program = (
        "import os, sys; from pathlib import Path; from gossipreg.frontends.render.output import replace;"
        "os.replace = lambda *_: os._exit(9); replace(Path(sys.argv[1]), 'half')"
    )
    assert subprocess.run([sys.executable, "-c", program, str(file)], check=False).returncode == 9
    (left,) = file.parent.glob(".file.*")
    return left


def test_what_a_killed_process_left_is_removed_by_the_next_one(file: Path) -> None:
    left = left_by_a_killed_process(file)
    others = [file.with_name(name) for name in (".file.mine", ".file2.12345678.gossipreg", "x.file.12345678.gossipreg")]
    for other in others:
        other.touch()
    assert replace(file, "one")
    assert not left.exists()
    assert sorted(file.parent.iterdir()) == sorted([file, *others])


def test_what_another_process_is_writing_is_left_alone(file: Path) -> None:
    left = left_by_a_killed_process(file)
    with left.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert replace(file, "one")
        assert left.exists()


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    replace(link, "one")
    assert link.is_symlink()
    assert file.read_text() == "one"


def test_what_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*/none/file: no such file or directory"):
        replace(tmp_path / "none" / "file", "one")
    with pytest.raises(StorageError, match=r"cannot write .*: is a directory"):
        replace(tmp_path, "one")
    with pytest.raises(StorageError, match="half a surrogate pair"):
        replace(tmp_path / "file", "\ud800")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_or_a_device_is_neither_waited_for_nor_replaced(file: Path) -> None:
    os.mkfifo(file)
    for odd in (file, Path("/dev/null")):
        with pytest.raises(StorageError, match="it is a pipe, a device or a socket, not a file"):
            replace(odd, "text")
    assert stat.S_ISFIFO(file.stat().st_mode)
    assert list(file.parent.iterdir()) == [file]
