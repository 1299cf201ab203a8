"""Callers of a balancer under test, and how their connections end."""

from __future__ import annotations

import trio

from gossipreg.frontends.proxy import Proxy
from gossipreg.model import Address


async def ends(stream: trio.SocketStream) -> str:
    """How a connection ends: whole, or reset."""
    with trio.fail_after(60):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            return "reset"
        return "whole"


async def held(proxy: Proxy, address: Address) -> trio.SocketStream:
    """A caller that has an echo from an instance and stays."""
    stream = await trio.open_tcp_stream(*address)
    await stream.send_all(b"x")
    assert await stream.receive_some() == b"x"
    assert proxy.open
    return stream
