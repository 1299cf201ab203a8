"""The demo, with real agents: it tells a true story and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossipreg.cli.client import AgentClient
from gossipreg.cli.demo.agents import DemoAgents
from gossipreg.errors import GossipregError

pytestmark = pytest.mark.slow


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files that is only this test's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def agents_below(directory: Path) -> Iterator[int]:
    """The processes whose command line names the directory."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if os.fsencode(directory) in arguments:
            yield int(process.name)


def test_it_tells_every_act_with_its_times_and_leaves_nothing_behind(temporary: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "gossipreg", "demo", "--nodes", "4"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    for act in ("starting web-1", "registers orders-1", "is asked for orders", "SIGKILL", "asked to leave", "again"):
        assert act in ran.stdout
    assert re.search(r"gone from the last of 3 lookups after [\d.]+ m?s\n", ran.stdout)
    assert list(temporary.iterdir()) == []
    assert list(agents_below(temporary)) == []


def test_json_is_the_same_story_in_one_document(temporary: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "gossipreg", "demo", "--nodes", "4", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    steps = json.loads(ran.stdout)["steps"]
    assert [line["at"] for line in steps] == sorted(line["at"] for line in steps)
    assert all(line["took"] is None or 0 <= line["took"] <= line["at"] for line in steps)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_everything_cleared_away(temporary: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "gossipreg", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        assert "starting" in demo.stdout.readline()
        assert "ready" in demo.stdout.readline()
        demo.send_signal(number)
        assert demo.wait(60) == 128 + number
        assert demo.stderr.read().strip() == ""
    assert list(agents_below(temporary)) == []
    assert list(temporary.iterdir()) == []


def test_an_agent_that_cannot_start_is_quoted(temporary: Path) -> None:
    with DemoAgents() as agents:
        process = agents.start("web-1", "host:port")
        with pytest.raises(GossipregError, match=r"^web-1 ended before it was ready: --join: cannot read"):
            agents.ready("web-1", process)
    assert list(temporary.iterdir()) == []


def test_agents_end_with_the_block_that_started_them(temporary: Path) -> None:
    with DemoAgents() as agents:
        running = agents.ready("web-1", agents.start("web-1", None))
        assert running.agent == AgentClient.at(str(running.agent.address))
        assert running.agent.get("node")["name"] == "web-1"
    assert running.process.poll() == -signal.SIGKILL
    assert list(agents_below(temporary)) == []
