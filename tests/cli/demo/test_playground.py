"""The playground: agents with a page, and faults on request."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from gossipreg.cli import cli
from gossipreg.cli.demo.agents import DemoAgents
from gossipreg.cli.demo.playground import FAULTS, Playground, help_text


def test_every_fault_is_listed_with_what_it_does() -> None:
    assert len(help_text().splitlines()) == len(FAULTS)


def test_it_does_not_go_with_json() -> None:
    ran = CliRunner().invoke(cli, ["demo", "--ui", "--json"])
    assert ran.exit_code == 2
    assert "--ui and --json" in ran.output


@pytest.mark.slow
def test_faults_are_played_on_real_agents() -> None:
    shown: list[str] = []
    with DemoAgents() as agents:
        playground = Playground(3, agents, shown.append)
        assert playground.open().endswith("/ui/")
        host = playground._running["web-1"].agent
        asked = ["kill web-1", "kill web-9", "start web-2", "fail orders-3", "fail nix", "dance", ""]
        playground.play(
            [*asked, "kill web-2", "start web-2", "pause web-3", "resume web-3", "heal orders-3", "quit", "no"]
        )
        assert {each["name"] for each in host.get("members")["members"]} >= {"web-1", "web-2"}
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
    assert shown[-1] == "orders-3 is passing"
