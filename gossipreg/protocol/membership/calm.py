"""Knows how long a member that keeps being failed waits before it says that it is back.

A member behind a link that works one way, or only now and then, is failed, answers, is believed, and is failed again:
the view of everybody swings with it (Rapid's experiment with memberlist). Nobody else may speak for a member, and a
claim that is greater must be believed, so the calm must come from the member itself. Its first return is at once;
each further one within `calm_memory` waits twice as long as the one before.

A split is no fault of a member's: who has itself failed a good part of the others returns at once.
"""

from __future__ import annotations

import attrs

from gossipreg.config import Settings
from gossipreg.model import Status
from gossipreg.protocol.membership.rumor import Rumor

_NEVER = float("inf")

#: Whoever has failed this share of the others was on one side of a split.
_SPLIT_SHARE = 0.25


@attrs.define(eq=False, repr=False)
class Calm:
    """The returns of one life, and the one that it waits for. Times are in seconds."""

    settings: Settings
    return_at: float = _NEVER
    verdict: Rumor | None = None  # what is to be answered then
    _returns: list[float] = attrs.field(factory=list)
    _answered: tuple[int, int] = (0, 0)  # (generation, incarnation) above that of the last verdict answered

    def wait(self, now: float) -> float:
        """How long a member that is failed now has to wait (seconds)."""
        lately = sum(1 for at in self._returns if now - at < self.settings.calm_memory)
        if not lately or not self.settings.calm_base:
            return 0.0
        return min(self.settings.calm_max, self.settings.calm_base * 2.0 ** (lately - 1))

    def may_answer(self, accusation: Rumor, failed_share: float, now: float) -> bool:
        """Whether ``accusation`` is answered at once; otherwise `return_at`, together with the verdict that stands.

        A mere suspicion is answered, but not by one that waits: to refute it would refute the verdict, too, which who
        suspects has not heard of yet.
        """
        if self.verdict is not None:
            self.verdict = max(self.verdict, accusation, key=lambda rumor: rumor.rank)
            return False
        if accusation.status is not Status.FAILED:
            return True
        wait = 0.0 if failed_share >= _SPLIT_SHARE else self.wait(now)
        if wait:
            self.verdict, self.return_at = accusation, now + wait
            return False
        self.note_return(accusation, now)
        return True

    def release(self, now: float) -> Rumor:
        """The wait is over; returns what is to be answered."""
        verdict = self.verdict
        assert verdict is not None, "somebody waits"
        self.verdict, self.return_at = None, _NEVER
        self.note_return(verdict, now)
        return verdict

    def note_return(self, verdict: Rumor, now: float) -> None:
        """This member has outbid ``verdict``, perhaps before it heard of it, by refuting the suspicion."""
        above = (verdict.generation, verdict.incarnation + 1)
        if above > self._answered:
            self._answered = above
            self._returns = [*(at for at in self._returns if now - at < self.settings.calm_memory), now]
