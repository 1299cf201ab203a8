"""Answers look good on a terminal, and nothing in them can break it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

import pytest

from gossipreg.cli import show, tables
from tests.cli.fake_agent import INSTANCE, MEMBER


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def terminal() -> Iterator[Callable[[], str]]:
    """Standard output is a terminal; calling what it gives tells what was written there."""
    with redirect_stdout(Terminal()) as screen:
        yield screen.getvalue


def test_a_table_has_headings_and_colours() -> None:
    with terminal() as written:
        show.write(show.members({"members": [MEMBER]}), None, as_json=False)
    assert "name" in written()
    assert "\x1b[32malive" in written()


def test_a_table_on_a_terminal_has_no_column_that_says_nothing() -> None:
    bare = INSTANCE | {"tags": [], "meta": {}, "role": None}
    with terminal() as written:
        show.write(show.instances({"instances": [bare]}), None, as_json=False)
    assert "owner" in written()
    assert not {"role", "tags", "meta"} & set(written().split())


def test_addresses_are_whole_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    with terminal() as written:
        show.write(show.instances({"instances": [INSTANCE]}), None, as_json=False)
    assert "127.0.0.1:8080" in written()


def test_json_is_json_on_a_terminal_too() -> None:
    with terminal() as written:
        show.write(show.members({"members": [MEMBER]}), {"a": 1}, as_json=True)
    assert written() == '{\n  "a": 1\n}\n'


def test_text_from_the_cluster_cannot_command_the_terminal() -> None:
    evil = INSTANCE | {"id": "\x1b]0;owned\x07", "tags": ["[red]x[/red]"], "meta": {}}
    with terminal() as written:
        show.write(show.instances({"instances": [evil]}), None, as_json=False)
        show.write_event("instance-added", evil)
    assert "\x1b]0" not in written()
    assert "[red]x" in written()


def test_a_watched_line_is_one_line_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with terminal() as written:
        show.write_event("instance-added", INSTANCE)
    assert written().count("\n") == 1


def test_a_watched_line_has_the_time_of_day_and_no_empty_end() -> None:
    with terminal() as written:
        show.write_event("member-left", MEMBER | {"status": "left"})
    line = re.sub(r"\x1b\[[0-9;]*m", "", written())
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3}  member-left       web-1 {13}  left         127\.0\.0\.1:7940 *\n", line
    )


def test_a_table_without_rows_is_nothing() -> None:
    with terminal() as written:
        show.write(show.instances({"instances": []}), None, as_json=False)
    assert written() == ""


def test_an_empty_cell_is_a_dash_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show.write(tables.TextTable(("a", "b"), [("", "x")]), None, as_json=False)
    assert capsys.readouterr().out == "-\tx\n"


def test_a_contested_role_is_one_line_with_all_who_claim_it(capsys: pytest.CaptureFixture[str]) -> None:
    other = INSTANCE | {"id": "orders-2", "role": "fenced"}
    show.write_event("role-contested", {"service": "orders", "primary": INSTANCE, "contenders": [INSTANCE, other]})
    show.write_event("role-settled", {"service": "orders", "primary": None, "contenders": []})
    first, second = [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()]
    assert first == ["role-contested", "orders-1,orders-2", "contested", "127.0.0.1:8080", "orders", "web-1", "-"]
    assert second == ["role-settled", "-", "settled", "-", "orders", "-", "-"]
