"""Shrinking of a failing scenario with Hypothesis's shrinker: fewer faults, nodes, seconds.

A choice of Hypothesis is a whole number here, and the smaller it is the simpler what comes of it; nearly all numbers
stand for what the scenario had. So most random draws are the scenario itself or close to it and fail as it does, and
what Hypothesis then does to find the least failing choices makes the scenario small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any, Final

import attrs

from gossipreg_sim.fault import Fault
from gossipreg_sim.scenario import Scenario, Wiring, Workload
from gossipreg_sim.scenario_checks import sensible

if TYPE_CHECKING:
    from hypothesis import strategies as st

    Draw = Callable[[st.SearchStrategy[int]], int]

#: One draw in so many is a simplification.
_RARE: Final = 64

#: Each of these may have no part in a failure.
_PLAINER: Final[tuple[dict[str, Any], ...]] = (
    {"wiring": Wiring()},
    {"workload": Workload(instances=0)},
    {"sealed": False},
    {"zones": 1},
    {"together": True},
)

#: Settings of Hypothesis: random draws before it gives up finding one that fails.
_DRAWS: Final = 50


def shrunk(
    scenario: Scenario, fails: Callable[[Scenario], bool], *, runs: int = 200, seconds: float = 60.0
) -> Scenario:
    """The smallest scenario found that ``fails`` as ``scenario`` does; at worst the same one.

    Asks at most so many times, and for no longer than so many ``seconds`` of the processor.
    """
    from hypothesis import HealthCheck, Phase, Verbosity, find, settings  # only to shrink
    from hypothesis.errors import NoSuchExample

    quiet = settings(
        max_examples=_DRAWS,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    asked = _Asked(fails, runs, time.thread_time() + seconds, {scenario: True})
    scenario = _without_the_idle(scenario, asked.fails)
    try:
        return find(simpler(scenario), asked.fails, settings=quiet, random=Random(0))
    except NoSuchExample:
        return scenario


def _without_the_idle(scenario: Scenario, fails: Callable[[Scenario], bool]) -> Scenario:
    """``scenario`` without what has no part in the failure: a run for each, where a blind search would need many."""
    for plainer in _PLAINER:
        less = _with(scenario, scenario.faults, **plainer)
        scenario = less if fails(less) else scenario
    for fault in scenario.faults:
        less = _with(scenario, tuple(other for other in scenario.faults if other != fault))
        scenario = less if fails(less) else scenario
    while scenario.duration >= 2 and fails(less := _half(scenario)):
        scenario = less
    return scenario


def _half(scenario: Scenario) -> Scenario:
    """The first half of the faults' time, and those that begin in it."""
    return _with(scenario, scenario.faults, duration=scenario.duration // 2)


def _with(scenario: Scenario, faults: Iterable[Fault], **parts: Any) -> Scenario:
    """``scenario`` with other ``parts``, and those of ``faults`` that make sense in it."""
    bare = attrs.evolve(scenario, faults=(), **(parts | {"together": True}))
    together = parts.get("together", scenario.together)
    if (bare.nodes - 1) * bare.stagger < bare.warmup + bare.duration:  # else there is no time for one after the other
        bare = attrs.evolve(bare, together=together)
    return attrs.evolve(bare, faults=sensible(faults, bare))


@attrs.define
class _Asked:
    """Asks about each scenario once, and when time is up about none: then only what is known still fails."""

    ask: Callable[[Scenario], bool]
    runs: int  # left
    until: float  # on the clock of this thread on the processor (seconds)
    known: dict[Scenario, bool]

    def fails(self, candidate: Scenario) -> bool:
        known = self.known.get(candidate)
        if known is None:
            if self.runs <= 0 or time.thread_time() > self.until:
                return False
            self.runs -= 1
            known = self.known[candidate] = self.ask(candidate)
        return known


def simpler(scenario: Scenario) -> st.SearchStrategy[Scenario]:
    """Scenarios that are ``scenario`` but for what is left out of them."""
    from hypothesis import strategies as st

    @st.composite
    def scenarios(draw: Draw) -> Scenario:
        return _Simpler(draw, st.integers).scenario(scenario)

    return scenarios()


@attrs.define
class _Simpler:
    """Draws numbers; 0 is the simplest, and nearly all are "as it was"."""

    draw: Draw
    integers: Callable[[int, int], Any]

    def keeps(self) -> bool:
        """Whether something stays."""
        return self.draw(self.integers(0, _RARE)) > 0

    def at_most(self, most: float, least: float = 0.0, step: float = 1.0) -> float:
        """A number from ``least`` to ``most``, in steps."""
        steps = int((most - least) / step)
        return min(most, least + step * self.draw(self.integers(0, _RARE * (steps + 1))))

    def scenario(self, was: Scenario) -> Scenario:
        """A scenario that has at most what ``was`` has."""
        faults = [fault for fault in was.faults if self.keeps()]
        nodes = int(self.at_most(was.nodes, 1))
        names = was.node_names[:nodes]
        kept = [less for fault in faults if (less := self.fault(fault, names)) is not None]
        duration = self.at_most(was.duration, 1)
        kept = [attrs.evolve(fault, at=min(fault.at, duration - 1)) for fault in kept]
        workload = was.workload
        return _with(
            was,
            kept,
            nodes=nodes,
            zones=min(nodes, was.zones) if self.keeps() else 1,
            seeds=min(was.seeds, max(1, nodes - (was.nodes - was.seeds))) if self.keeps() else 1,
            together=was.together or not self.keeps(),
            sealed=self.keeps() and was.sealed,
            warmup=self.at_most(was.warmup),
            duration=duration,
            wiring=was.wiring if self.keeps() else Wiring(),
            workload=Workload(
                instances=int(self.at_most(workload.instances)),
                churn=workload.churn if self.keeps() else 0.0,
                policies=workload.policies if self.keeps() else 0.0,
                primaries=workload.primaries if self.keeps() else 0.0,
            ),
        )

    def fault(self, was: Fault, names: list[str]) -> Fault | None:
        """The fault, on fewer nodes and for less time; None if nobody is left whom it strikes."""
        nodes, to = self.struck(was.nodes, names), self.struck(was.to, names)
        at, lasts = self.at_most(was.at), self.at_most(was.lasts, min(was.lasts, 1.0))
        if not nodes or not to:
            return None
        return attrs.evolve(was, nodes=nodes, to=to, at=at, lasts=lasts)

    def struck(self, words: tuple[str, ...], names: list[str]) -> tuple[str, ...]:
        """Some of them; the last node stands for those who are there no longer."""
        kept = [word for word in words if self.keeps()]
        gone = [word.startswith("n") and word not in names for word in kept]
        return tuple(dict.fromkeys(names[-1] if lost else word for word, lost in zip(kept, gone, strict=True)))
