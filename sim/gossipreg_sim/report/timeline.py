"""Timeline of a run for the page and the plots: fault bands, phases, actions on nodes, and violations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from gossipreg_sim.fault import Fault
from gossipreg_sim.faults import chosen
from gossipreg_sim.report.recording import Recording
from gossipreg_sim.rng import Rng
from gossipreg_sim.runner import Outcome
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.world import SECOND

#: Maximum number of actions on nodes that a page marks on its timeline; a churn of hours has thousands.
ACTS_MAX: Final = 20_000

_PHASES: Final = ("faults", "heal", "agreement")

#: Faults after which a node does not come back unless ``lasts`` is given.
_FOR_GOOD: Final = ("crash", "crash-host", "leave")


@attrs.frozen
class Band:
    """The time span in which a fault is active (seconds)."""

    name: str
    kind: str
    text: str
    begins: float
    ends: float


@attrs.frozen
class Mark:
    """An event at one moment (seconds); ``node`` is "" if it concerns no single node."""

    at: float
    kind: str  # "phase", "act" or "violation"
    node: str
    text: str


def bands_of(recording: Recording) -> tuple[Band, ...]:
    """Return the faults of a run, in the order of the scenario."""
    return tuple(_band(fault, recording.scenario, recording.outcome.seconds) for fault in recording.scenario.faults)


def _band(fault: Fault, scenario: Scenario, end: float) -> Band:
    begins = scenario.warmup + fault.at
    heal = scenario.warmup + scenario.duration
    ends = min(heal, begins + fault.lasts) if fault.lasts else heal
    if fault.kind == "restart":
        struck = len(chosen(fault.nodes, scenario, Rng.of("how many")))
        ends = min(heal, begins + fault.seconds + (struck - 1) * fault.every)
    if fault.permanent or (fault.kind in _FOR_GOOD and not fault.lasts):
        ends = end
    return Band(fault.name, fault.kind, described(fault), begins, max(begins, ends))


def described(fault: Fault) -> str:
    """Describe a fault in a few words, after its table in the scenario."""
    said = [f"{fault.kind} of {', '.join(fault.nodes)}"]
    if fault.to != ("*",):
        said.append(f"{'and' if fault.both_ways else 'to'} {', '.join(fault.to)}")
    for field in attrs.fields(Fault):
        value = getattr(fault, field.name)
        if field.name not in ("kind", "name", "at", "lasts", "nodes", "to", "both_ways") and value != field.default:
            shown = value if isinstance(value, str) else f"{value:g}"
            said.append(field.name if value is True else f"{field.name} {shown}")
    if not fault.both_ways:
        said.append("one way")
    return ", ".join(said)


def marks_of(recording: Recording) -> tuple[Mark, ...]:
    """Return phases, actions on nodes, and violations, in chronological order."""
    return tuple(sorted([*_actions(recording), *_violations(recording.outcome)], key=lambda mark: mark.at))


def _actions(recording: Recording) -> Iterator[Mark]:
    acts = 0
    names = frozenset(recording.scenario.node_names)
    for step in recording.outcome.trace.steps:
        at = step.at / SECOND
        if not step.node and step.what in _PHASES:
            yield Mark(at, "phase", "", step.what)
        elif acts < ACTS_MAX and ((step.node in names and step.what in _ACTS) or step.what in ("forge", "replay")):
            acts += 1
            yield Mark(at, "act", step.node, step.what)


#: The trace's names of actions of faults on nodes.
_ACTS: Final = (
    "crash",
    "crash-host",
    "start",
    "leave",
    "freeze",
    "unfreeze",
    "block",
    "unblock",
    "slow",
    "clock",
    "drift",
    "contested",
)


def _violations(outcome: Outcome) -> Iterator[Mark]:
    for violation in outcome.violations[:ACTS_MAX]:
        yield Mark(violation.at / SECOND, "violation", violation.node, f"{violation.oracle}: {violation.text}")
