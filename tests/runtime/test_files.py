"""A file that other users can read or change is refused with the command that mends it; pipes and links do no harm."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from gossipreg import limits
from gossipreg.config import Config
from gossipreg.errors import ConfigError, GossipregError, StorageError, UnsafeFile
from gossipreg.runtime.files import flaw, read_file, read_secret, read_toml
from gossipreg.runtime.opening import check_start, open_node
from gossipreg.runtime.snapshot_file import _read
from gossipreg.runtime.state_database import DATABASE
from gossipreg.runtime.state_store import LOCK, StateStore
from tests.hidden import hidden

ROOT, ANN, BOB = 0, 4_000_001, 4_000_002  # two that no machine has a name for


def status(mode: int, owner: int, kind: int = stat.S_IFREG) -> os.stat_result:
    return os.stat_result((kind | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "user", "said"),
    [
        (0o600, ANN, ANN, None),
        (0o400, ANN, ANN, None),
        (0o400, ROOT, ANN, None),
        (0o440, ROOT, ANN, None),  # systemd's LoadCredential, Kubernetes with fsGroup
        (0o640, ROOT, ANN, None),
        (0o600, ROOT, ROOT, None),
        (0o640, ROOT, ROOT, "is secret, and its group can open it (mode 0640): run chmod 600 "),
        (0o444, ROOT, ANN, "is secret, and every user of this machine can open it (mode 0444): run chmod 640 "),
        (0o660, ROOT, ANN, "is secret, and its group can open it (mode 0660): run chmod 640 "),
        (0o640, ANN, ANN, "is secret, and its group can open it (mode 0640): run chmod 600 "),
        (0o604, ANN, ANN, "is secret, and every user of this machine can open it (mode 0604): run chmod 600 "),
        (0o620, ANN, ANN, "is secret, and its group can open it (mode 0620): run chmod 600 "),
        (0o600, BOB, ANN, f"belongs to {BOB}, who can change it: run chown {ANN} "),
        (0o600, ANN, ROOT, f"belongs to {ANN}, who can change it: run chown root "),
    ],
)
def test_a_secret_is_for_its_user_alone_or_roots_for_a_group(
    mode: int, owner: int, user: int, said: str | None
) -> None:
    expected = None if said is None else f"/etc/a key {said}'/etc/a key'"
    assert flaw(Path("/etc/a key"), status(mode, owner), user, secret=True) == expected


@pytest.mark.parametrize(
    ("mode", "owner", "said"),
    [
        (0o640, ROOT, None),
        (0o600, ROOT, None),
        (0o660, ROOT, "is secret, and its group can open it (mode 0660): run chmod 640 "),
        (0o644, ROOT, "is secret, and every user of this machine can open it (mode 0644): run chmod 640 "),
        (0o640, ANN, f"belongs to {ANN}, who can change it: run chown root "),
    ],
)
def test_root_may_use_what_it_lets_the_group_of_an_agent_read(mode: int, owner: int, said: str | None) -> None:
    expected = None if said is None else f"/etc/key {said}/etc/key"
    assert flaw(Path("/etc/key"), status(mode, owner), ROOT, secret=True, of_agent=True) == expected


@pytest.mark.parametrize(
    ("mode", "owner", "said"),
    [
        (0o755, ANN, None),
        (0o755, ROOT, None),
        (0o775, ROOT, "can be changed by its group (mode 0775): run chmod go-w "),
        (0o2770, ANN, "can be changed by its group (mode 2770): run chmod go-w "),
        (0o1777, ROOT, "can be changed by every user of this machine (mode 1777): run chmod go-w "),
        (0o700, BOB, f"belongs to {BOB}, who can change it: run chown -R {ANN} "),
    ],
)
def test_a_directory_is_for_its_user_to_change(mode: int, owner: int, said: str | None) -> None:
    expected = None if said is None else f"/data {said}/data"
    assert flaw(Path("/data"), status(mode, owner, stat.S_IFDIR), ANN, secret=False) == expected


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [pipe, device])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "odd")
    with pytest.raises(OSError, match="it is a pipe, a device or a socket, not a file"):
        read_file(tmp_path / "odd")
    with pytest.raises(OSError, match="not a file"):
        read_secret(tmp_path / "odd")
    with pytest.raises(ConfigError, match=r"cannot read .*odd: it is a pipe"):
        read_toml(tmp_path / "odd")
    with pytest.raises(ConfigError, match=r"key_file: cannot read .*odd: it is a pipe"):
        check_start(Config(key_file=tmp_path / "odd"))
    with pytest.raises(ConfigError, match=r"credential_key_file: cannot read .*odd: it is a pipe"):
        check_start(Config(credential_key_file=tmp_path / "odd"))
    with pytest.raises(StorageError, match=r"snapshot: cannot read .*odd: it is a pipe"):
        _read(tmp_path / "odd", "default", 0.0)


def test_a_socket_and_a_directory_are_no_files_and_there_is_a_largest_file(tmp_path: Path) -> None:
    socket_file(tmp_path / "socket")
    for path in (tmp_path / "socket", tmp_path):
        with pytest.raises(OSError, match=r"No such device|Is a directory"):
            read_file(path)
    with (tmp_path / "large").open("wb") as large:
        large.truncate(limits.FILE_BYTES_MAX + 1)
    with pytest.raises(OSError, match="it has more than 16777216 bytes"):
        read_file(tmp_path / "large")


def test_a_link_to_a_secret_is_followed_and_its_target_is_checked(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(hidden(tmp_path / "data", "secret"))
    assert read_secret(tmp_path / "link") == b"secret"
    (tmp_path / "data").chmod(0o644)
    with pytest.raises(UnsafeFile, match="link is secret"):
        read_secret(tmp_path / "link")


def test_a_secret_that_every_user_can_replace_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    file = hidden(shared / "key", "secret")
    shared.chmod(0o777)
    with pytest.raises(UnsafeFile, match=rf"every user of this machine can replace {file}: run chmod o-w {shared}"):
        read_secret(file)
    shared.chmod(0o1777)
    assert read_secret(file) == b"secret"


@pytest.mark.parametrize("setting", ["key_file", "credential_key_file"])
@pytest.mark.parametrize("mode", [0o666, 0o644, 0o640, 0o620])
def test_a_node_does_not_start_with_a_key_that_others_can_open(tmp_path: Path, setting: str, mode: int) -> None:
    key = hidden(tmp_path / "key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    check_start(Config(**{setting: key}))  # type: ignore[arg-type]
    key.chmod(mode)
    with pytest.raises(UnsafeFile, match=rf"^{setting}: {key} is secret, and .* \(mode 0{mode:o}\): run chmod 600 "):
        check_start(Config(**{setting: key}))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
async def test_a_node_does_not_start_on_a_data_directory_that_others_can_change(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(UnsafeFile, match=f"{directory} can be changed by .* run chmod go-w {directory}"):
        async with open_node(Config(bind="127.0.0.1:0", data_dir=directory)):
            pass
    assert list(directory.iterdir()) == []


def test_a_data_directory_that_every_user_can_replace_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert refused(shared / "data").startswith(f"every user of this machine can replace {shared / 'data'}: ")
    assert refused(shared / "data" / ".." / "data").startswith("every user of this machine can replace ")
    shared.chmod(0o1777)
    StateStore.open(shared / "data").close()


def refused(directory: Path) -> str:
    with pytest.raises(GossipregError) as refusal:
        StateStore.open(directory).close()
    return str(refusal.value)


def test_a_lock_that_is_a_link_or_a_pipe_touches_nothing_and_holds_up_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / LOCK).symlink_to(precious)
    assert "Too many levels of symbolic links" in refused(tmp_path / "data")
    (tmp_path / "data" / LOCK).unlink()
    os.mkfifo(tmp_path / "data" / LOCK)
    assert "it is a pipe, a device or a socket, not a file" in refused(tmp_path / "data")
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", [DATABASE, f"{DATABASE}-journal"])
def test_a_database_that_is_a_link_or_that_others_can_change_is_refused(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    StateStore.open(data).close()
    (data / name).touch()
    (data / name).chmod(0o660)
    assert refused(data) == f"{data / name} can be changed by its group (mode 0660): run chmod go-w {data / name}"
    (data / name).unlink()
    (data / name).symlink_to(tmp_path / "elsewhere")
    assert refused(data).startswith(f"{data / name} is a link, and SQLite would follow it: ")
    assert not (tmp_path / "elsewhere").exists()


async def test_a_snapshot_is_written_through_no_link(tmp_path: Path) -> None:
    from gossipreg.runtime.snapshot_file import _write

    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "snap.new-ann").symlink_to(precious)
    await trio.to_thread.run_sync(_write, tmp_path / "snap", "default", "ann", {})
    assert precious.read_text() == "precious"
    assert stat.S_IMODE((tmp_path / "snap").lstat().st_mode) == 0o600


def test_a_snapshot_that_others_can_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "snap").touch()
    (tmp_path / "snap").chmod(0o666)
    with pytest.raises(UnsafeFile, match=r"snap can be changed by every user of this machine"):
        _read(tmp_path / "snap", "default", 0.0)
