"""Two clusters of one node each, in one process: one follows the other over HTTP, with tokens and with TLS."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from gossipreg import Address, Node, open_node
from gossipreg.errors import RegionUnavailable, UnknownRegion
from gossipreg.events import InstanceEvent, Snapshot
from gossipreg.federation import Federation
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.tls import ServerTls
from gossipreg.runtime.regions import failover
from tests.certificates import certificate
from tests.runtime.nodes import PATIENCE, config

TOKEN = "a-token-of-sixteen-or-more"


@asynccontextmanager
async def served(
    region: str, *, tls: ServerTls | None = None, tokens: Path | None = None, **more: Any
) -> AsyncIterator[tuple[Node, Address]]:
    """A cluster of one node, and its agent."""
    access = Access() if tokens is None else Access.from_file(tokens)
    async with open_node(config("n-" + region, cluster=region, **more)) as node, trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[Address]) -> None:
            await serve_http(
                node,
                Address("127.0.0.1", 0),
                leave=lambda: None,
                access=access,
                tls=tls,
                task_status=task_status,  # type: ignore[arg-type]
            )

        yield node, await nursery.start(serve)
        nursery.cancel_scope.cancel()


async def test_a_node_answers_about_another_region_in_process_and_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "RETURN_SECONDS", 0.1)  # how long it is, tests in virtual time say
    with trio.fail_after(PATIENCE):
        async with served("eu") as (far, far_at):
            await far.register("orders", port=81, tags=["v2"])
            federate = [Federation(region="eu", agents=(str(far_at),))]
            async with (
                served("us", federate=federate) as (node, at),
                httpx.AsyncClient(base_url=f"http://{at}") as client,
            ):
                with pytest.raises(UnknownRegion):
                    node.lookup("orders", region="asia")
                found = await node.fetch("orders", "eu")
                assert [(each.port, each.region) for each in found.healthy] == [(81, "eu")]
                assert node.lookup("orders") == ()
                assert [each.port for each in node.lookup("orders", region="eu", tag="v2")] == [81]
                assert node.lookup("orders", region="eu", tag="v1") == ()
                assert node.pick("orders", region="eu").port == 81
                assert [each.port for each in node.with_failover("orders", ["nearest"])] == [81]

                answer = await client.get("/api/v1/services/orders?region=eu")
                assert [each["region"] for each in answer.json()["instances"]] == ["eu"]
                assert float(answer.headers["x-gossipreg-age"]) < PATIENCE
                index = int(answer.headers["x-gossipreg-index"])
                listed = await client.get("/api/v1/services?region=eu")
                assert listed.json()["services"] == {"orders": {"instances": None, "healthy": None}}
                failed_over = await client.get("/api/v1/services/orders?failover=nearest")
                assert failed_over.json()["region"] == "eu"
                regions = (await client.get("/api/v1/regions")).json()["regions"]
                assert [(each["name"], each["own"], each["followed"]) for each in regions] == [
                    ("us", True, 0),
                    ("eu", False, 1),
                ]

                async with trio.open_nursery() as nursery:
                    answers: list[httpx.Response] = []

                    async def wait() -> None:
                        answers.append(
                            await client.get(f"/api/v1/services/orders?region=eu&index={index}&wait=50s", timeout=60)
                        )

                    nursery.start_soon(wait)
                    watch = node.regional_events("orders", failover=["eu"])
                    (first,) = await anext(watch)
                    assert isinstance(first, Snapshot)
                    await far.register("orders", port=82)
                    (event,) = await anext(watch)
                    assert isinstance(event, InstanceEvent)
                    assert (event.kind, event.instance.port) == ("added", 82)
                assert sorted(each["port"] for each in answers[0].json()["instances"]) == [81, 82]
                assert int(answers[0].headers["x-gossipreg-index"]) > index

                await node.register("orders", port=80)
                events = await anext(watch)
                assert [(each.kind, each.instance.port) for each in events if isinstance(each, InstanceEvent)] == [
                    ("added", 80),
                    ("removed", 81),
                    ("removed", 82),
                ]


@pytest.mark.slow
async def test_no_agent_passes_on_what_it_follows_itself() -> None:
    with trio.fail_after(PATIENCE):
        async with served("asia") as (third, third_at):
            await third.register("orders", port=83)
            async with served("eu", federate=[Federation(region="asia", agents=(str(third_at),))]) as (middle, at):
                await middle.fetch("orders", "asia")
                async with served("us", federate=[Federation(region="eu", agents=(str(at),))]) as (node, _):
                    assert (await node.fetch_directory("eu")).services == {}
                    assert not (await node.fetch("orders", "eu")).exists
                    with pytest.raises(UnknownRegion):
                        await node.fetch("orders", "asia")


@pytest.mark.slow
async def test_an_agent_that_asks_for_tokens_is_followed_over_https(tmp_path: Path) -> None:
    pem, private = certificate("127.0.0.1", tmp_path)
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[[tokens]]\nname = "us"\ntoken = "{TOKEN}"\nscopes = ["federate:web-*"]\n')
    tokens.chmod(0o600)
    key = tmp_path / "token"
    key.write_text(TOKEN)
    key.chmod(0o600)
    tls = ServerTls(pem, private)
    with trio.fail_after(PATIENCE):
        async with served("eu", tls=tls, tokens=tokens) as (far, at):
            await far.register("web-a", port=81)
            await far.register("orders", port=82)
            there: dict[str, Any] = {"region": "eu", "agents": [f"https://{at}"]}
            trusted = Federation(**there, token_file=key, ca_file=pem)
            async with open_node(config("a", federate=[trusted])) as node:
                assert list((await node.fetch_directory("eu")).services) == ["web-a"]
                assert not (await node.fetch("orders", "eu")).exists
                assert [each.port for each in (await node.fetch("web-a", "eu")).healthy] == [81]
            for wrong, why in (
                (Federation(**there, token_file=key), "its certificate is not trusted"),
                (Federation(**there, ca_file=pem), "asks for a token with the scope federate"),
                (Federation(**there, token="x" * 20, ca_file=pem), "asks for a token with the scope federate"),
                (Federation(**there, ca_file=tmp_path / "no.pem"), "ca_file .*no.pem cannot be used: no such file"),
                (Federation(**there, token_file=tmp_path / "no"), "used: .*/no: no such file or directory$"),
                (Federation(region="eu", agents=(str(at),)), "the connection|does not speak HTTP|it closed"),
            ):
                async with open_node(config("a", federate=[wrong])) as node:
                    with pytest.raises(RegionUnavailable, match=why):
                        await node.fetch("web-a", "eu", patience=20)


async def test_a_region_of_which_nothing_is_known_or_nothing_new_is_a_problem_of_the_node() -> None:
    with trio.fail_after(PATIENCE):
        async with served("eu") as (_far, far_at):
            federate = [
                Federation(region="eu", agents=(str(far_at),)),
                Federation(region="asia", agents=("127.0.0.1:1",)),
            ]
            async with (
                served("us", federate=federate) as (node, at),
                httpx.AsyncClient(base_url=f"http://{at}") as client,
            ):
                await node.fetch_directory("eu")
                with pytest.raises(RegionUnavailable):
                    await node.fetch_directory("asia")
                [problem] = (await client.get("/api/v1/node")).json()["problems"]
                assert problem == (
                    "nothing is known of the region asia: the agent http://127.0.0.1:1 of the region asia: "
                    "connection refused"
                )
                own, asia, eu = (await client.get("/api/v1/regions")).json()["regions"]
                assert (own["agents"], own["stale"]) == ([], False)
                assert (asia["agents"], asia["stale"], asia["age"]) == (["http://127.0.0.1:1"], True, None)
                assert (eu["agents"], eu["stale"], eu["problem"]) == ([f"http://{far_at}"], False, "")
                context = node._lifecycle.context
                assert context.regions is not None
                held = context.regions._follower("eu").region
                assert held._confirmed is not None
                held._confirmed -= 60.0
                assert any(
                    re.match(r"the region eu was last confirmed 6\d s ago, and is shown as stale: ", each)
                    for each in node.info().problems
                )
