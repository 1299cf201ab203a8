"""What must hold in a run, by name, and what is said where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

#: Invariants and what each says. All are on unless named in `WAITING`.
INVARIANTS: Final[Mapping[str, str]] = {
    "registered": "what was acknowledged and not removed is shown by every agent, as it was registered",
    "removed": "what was removed is shown by none",
    "known": "no agent shows what was never registered",
    "forward": "in one life of an agent, an instance never goes back to an older registration",
    "own": "an agent's own lookups follow what it acknowledged",
    "healthy": "every agent shows the health that checks, heartbeats and maintenance come to, also after restarts",
    "offered": "a plain lookup has those that can serve, and no others",
    "weights": "weights are those registered, or of the policy in force; 0 while the owner drains, also after restarts",
    "policies": "the policies in force are the last that were acknowledged",
    "members": "every agent that runs is alive in every view, and no other",
    "fingerprints": "all agents show the same fingerprint",
    "primary": "no view has two primaries, and the one that it has bears the highest term in it",
    "index": "a service's index at one agent never falls, not even over a restart",
    "runs": "no agent ends by itself, or no longer answers; one that is asked to leave ends with 0, a namesake with 1",
    "tracebacks": "no agent writes a traceback",
    "terms": "the terms that an agent shows as primary never decrease, and the next is higher, unless it lost its disk",
    "isolated": "an agent that hears no other says that it is isolated within 10 s",
    "stays": "hosts that nothing befalls do not call each other failed",
}

#: Invariants that are checked only where they are asked for: the product does not promise them yet, or (`stays`) keeps
#: them only where agents get the CPU that they need.
WAITING: Final = ("stays",)

DEFAULT: Final = frozenset(INVARIANTS) - set(WAITING)


@attrs.frozen(order=True)
class Violation:
    """An invariant that does not hold, and how that shows."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text} ({INVARIANTS[self.invariant]})"
