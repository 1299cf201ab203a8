"""Checks of a scenario before a run: combinations of valid keys that make no sense.

A fault that has no effect, or that another one undoes, would make a result look better than it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gossipreg_sim.fault import KINDS, Fault
from gossipreg_sim.fault_timing import (
    DEADLY,
    RESTARTS,
    FaultContext,
    end_of,
    end_of_restart,
    is_for_good,
    most_affected,
    surely_affected,
)

#: Kinds of fault that set a state of a node, of which only the last one set holds; so two at a time on one node
#: contradict each other. (A node that several faults keep down is down until the last of them ends.)
_STATES: Final = ("clock-skew", "clock-skew-at-start", "clock-drift", "slow", "freeze", "block")

#: Resolution of the simulator's clock (seconds).
_SHORTEST: Final = 1e-9


def sensible(faults: Iterable[Fault], scenario: FaultContext) -> tuple[Fault, ...]:
    """Return those of ``faults`` that make sense in ``scenario``, in order; each one left out has a `problem`."""
    kept: list[Fault] = []
    for fault in faults:
        if not problem(fault, kept, scenario):
            kept.append(fault)
    return tuple(kept)


def problem(fault: Fault, others: Sequence[Fault], scenario: FaultContext) -> str:
    """Return why ``fault`` makes no sense in ``scenario`` beside ``others``, as "key: reason"; "" if it does.

    Its kind, keys and selectors have been checked. Nodes named by `random:N` are ignored: they depend on the seed.
    """
    return (
        _of_time(fault, scenario)
        or _of_keys(fault)
        or _of_nodes(fault, scenario)
        or _of_identity(fault, scenario)
        or _of_upgrade(fault, others, scenario)
        or next((said for other in others if (said := _contradiction(fault, other, scenario))), "")
    )


def _of_time(fault: Fault, scenario: FaultContext) -> str:
    if fault.at >= scenario.duration:
        return f"at: {fault.at:g} is not before the heal, at duration = {scenario.duration:g}"
    if 0 < fault.lasts < _SHORTEST:
        return f"lasts: {fault.lasts:g} is shorter than a nanosecond"
    if fault.kind in RESTARTS:
        return _of_restart(fault, scenario)
    if fault.kind == "replay" and fault.seconds >= scenario.warmup + scenario.duration:
        return f"seconds: no packet is {fault.seconds:g} s old before the heal, at duration = {scenario.duration:g}"
    return ""


def _of_restart(fault: Fault, scenario: FaultContext) -> str:
    ends = end_of_restart(fault, scenario)
    count = most_affected(fault.nodes, scenario)
    if fault.lasts:
        what = "a restart" if fault.kind == "restart" else "an upgrade"
        return f"lasts: {what} ends when its last node is back: leave it out"
    if ends <= scenario.duration:
        return ""
    turns = f", one every {fault.every:g} s" if fault.every else " at once"
    what = f"{count} nodes{turns}" if count > 1 else "a node"
    return (
        f"{what}, back after {fault.seconds:g} s: starting at = {fault.at:g} this takes until {ends:g} s, "
        f"and the heal comes at duration = {scenario.duration:g}"
    )


def _of_keys(fault: Fault) -> str:
    if fault.permanent and fault.lasts:
        return f"lasts: {fault.lasts:g} contradicts permanent = true: leave out one of the two"
    if fault.kind in (*DEADLY, "revoke") and is_for_good(fault) and fault.disk:
        return "disk: the node does not come back: set lasts, or leave out disk"
    if fault.kind in ("freeze", "block") and fault.on and not fault.off:
        return "on: the pause has no end without off: set off, too"
    return ""


def fits_identity(kind: str, scenario: FaultContext) -> bool:
    """Whether the scenario has the identity, or the key, that a kind of fault needs."""
    return not _of_identity(Fault(kind=kind), scenario)


def _of_identity(fault: Fault, scenario: FaultContext) -> str:
    if fault.kind == "impostor" and scenario.identity != "require":
        return 'kind: an impostor is believed unless all nodes ask for identity: set identity = "require"'
    if fault.kind == "revoke" and scenario.identity == "off":
        return 'kind: without identity there is no certificate to revoke: set identity = "require"'
    if fault.kind == "upgrade" and scenario.cells > 1:
        return "kind: nodes of several cells have no identity"
    if fault.kind == "rotate" and not scenario.sealed:
        return "kind: in clear there is no key to rotate: set sealed = true"
    return ""


def _of_upgrade(fault: Fault, others: Sequence[Fault], scenario: FaultContext) -> str:
    if fault.kind != "upgrade":
        return ""
    if fault.identity == "off":
        return "identity: a member that has signed is not believed unsigned: choose prefer or require"
    have_signed = scenario.identity != "off" or any(
        other.kind == "upgrade" and other.nodes == ("*",) and end_of_restart(other, scenario) <= fault.at
        for other in others
    )
    if fault.identity == "require" and not have_signed:
        return "identity: nodes that do not sign are refused: upgrade all to prefer in a fault above"
    return ""


def _of_nodes(fault: Fault, scenario: FaultContext) -> str:
    for key, selectors in (("nodes", fault.nodes), ("to", fault.to)):
        if not selectors:
            return f"{key}: it names no node"

    if "to" in KINDS[fault.kind].takes and most_affected((*fault.nodes, *fault.to), scenario) < 2:
        return "to: there is no link from a node to itself"
    return ""


def _contradiction(fault: Fault, other: Fault, scenario: FaultContext) -> str:
    """Return why two faults contradict each other, in either order."""
    for later, killer in ((fault, other), (other, fault)):
        if _affects_only_dead_nodes(later, killer, scenario):
            return f"nodes: at {later.at:g} s {killer.name or killer.kind} has left no such node alive"
    if {fault.kind, other.kind} == {"impostor", "upgrade"} and "require" not in (fault.identity, other.identity):
        return "identity: an impostor is believed unless all nodes ask for identity"
    if fault.kind == other.kind == "rotate":
        return f"kind: {other.name or other.kind} rotates the key already"
    if fault.kind != other.kind or fault.kind not in _STATES:
        return ""
    if fault.at >= end_of(other, scenario) or other.at >= end_of(fault, scenario):
        return ""
    struck = surely_affected(other.nodes, scenario)
    both = [name for name in surely_affected(fault.nodes, scenario) if name in struck]
    return f"nodes: {other.name or other.kind} affects {both[0]} at the same time" if both else ""


def _affects_only_dead_nodes(fault: Fault, killer: Fault, scenario: FaultContext) -> bool:
    """Whether every node that ``fault`` affects has died for good by then."""
    if killer.kind not in DEADLY or not is_for_good(killer) or killer.at >= fault.at:
        return False
    dead = surely_affected(killer.nodes, scenario)
    return any(_is_within(selectors, dead, scenario) for selectors in (fault.nodes, fault.to))


def _is_within(selectors: tuple[str, ...], names: tuple[str, ...], scenario: FaultContext) -> bool:
    drawn = any(selector.startswith("random:") for selector in selectors)
    return len(names) == scenario.nodes or (
        not drawn and all(name in names for name in surely_affected(selectors, scenario))
    )
