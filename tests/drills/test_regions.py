"""Regions: real clusters that follow each other, over a border that is cut, and with agents that are replaced.

Every answer is compared with what the far cluster had: it must have been so at a moment not longer ago than its age.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from gossipreg.runtime.regions.failover import RETURN_SECONDS
from gossipreg.runtime.regions.remote_region import STALE_SECONDS
from tests.drills.agents import QUICK, Agent, Agents, Measured, open_agents
from tests.drills.asking import ask
from tests.drills.lengths import scaled
from tests.drills.namespaces import Cable, Side, cable, needs_namespaces
from tests.drills.waiting import PATIENCE, eventually

#: How long the border stays cut (seconds): beyond the age at which what is held counts as stale.
_CUT: Final = scaled(STALE_SECONDS + 4.0, 60.0)

#: How long after a change in the far cluster every agent there may still tell what was before (seconds).
_SPREAD: Final = 5.0

#: Where agents of the far clusters answer HTTP, on every address of their host.
_PORTS: Final = (18_501, 18_502, 18_503)


@attrs.define
class _Span:
    """A set of ids that the far cluster's agents may tell, from ``since`` to ``until``."""

    ids: set[str]
    since: float
    until: float = math.inf


@attrs.define
class Truth:
    """The ids of one service in the far cluster over time."""

    _spans: list[_Span] = attrs.field(factory=list)

    def may_be(self, ids: set[str]) -> None:
        """A change to these is about to begin: they may be told from now on."""
        self._spans.append(_Span(ids, trio.current_time()))

    def settle(self) -> None:
        """The change has been made: what was before is told no longer than it takes to spread."""
        for span in self._spans[:-1]:
            span.until = min(span.until, trio.current_time() + _SPREAD)

    def check(self, ids: set[str], asked: float, age: float) -> None:
        """That these were the ids at a moment from ``age`` before it was ``asked`` to now."""
        held = [span for span in self._spans if span.ids == ids and span.until >= asked - age - 0.1]
        assert held, f"{sorted(ids)} with the age {age}, asked at {asked:.2f}: {self._spans}"


@attrs.define
class Watcher:
    """Asks one agent about a service of another region all the time."""

    agent: Agent
    path: str
    truth: Truth
    answers: int = 0
    stale: int = 0
    oldest: float = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await trio.sleep(0.2)

    async def look(self) -> set[str]:
        """One answer, which must be right or as old as it says."""
        asked = trio.current_time()
        answer = await ask(self.agent.http, "GET", self.path)
        assert answer.status == 200, answer
        there = answer.document["instances"]
        age = float(answer.headers["x-gossipreg-age"])
        ids = {each["id"] for each in there}
        self.truth.check(ids, asked, age)
        assert age <= STALE_SECONDS + 2.0 or all(each["stale"] for each in there), "labelled"
        assert all(each["region"] == "eu" for each in there)
        self.answers += 1
        self.stale += any(each["stale"] for each in there)
        self.oldest = max(self.oldest, age)
        return ids


async def _start(
    agents: Agents, side: Side, name: str, region: str, *join: Agent, port: int = 0, config: Path | None = None
) -> Agent:
    """An agent of the cluster of a region; with a ``port`` for HTTP it answers at the address of the cable, too."""
    http = f"0.0.0.0:{port}" if port else f"{side.http_host}:0"
    flags = ["--insecure", "--cluster", region, *([] if config is None else ["--config", str(config)])]
    started = await agents.start(
        name, *flags, join=join, bind=f"{side.gossip_host}:0", http=http, namespace=side.namespace
    )
    if port:
        started.http = f"{side.http_host}:{port}"
    return started


def _follows(directory: Path, network: Cable) -> Path:
    """The file of an agent on the left that follows both far regions: eu over the cable, asia at its own host."""
    eu = ", ".join(f'"{network.right.gossip_host}:{port}"' for port in _PORTS[:2])
    file = directory / "us.toml"
    file.write_text(
        f'[[federate]]\nregion = "eu"\nagents = [{eu}]\n'
        f'[[federate]]\nregion = "asia"\nagents = ["{network.left.gossip_host}:{_PORTS[2]}"]\n'
    )
    return file


@pytest.mark.netns
@needs_namespaces
async def test_every_answer_about_a_region_is_right_or_as_old_as_it_says(tmp_path: Path, measured: Measured) -> None:
    with cable() as network:
        is_slow = network.slow_down(delay=0.04, loss=0.01)
        async with open_agents(tmp_path, QUICK) as agents:
            left, right = network.left, network.right
            first = await _start(agents, right, "eu-1", "eu", port=_PORTS[0])
            second = await _start(agents, right, "eu-2", "eu", first, port=_PORTS[1])
            config = _follows(tmp_path, network)
            near = [await _start(agents, left, "us-1", "us", config=config)]
            near.append(await _start(agents, left, "us-2", "us", near[0], config=config))
            truth = Truth()
            ids = {await agent.register("orders", 8080, id=f"by-{agent.name}") for agent in (first, second)}
            truth.may_be(ids)
            await agents.agree([first, second], offers={"orders": ids})
            watchers = [Watcher(agent, "services/orders?region=eu", truth) for agent in near]

            async def tells(wanted: set[str]) -> None:
                for watcher in watchers:
                    assert await watcher.look() == wanted

            await eventually(lambda: tells(ids))
            async with trio.open_nursery() as nursery:
                for watcher in watchers:
                    nursery.start_soon(watcher.watch)
                ids = await _change(second, truth, ids, gone="by-eu-2", come="before")
                await eventually(lambda: tells(ids))

                network.cut("silent")
                await second.kill()  # it is replaced by another one at the same address
                third = await _start(agents, right, "eu-3", "eu", first, port=_PORTS[1])
                changed = await _change(third, truth, ids - {"before"}, gone=None, come="meanwhile")
                # One that its only seed left before it had joined would tell other regions nothing.
                await agents.agree([first, third], offers={"orders": changed})
                truth.may_be(changed - {"by-eu-1"})
                await first.kill()
                await trio.sleep(_CUT)
                await tells(ids)  # a cut removes nothing
                assert all(watcher.stale and watcher.oldest >= _CUT - 1 for watcher in watchers)
                for agent in near:
                    answer = await ask(agent.http, "GET", "services/made-up?region=eu")
                    assert answer.status == 503, "no name is denied"

                truth.settle()
                network.mend("silent")
                ids = changed - {"by-eu-1"}
                took = await eventually(lambda: tells(ids), within=2 * PATIENCE)
                nursery.cancel_scope.cancel()
            told = sum(watcher.answers for watcher in watchers)
            delay = "80 ms and 1 % loss between" if is_slow else "no delay between: the kernel has no netem"
            measured(f"regions ({_CUT:g} s cut, {delay}): {told} answers, right {took:.1f} s after the heal")


async def _change(agent: Agent, truth: Truth, ids: set[str], *, gone: str | None, come: str) -> set[str]:
    """One instance goes and another one comes in the far cluster; returns the ids that there are then."""
    both = ids | {come}
    truth.may_be(both)
    await agent.register("orders", 8081, id=come)
    truth.settle()
    if gone is None:
        return both
    truth.may_be(both - {gone})
    await agent.deregister(gone)
    truth.settle()
    return both - {gone}


@pytest.mark.netns
@needs_namespaces
async def test_callers_fail_over_to_the_nearest_region_and_come_back(tmp_path: Path, measured: Measured) -> None:
    with cable() as network:
        network.slow_down(delay=0.04, loss=0.01)
        async with open_agents(tmp_path, QUICK) as agents:
            left, right = network.left, network.right
            eu = await _start(agents, right, "eu-1", "eu", port=_PORTS[0])
            asia = await _start(agents, left, "asia-1", "asia", port=_PORTS[2])
            us = await _start(agents, left, "us-1", "us", config=_follows(tmp_path, network))
            for agent in (eu, asia, us):
                await agent.register("pay", 8080, id="pay-1")

            async def region() -> str:
                found: dict[str, Any] = await us.get("services/pay?failover=asia,eu")
                assert [each["id"] for each in found["instances"]] == ["pay-1"]
                return str(found["region"])

            async def is_in(wanted: str) -> None:
                assert await region() == wanted

            async def all_known() -> None:
                for name in ("eu", "asia"):
                    assert (await ask(us.http, "GET", f"services/pay?region={name}")).status == 200

            await eventually(all_known)
            assert await region() == "us"
            await us.deregister("pay-1")
            await eventually(lambda: is_in("asia"))
            await asia.deregister("pay-1")
            await eventually(lambda: is_in("eu"))
            network.cut("silent")
            await trio.sleep(STALE_SECONDS + 2)
            assert await region() == "eu", "there is no other"
            await us.register("pay", 8080, id="pay-1")
            assert await region() == "us", "what is stale is left at once"
            await us.deregister("pay-1")
            network.mend("silent")
            await eventually(lambda: is_in("eu"))

            async def is_fresh() -> None:
                answer = await us.get("services/pay?region=eu")
                assert not answer["instances"][0]["stale"]

            await eventually(is_fresh, within=2 * PATIENCE)
            await region()
            came_back = trio.current_time()
            await us.register("pay", 8080, id="pay-1")
            await eventually(lambda: is_in("us"))
            took = trio.current_time() - came_back
            assert took >= RETURN_SECONDS - 0.1, "not before it could serve for a while"
            measured(f"failover: back in the own region {took:.1f} s after it could serve again")
