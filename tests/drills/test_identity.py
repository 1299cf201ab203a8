"""Agents without identity are given it one by one, at last require it, and do not believe one that signs no more."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from gossipreg.authority import CERTIFICATE, NODE_KEY, AuthorityKey, encode, encode_authority, new_node_key
from gossipreg.counters import Count
from tests.drills.agents import Agent, Agents
from tests.drills.waiting import eventually
from tests.hidden import hidden

NAMES: Final = ("a", "b", "c")


def identities(directory: Path) -> dict[str, tuple[str, ...]]:
    """The flags that give each agent a certificate."""
    authority, now = AuthorityKey.new("default"), int(time.time())
    trusted = hidden(directory / "authorities", encode_authority(authority.authority))
    flags: dict[str, tuple[str, ...]] = {}
    for name in NAMES:
        key = new_node_key()
        certificate = authority.sign(key.public, names=(name,), not_before=now - 60, not_after=now + 86_400)
        own = hidden(directory / f"{name}.key", encode(NODE_KEY, key.secret))
        signed = hidden(directory / f"{name}.cert", encode(CERTIFICATE, certificate.data))
        flags[name] = (f"--authority-file={trusted}", f"--identity-cert={signed}", f"--identity-key={own}")
    return flags


async def restart(agents: Agents, held: dict[str, Agent], name: str, *flags: str) -> None:
    """Stop an agent, and start it with other flags at the same address."""
    before = held[name]
    others = [agent for other, agent in held.items() if other != name]
    assert await before.leave() == 0
    held[name] = await agents.start(name, *flags, join=others, bind=before.gossip)
    await held[name].register("orders", 8000 + NAMES.index(name), id=f"orders-{name}")


async def test_agents_are_upgraded_one_by_one_until_all_require_identity(agents: Agents, tmp_path: Path) -> None:
    own = identities(tmp_path)
    held = dict(zip(NAMES, await agents.cluster(*NAMES), strict=True))
    for number, name in enumerate(NAMES):
        await held[name].register("orders", 8000 + number, id=f"orders-{name}")
    offers = {"orders": {f"orders-{name}" for name in NAMES}}
    await agents.agree(held.values(), offers=offers)
    for mode in ("prefer", "require"):
        for name in NAMES:
            await restart(agents, held, name, *own[name], f"--identity={mode}")
            await agents.agree(held.values(), offers=offers)

    # One that signs no more is a stranger: a downgrade is refused.
    await restart(agents, held, "c")
    others = [held["a"], held["b"]]
    await agents.agree(others, alive={"a", "b"}, offers={"orders": {"orders-a", "orders-b"}})

    async def is_refused() -> None:
        for agent in others:
            assert (await agent.counters())[Count.STATEMENTS_UNSIGNED] > 0
            assert (await agent.sight()).members.get("c") != "alive"

    await eventually(is_refused)
    await restart(agents, held, "c", *own["c"], "--identity=require")
    await agents.agree(held.values(), offers=offers)
