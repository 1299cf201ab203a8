"""How often a node at rest wakes up, beside Serf: `python -m tests.bench.wakeups`.

Eight agents of each kind on 127.0.0.1, without frontends. Counted are the voluntary context switches of all threads of
each process: a thread gives up its core when it waits, so that it has been woken as often.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import click

from tests.bench.tables import machine, markdown

#: Until the agents know each other and what they said of that is over (seconds).
_SETTLED_AFTER: Final = 12.0

_GOSSIPREG_PORT: Final = 18_946
_SERF_PORT: Final = 17_946
_SERF_RPC_PORT: Final = 17_373


@attrs.frozen
class Rest:
    """What an agent does in a second at rest."""

    wake_ups: float
    cpu: float  # share of a core, %


def gossipreg_agent(number: int) -> list[str]:
    """The command line of an agent of ours."""
    told = [sys.executable, "-m", "gossipreg", "agent", "--name", f"g{number}", "--http", "off", "--dns", "off"]
    told += ["--bind", f"127.0.0.1:{_GOSSIPREG_PORT + number}"]
    return told + (["--join", f"127.0.0.1:{_GOSSIPREG_PORT}"] if number else [])


def serf_agent(number: int) -> list[str]:
    """The command line of one of Serf's."""
    told = ["serf", "agent", "-node", f"s{number}", "-bind", f"127.0.0.1:{_SERF_PORT + number}"]
    told += ["-rpc-addr", f"127.0.0.1:{_SERF_RPC_PORT + number}", "-profile", "lan"]
    return told + (["-join", f"127.0.0.1:{_SERF_PORT}"] if number else [])


def switches(pid: int) -> int:
    """The voluntary context switches of a process's threads up to now."""
    count = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has just ended
            lines = (thread / "status").read_text().splitlines()
            count += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return count


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(commands: Sequence[Sequence[str]], seconds: float, settled_after: float = _SETTLED_AFTER) -> Rest:
    """Start the agents, let them come to rest, and watch them for so long."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(0.5)
        time.sleep(settled_after)
        before = [(switches(each.pid), _cpu(each.pid)) for each in running]
        time.sleep(seconds)
        after = [(switches(each.pid), _cpu(each.pid)) for each in running]
        assert all(each.poll() is None for each in running), "an agent has ended"
    finally:
        for each in running:
            each.kill()
            each.wait()
    spent = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(before, after, strict=True)]
    share = seconds * len(running)
    return Rest(sum(one for one, _ in spent) / share, 100 * sum(cpu for _, cpu in spent) / share)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=8, help="of each kind (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="at rest (default: %(default)s)")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    ours, serf = (
        measure([agent(number) for number in range(given.nodes)], given.seconds)
        for agent in (gossipreg_agent, serf_agent)
    )
    rows = [["at rest, a node", "Serf", "gossipreg", "ratio"]]
    rows.append(["wake-ups", *_beside(serf.wake_ups, ours.wake_ups, "1/s")])
    rows.append(["CPU, of one core", *_beside(serf.cpu, ours.cpu, "%")])
    click.echo(markdown(rows))
    click.echo(f"\n`python -m tests.bench.wakeups`: {given.nodes} nodes; {machine(load_before)}.")


def _beside(serf: float, ours: float, unit: str) -> list[str]:
    return [f"{serf:.3g} {unit}", f"{ours:.3g} {unit}", f"1/{serf / ours:.3g}"]


if __name__ == "__main__":
    main()
