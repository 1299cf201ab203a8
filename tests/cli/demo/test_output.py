"""The story is told live on a terminal, line by line in a pipe, and whole in JSON."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout

import pytest

from gossipreg.cli.client import AgentClient
from gossipreg.cli.demo.observers import Observers
from gossipreg.cli.demo.output import JsonOutput, LiveOutput, PlainOutput
from gossipreg.cli.demo.script import ScriptLine
from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent

ACT = ScriptLine(1.5, "web-3 is killed (SIGKILL)")
RESULT = ScriptLine(7.812, "gone from the last of 4 lookups after", 6.312)


def test_a_consequence_stands_below_its_act() -> None:
    assert str(ACT) == "   1.500 s  web-3 is killed (SIGKILL)"
    assert str(RESULT) == "   7.812 s    gone from the last of 4 lookups after 6.312 s"


def test_a_pipe_gets_each_line_as_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainOutput() as output:
        output.show_line(ACT)
        assert capsys.readouterr().out == f"{ACT}\n"
        output.show_summary("done")
        assert capsys.readouterr().out == "\ndone\n"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonOutput() as output:
        output.show_line(ACT)
        output.show_line(RESULT)
        output.show_summary("done")
    assert json.loads(capsys.readouterr().out) == {
        "steps": [
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
    steps = [ScriptLine(number, f"act {number}") for number in range(40)]
    with FakeAgent() as agent, redirect_stdout(Terminal()) as output:
        agent.streams = [[("snapshot", {"members": [MEMBER], "instances": [INSTANCE]})]]
        observers = Observers()
        observers.follow("web-1", AgentClient.at(agent.address))
        list(observers.until(["web-1"], {"anything": lambda view: True}, 5))
        with LiveOutput(observers) as live:
            for line in steps:
                live.show_line(line)
            live.show_summary("done")
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    assert "127.0.0.1:8080" in seen
    lines = [line.rstrip() for line in seen.splitlines()]
    assert lines[-42:] == [*map(str, steps), "", "done"]


@pytest.mark.parametrize(("columns", "beside"), [(130, True), (80, False)])
def test_a_narrow_terminal_has_the_tables_below_each_other_and_every_word_whole(
    monkeypatch: pytest.MonkeyPatch, columns: int, beside: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    with FakeAgent() as agent, redirect_stdout(Terminal()) as output:
        agent.streams = [[("snapshot", {"members": [MEMBER], "instances": [INSTANCE]})]]
        observers = Observers()
        observers.follow("web-1", AgentClient.at(agent.address))
        list(observers.until(["web-1"], {"anything": lambda view: True}, 60))
        with LiveOutput(observers):
            pass
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue()).splitlines()
    [heads] = {line for line in lines if "as web-1 sees it" in line}
    assert ("call it at" in heads) == beside
    assert any(str(INSTANCE["id"]) in line and "127.0.0.1:8080" in line for line in lines)
