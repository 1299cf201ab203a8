"""An agent answers Eureka's clients as Spring Cloud's Eureka server does, request by request."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
import trio

from tests.drills.agents import open_agents
from tests.peers.eureka.differences import VARIABLE, Answer, Compared, page
from tests.peers.eureka.java import eureka_server, needs_java, version
from tests.peers.eureka.requests import Case, cases
from tests.peers.results import record

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_java]


async def compare(theirs: httpx.AsyncClient, ours: httpx.AsyncClient, case: Case) -> list[Compared]:
    """Both answers to each step of a case, whose instances are then taken back."""
    compared = []
    for step in case.steps:
        said = []
        for client in (theirs, ours):
            response = await client.request(
                step.method, step.path, content=step.body, headers={"accept": "*/*"} | dict(step.headers)
            )
            said.append(Answer.of(response, case, step))
        compared.append(Compared(case, step, *said))
    for client in (theirs, ours):
        await client.delete(f"apps/{case.app}/i1")  # first: the server's list may be one that it cannot print
        await empty(client)
    return compared


async def empty(client: httpx.AsyncClient) -> None:
    """Take back every instance."""
    document = (await client.get("apps", headers={"accept": "application/json"})).json()
    for app in document["applications"]["application"]:
        for each in app["instance"]:
            id_ = each.get("instanceId") or each["hostName"]
            for name in (id_, each["hostName"]):
                await client.delete(f"apps/{app['name']}/{httpx.URL(path=f'/{name}').raw_path.decode()[1:]}")


async def test_no_answer_differs_without_a_reason(tmp_path: Path, eureka_classes: str) -> None:
    (tmp_path / "agents").mkdir()
    compared: list[Compared] = []
    async with (
        open_agents(tmp_path / "agents") as agents,
        eureka_server(eureka_classes, tmp_path / "server.log") as url,
    ):
        alpha = await agents.start("alpha")
        async with (
            httpx.AsyncClient(base_url=f"{url}/", trust_env=False) as theirs,
            httpx.AsyncClient(base_url=f"http://{alpha.http}/eureka/", trust_env=False) as ours,
        ):
            for case in cases():
                compared += await compare(theirs, ours, case)
    if VARIABLE in os.environ:
        await trio.Path(os.environ[VARIABLE]).write_text(page(compared, version()))
    different = [str(each) for each in compared if not each.is_same and not each.step.reason]
    assert not different, f"{len(different)} of {len(compared)} answers differ:\n" + "\n".join(different)
    stale = [str(each) for each in compared if each.is_same and each.step.reason]
    assert not stale, "these no longer differ, so they need no reason:\n" + "\n".join(stale)
    record(
        client="Spring Cloud Eureka server",
        version=version().rpartition(" ")[2],
        api="Eureka",
        did=f"asked the same {len(compared)} requests as an agent: no answer differs without a reason",
    )
