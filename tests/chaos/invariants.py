"""Invariants of a run by name, with their statements for violations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

#: Invariants and their statements. All are on except those in `WAITING`.
INVARIANTS: Final[Mapping[str, str]] = {
    "registered": "every agent shows each acknowledged and not removed instance, as it was registered",
    "removed": "no agent shows a removed instance",
    "known": "no agent shows an instance that was never registered",
    "forward": "in one run of an agent, an instance never reverts to an older registration",
    "own": "an agent's own lookups reflect what it acknowledged",
    "healthy": "every agent shows the health that follows from checks, heartbeats and maintenance, also after restarts",
    "offered": "a plain lookup returns exactly the instances that can serve",
    "weights": "weights are those registered, or of the policy in force; 0 while the owner drains, also after restarts",
    "policies": "the policies in force are the last acknowledged ones",
    "members": "exactly the running agents are alive in every view",
    "fingerprints": "all agents show the same fingerprint",
    "primary": "no view has two primaries, and the primary has the highest term in the view",
    "index": "a service's index at one agent never falls, not even across a restart",
    "runs": "no agent exits by itself or hangs; one that is asked to leave exits with 0, a namesake with 1",
    "tracebacks": "no agent writes a traceback",
    "terms": "the terms that an agent shows as primary never decrease, and the next is higher, unless it lost its disk",
    "isolated": "an agent that receives from no other reports that it is isolated within 10 s",
    "stays": "hosts without faults do not declare each other failed",
}

#: Invariants that are checked only on request: the product does not guarantee them yet, or (`stays`) only if agents get
#: enough CPU.
WAITING: Final = ("stays",)

DEFAULT: Final = frozenset(INVARIANTS) - set(WAITING)


@attrs.frozen(order=True)
class Violation:
    """A violated invariant, and the observation."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text} ({INVARIANTS[self.invariant]})"
