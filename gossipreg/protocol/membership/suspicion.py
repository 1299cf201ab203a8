"""Knows how long one accused member still has: a suspicion that shrinks as others confirm it.

Lifeguard §IV-B: a suspicion starts with its longest timeout and shrinks with each independent confirmation, so a
node that is slow to hear refutations (and so hears no confirmations either) gives the accused the most time:

    timeout = max(Min, Max - (Max - Min) ln(C + 1) / ln(K + 1))
    Min = alpha x max(1, log10(n)) x probe interval,   Max = beta x Min

Ours beyond the paper: K is never more than the members that could confirm. A refusal by the accused's own kernel
is worth all confirmations: the host is there, the process is not; two distinct members refused are a verdict. And the
end of a suspicion is a verdict only if there was a witness (see `hearing`); otherwise it is put off.
"""

from __future__ import annotations

import math

import attrs

from gossipreg.config import Settings

#: Distinct members that the accused's kernel has refused, to be sure (one may merely be behind a firewall).
_REFUSALS = 2


@attrs.define(eq=False, repr=False)
class Suspicion:
    """One suspicion of one life of a member, as held by this node. Times are in seconds."""

    started: float
    shortest: float
    longest: float
    confirmations_wanted: int
    refusals_wanted: int
    not_before: float = 0.0
    deadline: float = 0.0  # when it ends; kept, for it is asked far more often than it changes
    _accusers: list[int] = attrs.field(factory=list)
    _refusers: list[int] = attrs.field(factory=list)  # those among them whom the accused's kernel has refused

    @classmethod
    def start(cls, settings: Settings, members: int, accuser: int, now: float, *, refused: bool = False) -> Suspicion:
        """Begin to suspect in a cluster of ``members`` present, on the word of the life ``accuser``."""
        shortest = settings.suspicion_alpha * max(1.0, math.log10(max(1, members))) * settings.probe_interval
        wanted = max(0, min(settings.suspicion_confirmations, members - 2))
        suspicion = cls(now, shortest, shortest * settings.suspicion_beta, wanted, min(_REFUSALS, members - 1))
        suspicion._accusers.append(accuser)
        if refused:
            suspicion._refusers.append(accuser)
        suspicion._set_deadline()
        return suspicion

    @property
    def is_refused(self) -> bool:
        """Whether the accused's kernel has refused anybody."""
        return bool(self._refusers)

    @property
    def is_confirmed(self) -> bool:
        """Whether another voice than the first accuser's, or the accused's own kernel, has said the same."""
        return self.is_refused or self.confirmations >= min(1, self.confirmations_wanted)

    @property
    def is_proven(self) -> bool:
        """Whether it has refused so many that there is nothing to wait for."""
        return len(self._refusers) >= self.refusals_wanted

    @property
    def confirmations(self) -> int:
        """How many others than the first accuser have said the same."""
        return len(self._accusers) - 1

    @property
    def timeout(self) -> float:
        """How long the suspicion lasts, as confirmed so far."""
        if self._refusers:
            return self.shortest
        if self.confirmations_wanted == 0:
            return self.longest
        share = math.log(self.confirmations + 1) / math.log(self.confirmations_wanted + 1)
        return max(self.shortest, self.longest - (self.longest - self.shortest) * share)

    def _set_deadline(self) -> None:
        self.deadline = max(self.started + self.timeout, self.not_before)

    def confirm(self, accuser: int) -> bool:
        """Count ``accuser``'s word; True when it is a new voice that still shortens the suspicion."""
        if accuser in self._accusers or self.confirmations >= self.confirmations_wanted:
            return False
        self._accusers.append(accuser)
        self._set_deadline()
        return True

    def refuse(self, accuser: int) -> bool:
        """The accused's own kernel has refused ``accuser``; True when that was not known and matters."""
        if accuser in self._refusers or self.is_proven:
            return False
        self._refusers.append(accuser)
        self._set_deadline()
        return True

    def answered(self, now: float) -> None:
        """The accused has just answered us: start over."""
        self._refusers.clear()
        self.renew(now)

    def renew(self, now: float) -> None:
        """Start over: we were cut off, so whatever was said before is in doubt, but for what a kernel said."""
        self.started = now
        del self._accusers[1:]
        self._set_deadline()

    def postpone(self, seconds: float, now: float) -> None:
        """Give the accused the ``seconds`` before ``now`` in which this node itself was not listening."""
        self.started = min(self.started + seconds, now)
        self._set_deadline()

    def put_off(self, until: float) -> None:
        """No verdict without a witness: look again at ``until``."""
        self.not_before = until
        self._set_deadline()
