"""Flap damping: how long a repeatedly failed member must wait before it may rejoin (cf. RFC 2439).

A member behind a link that works one way, or only now and then, is failed, answers, is held alive, and is failed
again: the view of all nodes swings with it (Rapid's experiment with memberlist). No other node may speak for a member,
and a superseding update must be accepted, so the damping must come from the member itself. Its first return is at
once; each further one within `damping_memory` waits twice as long as the one before.

Only a failure that is the member's own fault is damped, or counted; `local_member` decides that. Whichever message
comes first counts: a node with a backlog receives the suspicion only after it was declared failed, and a return is a
return whether it answers the one or the other (docs/decisions/0036).
"""

from __future__ import annotations

import attrs

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate

_NEVER = float("inf")


@attrs.define(eq=False, repr=False)
class FlapDamping:
    """The returns of one run, and the one that it waits for. Times are in seconds."""

    settings: EngineSettings
    suppress_until: float = _NEVER
    unanswered: MemberUpdate | None = None  # the accusation to be refuted at `suppress_until`
    _returns: list[float] = attrs.field(factory=list)
    _answered: tuple[int, int] = (0, 0)  # (generation, incarnation) above that of the last failure refuted

    def wait(self, now: float) -> float:
        """How long a member that is failed now, by its own fault, must wait (seconds)."""
        lately = sum(1 for at in self._returns if now - at < self.settings.damping_memory)
        if not lately or not self.settings.damping_base:
            return 0.0
        return min(self.settings.damping_max, self.settings.damping_base * 2.0 ** (lately - 1))

    def admit_refutation(self, accusation: MemberUpdate, now: float, *, own_fault: bool) -> bool:
        """Whether ``accusation`` is refuted at once; otherwise at `suppress_until`, with all that is unanswered then.

        A member that waits does not refute a mere suspicion either: that would also refute its failure, of which the
        accuser has not heard yet.
        """
        if self.unanswered is not None:
            self.unanswered = max(self.unanswered, accusation, key=lambda update: update.rank)
            return False
        wait = self.wait(now) if own_fault else 0.0
        if wait:
            self.unanswered, self.suppress_until = accusation, now + wait
            return False
        if own_fault and accusation.status is Status.FAILED:
            self.note_return(accusation, now)
        return True

    def release(self, now: float) -> MemberUpdate:
        """The wait is over; returns the accusation to refute."""
        unanswered = self.unanswered
        assert unanswered is not None, "an accusation is unanswered"
        self.unanswered, self.suppress_until = None, _NEVER
        self.note_return(unanswered, now)
        return unanswered

    def note_return(self, unanswered: MemberUpdate, now: float) -> None:
        """This member has outbid the failure, perhaps before it received it, by refuting the suspicion."""
        above = (unanswered.generation, unanswered.incarnation + 1)
        if above > self._answered:
            self._answered = above
            self._returns = [*(at for at in self._returns if now - at < self.settings.damping_memory), now]
