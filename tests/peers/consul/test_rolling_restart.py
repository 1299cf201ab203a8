"""Clients that run for long see nothing of a rolling restart of all agents but that their own is away for a moment."""

from __future__ import annotations

import json
import os
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.drills.agents import Agent
from tests.drills.waiting import eventually
from tests.peers.npm import install, needs_node
from tests.peers.stage import Stage, adapted, open_stage, running, written
from tests.peers.suites.go_module import needs_go

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_go, needs_node]

_PAGE: Final = "clients/consul.md"

#: What a client may say while its agent is away: with Consul it would say the same.
_AWAY: Final = re.compile(r"connection refused|ECONNREFUSED|connection reset|ECONNRESET|EOF|socket hang up|\bclosed\b")

#: A line of consul-template's log that tells of something that went wrong. It writes another one for each, without why.
_WRONG: Final = re.compile(r"\[(?:WARN|ERR|ERROR)\] (?!\(runner\) sending server error back to caller)")


def _found(log: Path) -> list[dict[str, int]]:
    """Each list of instances that a program printed."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("found ")]
    return [dict(json.loads(line.removeprefix("found "))) for line in lines]


def _complaints(log: Path) -> list[str]:
    """What a program printed beside: its errors, without the lines that describe one further."""
    lines = [line for line in log.read_text().splitlines() if line and not line.startswith("found ")]
    return [line for line in lines if line[0] not in " }"]


async def _restart(directory: Path, stage: Stage, agent: Agent) -> Agent:
    """End an agent as an operator does, and start it at the same addresses with what it keeps on disk."""
    assert await agent.leave() == 0
    others = [each for each in (stage.alpha, stage.beta, stage.gamma) if each is not agent]
    again = await stage.agents.start(
        agent.name, f"--data-dir={directory / agent.name}", join=others, bind=agent.gossip, http=agent.http
    )
    await stage.agents.agree([again, *others])
    return again


async def test_a_rolling_restart_of_all_agents_empties_nothing_and_is_no_error(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, consul_go_program: Path, consul_template: Path
) -> None:
    modules = install("consul", "2.0.1", tmp_path_factory.mktemp("npm"))
    async with open_stage(tmp_path, keep=True) as stage, AsyncExitStack() as programs:
        await stage.offer(stage.beta, "one")
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")

        go_log, js_log, template_log = (tmp_path / f"{name}.log" for name in ("go", "js", "consul-template"))
        await programs.enter_async_context(running(go_log, consul_go_program, stage.alpha.http))
        script = tmp_path / "program.js"
        places = {"8500": stage.alpha.http.rpartition(":")[2], "billing-1": "billing-2"}
        script.write_text(adapted(written(_PAGE, "js"), places))
        environment = {**os.environ, "NODE_PATH": str(modules / "node_modules"), "NODE_NO_WARNINGS": "1"}
        await programs.enter_async_context(running(js_log, "node", script, env=environment))
        rendered = _template(tmp_path, stage)
        config = tmp_path / "consul-template.hcl"
        await programs.enter_async_context(running(template_log, consul_template, f"-config={config}"))

        async def all_find(*ids: str) -> None:
            assert set(_found(go_log)[-1:][0]) == set(_found(js_log)[-1:][0]) == set(ids)
            assert rendered.read_text().removeprefix("found").strip() == ",".join(ids)

        async def both_offer() -> None:
            assert await stage.beta.ids("billing") == {"billing-1", "billing-2"}

        async def is_up() -> None:
            assert _found(go_log)
            assert _found(js_log)
            await all_find("one", "two")
            await both_offer()

        await eventually(is_up)
        stage.alpha = await _restart(tmp_path, stage, stage.alpha)
        await eventually(both_offer)
        stage.beta = await _restart(tmp_path, stage, stage.beta)
        await stage.reaches_alpha("one", "two")
        await eventually(lambda: all_find("one", "two"))
        stage.gamma = await _restart(tmp_path, stage, stage.gamma)
        await stage.reaches_alpha("one", "two")
        await eventually(lambda: all_find("one", "two"))
        await both_offer()
        # The programs follow again: a change reaches them.
        await stage.beta.deregister("one")
        await eventually(lambda: all_find("two"))

    for log in (go_log, js_log):
        assert all(_found(log)), f"{log.name}: it was told that there is no instance"
        assert not [line for line in _complaints(log) if not _AWAY.search(line)], log.name
    wrong = [line for line in template_log.read_text().splitlines() if _WRONG.search(line)]
    assert not [line for line in wrong if not _AWAY.search(line)]


def _template(directory: Path, stage: Stage) -> Path:
    """Write the configuration of consul-template as its page has it; returns the file that it renders."""
    template, rendered = directory / "orders.tpl", directory / "orders.conf"
    template.write_text(written("clients/consul-template.md", "gotemplate"))
    rendered.touch()
    places = {"127.0.0.1:8500": stage.alpha.http, "/etc/orders.tpl": template, "/run/orders.conf": rendered}
    text = adapted(written("clients/consul-template.md", "hcl"), places)
    (directory / "consul-template.hcl").write_text(text)
    return rendered
