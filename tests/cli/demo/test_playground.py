"""The playground: agents with a page, and faults on request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from gossipreg.cli import cli
from gossipreg.cli.client import AgentClient
from gossipreg.cli.demo.agents import DemoAgents
from gossipreg.cli.demo.playground import FAULTS, Playground, help_text
from gossipreg.cli.demo.switch import PacketSwitch


def members(agent: AgentClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = agent.get("members")["members"]
    return found


def test_every_fault_is_listed_with_what_it_does() -> None:
    assert len(help_text().splitlines()) == len(FAULTS)


def test_it_does_not_go_with_json() -> None:
    ran = CliRunner().invoke(cli, ["demo", "--ui", "--json"])
    assert ran.exit_code == 2
    assert "--ui and --json" in ran.output


@pytest.mark.slow
def test_faults_are_played_on_real_agents() -> None:
    shown: list[str] = []
    with PacketSwitch() as switch, DemoAgents() as agents:
        playground = Playground(3, agents, switch, shown.append)
        assert playground.open().endswith("/ui/")
        host = playground._running["web-1"].agent
        asked = ["kill web-1", "kill web-9", "start web-2", "fail orders-3", "fail nix", "dance", ""]
        playground.play(
            [*asked, "kill web-2", "start web-2", "pause web-3", "resume web-3", "heal orders-3", "quit", "no"]
        )
        assert {each["name"] for each in host.get("members")["members"]} >= {"web-1", "web-2"}

        def until(holds: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 60
            while not holds():
                assert time.monotonic() < deadline
                time.sleep(0.2)

        def differences() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = host.get("observations")["differences"]
            return found

        playground.play(["cut web-2 web-3"])
        lost = {"observer": "web-2", "member": "web-3", "status": "alive", "link": "outgoing_lost"}
        until(lambda: any(lost.items() <= each.items() for each in differences()))
        playground.play(["mend", "slow web-2 100", "slow nix", "cut web-1 web-1"])
        until(lambda: any(each["name"] == "web-2" and (each["round_trip"] or 0) > 0.1 for each in members(host)))
        until(lambda: not any(lost.items() <= each.items() for each in differences()))
    told = "\n".join(shown)
    for part in ("web-1 serves the page", "no agent 'web-9'", "'start web-2' is nothing", "orders-3 is critical"):
        assert part in told
    for part in (
        "no running agent owns",
        "'dance' is nothing",
        "web-2 is killed",
        "web-2 is started",
        "web-3 runs again",
    ):
        assert part in told
    assert "'no'" not in told
    assert "orders-3 is passing" in shown
    assert "there is no agent 'nix'" in told
    assert "'cut web-1 web-1' is nothing" in told
