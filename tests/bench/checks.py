"""How soon a service whose health check fails has left every lookup: `python -m tests.bench.checks`.

Three nodes in this process, and a service that answers 500 from some moment on. The time runs from that moment to the
one in which the last node's lookup does not return it; it holds a random part of the check's interval, the check, and
the way to the others. Beside it: from the moment the owner knew.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from contextlib import AsyncExitStack

import trio

from gossipreg import Check, Config, Node, open_node
from tests.bench.figures import Figure
from tests.bench.tables import machine, markdown
from tests.runtime.checks.targets import serving


async def measure(rounds: int, interval: float) -> tuple[Figure, Figure, Figure]:
    """Until it was gone everywhere, from the failure and from when its owner knew; until it was back (ms)."""
    gone, told, back = [], [], []
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(serving())
        owner = await stack.enter_async_context(open_node(Config(name="a", bind="127.0.0.1:0")))
        nodes = [owner]
        for name in "bc":
            config = Config(name=name, bind="127.0.0.1:0", join=(str(owner.address),))
            nodes.append(await stack.enter_async_context(open_node(config)))
        for number in range(rounds):  # a service for each round: the same one would flap
            service, target.status = f"orders-{number}", 200
            made = await owner.register(service, port=target.port, checks=[Check(http=target.url, interval=interval)])
            await seen(nodes, service, at_least=1)
            await trio.sleep(random.uniform(1, 2) * interval)
            target.status, begun = 500, trio.current_time()
            known, *_, last = sorted(await seen(nodes, service, at_least=0))
            gone.append(last - begun)
            told.append(last - known)
            target.status, begun = 200, trio.current_time()
            back.append(max(await seen(nodes, service, at_least=1)) - begun)
            await owner.deregister(made.id)
    return Figure.of(ms(gone)), Figure.of(ms(told)), Figure.of(ms(back))


def ms(seconds: list[float]) -> list[float]:
    return [1000 * each for each in seconds]


async def seen(nodes: list[Node], service: str, *, at_least: int) -> list[float]:
    """When each node's lookup first gave so many: at least one, or none."""
    times: list[float] = []

    async def watch(node: Node) -> None:
        async for change in node.watch(service):
            if bool(change.instances) is bool(at_least):
                times.append(trio.current_time())
                return

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(watch, node)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--interval", type=float, default=0.5, help="of the check, in seconds")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    gone, told, back = trio.run(measure, given.rounds, given.interval)
    rows = [
        ["what", "unit", "median (lowest to highest, number)"],
        ["the service fails, until it is gone from the last lookup", "ms", str(gone)],
        ["its owner knows, until it is gone from the last lookup", "ms", str(told)],
        ["the service recovers, until it is back in the last lookup", "ms", str(back)],
    ]
    sys.stdout.write(f"A check every {1000 * given.interval:g} ms, 3 nodes; {machine(load)}.\n\n{markdown(rows)}\n")


if __name__ == "__main__":
    main()
