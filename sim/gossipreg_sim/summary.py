"""Summary of a run's outcome, as text and as a JSON document."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from gossipreg_sim.healing import Heal
from gossipreg_sim.oracles.oracle import Violation
from gossipreg_sim.runner import Outcome
from gossipreg_sim.scenario import Scenario

#: Violations shown in full; one cause can show at every step after it.
_SHOWN: Final = 20


def as_lines(outcome: Outcome, took: float, again: str) -> Iterator[str]:
    """Yield the lines of a summary. ``took`` is in seconds of real time; ``again`` is the command that repeats it."""
    scenario = outcome.scenario
    yield f"{scenario.name}, seed {outcome.seed}: {scenario.title}"
    yield ""
    yield f"  nodes    {scenario.nodes}{', sealed' if scenario.sealed else ''}"
    yield f"  phases   {_phases(outcome)}"
    for fault in scenario.faults:
        yield f"  fault    {fault.name} at {fault.at:g} s, {_span(fault.lasts, permanent=fault.permanent)}"
    counted = Counter(violation.oracle for violation in outcome.violations)
    for name, checks in outcome.checks.items():
        yield f"  oracle   {name:<19} {checks:>9,} checks   {counted[name]} violations   {outcome.laws[name]}"
        if outcome.notes[name]:
            yield f"           {outcome.notes[name]}"
    yield f"  marks    {', '.join(f'{mark} {times:,}' for mark, times in outcome.marks.items())}"
    yield f"  traffic  {outcome.packets:,} packets, {outcome.frames:,} frames, {outcome.bytes:,} bytes"
    yield f"  speed    {outcome.seconds:.1f} s in {took:.2f} s: {outcome.seconds / took:.0f} x real time"
    for heal in outcome.heals:
        yield f"  healed   {_healed(heal, outcome.scenario)}"
    yield ""
    yield from result_lines(outcome, again)
    yield f"trace hash {outcome.digest}"


def as_document(outcome: Outcome, took: float, again: str) -> dict[str, Any]:
    """Return the same as a JSON document; durations are in seconds."""
    return {
        "scenario": outcome.scenario.name,
        "seed": outcome.seed,
        "good": outcome.is_good,
        "nodes": outcome.scenario.nodes,
        "faults": [fault.name for fault in outcome.scenario.faults],
        "oracles": outcome.checks,
        "notes": {name: note for name, note in outcome.notes.items() if note},
        "violations": [_violation(violation) for violation in outcome.violations],
        "marks": outcome.marks,
        "missing_marks": list(outcome.missing),
        "healed_in": outcome.healed_in,
        "heals": [_heal(heal) for heal in outcome.heals],
        "bound": outcome.bound,
        "events": outcome.events,
        "packets": outcome.packets,
        "frames": outcome.frames,
        "bytes": outcome.bytes,
        "virtual_seconds": outcome.seconds,
        "took": took,
        "command": again,
        "trace_hash": outcome.digest,
    }


def _violation(violation: Violation) -> dict[str, Any]:
    return {"at_ns": violation.at, "oracle": violation.oracle, "node": violation.node, "text": violation.text}


def _phases(outcome: Outcome) -> str:
    scenario = outcome.scenario
    heal = scenario.warmup + scenario.duration
    quiet = outcome.seconds - heal
    return f"warm-up to {scenario.warmup:g} s, faults to {heal:g} s, heal and {quiet:.1f} s of quiet"


def _span(lasts: float, *, permanent: bool) -> str:
    if permanent:
        return "for good"
    return f"for {lasts:g} s" if lasts else "until the heal"


def _heal(heal: Heal) -> dict[str, Any]:
    return {"at": heal.at, "faults": list(heal.ended), "took": heal.took, "bound": heal.bound, "in_time": heal.in_time}


def _healed(heal: Heal, scenario: Scenario) -> str:
    after = "the heal" if heal.at >= scenario.duration else f"{', '.join(heal.ended)} at {heal.at:g} s"
    if heal.took is None and heal.until < math.inf:
        return f"not all agree after {after} before the next fault at {heal.until:g} s; bound {heal.bound:.2f} s"
    if heal.took is None:
        return f"not all agree after {after}; bound {heal.bound:.2f} s"
    return f"all agree {heal.took:.2f} s after {after}; bound {heal.bound:.2f} s"


def result_lines(outcome: Outcome, again: str) -> Iterator[str]:
    """Yield whether every oracle held; if not, the violations and the command that runs it ``again``."""
    if outcome.is_good:
        yield "good: every oracle passed"
        return
    for violation in outcome.violations[:_SHOWN]:
        yield f"violation: {violation}"
    if len(outcome.violations) > _SHOWN:
        yield f"violation: and {len(outcome.violations) - _SHOWN:,} more"
    if outcome.missing:
        yield f"vacuous: the run did not reach {', '.join(outcome.missing)}, which its scenario requires"
    yield f"again: {again}"
