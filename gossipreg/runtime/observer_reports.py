"""Observer reports: what each present member believes of the others, asked of a few of them at a time.

For people, on demand: gossip tells what is so, and not which member believes what. A request is bounded in members, in
streams at a time, and in time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import attrs
import trio

from gossipreg import __version__, limits
from gossipreg.observations import MemberObservation, ObserverReport
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.outputs import Output


@attrs.define(eq=False, repr=False)
class _Question:
    answered: trio.Event = attrs.field(factory=trio.Event)
    report: ObserverReport | None = None


@attrs.define(eq=False, repr=False)
class ObserverReports:
    """The questions that are open, and the answers of this node. ``perform`` carries out outputs of the engine."""

    _engine: Engine
    _perform: Callable[[Sequence[Output]], None]
    _rng: Random = attrs.field(factory=Random)
    problems: Callable[[], Sequence[str]] = tuple  # of this node, as sentences
    _kept: tuple[float, tuple[ObserverReport, ...]] | None = attrs.field(init=False, default=None)  # since when (s)
    _collected: trio.Event | None = attrs.field(init=False, default=None)  # set when what is under way has ended
    _open: dict[str, _Question] = attrs.field(init=False, factory=dict)  # by member

    def tell(self, stream: int) -> None:
        """A peer asks on ``stream``: answer at once."""
        self._perform(self._engine.tell_observations(stream, __version__, tuple(self.problems())))

    def ended(self, report: ObserverReport) -> None:
        """A question was answered, or cannot be."""
        question = self._open.pop(report.name, None)
        if question is not None:
            question.report = self._bounded(report)
            question.answered.set()

    def _bounded(self, report: ObserverReport) -> ObserverReport:
        """``report`` without members that are not known here, but for a few: an observer can make up any number."""
        engine, left = self._engine, limits.OBSERVED_STRANGERS_MAX
        kept: list[MemberObservation] = []
        for each in report.observed:
            if each.name != engine.identity.name and engine.members.get(each.name) is None:
                left -= 1
                if left < 0:
                    continue
            kept.append(each)
        return report if len(kept) == len(report.observed) else attrs.evolve(report, observed=tuple(kept))

    async def collect(self) -> tuple[ObserverReport, ...]:
        """What this node believes, and then each member that is present, sorted by name.

        All that ask within `limits.OBSERVERS_KEPT_SECONDS`, or while members are asked, get the same reports. Of more
        than `limits.OBSERVERS_MAX` members, so many are asked that are drawn anew each time.
        """
        while True:
            if self._kept is not None and trio.current_time() - self._kept[0] < limits.OBSERVERS_KEPT_SECONDS:
                return self._kept[1]
            if self._collected is None:
                break
            await self._collected.wait()
        self._collected = trio.Event()
        try:
            reports = await self._collect()
            self._kept = trio.current_time(), reports
        finally:
            self._collected.set()
            self._collected = None
        return reports

    async def _collect(self) -> tuple[ObserverReport, ...]:
        engine, own = self._engine, self._engine.identity
        mine = ObserverReport(
            own.name, own.zone, "", __version__, tuple(self.problems()), tuple(engine.observations.observe())
        )
        names = list(engine.members.present)
        if len(names) > limits.OBSERVERS_MAX:
            names = self._rng.sample(names, limits.OBSERVERS_MAX)
        reports: dict[str, ObserverReport] = {}
        slots = trio.CapacityLimiter(limits.OBSERVERS_AT_ONCE)
        with trio.move_on_after(limits.OBSERVERS_SECONDS):
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(self._ask, name, slots, reports)
        return (mine, *(reports.get(name) or self._unanswered(name) for name in sorted(names)))

    async def _ask(self, name: str, slots: trio.CapacityLimiter, reports: dict[str, ObserverReport]) -> None:
        async with slots:
            question = self._open.get(name)
            is_first = question is None
            if question is None:
                question = self._open[name] = _Question()
                self._perform(self._engine.ask_observations(name))
            try:
                with trio.move_on_after(self._patience(name)):
                    await question.answered.wait()
            finally:
                if is_first and self._open.get(name) is question:
                    del self._open[name]
                    self._perform(self._engine.give_up_observations(name))
            reports[name] = question.report or self._unanswered(name, is_silent=True)

    def _patience(self, name: str) -> float:
        """How long the member of that name may take (seconds)."""
        member = self._engine.members.get(name)
        trip = None if member is None else self._engine.detector.prober.trips.smoothed(member.run_id)
        if trip is None:
            return limits.OBSERVER_SECONDS
        return min(limits.OBSERVER_SECONDS, limits.OBSERVER_SECONDS_MIN + limits.OBSERVER_ROUND_TRIPS * trip)

    def _unanswered(self, name: str, *, is_silent: bool = False) -> ObserverReport:
        member = self._engine.members.get(name)
        zone = "" if member is None else member.zone
        return ObserverReport(name, zone, "it does not answer in time", is_silent=is_silent)
