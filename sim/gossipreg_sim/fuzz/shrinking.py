"""Shrinking of a failing scenario with Hypothesis's shrinker: fewer faults, nodes, seconds.

Hypothesis's choices are whole numbers here, and a smaller number makes a simpler scenario; nearly all numbers mean "as
in the original". So most random draws give the original scenario or one close to it, which fails as it does, and
Hypothesis's search for the smallest failing choices makes the scenario small.
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

#: One draw in this many is a simplification.
_RARE: Final = 64

#: Parts that may have no effect on a failure.
_SIMPLER: Final[tuple[dict[str, Any], ...]] = (
    {"wiring": Wiring()},
    {"workload": Workload(instances=0)},
    {"sealed": False},
    {"identity": "off"},
    {"zones": 1},
    {"together": True},
)

#: Settings of Hypothesis: random draws before it gives up finding a failing one.
_DRAWS: Final = 50


def shrunk(
    scenario: Scenario, fails: Callable[[Scenario], bool], *, runs: int = 200, seconds: float = 60.0
) -> Scenario:
    """Return the smallest scenario found that ``fails`` as ``scenario`` does; at worst ``scenario`` itself.

    Calls ``fails`` at most ``runs`` times, and for at most ``seconds`` of CPU time.
    """
    from hypothesis import HealthCheck, Phase, Verbosity, find, settings  # needed only for shrinking
    from hypothesis.errors import NoSuchExample

    quiet = settings(
        max_examples=_DRAWS,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    asked = _FailureCheck(fails, runs, time.thread_time() + seconds, {scenario: True})
    scenario = _without_ineffective_parts(scenario, asked.fails)
    try:
        return find(simpler(scenario), asked.fails, settings=quiet, random=Random(0))
    except NoSuchExample:
        return scenario


def _without_ineffective_parts(scenario: Scenario, fails: Callable[[Scenario], bool]) -> Scenario:
    """Return ``scenario`` without parts that do not affect the failure: one run each, cheaper than a random search."""
    for plainer in _SIMPLER:
        less = _with(scenario, scenario.faults, **plainer)
        scenario = less if fails(less) else scenario
    for fault in scenario.faults:
        less = _with(scenario, tuple(other for other in scenario.faults if other != fault))
        scenario = less if fails(less) else scenario
    while scenario.duration >= 2 and fails(less := _half(scenario)):
        scenario = less
    return scenario


def _half(scenario: Scenario) -> Scenario:
    """Return the scenario with half its duration, and the faults that begin within it."""
    return _with(scenario, scenario.faults, duration=scenario.duration // 2)


def _with(scenario: Scenario, faults: Iterable[Fault], **parts: Any) -> Scenario:
    """Return ``scenario`` with other ``parts``, and those of ``faults`` that make sense in it."""
    bare = attrs.evolve(scenario, faults=(), **(parts | {"together": True}))
    together = parts.get("together", scenario.together)
    if (bare.nodes - 1) * bare.stagger < bare.warmup + bare.duration:  # else there is no time for staggered starts
        bare = attrs.evolve(bare, together=together)
    if bare.cells == 1:
        faults = [fault for fault in faults if not any(name.startswith("cell:") for name in (*fault.nodes, *fault.to))]
    return attrs.evolve(bare, faults=sensible(faults, bare))


@attrs.define
class _FailureCheck:
    """Runs each scenario once; after the limit, only those known to fail still fail."""

    ask: Callable[[Scenario], bool]
    runs: int  # left
    until: float  # CPU time of this thread (seconds)
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
    """Return a strategy of scenarios that are ``scenario`` with some parts left out."""
    from hypothesis import strategies as st

    @st.composite
    def scenarios(draw: Draw) -> Scenario:
        return _Simplifier(draw, st.integers).scenario(scenario)

    return scenarios()


@attrs.define
class _Simplifier:
    """Draws numbers; 0 is the simplest value, and nearly all others mean "as in the original"."""

    draw: Draw
    integers: Callable[[int, int], Any]

    def is_kept(self) -> bool:
        """Draw whether a part is kept."""
        return self.draw(self.integers(0, _RARE)) > 0

    def at_most(self, most: float, least: float = 0.0, step: float = 1.0) -> float:
        """Draw a number from ``least`` to ``most``, in steps."""
        steps = int((most - least) / step)
        return min(most, least + step * self.draw(self.integers(0, _RARE * (steps + 1))))

    def scenario(self, was: Scenario) -> Scenario:
        """Draw a scenario with at most what ``was`` has."""
        faults = [fault for fault in was.faults if self.is_kept()]
        nodes = int(self.at_most(was.nodes, 1))
        names = was.node_names[:nodes]
        kept = [less for fault in faults if (less := self.fault(fault, names)) is not None]
        duration = self.at_most(was.duration, 1)
        kept = [attrs.evolve(fault, at=min(fault.at, duration - 1)) for fault in kept]
        workload = was.workload
        cells = was.cells if was.cells <= nodes and self.is_kept() else 1
        seeds = min(was.seeds, max(1, nodes - (was.nodes - was.seeds)), nodes // cells)
        return _with(
            was,
            kept,
            nodes=nodes,
            zones=min(nodes, was.zones) if self.is_kept() else 1,
            cells=cells,
            seeds=seeds if self.is_kept() else 1,
            together=was.together or not self.is_kept(),
            sealed=self.is_kept() and was.sealed,
            identity=was.identity if self.is_kept() else "off",
            warmup=self.at_most(was.warmup),
            duration=duration,
            wiring=was.wiring if self.is_kept() else Wiring(),
            workload=Workload(
                instances=int(self.at_most(workload.instances)),
                churn=workload.churn if self.is_kept() else 0.0,
                policies=workload.policies if self.is_kept() else 0.0,
                primaries=workload.primaries if self.is_kept() else 0.0,
            ),
        )

    def fault(self, was: Fault, names: list[str]) -> Fault | None:
        """Draw the fault with fewer nodes and less time; None if no node is left."""
        nodes, to = self.affected(was.nodes, names), self.affected(was.to, names)
        at, lasts = self.at_most(was.at), self.at_most(was.lasts, min(was.lasts, 1.0))
        if not nodes or not to:
            return None
        return attrs.evolve(was, nodes=nodes, to=to, at=at, lasts=lasts)

    def affected(self, selectors: tuple[str, ...], names: list[str]) -> tuple[str, ...]:
        """Draw some of the selectors; the last node replaces nodes that were removed."""
        kept = [selector for selector in selectors if self.is_kept()]
        gone = [selector.startswith("n") and selector not in names for selector in kept]
        return tuple(dict.fromkeys(names[-1] if lost else selector for selector, lost in zip(kept, gone, strict=True)))
