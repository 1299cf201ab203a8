"""Separation: which nodes a permanent fault exempts from agreement, since too little gets through to them.

A permanent fault *separates* if failure detectors must notice it again and again. A weak one does not: the protocol is
made for packets that are lost, late, repeated or damaged now and then, so all nodes must agree in spite of it.
"""

from __future__ import annotations

from typing import Final

from gossipreg.limits import PACKET_BYTES_MAX
from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg_sim.fault import KINDS, Fault
from gossipreg_sim.fault_timing import DEADLY, is_for_good
from gossipreg_sim.faults import chosen, links_of
from gossipreg_sim.heal_bound import lasting_delay
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.world import World

#: The greatest share of packets lost with which all must agree: docs/benchmarks.md measures up to as much on all links.
LOSS_MAX: Final = 0.3

#: The longest burst of losses, on average, with which all must agree (packets): a ping, and the pings of three helpers.
BURST_MAX: Final = 4

#: Full packets that a narrow link must be able to hold back, so that a sync session gets through.
_BUFFERED: Final = 4


def separated_nodes(scenario: Scenario, world: World) -> tuple[str, ...]:
    """Return the nodes outside the core: the smaller side of each permanent fault that separates.

    No link between two nodes of the core has such a fault, unless the fault affects all nodes alike.
    """
    apart: dict[str, None] = {}
    for fault in scenario.faults:
        if not separates(fault, scenario):
            continue
        rng = world.rng(f"fault {fault.name}")  # the same stream that the fault itself draws from
        nodes = chosen(fault.nodes, scenario, rng)
        sides = [nodes]
        if "to" in KINDS[fault.kind].takes:
            links = links_of(fault, nodes, chosen(fault.to, scenario, rng))
            sides = [sorted(links.senders), sorted(links.receivers)]
        smaller = min(sides, key=len)
        if len(smaller) < scenario.nodes:
            apart.update(dict.fromkeys(smaller))
    return tuple(apart)


def separates(fault: Fault, scenario: Scenario) -> bool:
    """Whether the permanent ``fault`` is so strong that its nodes need not agree with the others, or never can."""
    if fault.kind == "revoke":
        return is_for_good(fault)  # the others expel them
    return fault.permanent and fault.kind not in DEADLY and not _is_weak(fault, scenario)


def _is_weak(fault: Fault, scenario: Scenario) -> bool:
    share, round_trip = _lost(fault), 2 * scenario.wiring.slowest(2.0)
    match fault.kind:
        case "loss" | "bit-flips" | "duplicate":
            return share <= LOSS_MAX
        case "bursts":
            return share <= LOSS_MAX and BURST_MAX * fault.spread >= 1
        case "delay" | "reorder":
            return round_trip + 2 * lasting_delay(fault) <= scenario.settings.probe_timeout
        case "narrow":
            round_trip += 2 * PACKET_BYTES_MAX / fault.rate
            return round_trip <= scenario.settings.probe_timeout and fault.buffer >= _BUFFERED * PACKET_BYTES_MAX
        case "clock-skew" | "clock-drift":
            drifted = abs(fault.drift) * (scenario.duration + scenario.quiet)
            return abs(fault.seconds) + drifted <= CLOCK_SKEW_MAX
    return False  # a cut, and one that comes and goes


def _lost(fault: Fault) -> float:
    """Return the share of packets that the fault loses or damages."""
    if fault.kind == "bursts":
        return fault.probability / (fault.probability + fault.spread)
    return fault.probability if fault.kind in ("loss", "bit-flips") else 0.0
