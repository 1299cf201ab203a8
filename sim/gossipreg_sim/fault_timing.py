"""Fault timing: when each fault of a scenario begins and ends, as far as the scenario alone determines it."""

from __future__ import annotations

import math
from typing import Final, Protocol

from gossipreg_sim.fault import Fault

#: Kinds of fault that leave a node dead unless they have a duration.
DEADLY: Final = ("crash", "crash-host", "leave")

#: Kinds of fault that end when their last node is back.
RESTARTS: Final = ("restart", "upgrade")


class FaultContext(Protocol):
    """The part of a scenario that fault timing depends on: its nodes and zones, and the lengths of its phases."""

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        ...

    @property
    def node_names(self) -> list[str]:
        """The names of the nodes, in the order in which they start."""
        ...

    @property
    def cells(self) -> int:
        """How many rings the nodes are divided into."""
        ...

    @property
    def warmup(self) -> float:
        """Seconds before the faults."""
        ...

    @property
    def duration(self) -> float:
        """Seconds from the end of the warm-up to the heal."""
        ...

    @property
    def identity(self) -> str:
        """What the nodes ask of statements at the start: off, prefer or require."""
        ...

    @property
    def sealed(self) -> bool:
        """Whether packets are sealed with a key."""
        ...

    def cell_of(self, name: str) -> str:
        """Return the cell of the node called ``name``."""
        ...

    def zone_of(self, name: str) -> str:
        """Return the zone of the node called ``name``."""
        ...


def is_for_good(fault: Fault) -> bool:
    """Whether the fault is never undone, not even by the heal."""
    return fault.permanent or (fault.kind in (*DEADLY, "revoke") and not fault.lasts)


def end_of(fault: Fault, scenario: FaultContext) -> float:
    """Return when the last effect of ``fault`` ends: seconds after the warm-up, at most the heal; infinity if never.

    A churn ends when the last node that it killed has restarted, a swizzle when the last link is restored.
    """
    if is_for_good(fault):
        return math.inf
    if fault.kind in RESTARTS:
        return min(scenario.duration, end_of_restart(fault, scenario))
    ends = fault.at + fault.lasts if fault.lasts else scenario.duration
    if fault.kind == "rotate":
        return min(scenario.duration, fault.at + fault.seconds)
    tail = {"churn": fault.seconds, "swizzle": fault.every}.get(fault.kind, 0.0)
    return min(scenario.duration, ends + tail)


def end_of_restart(fault: Fault, scenario: FaultContext) -> float:
    """Return when the last node of a rolling restart is back, ignoring the heal: seconds after the warm-up."""
    return fault.at + (most_affected(fault.nodes, scenario) - 1) * fault.every + fault.seconds


def most_affected(selectors: tuple[str, ...], scenario: FaultContext) -> int:
    """Return an upper limit of how many nodes ``selectors`` name; what `random:N` adds depends on the seed."""
    drawn = sum(int(selector.partition(":")[2]) for selector in selectors if selector.startswith("random:"))
    return min(scenario.nodes, len(surely_affected(selectors, scenario)) + drawn)


def surely_affected(selectors: tuple[str, ...], scenario: FaultContext) -> tuple[str, ...]:
    """Return the nodes that ``selectors`` name for every seed, in order, each once."""
    names: dict[str, None] = {}
    every_name = scenario.node_names
    for selector in selectors:
        how, _, which = selector.partition(":")
        if selector == "*" or (how == "random" and int(which) == scenario.nodes):
            names.update(dict.fromkeys(every_name))
        elif how == "zone":
            names.update((name, None) for name in every_name if scenario.zone_of(name) == which)
        elif how == "cell":
            names.update((name, None) for name in every_name if scenario.cell_of(name) == which)
        elif how == "first":
            names.update(dict.fromkeys(every_name[: int(which)]))
        elif how == "last":
            names.update(dict.fromkeys(every_name[-int(which) :]))
        elif how != "random":
            names[selector] = None
    return tuple(names)
