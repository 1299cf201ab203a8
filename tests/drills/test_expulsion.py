"""Real agents that require identity, while their instances change: the key is replaced, and a member expelled."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from gossipreg.authority import CERTIFICATE, NODE_KEY, REVOCATION, AuthorityKey, encode, encode_authority, new_node_key
from gossipreg.certificate import Certificate
from tests.drills.agents import Agent, Agents, key_file
from tests.drills.asking import ask
from tests.drills.waiting import eventually
from tests.hidden import hidden

NAMES: Final = ("a", "b", "c", "d", "evil")

#: A change every so often: fifty a second (seconds).
_GAP: Final = 0.02


@attrs.define
class Load:
    """Changes of instances, and what was acknowledged last."""

    agents: list[Agent]
    ports: dict[str, int] = attrs.field(factory=dict)
    count: int = 0

    async def run(self) -> None:
        """Until cancelled: change one instance after the other."""
        while True:
            self.count += 1
            agent = self.agents[self.count % len(self.agents)]
            id_, port = f"orders-{agent.name}-{self.count % 7}", 1000 + self.count % 60_000
            with trio.CancelScope(shield=True):  # what is asked for is acknowledged
                await agent.register("orders", port, id=id_)
            self.ports[id_] = port
            await trio.sleep(_GAP)

    async def changes(self, more: int) -> None:
        """Wait for some more changes."""
        until = self.count + more
        while self.count < until:  # noqa: ASYNC110 - a counter
            await trio.sleep(_GAP)


@pytest.mark.slow
async def test_a_key_is_replaced_and_a_member_expelled_under_load(agents: Agents, tmp_path: Path) -> None:
    authority, now = AuthorityKey.new("default"), int(time.time())
    trusted = hidden(tmp_path / "authorities", encode_authority(authority.authority))
    sealed, certificates = key_file(tmp_path, "key"), dict[str, Certificate]()

    def flags(name: str) -> tuple[str, ...]:
        key, grants = new_node_key(), ("keys",) if name == "a" else ()
        certificates[name] = authority.sign(
            key.public, names=(name,), grants=grants, not_before=now - 60, not_after=now + 86_400
        )
        own = hidden(tmp_path / f"{name}.key", encode(NODE_KEY, key.secret))
        signed = hidden(tmp_path / f"{name}.cert", encode(CERTIFICATE, certificates[name].data))
        files = f"--authority-file={trusted}", f"--identity-cert={signed}", f"--identity-key={own}"
        return (*files, "--identity=require", f"--key-file={sealed}")

    first = await agents.start("a", *flags("a"))
    others = [await agents.start(name, *flags(name), join=[first]) for name in NAMES[1:]]
    *rest, evil = others
    good = [first, *rest]
    await agents.agree([*good, evil])
    await evil.register("orders", 666, id="orders-evil")
    load = Load(good)

    async def key_shows(id_: str, **wanted: Any) -> None:
        [key] = [each for each in (await first.get("keys"))["keys"] if each["id"] == id_]
        assert {name: key[name] for name in wanted} == wanted

    async def evil_is_gone() -> None:
        for agent in good:
            assert "evil" not in (await agent.sight()).members
            assert "orders-evil" not in await agent.all_ids("orders")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        await load.changes(50)
        added = await ask(first.http, "PUT", "keys", {"key": base64.b64encode(os.urandom(32)).decode()})
        assert added.status == 200, added
        id_ = added.document["id"]
        await eventually(lambda: key_shows(id_, held_by=len(NAMES)))
        used = await ask(first.http, "PUT", "primary_key", {"id": id_, "keep": "1h"})
        assert used.status == 200, used
        await eventually(lambda: key_shows(id_, primary=True, used_by=len(NAMES)))
        await load.changes(50)
        line = encode(REVOCATION, authority.revoke(certificates["evil"], at=now).data)
        revoked = await ask(rest[0].http, "PUT", "revocations", {"revocation": line})
        assert revoked.status == 200, revoked
        await eventually(evil_is_gone)
        await load.changes(100)
        await evil_is_gone()  # its agent runs on, holds the key, and asks to join
        nursery.cancel_scope.cancel()

    await agents.agree(good, offers={"orders": load.ports})
    for agent in good:
        shown = {each["id"]: each["port"] for each in (await agent.get("services/orders"))["instances"]}
        assert shown == load.ports, f"{agent.name} has each change that was acknowledged"
