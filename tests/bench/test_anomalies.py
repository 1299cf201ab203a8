"""What is counted where members are slow, and that they are well again afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.bench.anomalies import Tally, Verdict, Verdicts, main, stop_and_go
from tests.bench.bytecode import bytecode_kept
from tests.bench.cluster import Agent
from tests.bench.processes import Process
from tests.bench.sightings import FAILED, OFFERED


def test_a_report_counts_each_time_that_it_is_made() -> None:
    verdicts = Verdicts()
    for what in (FAILED, OFFERED, FAILED):
        verdicts.note("a", what, "b", 1.0)
    assert verdicts.said == [Verdict("a", "b"), Verdict("a", "b")]


def test_reports_are_told_apart_by_who_was_hurt() -> None:
    said = [Verdict("well", "other"), Verdict("hurt", "well"), Verdict("well", "hurt"), Verdict("hurt", "hurt")]
    assert Tally.of(said, frozenset({"hurt"})) == Tally(well_by_well=1, well_by_any=2, hurt_by_well=1)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"], stdout=subprocess.PIPE) as popen:
        yield Agent(Process("n1", tmp_path / "log", popen, lambda at, line: None), 1, 2)
        popen.kill()


def state(pid: int) -> str:
    """R if a process runs, T if it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_an_agent_that_was_stopped_goes_on_in_the_end(agent: Agent) -> None:
    class Always:
        def uniform(self, low: float, high: float) -> float:
            return high

    with trio.move_on_after(0.05):
        await stop_and_go(agent, Always())  # type: ignore[arg-type]
    assert state(agent.process.pid) == "R"


def test_bytecode_is_kept_only_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    before = dict(os.environ)
    with bytecode_kept():
        directory = Path(os.environ["PYTHONPYCACHEPREFIX"])
        assert directory.is_dir()
        assert "PYTHONDONTWRITEBYTECODE" not in os.environ
    assert not directory.exists()
    assert dict(os.environ) == before


def test_an_act_that_does_not_exist_is_named_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--acts", "shout"])
    assert ended.value.code == 2
    assert "there is no act shout; there are stop, starve" in capsys.readouterr().err
