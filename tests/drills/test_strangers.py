"""Clusters that are not meant to be one never merge, even on one range of addresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from gossipreg.protocol.wire.packets import Refusal
from gossipreg.protocol.wire.streams import StreamRefusal
from tests.drills.agents import Agent, Agents, asked, key_file
from tests.drills.waiting import eventually

#: Packets and streams of strangers that an agent must have refused before it counts that it took none.
_REFUSALS = 3


@attrs.frozen
class _Camps:
    """What makes two clusters two: the flags of each; in a flag, FILE stands for a key file."""

    red: tuple[str, ...]
    blue: tuple[str, ...]

    def flags(self, directory: Path) -> tuple[list[str], list[str]]:
        """The flags, with keys in ``directory``."""
        red, blue = (
            [key_file(directory, flag) if flag.endswith(".key") else flag for flag in flags]
            for flags in (self.red, self.blue)
        )
        return red, blue


_CAMPS = {
    "two names": _Camps(("--cluster", "red"), ("--cluster", "blue")),
    "two names, one key": _Camps(
        ("--cluster", "red", "--key-file", "one.key"), ("--cluster", "blue", "--key-file", "one.key")
    ),
    "two keys": _Camps(("--key-file", "red.key"), ("--key-file", "blue.key")),
    "one sealed, one clear": _Camps(("--key-file", "red.key"), ()),
}


async def _refusals(agent: Agent) -> int:
    counters = await agent.counters()
    return sum(counters[f"packets_{why}"] for why in Refusal) + sum(counters[f"streams_{why}"] for why in StreamRefusal)


async def _knows_only(agents: Sequence[Agent], names: set[str], ids: set[str]) -> None:
    """Check that these agents know of no other member and no other instance."""
    assert [set(sight.members) for sight in await asked(agents, Agent.sight)] == [names] * len(agents)
    assert [await agent.all_ids("orders") for agent in agents] == [ids] * len(agents)


@pytest.mark.parametrize("camps", _CAMPS.values(), ids=_CAMPS)
async def test_clusters_told_to_join_each_other_stay_two(camps: _Camps, quick_agents: Agents, tmp_path: Path) -> None:
    red, blue = camps.flags(tmp_path)
    reds = [await quick_agents.start("r1", *red)]
    blues = [await quick_agents.start("b1", *blue)]
    seeds = [*reds, *blues]
    reds.append(await quick_agents.start("r2", *red, join=seeds))
    blues.append(await quick_agents.start("b2", *blue, join=seeds))
    await reds[0].register("orders", 1, id="red")
    await blues[0].register("orders", 2, id="blue")
    await quick_agents.agree(reds, offers={"orders": {"red"}})
    await quick_agents.agree(blues, offers={"orders": {"blue"}})

    async def check_they_tried() -> None:
        assert min(await asked(seeds, _refusals)) >= _REFUSALS

    await eventually(check_they_tried)
    await _knows_only(reds, {"r1", "r2"}, {"red"})
    await _knows_only(blues, {"b1", "b2"}, {"blue"})


@pytest.mark.parametrize("camps", [_CAMPS["two names"], _CAMPS["two keys"]], ids=["two names", "two keys"])
async def test_an_address_that_passes_to_another_cluster_takes_no_member_along(
    camps: _Camps, quick_agents: Agents, tmp_path: Path
) -> None:
    red, blue = camps.flags(tmp_path)
    reds = await quick_agents.cluster("r1", "r2", flags=red)
    await reds[0].register("orders", 1, id="red")
    await quick_agents.agree(reds, offers={"orders": {"red"}})
    lost = reds.pop()
    await lost.kill()
    blues = [await quick_agents.start("b1", *blue, bind=lost.gossip)]
    await blues[0].register("orders", 2, id="blue")

    async def check_it_was_tried() -> None:
        assert await _refusals(blues[0]) >= _REFUSALS
        assert (await reds[0].sight()).members["r2"] == "failed"

    await eventually(check_it_was_tried)
    await _knows_only(reds, {"r1", "r2"}, {"red"})
    await _knows_only(blues, {"b1"}, {"blue"})
