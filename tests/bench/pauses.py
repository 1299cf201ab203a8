"""What becomes of a program's instance while C code holds the interpreter's lock, and after that.

    python -m tests.bench.pauses [--seconds 1 2 5 10] [--json]

A node runs in its program's process, so a call into C that keeps the lock stops the node as well, in a thread of its
own or not. Two peers watch, with the default settings; they offer the same service. A program calls ``usleep`` with the
lock held, twice: the second time ten seconds after it was back. Shown is for how long of each pause its instance was
avoided (left out of lookups, as there are others), whether its node was declared failed, and how long after the pause
the instance was back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Final

import attrs

from gossipreg import Config, Status
from gossipreg.embed.threads import BlockingNode, open_node
from tests.bench.tables import machine, markdown
from tests.embed.programs import ROOT

_LENGTHS: Final = (1.0, 2.0, 5.0, 10.0)

#: A wait longer than this is a failure of the measurement (seconds).
_PATIENCE: Final = 90.0

_SAMPLE_SECONDS: Final = 0.01

_PAUSE: Final = """
import ctypes, sys
def pause():
    seconds = sys.stdin.readline()
    if seconds:
        print("paused", flush=True)
        ctypes.PyDLL(None).usleep(int(float(seconds) * 1e6))  # PyDLL: with the lock held
        print("back", flush=True)
    return seconds
"""

PROGRAMS: Final = {
    "threads": _PAUSE
    + """
from gossipreg import Config
from gossipreg.embed.threads import open_node
with open_node(Config(name="paused", bind="127.0.0.1:0", join=sys.argv[1:])) as node:
    node.register("shop", port=80)
    while pause():
        pass
""",
    "asyncio": _PAUSE
    + """
import asyncio
from gossipreg import Config
from gossipreg.embed.asyncio import open_node
async def main():
    async with open_node(Config(name="paused", bind="127.0.0.1:0", join=sys.argv[1:])) as node:
        await node.register("shop", port=80)
        while pause():
            await asyncio.sleep(0)
asyncio.run(main())
""",
}


@attrs.frozen
class Seen:
    """What a peer saw of one pause."""

    avoided: float  # seconds of the pause for which the instance was left out
    failed: bool
    back_after: float  # seconds from the end of the pause until the instance was offered; 0: it always was


def measure(kind: str, seconds: float) -> list[Seen]:
    """Pause one program twice."""
    peers = [Config(name=name, bind="127.0.0.1:0") for name in ("ann", "ben")]
    with open_node(peers[0]) as ann, open_node(attrs.evolve(peers[1], join=(str(ann.address),))) as ben:
        for number, peer in enumerate((ann, ben)):
            peer.register("shop", port=81 + number)
        command = [sys.executable, "-c", PROGRAMS[kind], str(ann.address), str(ben.address)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as program:
            try:
                ann.wait_for("shop", at_least=3, timeout=_PATIENCE)
                time.sleep(3)  # all have pinged each other
                found = []
                for _ in range(2):
                    found.append(_pause(program, ann, seconds))
                    time.sleep(10)
                return found
            finally:
                program.kill()


def _pause(program: subprocess.Popen[str], peer: BlockingNode, seconds: float) -> Seen:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(f"{seconds}\n")
    program.stdin.flush()
    program.stdout.readline()
    began, avoided, failed = time.monotonic(), 0.0, False
    while time.monotonic() < began + seconds:
        avoided += _SAMPLE_SECONDS * (not _is_offered(peer))
        failed = failed or _status(peer) is Status.FAILED
        time.sleep(_SAMPLE_SECONDS)
    program.stdout.readline()
    ended = time.monotonic()
    back = 0.0
    while time.monotonic() < ended + 1 or not _is_offered(peer):
        failed = failed or _status(peer) is Status.FAILED
        if not _is_offered(peer):
            back = time.monotonic() - ended
        assert time.monotonic() < ended + _PATIENCE, "it is not back"
        time.sleep(_SAMPLE_SECONDS)
    return Seen(min(avoided, seconds), failed, back)


def _is_offered(peer: BlockingNode) -> bool:
    return any(each.owner == "paused" for each in peer.lookup("shop"))


def _status(peer: BlockingNode) -> Status:
    return next(each.status for each in peer.members() if each.name == "paused")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=_LENGTHS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    found = {(kind, length): measure(kind, length) for kind in PROGRAMS for length in options.seconds}
    if options.json:
        rows = [
            {"kind": kind, "seconds": length, "pauses": [*map(attrs.asdict, seen)]}
            for (kind, length), seen in found.items()
        ]
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    table = [["node", "pause (s)", "which", "avoided for (s)", "failed", "back after (s)"]]
    for (kind, length), pauses in found.items():
        for which, seen in zip(("first", "second"), pauses, strict=True):
            cells = [
                kind,
                f"{length:g}",
                which,
                f"{seen.avoided:.1f}",
                "yes" if seen.failed else "no",
                f"{seen.back_after:.2f}",
            ]
            table.append(cells)
    sys.stdout.write(f"Two peers, default settings; {machine(load)}.\n\n{markdown(table)}\n")


if __name__ == "__main__":
    main()
