"""The cost of a start: the CPU until a process is ready, and the memory that it then holds.

    python tests/bench/startup.py                  15 rounds of every case: half a minute
    python tests/bench/startup.py --rounds 5 --json

Every case is a process of its own that says one line when it is ready, and is then asked nothing more: its CPU (user
and system, by its own clock) and its memory are read from the kernel in that moment, and it is ended. The commands
`lookup`, `members`, `services` and `register` ask one agent, which runs meanwhile, and end by themselves: their CPU is
that of the whole process. The cases take turns, so that whatever else the machine does hurts all of them alike; the
differences between two cases are taken within each round. Bytecode is kept, as it is where a package is installed: in a
temporary directory that the first round fills, which does not count.

Exit status: 0 measured, 1 a case did not get ready, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import platform
import re
import resource
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import click

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from gossipreg.key_format import KEY_BYTES
from tests.bench.figures import Figure
from tests.bench.processes import BenchError, cpu_seconds, proportional_bytes, resident_bytes

_MIB: Final = 1 << 20

_READY: Final = "import sys; print('ready', flush=True); sys.stdin.read()"

_NODE: Final = """\
import sys, trio
async def main():
    import gossipreg
    async with gossipreg.open_node(gossipreg.Config(bind="127.0.0.1:0", key_file=sys.argv[1] or None)):
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""

_TRIO: Final = """\
import trio
async def main():
    print("ready", flush=True)
    await trio.sleep_forever()
trio.run(main)
"""

_AGENT: Final = ("-m", "gossipreg", "agent", "--name", "n", "--bind", "127.0.0.1:0")
_HTTP: Final = ("--http", "127.0.0.1:0")


def cases(key_file: Path) -> dict[str, Sequence[str]]:
    """By name: what the interpreter is told."""
    sealed = ("--key-file", str(key_file))
    return {
        "python": ("-c", _READY),
        "import gossipreg": ("-c", f"import gossipreg; {_READY}"),
        "trio running": ("-c", _TRIO),
        "open node": ("-c", _NODE, ""),
        "open node, sealed": ("-c", _NODE, str(key_file)),
        "agent without HTTP and DNS": (*_AGENT, "--http", "off", "--dns", "off"),
        "agent without DNS": (*_AGENT, *_HTTP, "--dns", "off"),
        "agent without DNS, sealed": (*_AGENT, *_HTTP, "--dns", "off", *sealed),
        "agent": (*_AGENT, *_HTTP, "--dns", "127.0.0.1:0"),
        "agent, sealed": (*_AGENT, *_HTTP, "--dns", "127.0.0.1:0", *sealed),
    }


#: Commands that ask an agent, whole.
COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "gossipreg lookup": ("lookup", "orders"),
    "gossipreg members": ("members",),
    "gossipreg services": ("services",),
    "gossipreg register": ("register", "orders", "--port", "8080"),
}

#: What a node adds to a program that has trio already (later minus earlier case), and the most that it may (ms).
ADDED: Final = (
    ("a node in a program that has trio", "open node", "trio running", 60.0),
    ("the same, sealed", "open node, sealed", "trio running", None),
)

#: The most that a case may cost: CPU (ms), resident memory (MiB).
CPU_AT_MOST: Final = {
    "import gossipreg": 23.0,
    "agent": 250.0,
    "agent, sealed": 250.0,
    **dict.fromkeys(COMMANDS, 45.0),
}
RESIDENT_AT_MOST: Final = {"open node": 40.0, "agent": 36.0}


@attrs.frozen
class Cost:
    """Of one process that is ready: CPU (ms), memory (MiB) resident, and with shared pages divided."""

    cpu: float
    resident: float
    proportional: float


def cost(told: Sequence[str], environment: Mapping[str, str], directory: Path) -> Cost:
    """Start one process, read what it cost to get ready, and end it. Raises ``BenchError`` if it ends instead."""
    command = [sys.executable, *told]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd=directory)
    with process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            if b"ready" not in process.stdout.readline():
                words = process.stderr.read().decode(errors="replace").splitlines() or ["it said nothing"]
                raise BenchError(f"{' '.join(told)}: not ready: {words[-1]}")
            pid = process.pid
            return Cost(1000 * cpu_seconds(pid), resident_bytes(pid) / _MIB, proportional_bytes(pid) / _MIB)
        finally:
            process.kill()


def command_cost(told: Sequence[str], environment: Mapping[str, str], directory: Path) -> Cost:
    """Run one command to its end and read its CPU. Raises ``BenchError`` if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(
        [sys.executable, "-m", "gossipreg", *told],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode:
        raise BenchError(f"gossipreg {' '.join(told)}: {ran.stderr.strip()}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(1000 * spent, math.nan, math.nan)


@contextmanager
def asked_agent(environment: Mapping[str, str], directory: Path) -> Iterator[str]:
    """An agent with one instance, for commands to ask: its address for ``--http``."""
    command = [sys.executable, *_AGENT, *_HTTP, "--dns", "off"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd=directory
    )
    with process:
        try:
            assert process.stdout is not None
            found = re.search(rb"http ([0-9.]+:[0-9]+)", process.stdout.readline())
            if found is None:
                raise BenchError("the agent that commands ask did not get ready")
            yield found[1].decode()
        finally:
            process.kill()


def measure(rounds: int) -> dict[str, list[Cost]]:
    """Every case's cost in every round."""
    with tempfile.TemporaryDirectory(prefix="gossipreg-bench-") as home:
        directory = Path(home)
        key_file = directory / "key"
        key_file.touch(mode=0o600)
        key_file.write_text(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode())
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GOSSIPREG_")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= {"PYTHONPYCACHEPREFIX": str(directory / "bytecode"), "PYTHONPATH": sys.path[0]}
        told = cases(key_file)
        found: dict[str, list[Cost]] = {name: [] for name in (*told, *COMMANDS)}
        with asked_agent(environment, directory) as address:
            command_cost((*COMMANDS["gossipreg register"], "--http", address), environment, directory)
            for number in range(rounds + 1):
                spent = {name: cost(arguments, environment, directory) for name, arguments in told.items()}
                for name, words in COMMANDS.items():
                    spent[name] = command_cost((*words, "--http", address), environment, directory)
                for name, each in spent.items() if number else ():
                    found[name].append(each)
        return found


def rows(found: Mapping[str, Sequence[Cost]]) -> list[tuple[str, str, Figure, float | None]]:
    """Title, unit, figure, and the most that is wanted."""
    lines: list[tuple[str, str, Figure, float | None]] = []
    for name, costs in found.items():
        cpu = Figure.of([each.cpu for each in costs])
        lines.append((f"{name}: CPU until ready", "ms", cpu, CPU_AT_MOST.get(name)))
    for title, later, earlier, most in ADDED:
        pairs = zip(found[later], found[earlier], strict=True)
        lines.append((f"{title}: CPU added", "ms", Figure.of([a.cpu - b.cpu for a, b in pairs]), most))
    for name, costs in found.items():
        if name in COMMANDS:
            continue
        resident = Figure.of([each.resident for each in costs])
        lines.append((f"{name}: resident", "MiB", resident, RESIDENT_AT_MOST.get(name)))
    return lines


def as_text(found: Mapping[str, Sequence[Cost]]) -> str:
    """The table, in Markdown."""
    lines = ["| what | unit | median (lowest to highest, number) | target | |", "|---|---|---|---|---|"]
    for title, unit, figure, most in rows(found):
        wanted = "" if most is None else f"≤ {most:g} {unit}"
        verdict = "" if most is None else "met" if figure.middle <= most else "missed"
        lines.append(f"| {title} | {unit} | {figure} | {wanted} | {verdict} |")
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="how often each case is started (15)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(given)
    if options.rounds < 1:
        parser.error("--rounds: at least 1 is needed to know anything")
    load = os.getloadavg()[0]
    try:
        found = measure(options.rounds)
    except BenchError as error:
        click.echo(f"startup.py: {error}", err=True)
        return 1
    if options.json:
        costs = {name: [attrs.asdict(each) for each in all_costs] for name, all_costs in found.items()}
        click.echo(json.dumps({"load_before": round(load, 2), "costs": costs}, indent=2))
    else:
        cores = len(os.sched_getaffinity(0))
        about = f"{cores} cores, Python {platform.python_version()}, Linux {platform.release()}"
        click.echo(f"{about}; load before {load:.2f}, after {os.getloadavg()[0]:.2f}.\n\n{as_text(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
