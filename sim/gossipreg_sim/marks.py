"""Marks: the named events that a run can count, and that a scenario may require in ``sometimes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gossipreg.counters import Count
from gossipreg_sim.fault import Kind

#: Beliefs of nodes, and the phases of a run.
_BELIEFS: Final = (
    *("alive", "suspect", "failed", "left", "forgotten", "refuted", "revived", "contested"),
    *("isolated", "heard", "service", "primary", "fenced", "policy", "policy removed"),
    *("faults", "heal", "agreement"),
)

#: What the simulator's kernels count.
_KERNEL: Final = ("kernel_drops",)


def known_marks(kinds: Mapping[str, Kind]) -> list[str]:
    """Return all marks in order: beliefs and phases, the actions of ``kinds`` of fault, and the nodes' counters."""
    marks = dict.fromkeys(_BELIEFS)
    for name, kind in kinds.items():
        marks |= dict.fromkeys(kind.marks)
        if "to" in kind.takes:
            marks |= dict.fromkeys((f"{name} begins", f"{name} ends"))
    return [*marks, *counted()]


def counted() -> list[str]:
    """Return the names of all counters of nodes."""
    return [*Count, *_KERNEL]
