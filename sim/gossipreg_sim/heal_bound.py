"""Heal bound: the time after the heal within which the whole core must agree, a sum of terms from the settings.

`TERMS` is the one definition: `heal_bound` adds them up, and docs/simulator.md lists them. Flap damping comes on top
(`longest_damping`), since how long a member waits depends on the run.

No term is needed for the suspicion of a live member: a node that receives a message from a member it suspects notifies
that member, which refutes. A dead member needs no whole round of probes: the probability that none of n members probes
it in ten periods is e^-10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from gossipreg.protocol.borders import CROSS_SECONDS, RETRY_SECONDS
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.remote_handler import UNKNOWN_SECONDS
from gossipreg_sim.fault import Fault
from gossipreg_sim.fault_timing import DEADLY, is_for_good
from gossipreg_sim.process import Process
from gossipreg_sim.scenario import Scenario

#: Periods after which some node has almost certainly probed a dead member.
_FOUND_PERIODS: Final = 10

#: The most by which random jitter stretches a timer.
_JITTER: Final = 1.25

#: One-way trips that follow one another from the first contact to agreement: hellos, a sync session, a refutation.
_TRIPS: Final = 20

#: Members of another cell that a relay tries: its two relays, then a few others in turn.
_BORDER_TRIES: Final = 6

#: How far a slow trip is from a usual one (standard deviations).
_DEVIATIONS: Final = 2.0


@attrs.frozen
class Term:
    """One term of the bound: how long it is, in words and in seconds, and what happens in that time."""

    length: str
    purpose: str
    seconds: Callable[[Scenario], float] = attrs.field(repr=False)


def _contact(scenario: Scenario) -> float:
    return _JITTER * max(scenario.settings.reconnect_interval, scenario.settings.join_retry_max)


def _comparisons(scenario: Scenario) -> float:
    """Return the duration of the probes that start at the worst local health and improve after each."""
    settings, count = scenario.settings, math.ceil(math.log2(max(2, scenario.nodes)))
    return settings.probe_interval * sum(max(1, settings.local_health_max + 1 - number) for number in range(count))


def _session_gap(scenario: Scenario) -> float:
    return scenario.settings.reconcile_settle + _JITTER * scenario.settings.reconcile_gap


def _trips(scenario: Scenario) -> float:
    return _TRIPS * (scenario.wiring.slowest(_DEVIATIONS) + sum(map(lasting_delay, scenario.faults)))


def _detection(scenario: Scenario) -> float:
    if not any(fault.kind in DEADLY and is_for_good(fault) for fault in scenario.faults):
        return 0.0
    settings = scenario.settings
    shortest = settings.suspicion_alpha * max(1.0, math.log10(scenario.nodes)) * settings.probe_interval
    decided = 0.0 if scenario.cells == 1 else UNKNOWN_SECONDS
    return _FOUND_PERIODS * settings.probe_interval + settings.suspicion_beta * shortest + decided


def _borders(scenario: Scenario) -> float:
    if scenario.cells == 1:
        return 0.0
    tries = _BORDER_TRIES * RETRY_SECONDS + _JITTER * CROSS_SECONDS
    return scenario.settings.stream_patience + tries + _session_gap(scenario)


#: The terms, in the order in which their times follow one another.
TERMS: Final = (
    Term(
        f"{_JITTER:g} times the reconnect interval, or the longest join backoff if that is longer",
        "to regain contact",
        _contact,
    ),
    Term(
        "log2 n probes, the first at the worst local health, each of the others a step better",
        "to compare states in pairs",
        _comparisons,
    ),
    Term(
        f"the settling time before a sync session, and {_JITTER:g} times the gap between sessions",
        "to fetch what gossip missed",
        _session_gap,
    ),
    Term(
        "the stream timeout", "for a session that a fault cut short", lambda scenario: scenario.settings.stream_patience
    ),
    Term(
        "all gossip transmissions, twice",
        "for a refutation, and for what follows it",
        lambda scenario: 2 * gossip_span(scenario.settings),
    ),
    Term(f"{_TRIPS} slow one-way trips", "for the messages themselves", _trips),
    Term(
        "between cells, the stream timeout, six tries, a quiet period, and the settling time and gap once more",
        "to find a relay that answers, and to spread what came",
        _borders,
    ),
    Term(
        f"if a member stays dead, {_FOUND_PERIODS} probe intervals and the longest suspicion; between cells, also the "
        f"{UNKNOWN_SECONDS:g} s after which a member that only another cell holds has failed",
        "to detect that",
        _detection,
    ),
)


def heal_bound(scenario: Scenario) -> float:
    """Return the time after the heal within which the whole core must agree (seconds), without flap damping."""
    return sum(term.seconds(scenario) for term in TERMS)


def gossip_span(settings: EngineSettings) -> float:
    """Return the time from the creation of an update to its last transmission (seconds)."""
    gaps = sum(settings.gossip_growth**number for number in range(settings.gossip_transmissions - 1))
    held_back = max(settings.gossip_coalesce, settings.gossip_coalesce_max)
    return held_back + settings.gossip_tree_gap * settings.gossip_tree + settings.gossip_gap * gaps


def lasting_delay(fault: Fault) -> float:
    """Return by how much a permanent ``fault`` may make a packet late (seconds), without what is very rare."""
    if not fault.permanent:
        return 0.0
    match fault.kind:
        case "delay":
            return fault.seconds + _DEVIATIONS * fault.spread
        case "reorder":
            return fault.spread
        case _:
            return 0.0


def longest_damping(processes: Iterable[Process]) -> float:
    """Return the longest flap-damping wait of any of ``processes`` if it failed now (seconds)."""
    waits = []
    for process in processes:
        damping = process.engine.local_member.damping
        waits.append(damping.wait(process.now) if damping.unanswered is None else damping.suppress_until - process.now)
    return max(waits, default=0.0)
