"""Three regions, two of them of cells, that follow each other while a cable is cut, relays die, and one is restarted.

Every answer is compared with what there was: each part of it, what the nodes of one cell own, must have been so at a
moment not longer ago than the age that the answer states for it.

::

    left   eu: the cell e1     asia: a flat cluster
    right  eu: the cell e2     us: the cells u1 and u2
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from gossipreg.counters import Count
from gossipreg.protocol.cells.cells import STALE_SECONDS
from gossipreg.protocol.cells.relays import elect
from tests.drills.agents import QUICK, Agent, Agents, Measured, open_agents
from tests.drills.asking import NoAnswer, ask
from tests.drills.lengths import scaled
from tests.drills.namespaces import Cable, Side, cable, needs_namespaces
from tests.drills.waiting import PATIENCE, eventually

#: How long the cable stays cut (seconds): beyond the age at which cells and regions count as stale.
_CUT: Final = scaled(STALE_SECONDS + 20.0, 300.0)

#: How long after a change the agents of its cell may still tell what was before (seconds): the machine may be busy.
_SPREAD: Final = 10.0

#: The agents of each cell, and where they listen: name -> HTTP port.
_CELLS: Final[Mapping[str, Mapping[str, int]]] = {
    "e1": {"e1a": 18_601, "e1b": 18_602},
    "e2": {"e2a": 18_603, "e2b": 18_604},
    "u1": {"u1a": 18_605, "u1b": 18_606, "u1c": 18_607},
    "u2": {"u2a": 18_608, "u2b": 18_609},
    "asia": {"asia-a": 18_610, "asia-b": 18_611},
}
_REGIONS: Final[Mapping[str, tuple[str, ...]]] = {"eu": ("e1", "e2"), "us": ("u1", "u2"), "asia": ("asia",)}
_LEFT: Final = ("e1", "asia")
_REGION_OF: Final = {cell: region for region, cells in _REGIONS.items() for cell in cells}


@attrs.define
class _Truth:
    """What the nodes of one cell own, over time: each set of ids, and until when it may be told without an age."""

    spans: list[tuple[frozenset[str], float]] = attrs.field(factory=list)

    def may_be(self, ids: set[str]) -> None:
        """A change to these is about to be made."""
        self.spans.append((frozenset(ids), math.inf))

    def settle(self) -> None:
        """The change has been made: what was before is told no longer than it takes to spread."""
        until = trio.current_time() + _SPREAD
        self.spans = [(ids, min(end, until)) for ids, end in self.spans[:-1]] + self.spans[-1:]

    def was(self, ids: set[str], since: float) -> bool:
        """Whether these were the ids at a moment after ``since``."""
        return any(ids == told and until >= since for told, until in self.spans)


@attrs.define
class _World:
    """All agents, and what is true of each cell."""

    agents: Agents
    network: Cable
    directory: Path
    running: dict[str, Agent] = attrs.field(factory=dict)
    truths: dict[str, _Truth] = attrs.field(factory=lambda: {cell: _Truth() for cell in _CELLS})
    answers: int = 0
    aged: int = 0  # those of them that state an age at which a cell or region is stale
    wrong: list[str] = attrs.field(factory=list)

    def side(self, cell: str) -> Side:
        """The namespace of a cell."""
        return self.network.left if cell in _LEFT else self.network.right

    async def start(self, name: str, *seeds: str) -> Agent:
        """Start an agent where it always is."""
        cell = next(each for each, names in _CELLS.items() if name in names)
        region, port, side = _REGION_OF[cell], _CELLS[cell][name], self.side(cell)
        file = self.directory / f"{region}.toml"
        if not file.exists():
            file.write_text("".join(self._followed(each) for each in _REGIONS if each != region))
        ring = ["--cell", cell] if len(_REGIONS[region]) > 1 else []
        agent = await self.agents.start(
            name,
            *("--insecure", "--cluster", region, "--config", str(file), *ring),
            join=[self.running[seed] for seed in seeds],
            bind=f"{side.gossip_host}:0",
            http=f"0.0.0.0:{port}",
            namespace=side.namespace,
        )
        agent.http = f"{side.http_host}:{port}"
        self.running[name] = agent
        return agent

    def _followed(self, region: str) -> str:
        places = [
            f'"{self.side(cell).gossip_host}:{port}"' for cell in _REGIONS[region] for port in _CELLS[cell].values()
        ]
        return f'[[federate]]\nregion = "{region}"\nagents = [{", ".join(places)}]\n'

    async def start_all(self) -> None:
        """Start every agent; its seeds are the first of its region and the one that was started before it."""
        for cells in _REGIONS.values():
            started: list[str] = []
            for name in [name for cell in cells for name in _CELLS[cell]]:
                await self.start(name, *dict.fromkeys((*started[:1], *started[-1:])))
                started.append(name)

    async def offer(self, name: str, id_: str) -> None:
        """Register an instance; its id begins with the name of its cell."""
        cell = id_.partition("-")[0]
        truth = self.truths[cell]
        truth.may_be({*(truth.spans[-1][0] if truth.spans else ()), id_})
        await self.running[name].register("orders", 8080, id=id_)
        truth.settle()

    async def withdraw(self, name: str, id_: str) -> None:
        """Deregister an instance."""
        truth = self.truths[id_.partition("-")[0]]
        truth.may_be({*truth.spans[-1][0]} - {id_})
        await self.running[name].deregister(id_)
        truth.settle()

    def ids(self, region: str) -> set[str]:
        """What there is now in a region."""
        return {id_ for cell in _REGIONS[region] for id_ in self.truths[cell].spans[-1][0]}

    # Looking

    async def watch(self, name: str) -> None:
        """Ask one agent about all regions until cancelled."""
        while True:
            for region in _REGIONS:
                try:
                    await self.look(name, region)
                except NoAnswer:  # it is being restarted
                    await trio.sleep(0.2)
            await trio.sleep(0.3)

    async def look(self, name: str, region: str) -> set[str]:
        """Look a service up, and note an answer that was not so for longer than it says; returns the ids."""
        agent, own = self.running[name], _REGION_OF[next(cell for cell, names in _CELLS.items() if name in names)]
        asked = trio.current_time()
        ages = dict.fromkeys(_REGIONS[region], 0.0)
        if region == own:
            if len(_REGIONS[own]) > 1:
                known = (await agent.get("cells"))["cells"]
                ages |= {each["name"]: math.inf if each["age"] is None else each["age"] for each in known}
            answer = await ask(agent.http, "GET", "services/orders?all")
        else:
            answer = await ask(agent.http, "GET", f"services/orders?all&region={region}")
            if answer.status == 503:  # it has just been started, and knows nothing of that region yet
                return set()
        assert answer.status == 200, answer
        rows = [
            each for each in answer.document["instances"] if each["health"] != "critical"
        ]  # its node has not failed
        age = float(answer.headers.get("x-gossipreg-age", 0.0))
        self.answers += 1
        for cell in _REGIONS[region]:
            there = [each for each in rows if each["id"].startswith(f"{cell}-")]
            if region == own:
                oldest = ages[cell]
            else:
                # What the far agent held of another cell of its own region may have been this old without a mark; with
                # one, each instance says since when.
                oldest = max(age, *(_silence(each["reason"]) for each in there), 0.0) + STALE_SECONDS + 2.0
            self.aged += oldest > STALE_SECONDS + 2.0
            ids = {each["id"] for each in there}
            if not self.truths[cell].was(ids, asked - oldest):
                self.wrong.append(f"{name} about {cell} at {asked:.1f}, at most {oldest:.1f} old: {sorted(ids)}")
        return {each["id"] for each in rows}

    async def agree(self, names: Collection[str]) -> float:
        """Wait until these agents tell what there is in every region."""

        async def all_right() -> None:
            for name in names:
                for region in _REGIONS:
                    assert await self.look(name, region) == self.ids(region), (name, region)

        return await eventually(all_right, within=2 * PATIENCE)


def _silence(reason: str) -> float:
    """How long nothing was heard of an instance's cell, as its reason says (seconds)."""
    said = re.fullmatch(r"nothing was heard of its cell \S+ since (\S+)", reason)
    return 0.0 if said is None else (datetime.now(UTC) - datetime.fromisoformat(said[1])).total_seconds()


@pytest.mark.netns
@needs_namespaces
async def test_every_answer_about_three_regions_is_right_or_as_old_as_it_says(
    tmp_path: Path, measured: Measured
) -> None:
    with cable() as network:
        async with open_agents(tmp_path, QUICK) as agents:
            world = _World(agents, network, tmp_path)
            await world.start_all()
            for cell, there in _CELLS.items():
                for name in there:
                    await world.offer(name, f"{cell}-{name}")
            lost = elect(_CELLS["u1"], "u1", "u2")
            names = [next(name for name in there if name not in lost) for there in _CELLS.values()]
            await world.agree(names)
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(world.watch, name)
                await world.agree(names)
                await _cut_off(world)
                network.mend("silent")
                healed = await world.agree(names)
                await _lose_relays(world)
                await world.agree(names)
                world.truths["u1"].settle()
                await _restart(world, "asia")
                restarted = await world.agree(names)
                nursery.cancel_scope.cancel()
            assert not world.wrong, "\n".join(world.wrong[:10])
            assert world.aged > 0, "the cut was long enough to be told"
            measured(
                f"three regions: {world.answers} answers, none older than it said; right {healed:.1f} s after a cut of "
                f"{_CUT:g} s, and {restarted:.1f} s after a region was restarted"
            )


async def _cut_off(world: _World) -> None:
    """Cut the cable, and change what there is on both sides, and let a node without a cell try to join meanwhile."""
    world.network.cut("silent")
    await world.offer("e1b", "e1-meanwhile")
    await world.withdraw("e2b", "e2-e2b")
    await world.offer("u2b", "u2-meanwhile")
    await world.withdraw("asia-b", "asia-asia-b")
    side = world.network.left
    flat = await world.agents.start(
        *("flat", "--insecure", "--cluster", "eu"),
        join=[world.running["e1a"]],
        bind=f"{side.gossip_host}:0",
        http=f"{side.http_host}:0",
        namespace=side.namespace,
    )
    await trio.sleep(_CUT)
    assert (await world.running["e1a"].counters())[Count.CELLS_MISMATCHED] > 0
    assert not (await flat.node())["joined"]
    members = {each["name"] for each in (await world.running["e1a"].get("members"))["members"]}
    assert "flat" not in members
    await flat.kill()


async def _lose_relays(world: _World) -> None:
    """Kill both relays of a cell at once; the agent that is left registers an instance."""
    dead = elect(_CELLS["u1"], "u1", "u2")
    truth = world.truths["u1"]
    before = truth.spans[-1][0]
    for name in dead:  # they are declared failed one after the other, in any order, and how soon is not the matter here
        truth.may_be({*before} - {f"u1-{name}"})
    truth.may_be({*before} - {f"u1-{name}" for name in dead})
    for name in dead:
        await world.running.pop(name).kill()
    [left] = _CELLS["u1"].keys() - set(dead)
    for ids, _ in truth.spans[-4:]:
        truth.may_be({*ids, "u1-left"})
    await world.running[left].register("orders", 8080, id="u1-left")


async def _restart(world: _World, region: str) -> None:
    """Kill all agents of a region at once, and start them again, without what they had registered."""
    [cell] = _REGIONS[region]
    names = [*_CELLS[cell]]
    truth = world.truths[cell]
    truth.may_be(set())  # as the last one to be killed may say of the others
    for name in names:
        await world.running[name].kill()
    await trio.sleep(3.0)
    for name in names:
        await world.start(name, *[each for each in names[:1] if each != name])
    truth.settle()
    await world.offer(names[-1], f"{cell}-again")
