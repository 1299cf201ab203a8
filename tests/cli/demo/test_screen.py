"""The story is told live on a terminal, line by line in a pipe, and whole in JSON."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout

import pytest

from gossipreg.cli.client import Agent
from gossipreg.cli.demo.eyes import Eyes
from gossipreg.cli.demo.screen import Document, Live, Plain
from gossipreg.cli.demo.story import Line
from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent

ACT = Line(1.5, "web-3 is killed (SIGKILL)")
RESULT = Line(7.812, "gone from the last of 4 lookups after", 6.312)


def test_a_consequence_stands_below_its_act() -> None:
    assert str(ACT) == "   1.500 s  web-3 is killed (SIGKILL)"
    assert str(RESULT) == "   7.812 s    gone from the last of 4 lookups after 6.312 s"


def test_a_pipe_gets_each_line_as_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    with Plain() as screen:
        screen.tell(ACT)
        assert capsys.readouterr().out == f"{ACT}\n"
        screen.sum_up("done")
        assert capsys.readouterr().out == "\ndone\n"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    with Document() as screen:
        screen.tell(ACT)
        screen.tell(RESULT)
        screen.sum_up("done")
    assert json.loads(capsys.readouterr().out) == {
        "story": [
            {"at": 1.5, "text": "web-3 is killed (SIGKILL)", "took": None},
            {"at": 7.812, "text": "gone from the last of 4 lookups after", "took": 6.312},
        ],
        "summary": "done",
    }


def test_a_terminal_ends_with_what_the_observer_sees_and_the_whole_story(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "130")
    monkeypatch.setenv("LINES", "20")
    story = [Line(number, f"act {number}") for number in range(40)]
    with FakeAgent() as agent, redirect_stdout(Terminal()) as screen:
        agent.streams = [[("snapshot", {"members": [MEMBER], "instances": [INSTANCE]})]]
        eyes = Eyes()
        eyes.follow("web-1", Agent.at(agent.address))
        list(eyes.until(["web-1"], {"anything": lambda sight: True}, 5))
        with Live(eyes) as live:
            for line in story:
                live.tell(line)
            live.sum_up("done")
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "127.0.0.1:8080" in seen
    lines = [line.rstrip() for line in seen.splitlines()]
    assert lines[-42:] == [*map(str, story), "", "done"]
