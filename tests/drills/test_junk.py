"""Whatever bytes arrive, an agent counts them and goes on: no exception, no growth, every packet accounted for."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import attrs
import pytest
import trio

from gossipreg.model import Address, Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.wire.messages import pack, pack_sender
from gossipreg.protocol.wire.packets import ChecksummedPackets, PacketCodec, Refusal, SealedPackets
from gossipreg.protocol.wire.streams import NONCE_BYTES, StreamCodec
from tests.drills.agents import Agent, Agents, Measured, key_file, open_agents, read_key
from tests.drills.junk import Junk, Recording, record
from tests.drills.lengths import scaled
from tests.drills.waiting import PATIENCE, eventually
from tests.keyrings import ring, ring_or_clear

_PACKETS = scaled(20_000, 1_000_000)
_INSIDER_PACKETS = scaled(5_000, 100_000)
_STREAMS = scaled(80, 5_000)

#: Packets sent before the agent is asked what became of them: less than its socket can hold.
_BATCH = 1_000

#: How much an agent may grow under a flood (bytes): what the allocator keeps.
_GROWTH = 4 * 1024 * 1024

_CLUSTER = "junk"

#: Protocol settings: a peer that is silent on a stream is given up soon.
_SETTINGS = {"stream_patience": 0.5}

#: What real nodes said, recorded once.
_RECORDED: list[Recording] = []


@attrs.define
class _Target:
    """A lonely agent, what to throw at it, and how to speak as one of its cluster would."""

    agents: Agents
    agent: Agent
    junk: Junk
    key: bytes | None
    flags: tuple[str, ...]

    async def throw(self, packets: Iterable[bytes]) -> None:
        """Send these packets, no faster than they are taken, and check that each is accounted for."""
        sent = await self._accounted()
        waiting = iter(packets)
        with socket.socket(type=socket.SOCK_DGRAM) as thrower:
            while batch := list(islice(waiting, _BATCH)):
                for packet in batch:
                    thrower.sendto(packet, Address.parse(self.agent.gossip))
                sent += len(batch)
                await eventually(partial(self._check_accounted, sent))

    async def _check_accounted(self, sent: int) -> None:
        assert await self._accounted() == sent

    async def _accounted(self) -> int:
        """Packets that the agent has counted, or that its kernel has dropped."""
        counters = await self.agent.counters()
        refused = sum(counters[f"packets_{why}"] for why in Refusal)
        return counters["packets_received"] + refused + _kernel_drops(Address.parse(self.agent.gossip))

    async def check_it_is_well(self) -> None:
        """Check that it still does its work: it registers, and one that joins it finds what it has."""
        await self.agent.register("orders", 8080, id="here")
        other = await self.agents.start("newcomer", "--cluster", _CLUSTER, *self.flags, join=[self.agent])

        async def check_it_is_found() -> None:
            assert await other.ids("orders") >= {"here"}

        await eventually(check_it_is_found)


def _kernel_drops(address: Address) -> int:
    """Packets that came while the socket at ``address`` was full."""
    local = f"0100007F:{address.port:04X}"
    [line] = [line for line in Path("/proc/net/udp").read_text().splitlines() if f" {local} " in line]
    return int(line.split()[-1])


@pytest.fixture(params=["sealed", "clear"])
async def target(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[_Target]:
    file = key_file(tmp_path, "key")
    key = read_key(file) if request.param == "sealed" else None
    flags = () if key is None else ("--key-file", file)

    def codec() -> PacketCodec:
        return ChecksummedPackets(_CLUSTER) if key is None else SealedPackets(ring(key), _CLUSTER, os.urandom(8))

    if not _RECORDED:
        _RECORDED.append(await record(monkeypatch))
    junk = Junk(_RECORDED[0], codec, random.Random(7))
    async with open_agents(tmp_path, _SETTINGS) as agents:
        agent = await agents.start("target", "--cluster", _CLUSTER, *flags)
        yield _Target(agents, agent, junk, key, flags)


async def test_a_flood_of_junk_is_counted_to_the_packet_and_leaves_no_trace(
    target: _Target, measured: Measured
) -> None:
    packets = target.junk.packets()
    await target.throw(islice(packets, _PACKETS // 10))
    before = target.agent.resident()
    await target.throw(islice(packets, _PACKETS))
    growth = target.agent.resident() - before
    measured(f"junk: {_PACKETS} packets, memory {before / 2**20:.1f} MiB, growth {growth / 2**20:.1f} MiB")
    assert growth < _GROWTH
    await target.check_it_is_well()


async def test_nonsense_from_a_keyholder_is_counted_and_does_no_harm(target: _Target) -> None:
    await target.throw(islice(target.junk.insider_packets(), _INSIDER_PACKETS))
    await target.check_it_is_well()


async def test_no_stranger_can_send_an_agent_to_a_name_server(target: _Target) -> None:
    hosts = ("no.such.host.invalid", "localhost", "a..b", "a\0b", "", "127.0.0.1%lo")
    updates = [MemberUpdate("ghost", 1_700_000_000_000, 0, Status.ALIVE, Address(host, 7940)) for host in hosts]
    await target.throw(target.junk.sealed(pack_sender(77) + pack(update)) for update in updates)
    assert (await target.agent.counters())["junk_packets"] == len(hosts)
    assert set((await target.agent.sight()).members) == {"target"}


async def test_junk_on_streams_ends_them_and_nothing_else(target: _Target) -> None:
    before = _descriptors(target.agent)
    throwers = 20
    async with trio.open_nursery() as nursery:
        for _ in range(throwers):
            nursery.start_soon(_throw_streams, target, _STREAMS // throwers)

    async def check_nothing_is_left_open() -> None:
        assert _descriptors(target.agent) <= before

    await eventually(check_nothing_is_left_open)
    await target.check_it_is_well()


def _descriptors(agent: Agent) -> int:
    return len(list(Path(f"/proc/{agent.process.pid}/fd").iterdir()))


async def _throw_streams(target: _Target, count: int) -> None:
    """Open streams one after the other, say something silly on each, and wait until the agent has had enough of it."""
    frames = target.junk.insider_frames()
    rng = target.junk.rng
    for _ in range(count):
        stream = await trio.open_tcp_stream(*Address.parse(target.agent.gossip))
        codec = StreamCodec(_CLUSTER, ring_or_clear(target.key), os.urandom(NONCE_BYTES), opened_by_us=True)
        hello = codec.hello()
        with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
            async with stream:
                match rng.randrange(5):
                    case 0:
                        await stream.send_all(rng.randbytes(rng.randrange(1, 500)))
                    case 1:
                        await stream.send_all(hello[: rng.randrange(len(hello) + 1)])
                    case 2:
                        await stream.send_all(target.junk.bruised(hello) + rng.randbytes(50))
                    case 3:
                        await stream.send_all(hello + rng.randbytes(rng.randrange(100_000)))
                    case _:
                        await _greet(stream, codec)
                        await stream.send_all(b"".join(codec.frame(frame) for frame in islice(frames, 20)))
                while await stream.receive_some():
                    pass


async def _greet(stream: trio.SocketStream, codec: StreamCodec) -> None:
    """Exchange hellos, as a peer would."""
    await stream.send_all(codec.hello())
    while not codec.ready:
        codec.feed(await stream.receive_some())
