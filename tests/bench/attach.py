"""The cost of attached processes: start, memory, rest, and how soon a killed one is gone from the last node.

    python tests/bench/attach.py                            200 processes, 15 rounds of starts, 10 kills of each kind
    python tests/bench/attach.py --processes 20 --rounds 3 --kills 3

- *Start*: CPU and memory of a process that is attached and has looked a service up, less those of the same program
  without that: an idle trio or asyncio program, or a bare one for threads. The cases take turns; the differences are
  taken within each round.
- *Many*: so many processes on one agent of three, every other one with an instance; what each adds to the agent's
  memory.
- *Rest*: over ten seconds, the CPU of all of them, and the bytes that they have read and written. Sockets are left
  out of those by the kernel. Those with an instance are asked whether they run, and the others are not.
- *Kills*: `kill -9` of an attached process, and of a member that embeds its node, in turns, until the instance is gone
  from the lookups of the agent that joined last.

Exit status: 0 measured, 1 something did not get ready or was not seen, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import attrs
import click

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from gossipreg import Config
from gossipreg.embed.threads import BlockingNode, open_node
from tests.bench.figures import Figure
from tests.bench.processes import BenchError, cpu_seconds, proportional_bytes, resident_bytes
from tests.bench.startup import Cost, cost

_MIB: Final = 1 << 20

#: How long something may take before it counts as not seen, and how long rest is watched (seconds).
_PATIENCE: Final = 60.0
_REST: Final = 10.0

_TRIO: Final = """\
import sys, trio
async def main():
    {}
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""

_ASYNCIO: Final = """\
import sys, asyncio
async def main():
    {}
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""

_THREADS: Final = """\
import sys
{}
    print("ready", flush=True)
    sys.stdin.read()
"""

_OPENED: Final = "with open_node(Config(attach=sys.argv[1])) as node:"
_LOOKED_UP: Final = "        node.lookup('orders')"

#: By the kind of program: the program alone, and attached.
PROGRAMS: Final[Mapping[str, tuple[str, str]]] = {
    "trio": (
        _TRIO.format("if True:"),
        _TRIO.format(
            f"from gossipreg import Config, open_node\n    async {_OPENED}\n{_LOOKED_UP}",
        ),
    ),
    "asyncio": (
        _ASYNCIO.format("if True:"),
        _ASYNCIO.format(
            "from gossipreg import Config\n    from gossipreg.embed.asyncio import open_node\n"
            f"    async {_OPENED}\n{_LOOKED_UP}",
        ),
    ),
    "threads": (
        _THREADS.format("if True:"),
        _THREADS.format(
            "from gossipreg import Config\nfrom gossipreg.embed.threads import open_node\n"
            f"{_OPENED}\n    node.lookup('orders')",
        ),
    ),
}

#: An attached process, and a member, that offers an instance.
_OFFERING: Final = """\
import sys
from gossipreg import Config
from gossipreg.embed.threads import open_node
with open_node({}) as node:
    node.register("orders", port=int(sys.argv[2]), id=sys.argv[3])
    node.lookup("orders")
    print("ready", flush=True)
    sys.stdin.read()
"""
ATTACHED: Final = _OFFERING.format("Config(attach=sys.argv[1])")
READING: Final = "\n".join(line for line in ATTACHED.splitlines() if "register" not in line)
MEMBER: Final = _OFFERING.format("Config(name=sys.argv[3], bind='127.0.0.1:0', join=[sys.argv[1]])")

#: The most that is wanted: added CPU (ms), added memory (MiB), CPU at rest of a process (%).
CPU_AT_MOST: Final = 40.0
MEMORY_AT_MOST: Final = 4.0
REST_AT_MOST: Final = 0.01


@attrs.frozen
class Measured:
    """All figures of one run, by title: unit, figure, and the most that is wanted."""

    rows: list[tuple[str, str, Figure, float | None]] = attrs.field(factory=list)

    def add(self, title: str, unit: str, values: Sequence[float], most: float | None = None) -> None:
        """Add a line."""
        self.rows.append((title, unit, Figure.of(values), most))

    def as_text(self) -> str:
        """The table, in Markdown."""
        lines = ["| what | unit | median (lowest to highest, number) | target | |", "|---|---|---|---|---|"]
        for title, unit, figure, most in self.rows:
            wanted = "" if most is None else f"≤ {most:g} {unit}"
            verdict = "" if most is None else "met" if figure.middle <= most else "missed"
            lines.append(f"| {title} | {unit} | {figure} | {wanted} | {verdict} |")
        return "\n".join(lines)


@contextmanager
def started(told: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ready; it is killed in the end. Raises ``BenchError``."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, *told], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            if b"ready" not in process.stdout.readline():
                raise BenchError(f"a process was not ready: {' '.join(told[:3])}")
            yield process
        finally:
            process.kill()


def agent(name: str, seed: str | None, attach: str | None) -> list[str]:
    """The command line of an agent."""
    told = ["-m", "gossipreg", "agent", "--name", name, "--bind", "127.0.0.1:0", "--http", "off", "--dns", "off"]
    return [*told, *([] if seed is None else ["--join", seed]), *([] if attach is None else ["--attach", attach])]


def moved_bytes(pid: int) -> int:
    """What a process has read and written by now, but for what it has sent and received (bytes)."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"]) + int(fields["wchar"])


def starts(rounds: int, attach: str, environment: Mapping[str, str], home: Path, measured: Measured) -> None:
    """Start every kind of program alone and attached, in turns."""
    found: dict[str, list[tuple[Cost, Cost]]] = {kind: [] for kind in PROGRAMS}
    for number in range(rounds + 1):
        for kind, programs in PROGRAMS.items():
            alone, attached = (cost(("-c", each, attach), environment, home) for each in programs)
            if number:  # the first round compiles
                found[kind].append((alone, attached))
    for kind, pairs in found.items():
        measured.add(f"start, {kind}: CPU added", "ms", [b.cpu - a.cpu for a, b in pairs], CPU_AT_MOST)
        added = [b.resident - a.resident for a, b in pairs]
        measured.add(f"start, {kind}: resident added", "MiB", added, MEMORY_AT_MOST)


def many(count: int, attach: str, agent_pid: int, environment: Mapping[str, str], measured: Measured) -> None:
    """Attach many processes at once; then watch them at rest."""
    with ExitStack() as stack:
        before = resident_bytes(agent_pid)
        running = [
            stack.enter_context(started(("-c", program, attach, str(1000 + number), f"p{number}"), environment))
            for number, program in enumerate(islice(cycle((ATTACHED, READING)), count))
        ]
        measured.add(
            f"{count} processes: of the agent's memory, each",
            "MiB",
            [(resident_bytes(agent_pid) - before) / count / _MIB],
        )
        pids = [each.pid for each in running]
        shares = [proportional_bytes(pid) / _MIB for pid in pids]
        measured.add(f"{count} processes: memory of each, shared pages divided", "MiB", shares)
        time.sleep(2.0)  # what the last one has changed is told to all
        cpu, moved = {pid: cpu_seconds(pid) for pid in (*pids, agent_pid)}, {pid: moved_bytes(pid) for pid in pids}
        time.sleep(_REST)
        spent = {pid: 100 * (cpu_seconds(pid) - each) / _REST for pid, each in cpu.items()}
        offering, reading = pids[::2], pids[1::2]
        title = f"{count} processes: CPU at rest of one that has registered, of one core"
        measured.add(title, "%", [sum(spent[pid] for pid in offering) / len(offering)], REST_AT_MOST)
        title = f"{count} processes: CPU at rest of one that only looks up, of one core"
        measured.add(title, "%", [sum(spent[pid] for pid in reading) / len(reading)], 0.0)
        measured.add(f"{count} processes: CPU of their agent at rest, of one core", "%", [spent[agent_pid]])
        for kind, some, most in (("have registered", offering, None), ("only look up", reading, 0.0)):
            title = f"{count} processes: bytes read and written at rest, all that {kind}"
            measured.add(title, "B", [sum(moved_bytes(pid) - moved[pid] for pid in some)], most)


def kills(
    count: int, attach: str, seed: str, last: BlockingNode, environment: Mapping[str, str], measured: Measured
) -> None:
    """Kill attached processes and members in turns, and see when they are gone from the last node."""
    took: dict[str, list[float]] = {"attached": [], "member": []}
    for number in range(count):
        for kind, program, where in (("attached", ATTACHED, attach), ("member", MEMBER, seed)):
            id_ = f"{kind}-{number}"
            with started(("-c", program, where, "80", id_), environment) as process:
                _wait(lambda id_=id_: _has(last, id_), f"{id_} was not seen")
                time.sleep(1.0)  # a member needs its lifelines
                begun = time.perf_counter()
                process.kill()
                _wait(lambda id_=id_: not _has(last, id_), f"the end of {id_} was not seen")
                took[kind].append(1000 * (time.perf_counter() - begun))
    measured.add("kill -9 of an attached process, until gone from the last of 4 nodes", "ms", took["attached"])
    measured.add("kill -9 of a member, until gone from the last", "ms", took["member"])


def _has(node: BlockingNode, id_: str) -> bool:
    return any(each.id == id_ for each in node.lookup("orders"))


def _wait(holds: object, otherwise: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not holds():  # type: ignore[operator]
        if time.monotonic() > until:
            raise BenchError(otherwise)
        time.sleep(0.0005)


def measure(processes: int, rounds: int, times: int) -> Measured:
    """Run all of it. Raises ``BenchError``."""
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="gossipreg-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GOSSIPREG_")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= {"PYTHONPYCACHEPREFIX": str(home / "bytecode"), "PYTHONPATH": sys.path[0]}
        attach = f"unix:{home}/attach.sock"
        observer = stack.enter_context(open_node(Config(name="observer", bind="127.0.0.1:0")))
        seed = str(observer.address)
        first = stack.enter_context(started(agent("first", seed, attach), environment))
        for name in ("second", "third"):
            stack.enter_context(started(agent(name, seed, None), environment))
        _wait(lambda: len(observer.members()) == 4, "the agents did not join")
        starts(rounds, attach, environment, home, measured)
        kills(times, attach, seed, observer, environment, measured)
        many(processes, attach, first.pid, environment, measured)
    return measured


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=200, metavar="N", help="attached at once (200)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="how often each case is started (15)")
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="of each kind (10)")
    options = parser.parse_args(given)
    if min(options.processes - 1, options.rounds, options.kills) < 1:
        parser.error("--processes: 2 or more, --rounds, --kills: 1 or more are needed to know anything")
    load = os.getloadavg()[0]
    try:
        measured = measure(options.processes, options.rounds, options.kills)
    except BenchError as error:
        click.echo(f"attach.py: {error}", err=True)
        return 1
    about = f"{len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, Linux {platform.release()}"
    click.echo(f"{about}; load before {load:.2f}, after {os.getloadavg()[0]:.2f}.\n\n{measured.as_text()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
