"""Keys are fresh, readable by their owner only, and never overwritten."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

from gossipreg.key_format import key_id, parse_key
from tests.cli.conftest import Ran


def test_each_key_is_fresh_and_fits(run: Callable[..., Ran]) -> None:
    first, second = run("keygen").out, run("keygen").out
    assert parse_key(first, where="test") != parse_key(second, where="test")


def test_json_has_the_key_and_its_id(run: Callable[..., Ran]) -> None:
    answer = json.loads(run("keygen", "--json").out)
    assert answer["id"] == key_id(parse_key(answer["key"], where="test"))


def test_a_key_in_a_file_is_for_its_owner_only_and_is_not_printed(run: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "key"
    ran = run("keygen", "--out", str(path))
    text = path.read_text()
    assert ran == Ran(0, f"key {key_id(parse_key(text, where='test'))} written to {path}\n", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(run: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("precious")
    assert run("keygen", "--out", str(path)) == Ran(
        1, "", f"gossipreg: {path} exists and is not overwritten: name another file, or remove this one first\n"
    )
    assert path.read_text() == "precious"


def test_a_place_that_cannot_be_written_is_named(run: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "key"
    assert run("keygen", "--out", str(path)) == Ran(
        1, "", f"gossipreg: cannot write {path}: No such file or directory\n"
    )
