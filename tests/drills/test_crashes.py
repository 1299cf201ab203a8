"""A registration that was acknowledged is never lost, however often and whenever the agent is killed."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
import trio

from tests.drills.agents import Agent, Agents, Measured, fixed_address
from tests.drills.asking import NoAnswer
from tests.drills.lengths import scaled

_KILLS = scaled(10, 100)

#: The longest that they are let before the agent is killed (seconds).
_SPAN = 0.25


#: How many instances each of them keeps.
_KEPT = 10


@attrs.define
class _Client:
    """A client that registers and deregisters instances, and keeps account of what the agent has acknowledged."""

    name: str
    rng: random.Random
    must: set[str] = attrs.field(factory=set)  # ids that the agent has acknowledged
    may: set[str] = attrs.field(factory=set)  # ids of which it was asked something, without an answer
    made: int = 0  # registrations asked for

    async def use(self, agent: Agent) -> None:
        """Go on without a pause until the agent is gone."""
        with suppress(NoAnswer):
            while True:
                if len(self.must) < _KEPT or self.rng.random() < 0.5:
                    await self._register(agent)
                else:
                    await self._deregister(agent)

    async def _register(self, agent: Agent) -> None:
        self.made += 1
        id_ = f"{self.name}-{self.made}"
        self.may.add(id_)
        await agent.register("orders", 8080, id=id_)
        self.may.remove(id_)
        self.must.add(id_)

    async def _deregister(self, agent: Agent) -> None:
        id_ = self.rng.choice(sorted(self.must))
        self.must.remove(id_)
        self.may.add(id_)
        await agent.deregister(id_)
        self.may.remove(id_)

    def settle(self, found: set[str]) -> None:
        """Check what the agent came back with; that is what it owes from now on."""
        mine = {id_ for id_ in found if id_.startswith(f"{self.name}-")}
        assert self.must <= mine, f"acknowledged, but missing: {sorted(self.must - mine)}"
        assert mine <= self.must | self.may, f"removed, but back: {sorted(mine - self.must - self.may)}"
        self.must, self.may = mine, set()


async def test_what_was_acknowledged_outlives_every_kill(
    quick_agents: Agents, tmp_path: Path, measured: Measured
) -> None:
    rng = random.Random(11)
    peer = await quick_agents.start("peer")
    flags = ("--data-dir", str(tmp_path / "victim"))
    again = partial(quick_agents.start, None, *flags, join=[peer], bind=fixed_address())
    agent = await quick_agents.start("victim", *flags, join=[peer])
    clients = [_Client(name, random.Random(name)) for name in ("ann", "bob", "cid", "dee")]
    for _ in range(_KILLS):
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.use, agent)
            await trio.sleep(rng.uniform(0, _SPAN))
            await agent.kill()
        await _live_briefly(again, rng.uniform(0, 2 * _SPAN))
        agent = await again()
        assert agent.name == "victim"
        found = await agent.ids("orders")
        for client in clients:
            client.settle(found)
        await quick_agents.agree([peer, agent], offers={"orders": found})
    measured(f"{_KILLS} kills under {sum(client.made for client in clients)} registrations: none lost")


async def _live_briefly(start: Callable[[], Awaitable[Agent]], seconds: float) -> None:
    """One life that is killed so long after its start, perhaps before it is ready."""
    with trio.move_on_after(seconds):
        agent = await start()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await agent.kill()
