"""A service as people run it: it answers on a port, and its own embedded node offers it. The drills run it.

``python -m tests.frontends.proxy.service NAME SEED``: prints its port when it is offered;
SIGTERM makes it leave in order.
"""

from __future__ import annotations

import signal
import sys
from functools import partial

import trio

from gossipreg import Config, open_node


async def _answer(name: str, stream: trio.SocketStream) -> None:
    try:
        while data := await stream.receive_some():
            await stream.send_all(name.encode() + b" " + data)
    except trio.BrokenResourceError:
        return


async def _serve(name: str, seed: str) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, partial(_answer, name), 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            async with open_node(Config(name=name, bind="127.0.0.1:0", join=(seed,))) as node:
                await node.register("orders", port=port)
                sys.stdout.write(f"{port}\n")
                sys.stdout.flush()
                await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_serve, sys.argv[1], sys.argv[2])
