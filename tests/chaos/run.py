"""Run: phases of faults and operations, each healed and checked, until its time is over or an invariant is violated."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from tests.chaos.checker import Checker
from tests.chaos.client import Client
from tests.chaos.faults import NEMESES, WAITING, Fault
from tests.chaos.history import Agreed, Done, FaultChanged, Record, TracebackWritten, UnexpectedExit, View, Writer
from tests.chaos.hosts import Host, HostNetwork, open_network
from tests.chaos.http import NoAnswer, NotSent
from tests.chaos.invariants import DEFAULT, Violation
from tests.chaos.nemeses import Nemeses
from tests.chaos.plan import SERVICES, Operation, Phase, draw_phases
from tests.chaos.progress import Progress

#: Protocol settings with which a cluster detects and heals several times as fast.
QUICK: Final[Mapping[str, float]] = {
    "probe_interval": 0.4,
    "probe_timeout": 0.2,
    "suspicion_beta": 3.0,
    "reconnect_interval": 1.0,
    "reconcile_settle": 0.4,
    "reconcile_gap": 0.4,
    "damping_base": 5.0,
    "damping_max": 20.0,
}

#: An operation is skipped if it is this late because its host hangs (seconds of progress).
_TOO_LATE: Final = 5.0

#: Interval of reads from a host (seconds of progress).
_LOOK_GAP: Final = 0.6

#: After a longer heal the timeline shows the last problem (seconds of progress).
_SOON: Final = 5.0

#: Interval of checks after a heal (seconds of progress).
_CHECK_GAP: Final = 0.5


@attrs.frozen
class RunOptions:
    """The options of a run."""

    seed: int
    minutes: float = 0.0  # start no phase later than this; 0: as many as ``phases``
    phases: int = 0  # maximum number; 0: as many as the minutes allow
    agents: int = 5
    nemeses: Sequence[str] = tuple(name for name in NEMESES if name not in WAITING)
    mixed: bool = True
    rate: float = 4.0  # operations a second
    length: float = 20.0  # seconds of faults in a phase
    bound: float = 180.0  # time limit of a heal (seconds of progress)
    settings: Mapping[str, float] = attrs.field(factory=dict)
    invariants: frozenset[str] = DEFAULT

    def command(self, phases: int) -> str:
        """Return the command that runs the same, for so many phases."""
        parts = [f"--seed {self.seed} --phases {phases} --agents {self.agents} --length {self.length:g}"]
        parts.append(f"--rate {self.rate:g} --nemeses {','.join(self.nemeses)}")
        if self.settings == QUICK:
            parts.append("--quick")
        if not self.mixed:
            parts.append("--alone")
        if self.invariants != DEFAULT:
            parts.append(f"--invariants {','.join(sorted(self.invariants))}")
        return f"python -m tests.chaos {' '.join(parts)}"


@attrs.frozen
class Result:
    """The result. ``directory`` has the history and the logs; None if there was no violation and they are deleted."""

    violations: tuple[Violation, ...]
    phases: int
    outcomes: Mapping[str, int]
    heal_times: Sequence[float]  # seconds of progress, phase by phase
    directory: Path | None
    command: str


class _InvariantViolated(Exception):
    """An invariant is violated, so the run ends."""


@attrs.define(eq=False)
class Run:
    """One run in progress."""

    options: RunOptions
    network: HostNetwork
    progress: Progress
    say: Callable[[str], None]
    writer: Writer
    checker: Checker = attrs.field(init=False)
    client: Client = attrs.field(init=False)
    nemeses: Nemeses = attrs.field(init=False)
    violations: list[Violation] = attrs.field(factory=list)
    outcomes: Counter[str] = attrs.field(factory=Counter)
    heal_times: list[float] = attrs.field(factory=list)
    phases: int = 0
    _read: dict[str, int] = attrs.field(factory=dict)  # bytes of each log that were read

    def __attrs_post_init__(self) -> None:
        self.checker = Checker(self.options.invariants)
        self.client = Client(lambda: self.progress.now, self.record)
        self.nemeses = Nemeses(self.network, self.progress, self.record)

    def record(self, record: Record) -> None:
        """Record an event, and check it."""
        self.writer.write(record)
        if isinstance(record, Done):
            self.outcomes[record.outcome] += 1
        if isinstance(record, FaultChanged):
            self.tell(f"{record.what}{'' if record.on else ' is over'}")
        if found := self.checker.feed(record):
            self.violations += found
            for each in found:
                self.tell(f"VIOLATED {each}")

    def tell(self, text: str) -> None:
        """Write a line of the timeline."""
        self.say(f"{self.progress.now:8.1f} s  {text}")

    async def all_phases(self) -> None:
        """Start the agents, and run the phases."""
        began = time.monotonic()
        for host in self.network.hosts:
            self.nemeses.up(host)
        await self._await_agreement("the agents have converged")
        for phase in self._plan():
            if self.options.minutes and time.monotonic() - began > self.options.minutes * 60:
                break
            if self.options.phases and phase.number > self.options.phases:
                break
            self.phases = phase.number
            await self._phase(phase)

    def _plan(self) -> Iterator[Phase]:
        options = self.options
        return draw_phases(
            options.seed,
            agents=options.agents,
            nemeses=options.nemeses,
            rate=options.rate,
            length=options.length,
            mixed=options.mixed,
        )

    async def _phase(self, phase: Phase) -> None:
        kinds = ", ".join(dict.fromkeys(fault.nemesis for fault in phase.faults))
        self.tell(f"phase {phase.number}: {kinds}; {len(phase.operations)} operations")
        begin = self.progress.now
        async with trio.open_nursery() as looking:
            looking.start_soon(self._watch)
            for host in self.network.hosts:
                looking.start_soon(self._read_host, host)
            async with trio.open_nursery() as acting:
                for host in self.network.hosts:
                    own = [each for each in phase.operations if each.host == host.number]
                    acting.start_soon(self._run_operations, host, own, begin)
                for fault in phase.faults:
                    acting.start_soon(self._run_fault, fault, begin)
                await self._until(begin + phase.length)
            await self.nemeses.heal()
            looking.cancel_scope.cancel()
        await self._await_agreement("all invariants hold")

    async def _until(self, time: float) -> None:
        await self.progress.sleep(max(0.0, time - self.progress.now))

    async def _run_fault(self, fault: Fault, begin: float) -> None:
        await self._until(begin + fault.at)
        number = await self.nemeses.begin(fault)
        await self._until(begin + fault.until)
        await self.nemeses.end(number)

    async def _run_operations(self, host: Host, operations: Sequence[Operation], begin: float) -> None:
        for operation in operations:
            await self._until(begin + operation.at)
            if self.progress.now > begin + operation.at + _TOO_LATE:
                self.outcomes["left out"] += 1
                continue
            await self.client.perform(host, operation)

    async def _read_host(self, host: Host) -> None:
        turn = host.number
        while True:
            await self.client.look(host, SERVICES[turn % len(SERVICES)])
            turn += 1
            await self.progress.sleep(_LOOK_GAP)

    async def _watch(self) -> None:
        while True:
            self._watch_once()
            await self.progress.sleep(_LOOK_GAP)

    def _watch_once(self) -> None:
        """Check that the agents are running, that none wrote a traceback, and that no invariant was violated."""
        for host in self.network.hosts:
            if host.wanted and not host.runs:
                assert host.process is not None
                self.record(
                    UnexpectedExit(self.progress.now, host.name, f"ended by itself, with {host.process.poll()}")
                )
            self._read_log(host)
        if self.violations:
            raise _InvariantViolated

    def _read_log(self, host: Host) -> None:
        if not host.log.exists():
            return
        with host.log.open("rb") as log:
            log.seek(self._read.get(host.name, 0))
            fresh = log.read()
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._read[host.name] = self._read.get(host.name, 0) + len(complete)
        _, found, text = complete.decode(errors="replace").partition("Traceback")
        if found:
            self.record(TracebackWritten(self.progress.now, host.name, f"{found}{text[:2000]}"))

    async def _await_agreement(self, success: str) -> None:
        """Repeat the check until every view is right, twice in a row; a problem at the bound is a violation."""
        begin = self.progress.now
        right: list[View] | None = None
        last = ""
        while True:
            self._watch_once()
            late = self.progress.now > begin + self.options.bound
            views, found = await self._views(late=late)
            if not found and right is not None:
                break
            right = None if found else views
            last = f"; last problem: {min(found, key=_most_specific)}" if found else last
            if found and late:
                self.violations += sorted(set(found))
                raise _InvariantViolated
            await self.progress.sleep(_CHECK_GAP)
        self.record(Agreed(self.progress.now, tuple(views)))
        took = self.progress.now - begin
        self.heal_times.append(took)
        self.tell(f"{success}, {took:.1f} s after the heal{last if took > _SOON else ''}")

    async def _views(self, *, late: bool) -> tuple[list[View], list[Violation]]:
        views = []
        for host in self.network.hosts:
            try:
                views.append(await self.client.view(host))
            except (NotSent, NoAnswer) as error:  # perhaps still starting
                return views, [Violation("runs", f"{host.name} does not answer: {error}")]
        return views, self.checker.check(views)


async def run(options: RunOptions, say: Callable[[str], None], *, keep: bool = False) -> Result:
    """Execute a run. ``say`` receives the lines of its timeline. Only `Result.directory` remains afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="gossipreg-chaos-"))
    kept = keep
    writer = Writer.open(directory / "history.jsonl")
    try:
        fake_clocks = not {"clock", "days"}.isdisjoint(options.nemeses)
        async with open_network(
            directory, options.agents, seed=options.seed, settings=options.settings, fake_clocks=fake_clocks
        ) as network:
            progress = Progress()
            it = Run(options, network, progress, say, writer)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(progress.run)
                try:
                    await it.all_phases()
                except* _InvariantViolated:
                    it.tell("the run ends here")
                nursery.cancel_scope.cancel()
            if it.violations:
                kept = True
                _keep_disks(network)
            return Result(
                violations=tuple(it.violations),
                phases=it.phases,
                outcomes=it.outcomes,
                heal_times=it.heal_times,
                directory=directory if kept else None,
                command=options.command(it.phases),
            )
    finally:
        writer.close()
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)


def _most_specific(violation: Violation) -> tuple[bool, Violation]:
    """Sort violations that show where views differ before those that only show that they do."""
    return violation.invariant == "fingerprints", violation


def _keep_disks(network: HostNetwork) -> None:
    for host in network.hosts:
        with contextlib.suppress(OSError, shutil.Error):  # a wiped disk has none
            shutil.copytree(host.disk / "data", host.directory / "data", dirs_exist_ok=True)
