"""The marks that a run can make: what a scenario may ask for in ``sometimes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gossipreg.protocol.wire.sealing import Refusal

if TYPE_CHECKING:
    from sim.scenario import Kind

#: What nodes come to believe, and the acts of a play.
_BELIEFS: Final = (
    *("alive", "suspect", "failed", "left", "forgotten", "refuted", "revived", "contested"),
    *("service", "primary", "fenced", "policy", "policy removed"),
    *("faults", "heal", "agreement"),
)

#: What nodes and their kernels count.
_COUNTED: Final = (
    *("packets_received", "junk_packets", "own_packets", "kernel_drops", "frames_received", "lags"),
    *("rumors_too_old", "rumors_over_member_limit", "records_over_owner_limit", "records_with_bad_payload"),
    *("policies_from_the_future", "returns_put_off", "refutations", "streams_over_limit", "streams_opened"),
    *("reconciliations", "verdicts", "probes_missed", "refusals", "suspicions"),
)


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
    return [*_COUNTED, *(f"packets_{reason}" for reason in Refusal)]
