"""What a slow reader of an agent's events costs in memory: `python -m tests.bench.slow_readers`.

An agent offers some thousand instances. One reader takes the snapshot at once, so that all that any reader needs is
there. Then many open event streams and read so slowly that each has most of the snapshot before it for as long as this
takes, while one instance changes twice a second. The figure is the growth of the agent's resident memory for each of
them: what trio, h11 and the agent keep of a connection, and what the streams hold that others do not. With ``--apart``
an instance changes before each stream is opened, so that no two have the same snapshot.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import attrs
import click
import trio

from tests.bench import http_client
from tests.bench.ears import Ears
from tests.bench.measuring import measured, open_as_many_files_as_allowed
from tests.bench.offers import body, offer
from tests.bench.processes import BenchError, Brood, resident_bytes
from tests.bench.tables import machine, markdown, verdict
from tests.bench.watchers import answered, register, start_agent

#: What a slow reader may cost (KiB).
TARGET_KIB: Final = 64.0

_HOST: Final = "127.0.0.1"

#: What a slow reader takes at once, and how often per second. An agent drops one that does not take 64 KiB in 10 s.
_BYTES: Final = 2_048
_A_SECOND: Final = 5


@attrs.frozen
class Found:
    """What an agent kept in RAM (bytes) before there were slow readers and with them, and the snapshot's size."""

    readers: int
    before: int
    after: int
    let_go: int  # readers whose stream the agent closed

    @property
    def kib(self) -> float:
        """What each reader costs (KiB)."""
        return (self.after - self.before) / 1024 / self.readers


def _open(port: int, *, slow: bool) -> socket.socket:
    stream = socket.socket()
    if slow:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    stream.connect((_HOST, port))
    stream.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {_HOST}:{port}\r\n\r\n".encode())
    return stream


def _read_snapshot(stream: socket.socket) -> None:
    stream.settimeout(30)
    said = b""
    while not said.endswith(b"\n\n\r\n"):
        said = (said + (more := stream.recv(1 << 20)))[-64:]
        if not more:
            raise BenchError("the agent gave no snapshot")


def _sip(streams: Sequence[socket.socket]) -> int:
    """Read a little from each; from how many no more will come."""
    ended = 0
    for stream in streams:
        try:
            ended += not stream.recv(_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except ConnectionError:
            ended += 1
    return ended


def read_slowly(pid: int, port: int, readers: int, seconds: float, *, apart: bool) -> Found:
    """Open the streams, read from them for so long, and see what the agent keeps meanwhile."""
    with socket.create_connection((_HOST, port)) as changing:
        for number in range(2):  # twice, so that all that is made for a first reader is there
            with _open(port, slow=False) as first:
                _read_snapshot(first)
            register(changing, port, f"warm-{number}")
            answered(changing)
        time.sleep(1.0)
        before = after = resident_bytes(pid)
        streams, ended = list[socket.socket](), 0
        try:
            for number in range(readers):
                streams.append(_open(port, slow=True))
                if apart:
                    _sip(streams[-1:])
                    register(changing, port, f"apart-{number}")
                    answered(changing)
            for turn in range(round(seconds * _A_SECOND)):
                ended = _sip(streams)
                if turn % 2:
                    register(changing, port, str(turn))
                    answered(changing)
                after = max(after, resident_bytes(pid))
                time.sleep(1 / _A_SECOND)
        finally:
            for stream in streams:
                stream.close()
    return Found(readers, before, after, ended)


async def measure(readers: int, instances: int, seconds: float, *, apart: bool = False) -> Found:
    """Start an agent, have it offer so many instances, and read from it."""
    ears = Ears()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ears.listen)
        with Brood(ears) as brood:
            agent, port = await start_agent(brood)
            async with http_client.connect(port) as client:
                for number in range(instances):
                    await client.ask("PUT", "/api/v1/instances", body(offer(number)))
            read = partial(read_slowly, agent.pid, port, readers, seconds, apart=apart)
            found = await trio.to_thread.run_sync(read)
        nursery.cancel_scope.cancel()
    return found


def table(found: Found) -> str:
    """The figures as they stand in the documentation."""
    return markdown(
        [
            ["slow readers", "resident before, MiB", "with them, MiB", "a reader, KiB", "let go", "target", ""],
            [
                f"{found.readers:,}",
                *(f"{each / 2**20:.1f}" for each in (found.before, found.after)),
                f"{found.kib:.1f}",
                str(found.let_go),
                f"≤ {TARGET_KIB:g} KiB",
                verdict(found.kib <= TARGET_KIB),
            ],
        ]
    )


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=200, help="slow readers (200)")
    parser.add_argument("--instances", type=int, default=4000, help="instances that the agent offers (4000)")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long they read (15)")
    parser.add_argument("--apart", action="store_true", help="give each reader a snapshot that no other has")
    options = parser.parse_args()
    open_as_many_files_as_allowed()
    load = os.getloadavg()[0]
    found = measured(
        "slow_readers", partial(measure, options.readers, options.instances, options.seconds, apart=options.apart)
    )
    if found is None:
        return 1
    click.echo(
        f"`python -m tests.bench.slow_readers`: what {options.readers} slow readers of the events of "
        f"{options.instances:,} instances cost an agent; {machine(load)}.\n\n{table(found)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
