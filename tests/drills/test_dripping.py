"""A peer without the key that holds as many streams as it can keeps no member out."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from gossipreg.protocol.wire.streams import NONCE_BYTES
from tests.drills.agents import Agents, key_file

_STREAMS = 200


async def _drip(stream: trio.SocketStream) -> None:
    """Say the hello of one that holds the key, with the id that was read, then a byte now and then."""
    try:
        theirs = await stream.receive_some()
        await stream.send_all(theirs[:6] + os.urandom(NONCE_BYTES) + theirs[22:])
        for byte in b"\0\2\0\0" + bytes(1000):
            await stream.send_all(bytes([byte]))
            await trio.sleep(2)
    except trio.BrokenResourceError:
        pass  # it has given way


async def test_a_newcomer_joins_while_a_stranger_holds_every_stream_it_can(
    quick_agents: Agents, tmp_path: Path
) -> None:
    flags = key_file(tmp_path, "one.key")
    seed = await quick_agents.start("seed", "--key-file", flags)
    host, _, port = seed.gossip.rpartition(":")
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for _ in range(_STREAMS):
            stream = await trio.open_tcp_stream(host, int(port))
            await stack.enter_async_context(stream)
            nursery.start_soon(_drip, stream)
        newcomer = await quick_agents.start("newcomer", "--key-file", flags, join=[seed])
        await quick_agents.agree([seed, newcomer])
        counters = await seed.counters()
        nursery.cancel_scope.cancel()
    assert counters["streams_gave_way"] > 0
    assert counters["streams_over_limit"] == 0
