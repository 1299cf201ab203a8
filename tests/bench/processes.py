"""Processes of agents: how they are started, what they cost, and that none is left at the end."""

from __future__ import annotations

import base64
import os
import resource
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs
import trio

from gossipreg.key_format import KEY_BYTES
from tests.bench.ears import Ears, Lines

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

#: Which of a process's clocks: the one that runs while a CPU is scheduled to it.
_SCHEDULED: Final = 2


class BenchError(Exception):
    """What keeps the benchmark from going on, in one line."""


@attrs.define(eq=False)
class Process:
    """One agent's process. ``on_line`` hears every line of its standard output, with its moment."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]
    on_line: Callable[[float, bytes], None]
    ready: trio.Event = attrs.field(factory=trio.Event)
    ready_at: float = 0.0  # time.perf_counter
    startup_cpu: float = 0.0  # seconds, user and system, until it was ready
    _lines: Lines = attrs.field(factory=Lines)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def hear(self, at: float, said: bytes) -> None:
        """Its standard output, as it comes; nothing means that it has ended."""
        for line in self._lines.feed(said):
            self.on_line(at, line)
        if not said:
            self.ready.set()  # no task needs to wait for it any longer

    def is_ready(self, at: float) -> None:
        """To be called when it says that it is."""
        self.ready_at = at
        self.startup_cpu = cpu_seconds(self.pid)
        self.ready.set()

    async def wait_ready(self) -> None:
        """Wait until it is ready. Raises ``BenchError`` with its last word if it ends instead."""
        await self.ready.wait()
        if not self.ready_at:
            words = self.log.read_text(errors="replace").splitlines() or ["it said nothing"]
            raise BenchError(f"{self.name} ended before it was ready: {words[-1]}")


def be_nice(pid: int, niceness: int) -> None:
    """Give every thread of a process a niceness, and the process's session too.

    Where the kernel groups tasks by session (autogroup, sched(7)), a thread's niceness counts among those of its own
    session only; agents have sessions of their own, so that alone would change nothing.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, int(task.name), niceness)
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text(str(niceness))


class Brood:
    """Every process of a benchmark, and the directory they write to. On exit all are gone, whatever happened.

    ``nice`` is added to their niceness; below 0 they go before whatever else the machine does, which takes root.
    """

    def __init__(self, ears: Ears, nice: int = 0) -> None:
        self._ears = ears
        self._processes: list[Process] = []
        self._directory = tempfile.TemporaryDirectory(prefix="gossipreg-bench-")
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("GOSSIPREG_")}
        # Should the benchmark itself be killed, the kernel ends its agents.
        setpriv = shutil.which("setpriv")
        self._leash = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        self._nice = nice

    @property
    def home(self) -> Path:
        """The directory."""
        return Path(self._directory.name)

    def key_file(self) -> Path:
        """A file with a fresh key to seal gossip with."""
        file = self.home / "key"
        file.touch(mode=0o600)
        file.write_text(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode())
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.end_all()
        self._directory.cleanup()

    def start(
        self, name: str, command: Sequence[str], on_line: Callable[[float, bytes], None], *, told: bool = False
    ) -> Process:
        """Start a process that is called ``name`` here; what it writes to standard error goes to a file.

        One that is ``told`` things has a pipe as its standard input.
        """
        log = self.home / f"{name}.log"
        with log.open("wb") as errors:
            popen = subprocess.Popen(
                [*self._leash, *command],
                stdin=subprocess.PIPE if told else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self.home,
                env=self._environment,
                start_new_session=True,  # so that Ctrl-C is for the benchmark, which then ends the agents
            )
        if self._nice:
            be_nice(popen.pid, self._nice)
        process = Process(name, log, popen, on_line)
        self._processes.append(process)
        assert popen.stdout is not None
        self._ears.follow(popen.stdout.fileno(), process.hear)
        return process

    def end_all(self) -> None:
        """Kill all that still run, each by its id, and wait until they are gone."""
        for process in self._processes:
            process.popen.kill()
        for process in self._processes:
            self.reap(process)
        self._processes.clear()

    def reap(self, process: Process) -> None:
        """Wait until a killed process is gone, and close what it wrote to."""
        process.popen.wait()
        assert process.popen.stdout is not None
        if not process.popen.stdout.closed:
            self._ears.forget(process.popen.stdout.fileno())
            process.popen.stdout.close()
        if process.popen.stdin is not None:
            with suppress(BrokenPipeError):
                process.popen.stdin.close()


def stop(process: Process) -> None:
    """Take the CPU away from a process: to the others it goes silent, its sockets stay open."""
    process.popen.send_signal(signal.SIGSTOP)


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used, user and system, all its threads together, to the nanosecond.

    By the process's own clock, as clock_getcpuclockid(3) names it: /proc/PID/stat counts in steps of 10 ms, which is as
    much as an idle agent uses in several seconds.
    """
    return time.clock_gettime(~pid << 3 | _SCHEDULED)


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM, including what other processes map too."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def proportional_bytes(pid: int) -> int:
    """Memory of a process that is in RAM, each page divided by the number of processes that map it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"the kernel does not say how much memory process {pid} shares")


@attrs.frozen
class Usage:
    """What the machine's CPUs had done by some moment, in seconds of one CPU; for us only what has been reaped."""

    at: float
    busy: float
    ours: float

    @classmethod
    def now(cls) -> Usage:
        """Until now. User, nice, system, irq, softirq and steal are busy; idle and iowait are not."""
        user, nice, system, _, _, irq, softirq, steal = map(
            int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
        )
        ours = sum(
            spent.ru_utime + spent.ru_stime
            for spent in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        return cls(time.perf_counter(), (user + nice + system + irq + softirq + steal) / _TICKS, ours)

    def by_others_since(self, earlier: Usage) -> float:
        """CPUs that others kept busy on average since ``earlier``."""
        others = (self.busy - earlier.busy) - (self.ours - earlier.ours)
        return max(0.0, others / (self.at - earlier.at))


@attrs.frozen
class Listening:
    """Ports on which a process listens."""

    tcp: frozenset[int]
    udp: frozenset[int]


def listening(pid: int) -> Listening:
    """Where a process listens, as the kernel has it: for a program that was told to take any free port."""
    links = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            links.append(os.readlink(each))
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    return Listening(_ports("tcp", inodes, "0A"), _ports("udp", inodes, "07"))


def _ports(protocol: str, inodes: set[str], state: str) -> frozenset[int]:
    rows = [line.split() for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]]
    return frozenset(int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == state and row[9] in inodes)
