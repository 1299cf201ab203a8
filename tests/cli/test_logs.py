"""Log lines are text for people and JSON for programs."""

from __future__ import annotations

import json
import logging

import pytest

from gossipreg.cli.logs import write_logs


def test_text_has_the_time_the_level_and_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    write_logs("text")
    logging.getLogger("gossipreg.runtime").warning("%s is gone", "web-2")
    line = capsys.readouterr().err
    assert line.endswith(" warning gossipreg.runtime: web-2 is gone\n")
    assert len(line.split(" warning")[0]) == len("2026-03-01 12:00:00.123")


def test_json_has_the_same_and_what_was_given_as_extra(capsys: pytest.CaptureFixture[str]) -> None:
    write_logs("json")
    logging.getLogger("gossipreg.runtime").info("%s is gone", "web-2", extra={"member": "web-2", "time": "not this"})
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "logger": "gossipreg.runtime", "message": "web-2 is gone", "member": "web-2",
    }  # fmt: skip


def test_a_traceback_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_logs("json")
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        logging.getLogger("gossipreg").exception("failed")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "ZeroDivisionError" in json.loads(lines[0])["traceback"]


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_that_are_less_severe_than_the_level_are_left_out(
    level: str, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_logs("json", level)
    for each in ("debug", "info", "warning", "error"):
        logging.getLogger("gossipreg").log(logging.getLevelName(each.upper()), "a line")
    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == written
