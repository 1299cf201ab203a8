"""Knows how long one accused member still has: a suspicion that shrinks as others confirm it.

Lifeguard §IV-B: a suspicion starts with its longest timeout and shrinks with each independent confirmation, so a
node that is slow to hear refutations (and so hears no confirmations either) gives the accused the most time:

    timeout = max(Min, Max - (Max - Min) ln(C + 1) / ln(K + 1))
    Min = alpha x max(1, log10(n)) x probe interval,   Max = beta x Min

Ours beyond the paper: K is never more than the members that could confirm. A refusal by the accused's own kernel
is worth all confirmations: the host is there, the process is not; two distinct members refused are a verdict. The
end of a suspicion is a verdict only if there was a witness (see `hearing`); otherwise it is put off. And shortly before
the end this node *verifies*: it pings the accused itself, and an ack begins the suspicion anew (docs/decisions/0036).
A node that the suspicion reached from others looks once before, when it is confirmed: then a peer's verdict need not
wait for a ping. After an answer a node asks again of itself one probe interval later at the earliest.

    |-- suspected -- confirmed: ping ---- deadline - patience: ping --| deadline: verdict, unless an ack came
    |-- suspected -- confirmed: ping -------| a peer's verdict: believed, unless an ack came
    |-- suspected ------ a peer's verdict: ping --| + patience: that verdict is believed, unless an ack came
"""

from __future__ import annotations

import math

import attrs

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate

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
    patience: float = 0.0  # how long the accused may take to answer the ping that verifies
    pause: float = 0.0  # from an answer of the accused until this node pings it again of itself, at least
    verifies: bool = False  # whether there is such a ping
    not_before: float = 0.0
    deadline: float = 0.0  # when it ends; kept, for it is asked far more often than it changes
    due: float = 0.0  # when something is to be done about it: the ping that verifies, or the verdict
    failure: MemberUpdate | None = None  # what a peer has concluded already
    is_hastened: bool = False  # whether a peer is said to have concluded it before this node suspected
    _tried: bool = False  # whether this node itself has had no answer from the accused, in this suspicion
    _looked_at: float | None = None  # when this node pinged the accused because others had confirmed the suspicion
    _verified_at: float | None = None  # when the ping that verifies was sent
    _asks_from: float = 0.0  # before that this node does not ping the accused of itself
    _accusers: list[int] = attrs.field(factory=list)
    _refusers: list[int] = attrs.field(factory=list)  # those among them whom the accused's kernel has refused

    @classmethod
    def start(
        cls,
        settings: EngineSettings,
        members: int,
        accuser: int,
        now: float,
        *,
        refused: bool = False,
        patience: float = 0.0,
    ) -> Suspicion:
        """Begin to suspect in a cluster of ``members`` present, on the word of the life ``accuser``.

        The accused may take ``patience`` (seconds) to answer the ping that verifies.
        """
        shortest = settings.suspicion_alpha * max(1.0, math.log10(max(1, members))) * settings.probe_interval
        wanted = max(0, min(settings.suspicion_confirmations, members - 2))
        suspicion = cls(
            now,
            shortest,
            shortest * settings.suspicion_beta,
            wanted,
            min(_REFUSALS, members - 1),
            patience=patience,
            pause=settings.probe_interval,
            verifies=settings.verify_failures,
        )
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
        if self._refusers or self.is_hastened:
            return self.shortest
        if self.confirmations_wanted == 0:
            return self.longest
        share = math.log(self.confirmations + 1) / math.log(self.confirmations_wanted + 1)
        return max(self.shortest, self.longest - (self.longest - self.shortest) * share)

    def _set_deadline(self) -> None:
        self.deadline = max(self.started + self.timeout, self.not_before)
        if self.wants_look:
            self.due = max(self.started, self.not_before, self._asks_from)
            return
        ends = self.deadline if self.failure is None else max(self.started, self.not_before)
        if self._verified_at is not None:
            self.due = max(ends, self._verified_at + self.patience)
        elif self.verifies and self.failure is None:
            self.due = max(ends - self.patience, self._asks_from)
        else:
            self.due = ends

    @property
    def is_verified(self) -> bool:
        """Whether this node has tried the accused itself, as far as a verdict asks for it."""
        return not self.verifies or self._verified_at is not None or (self._tried and self.failure is not None)

    @property
    def wants_look(self) -> bool:
        """Whether others have confirmed the suspicion, and this node has not asked the accused itself."""
        asked = self._tried or self._looked_at is not None or self._verified_at is not None
        return self.verifies and self.is_confirmed and self.failure is None and not asked

    def look(self, now: float) -> None:
        """This node pings the accused now, so that it knows for itself when a peer's verdict comes."""
        self._looked_at = now
        self._set_deadline()
        if self.due <= now:  # the end is so near that this ping is the one that verifies
            self.verify(now)

    def verify(self, now: float) -> None:
        """This node pings the accused now, to see for itself."""
        self._verified_at = now
        self._set_deadline()

    def tried(self) -> None:
        """This node has had no answer from the accused either."""
        self._tried = True
        self._set_deadline()

    def concluded(self, failure: MemberUpdate) -> None:
        """A peer has come to the end of this suspicion: what this node has not seen for itself it looks for now."""
        self.failure = failure
        if self._verified_at is None:
            self._verified_at = self._looked_at
        self._set_deadline()

    def hasten(self) -> None:
        """It begins with a peer's verdict: as good as all confirmations."""
        self.is_hastened = True
        self._set_deadline()

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
        """The accused has just answered us: start over.

        It may answer without refuting, because flap damping has it wait. Then a ping at each answer would never end.
        """
        self._refusers.clear()
        self._asks_from = now + self.pause
        self.renew(now)

    def renew(self, now: float) -> None:
        """Start over: we were cut off, so whatever was said before is in doubt, but for what a kernel said."""
        self.started = now
        self.failure = self._looked_at = self._verified_at = None
        self.is_hastened = self._tried = False
        del self._accusers[1:]
        self._set_deadline()

    def postpone(self, seconds: float, now: float) -> None:
        """Give the accused the ``seconds`` before ``now`` in which this node itself was not listening."""
        self.started = min(self.started + seconds, now)
        self._set_deadline()

    def put_off(self, until: float) -> None:
        """No verdict without a witness: look again at ``until``, and for oneself as well."""
        self.not_before = until
        self._verified_at = None
        self._tried = False
        self._set_deadline()

    def witnessed(self, now: float) -> None:
        """There is a witness now: nothing is put off any longer."""
        self.not_before = min(self.not_before, now)
        self._set_deadline()
