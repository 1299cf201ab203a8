"""What whole lists of a very large service cost an agent's loop and memory: `python -m tests.bench.long_lists`.

A node holds the instances of another one, packed, and serves HTTP. A client in a thread of its own asks for the whole
list: at first, when all instances are yet to be decoded; then each time after a change; and for what Prometheus asks.
An instrument of trio's times every step of every task, in CPU time of the thread. Memory is the most that the process
had resident while it answered, beyond what it had before: the client keeps nothing of what it reads.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import click
import trio
import trio.lowlevel

from gossipreg import Config, open_node
from gossipreg.cli.gc_pauses import keep_pauses_short
from gossipreg.frontends.http import serve_http
from gossipreg.model import Address
from gossipreg.runtime.node import Node
from tests.bench.figures import Figure
from tests.bench.processes import resident_bytes
from tests.bench.tables import machine, markdown, verdict
from tests.bench.turns import TARGET, Longest, offer

#: What is asked after each change, by name.
QUESTIONS: Final[Mapping[str, str]] = {
    "whole list": "/api/v1/services/orders",
    "whole list, by tag": "/api/v1/services/orders?tag=v2",
    "Prometheus' targets": "/api/v1/http_sd?service=orders",
}


@attrs.frozen
class ListCost:
    """What one answer cost."""

    turn: float  # the longest of the loop, CPU ms
    memory: float  # MiB at the peak, beyond what there was before
    size: float  # of the body, MB


async def measure(instances: int, rounds: int) -> dict[str, list[ListCost]]:
    """The costs of each question, one a round; of the first list there is one."""
    costs: dict[str, list[ListCost]] = {"first list": [], **{name: [] for name in QUESTIONS}}
    async with (
        open_node(Config(name="owner", bind="127.0.0.1:0")) as owner,
        open_node(Config(name="agent", bind="127.0.0.1:0", join=[str(owner.address)])) as agent,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(keep_pauses_short)  # as an agent does
        at = await nursery.start(partial(serve_http, agent, Address("127.0.0.1", 0), leave=lambda: None))
        offer(owner, instances)
        await _until_shown(agent, instances)
        costs["first list"].append(await _cost(at, "/api/v1/services/orders"))
        for turn in range(rounds):
            for name, path in QUESTIONS.items():
                await agent.register("orders", port=1, id="changing", weight=turn + 1, meta={"name": name})
                await trio.sleep(0.3)  # until all who watch were told
                costs[name].append(await _cost(at, path))
        nursery.cancel_scope.cancel()
    return costs


async def _until_shown(node: Node, instances: int) -> None:
    with trio.fail_after(600):
        while not (count := node.services().get("orders")) or count.instances < instances:  # noqa: ASYNC110 -- a watch would decode them
            await trio.sleep(0.2)
    await trio.sleep(2.0)


async def _cost(at: Address, path: str) -> ListCost:
    longest = Longest()
    before = resident_bytes(os.getpid())
    _begin_peak()
    trio.lowlevel.add_instrument(longest)
    size = await trio.to_thread.run_sync(_size_of_answer, at, path)
    trio.lowlevel.remove_instrument(longest)
    return ListCost(1000 * longest.take(), (_peak() - before) / 2**20, size / 1e6)


def _begin_peak() -> None:
    """From now on `_peak` is anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most that this process had resident (bytes)."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def _size_of_answer(at: Address, path: str) -> int:
    """The bytes of an answer, which is read to its end and not kept."""
    buffer, size = bytearray(65536), 0
    with socket.create_connection((at.host, at.port), timeout=300) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n".encode())
        while read := client.recv_into(buffer):
            assert size or buffer.startswith(b"HTTP/1.1 200"), bytes(buffer[:200])
            size += read
    return size


def table(costs: Mapping[str, list[ListCost]]) -> str:
    """The figures for people, as they stand in the documentation."""
    rows = [["asked", "longest turn, CPU ms", "target", "", "memory, MiB", "answer, MB"]]
    for name, each in costs.items():
        turn = Figure.of([one.turn for one in each])
        memory, size = (Figure.of([getattr(one, field) for one in each]) for field in ("memory", "size"))
        rows.append([name, str(turn), f"≤ {TARGET:g}", verdict(turn.middle <= TARGET), str(memory), str(size)])
    return markdown(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--instances", type=int, default=100_000, help="of the one service (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    costs = trio.run(measure, given.instances, given.rounds)
    click.echo(table(costs))
    click.echo(f"\n`python -m tests.bench.long_lists`: {given.instances:,} instances; {machine(load_before)}.")


if __name__ == "__main__":
    main()
