"""Real agents that require identity, and a liar that has the cluster's key, and no certificate."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import trio

from gossipreg.authority import CERTIFICATE, NODE_KEY, AuthorityKey, encode, encode_authority, new_node_key
from gossipreg.model import Address, Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Nack
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import Message, pack, pack_sender
from gossipreg.protocol.wire.packets import SealedPackets
from tests.drills.agents import Agent, Agents, key_file, read_key
from tests.drills.waiting import eventually
from tests.hidden import hidden
from tests.keyrings import ring

_CLUSTER = "default"

#: Numbers of probes for which the liar sends acks: each agent makes three a second, and some for others.
_SEQUENCES = 600


def flags_of(directory: Path, authority: AuthorityKey, name: str) -> list[str]:
    """The files of one agent, and what names them."""
    key, now = new_node_key(), int(time.time())
    certificate = authority.sign(key.public, names=(name,), not_before=now - 60, not_after=now + 3600)
    trusted = directory / "authorities"
    hidden(trusted, encode_authority(authority.authority))
    hidden(directory / f"{name}.key", encode(NODE_KEY, key.secret))
    hidden(directory / f"{name}.cert", encode(CERTIFICATE, certificate.data))
    files = [f"--authority-file={trusted}", f"--identity-cert={directory / name}.cert"]
    return [*files, f"--identity-key={directory / name}.key", "--identity=require"]


def update_of(member: dict[str, Any], **more: Any) -> MemberUpdate:
    """What any member can see of ``member``, as a claim."""
    given: dict[str, Any] = {"status": Status.ALIVE, "incarnation": member["incarnation"], **more}
    return MemberUpdate(
        name=member["name"], generation=member["generation"], address=Address.parse(member["address"]), **given
    )


def lies(members: Sequence[dict[str, Any]], dead: str) -> Iterator[tuple[int, list[Message]]]:
    """What the liar says, and in whose name: that the dead one answers, and that the others do not."""
    runs = {each["name"]: update_of(each).run_id for each in members}
    for start in range(1, _SEQUENCES, 60):
        yield runs[dead], [Ack(seq, 0, 0) for seq in range(start, start + 60)]
    for about in members:
        if about["name"] == dead:
            continue
        for accuser in runs.values():
            accused = update_of(about, status=Status.SUSPECT, accuser=accuser, refused=True)
            failed = update_of(about, status=Status.FAILED, accuser=accuser)
            yield accuser, [accused, failed, Nack(1), TermRegister("pg", claimed=99, seen=99)]


async def test_a_liar_with_the_clusters_key_keeps_no_dead_member_alive_and_has_no_live_one_failed(
    quick_agents: Agents, tmp_path: Path
) -> None:
    authority, key = AuthorityKey.new(_CLUSTER), key_file(tmp_path, "key")
    names = ("a", "b", "c", "d")
    agents: list[Agent] = []
    for name in names:
        flags = [*flags_of(tmp_path, authority, name), f"--key-file={key}"]
        agents.append(await quick_agents.start(name, *flags, join=agents[:1]))
    await quick_agents.agree(agents)
    await agents[0].register("pg", 5432, id="pg-1", role="primary", term=3)
    await quick_agents.agree(agents, offers={"pg": {"pg-1"}})
    members = (await agents[0].get("members"))["members"]
    before = {each["name"]: each["incarnation"] for each in members}
    codec = SealedPackets(ring(read_key(key)), _CLUSTER, os.urandom(8))
    *live, dead = agents
    dead.stop()

    async def lie() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            while True:
                for run_id, said in lies(members, dead.name):
                    data = pack_sender(run_id) + b"".join(map(pack, said))
                    for agent in live:
                        host, port = Address.parse(agent.gossip)
                        udp.sendto(codec.encode(data, time.time()), (host, port))
                    await trio.sleep(0.002)

    async def check_it_is_failed() -> None:
        for agent in live:
            sight = await agent.sight()
            assert sight.of("failed") == {dead.name}
            assert sight.of("alive") == {each.name for each in live}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lie)
        await eventually(check_it_is_failed)
        await trio.sleep(1.0)
        await check_it_is_failed()
        nursery.cancel_scope.cancel()
    for agent in live:
        now = {each["name"]: each["incarnation"] for each in (await agent.get("members"))["members"]}
        assert now == before, "no live member had anything to refute"
        assert {each["claimed"] for each in (await agent.get("roles"))["roles"]} == {3}
        refused = (await agent.get("identity"))["refused"]
        assert refused["127.0.0.1"] > 10
        assert any("sent what is refused" in line for line in agent.said())
    dead.resume()
    await quick_agents.agree(agents)
