"""A run: phases of faults and operations, each healed and judged, until its time is over or an invariant is broken."""

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
from tests.chaos.ground import Ground, Host, open_ground
from tests.chaos.history import Complained, Died, Done, Record, Settled, Troubled, View, Writer
from tests.chaos.http import NoAnswer, NotAsked
from tests.chaos.invariants import DEFAULT, Violation
from tests.chaos.nemeses import Nemeses
from tests.chaos.plan import SERVICES, Operation, Phase, draw_phases
from tests.chaos.progress import Progress

#: Protocol settings under which a cluster notices and heals several times as fast.
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

#: An operation is left out if its turn comes so late, because its host hangs (seconds of progress).
_TOO_LATE: Final = 5.0

#: From one look at a host to the next (seconds of progress).
_LOOK_GAP: Final = 0.6

#: After a longer healing the timeline says what was wrong at last (seconds of progress).
_SOON: Final = 5.0

#: From one try of a judgement to the next (seconds of progress).
_JUDGE_GAP: Final = 0.5


@attrs.frozen
class Wishes:
    """What a run is to be."""

    seed: int
    minutes: float = 0.0  # begin no phase later than this; 0: as many as ``phases`` says
    phases: int = 0  # at most so many; 0: as many as the minutes allow
    agents: int = 5
    nemeses: Sequence[str] = tuple(name for name in NEMESES if name not in WAITING)
    mixed: bool = True
    rate: float = 4.0  # operations a second
    length: float = 20.0  # seconds of faults in a phase
    bound: float = 180.0  # seconds of progress from the heal until all is as it should be
    settings: Mapping[str, float] = attrs.field(factory=dict)
    invariants: frozenset[str] = DEFAULT

    def command(self, phases: int) -> str:
        """The command that does the same, for so many phases."""
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
    """How it went. ``directory`` is where history and logs lie; None where nothing was wrong and they are gone."""

    violations: tuple[Violation, ...]
    phases: int
    outcomes: Mapping[str, int]
    settled_after: Sequence[float]  # seconds of progress, phase by phase
    directory: Path | None
    command: str


class _Broken(Exception):
    """An invariant is violated: the run ends here."""


@attrs.define(eq=False)
class Run:
    """One run, under way."""

    wishes: Wishes
    ground: Ground
    progress: Progress
    say: Callable[[str], None]
    writer: Writer
    checker: Checker = attrs.field(init=False)
    client: Client = attrs.field(init=False)
    nemeses: Nemeses = attrs.field(init=False)
    violations: list[Violation] = attrs.field(factory=list)
    outcomes: Counter[str] = attrs.field(factory=Counter)
    settled_after: list[float] = attrs.field(factory=list)
    phases: int = 0
    _read: dict[str, int] = attrs.field(factory=dict)  # bytes of each log that were looked at

    def __attrs_post_init__(self) -> None:
        self.checker = Checker(self.wishes.invariants)
        self.client = Client(lambda: self.progress.now, self.record)
        self.nemeses = Nemeses(self.ground, self.progress, self.record)

    def record(self, record: Record) -> None:
        """Write a record down, and have it checked."""
        self.writer.write(record)
        if isinstance(record, Done):
            self.outcomes[record.outcome] += 1
        if isinstance(record, Troubled):
            self.tell(f"{record.what}{'' if record.on else ' is over'}")
        if found := self.checker.feed(record):
            self.violations += found
            for each in found:
                self.tell(f"VIOLATED {each}")

    def tell(self, text: str) -> None:
        """A line of the timeline."""
        self.say(f"{self.progress.now:8.1f} s  {text}")

    async def all_phases(self) -> None:
        """Start the agents, and go through the phases."""
        began = time.monotonic()
        for host in self.ground.hosts:
            self.nemeses.up(host)
        await self._judged("the agents have found each other")
        for phase in self._plan():
            if self.wishes.minutes and time.monotonic() - began > self.wishes.minutes * 60:
                break
            if self.wishes.phases and phase.number > self.wishes.phases:
                break
            self.phases = phase.number
            await self._phase(phase)

    def _plan(self) -> Iterator[Phase]:
        wishes = self.wishes
        return draw_phases(
            wishes.seed,
            agents=wishes.agents,
            nemeses=wishes.nemeses,
            rate=wishes.rate,
            length=wishes.length,
            mixed=wishes.mixed,
        )

    async def _phase(self, phase: Phase) -> None:
        kinds = ", ".join(dict.fromkeys(fault.nemesis for fault in phase.faults))
        self.tell(f"phase {phase.number}: {kinds}; {len(phase.operations)} operations")
        begin = self.progress.now
        async with trio.open_nursery() as looking:
            looking.start_soon(self._watch)
            for host in self.ground.hosts:
                looking.start_soon(self._look, host)
            async with trio.open_nursery() as acting:
                for host in self.ground.hosts:
                    own = [each for each in phase.operations if each.host == host.number]
                    acting.start_soon(self._operate, host, own, begin)
                for fault in phase.faults:
                    acting.start_soon(self._trouble, fault, begin)
                await self._until(begin + phase.length)
            await self.nemeses.heal()
            looking.cancel_scope.cancel()
        await self._judged("all is as it should be")

    async def _until(self, time: float) -> None:
        await self.progress.sleep(max(0.0, time - self.progress.now))

    async def _trouble(self, fault: Fault, begin: float) -> None:
        await self._until(begin + fault.at)
        number = await self.nemeses.begin(fault)
        await self._until(begin + fault.until)
        await self.nemeses.end(number)

    async def _operate(self, host: Host, operations: Sequence[Operation], begin: float) -> None:
        for operation in operations:
            await self._until(begin + operation.at)
            if self.progress.now > begin + operation.at + _TOO_LATE:
                self.outcomes["left out"] += 1
                continue
            await self.client.perform(host, operation)

    async def _look(self, host: Host) -> None:
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
        """See that agents run that are to run, that none complains, and that nothing was violated."""
        for host in self.ground.hosts:
            if host.wanted and not host.runs:
                assert host.process is not None
                self.record(Died(self.progress.now, host.name, f"ended by itself, with {host.process.poll()}"))
            self._read_log(host)
        if self.violations:
            raise _Broken

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
            self.record(Complained(self.progress.now, host.name, f"{found}{text[:2000]}"))

    async def _judged(self, verdict: str) -> None:
        """Ask until every view is right, twice in a row; what is wrong at the bound is a violation."""
        begin = self.progress.now
        right: list[View] | None = None
        last = ""
        while True:
            self._watch_once()
            late = self.progress.now > begin + self.wishes.bound
            views, found = await self._views(late=late)
            if not found and right is not None:
                break
            right = None if found else views
            last = f"; last was {min(found, key=_tells_most)}" if found else last
            if found and late:
                self.violations += sorted(set(found))
                raise _Broken
            await self.progress.sleep(_JUDGE_GAP)
        self.record(Settled(self.progress.now, tuple(views)))
        took = self.progress.now - begin
        self.settled_after.append(took)
        self.tell(f"{verdict}, {took:.1f} s after the heal{last if took > _SOON else ''}")

    async def _views(self, *, late: bool) -> tuple[list[View], list[Violation]]:
        views = []
        for host in self.ground.hosts:
            try:
                views.append(await self.client.view(host))
            except (NotAsked, NoAnswer) as error:  # still starting perhaps
                return views, [Violation("runs", f"{host.name} does not answer: {error}")]
        return views, self.checker.judge(views)


async def run(wishes: Wishes, say: Callable[[str], None], *, keep: bool = False) -> Result:
    """Do a run. ``say`` takes the lines of its timeline. What it leaves is `Result.directory`, and nothing else."""
    directory = Path(tempfile.mkdtemp(prefix="gossipreg-chaos-"))
    kept = keep
    writer = Writer.open(directory / "history.jsonl")
    try:
        fake_clocks = not {"clock", "days"}.isdisjoint(wishes.nemeses)
        async with open_ground(
            directory, wishes.agents, seed=wishes.seed, settings=wishes.settings, fake_clocks=fake_clocks
        ) as ground:
            progress = Progress()
            it = Run(wishes, ground, progress, say, writer)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(progress.run)
                try:
                    await it.all_phases()
                except* _Broken:
                    it.tell("the run ends here")
                nursery.cancel_scope.cancel()
            if it.violations:
                kept = True
                _keep_disks(ground)
            return Result(
                violations=tuple(it.violations),
                phases=it.phases,
                outcomes=it.outcomes,
                settled_after=it.settled_after,
                directory=directory if kept else None,
                command=wishes.command(it.phases),
            )
    finally:
        writer.close()
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)


def _tells_most(violation: Violation) -> tuple[bool, Violation]:
    """Sort what says where views differ before what says that they do."""
    return violation.invariant == "fingerprints", violation


def _keep_disks(ground: Ground) -> None:
    for host in ground.hosts:
        with contextlib.suppress(OSError, shutil.Error):  # a wiped disk has none
            shutil.copytree(host.disk / "data", host.directory / "data", dirs_exist_ok=True)
