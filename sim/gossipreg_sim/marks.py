"""The marks that a run can make: what a scenario may ask for in ``sometimes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gossipreg.counters import Count

if TYPE_CHECKING:
    from gossipreg_sim.scenario import Kind

#: What nodes come to believe, and the acts of a run.
_BELIEFS: Final = (
    *("alive", "suspect", "failed", "left", "forgotten", "refuted", "revived", "contested"),
    *("isolated", "heard", "service", "primary", "fenced", "policy", "policy removed"),
    *("faults", "heal", "agreement"),
)

#: What the simulator's kernels count.
_KERNEL: Final = ("kernel_drops",)


def known_marks(kinds: Mapping[str, Kind]) -> list[str]:
    """All marks that there are, in order: beliefs and acts, what ``kinds`` of fault do, and what nodes count."""
    marks = dict.fromkeys(_BELIEFS)
    for name, kind in kinds.items():
        marks |= dict.fromkeys(kind.marks)
        if "to" in kind.takes:
            marks |= dict.fromkeys((f"{name} begins", f"{name} ends"))
    return [*marks, *counted()]


def counted() -> list[str]:
    """The names of all that nodes count."""
    return [*Count, *_KERNEL]
