"""A node in a program of its own, which is told what to do on standard input, and says what it sees on standard output.

The words are those of `tests/bench/peers/lines/lines.go`, by which programs for other registries are driven alike.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import trio

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from gossipreg import Config, open_node
from gossipreg.events import MemberEvent
from gossipreg.model import Status

_SERVICE: Final = "bench"

#: Registrations of a burst that are under way at once, as in `lines.go`.
_IN_FLIGHT: Final = 16

#: Reads between two moments in which the node of the same thread may do its work.
_READS_AT_ONCE: Final = 1000


def say(*lines: str) -> None:
    """Write lines, all at once."""
    os.write(1, "".join(f"{line}\n" for line in lines).encode())


async def show_instances(node: Any) -> None:
    """Say which instances come and go."""
    async for change in node.watch(_SERVICE):
        found = [f"offered {each.id}" for each in (*change.added, *change.changed)]
        say(*found, *(f"gone {each.id}" for each in change.removed))


async def show_failures(node: Any) -> None:
    """Say which members are declared failed."""
    async for batch in node.events():
        for event in batch:
            if isinstance(event, MemberEvent) and event.kind == "failed":
                say(f"failed {event.member.name}")


async def register(node: Any, key: str) -> None:
    """Register one instance."""
    await node.register(_SERVICE, port=8080, host="10.0.0.1", id=key)


async def burst(node: Any, prefix: str, count: int) -> None:
    """Register many, some at once."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await register(node, f"{prefix}-{number}")

    async with trio.open_nursery() as nursery:
        for _ in range(_IN_FLIGHT):
            nursery.start_soon(work)


async def read(node: Any, seconds: float) -> int:
    """Look the service up for so long; returns how often."""
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        for _ in range(_READS_AT_ONCE):
            node.lookup(_SERVICE)
        count += _READS_AT_ONCE
        await trio.lowlevel.checkpoint()
    return count


async def obey(node: Any) -> None:
    """Do what standard input says until it ends."""
    buffer = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as told:
        async for piece in told:
            *lines, buffer = (buffer + piece).split(b"\n")
            for line in lines:
                match line.decode().split():
                    case ["offer", key]:
                        await register(node, key)
                    case ["burst", prefix, count]:
                        await burst(node, prefix, int(count))
                        say(f"answer {count}")
                    case ["has", key]:
                        say(f"answer {any(each.id == key for each in node.lookup(_SERVICE))}".lower())
                    case ["view"]:
                        alive = sum(member.status is Status.ALIVE for member in node.members())
                        say(f"answer {alive} {node.info().fingerprint}")
                    case ["read", seconds]:
                        say(f"answer {await read(node, float(seconds))}")


async def run(config: Config, *, failures: bool) -> None:
    """Open the node, and obey."""
    async with open_node(config) as node, trio.open_nursery() as nursery:
        node.lookup(_SERVICE)
        nursery.start_soon(show_instances, node)
        if failures:
            nursery.start_soon(show_failures, node)
        say(f"ready {0 if config.attach else node.address.port}")
        await obey(node)
        nursery.cancel_scope.cancel()


def main() -> None:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--name", default="")
    parser.add_argument("--attach", default="")
    parser.add_argument("--join", action="append", default=[])
    parser.add_argument("--key-file", default=None)
    parser.add_argument("--failures", action="store_true", help="say which members are declared failed, too")
    given = parser.parse_args()
    if given.attach:
        config = Config(attach=given.attach)
    else:
        config = Config(name=given.name, cluster="bench", bind="127.0.0.1:0", join=given.join, key_file=given.key_file)
    trio.run(lambda: run(config, failures=given.failures))


if __name__ == "__main__":
    main()
