"""A suspicion of one member: its timeout shrinks as others confirm it.

Lifeguard §IV-B: a suspicion starts with its longest timeout and shrinks with each independent confirmation, so a
node that is slow to receive refutations (and so receives no confirmations either) gives the suspect the most time:

    timeout = max(Min, Max - (Max - Min) ln(C + 1) / ln(K + 1))
    Min = alpha x max(1, log10(n)) x probe interval,   Max = beta x Min

Beyond the paper: K is never more than the members that could confirm. A refusal by the suspect's own kernel is worth
all confirmations: the host is there, the process is not; two distinct members refused are proof. A suspicion expires
only if there was a witness (see `reachability`); otherwise it is put off. Shortly before it expires this node
*verifies* it: it pings the suspect itself, and an ack restarts the suspicion (docs/decisions/0036). A node that
received the suspicion from others pings once before that, when it is confirmed: then a peer's declaration of failure
need not wait for a ping. After an answer a node pings again of its own accord one probe interval later at the earliest.

    |-- suspected -- confirmed: ping ---- deadline - ack_timeout: ping --| deadline: failed, unless an ack came
    |-- suspected -- confirmed: ping -------| declared by a peer: failed, unless an ack came
    |-- suspected ------ declared by a peer: ping --| + ack_timeout: failed, unless an ack came
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate

#: Distinct members that the suspect's kernel must have refused for proof (one may merely be behind a firewall).
_REFUSALS = 2


@attrs.define(eq=False, repr=False)
class Suspicion:
    """One suspicion of one run of a member, as held by this node. Times are in seconds."""

    started: float
    shortest: float
    longest: float
    confirmations_wanted: int
    refusals_wanted: int
    ack_timeout: float = 0.0  # how long the suspect may take to answer the ping that verifies
    verify_interval: float = 0.0  # from an ack of the suspect until this node may ping it again unasked
    verifies: bool = False  # whether there is such a ping
    needs_two: bool = False  # whether a refusal confirms it only once another member accuses, too
    deferred_until: float = 0.0
    deadline: float = 0.0  # when it expires; stored, since it is read far more often than it changes
    due: float = 0.0  # when this node must act: send the ping that verifies, or declare the failure
    failure: MemberUpdate | None = None  # a peer's declaration that the suspect failed
    is_shortened: bool = False  # whether a peer declared the failure before this node suspected
    _has_probe_failed: bool = False  # whether this node itself has had no answer from the suspect, in this suspicion
    _early_pinged_at: float | None = None  # when this node pinged it since others had confirmed
    _verified_at: float | None = None  # when the ping that verifies was sent
    _pings_from: float = 0.0  # before that this node does not ping the suspect of its own accord
    _accusers: list[int] = attrs.field(factory=list)
    _refusers: list[int] = attrs.field(factory=list)  # accusers that the suspect's kernel has refused

    @classmethod
    def start(
        cls,
        settings: EngineSettings,
        members: int,
        accuser: int,
        now: float,
        *,
        refused: bool = False,
        ack_timeout: float = 0.0,
        needs_two: bool = False,
    ) -> Suspicion:
        """Begin a suspicion in a cluster of ``members`` present, raised by the run ``accuser``.

        ``needs_two``: a refusal confirms it only once another member accuses, too. The suspect may take ``ack_timeout``
        (seconds) to answer the ping that verifies.
        """
        wanted = max(0, min(settings.suspicion_confirmations, members - 2))
        suspicion = cls(
            now,
            settings.shortest_suspicion(members),
            settings.longest_suspicion(members),
            wanted,
            min(_REFUSALS, members - 1),
            ack_timeout=ack_timeout,
            verify_interval=settings.probe_interval,
            verifies=settings.verify_failures,
            needs_two=needs_two,
        )
        suspicion._accusers.append(accuser)
        if refused:
            suspicion._refusers.append(accuser)
        suspicion._set_deadline()
        return suspicion

    @property
    def is_refused(self) -> bool:
        """Whether the suspect's kernel has refused any member."""
        return bool(self._refusers)

    @property
    def is_confirmed(self) -> bool:
        """Whether a second accuser, or the suspect's own kernel, has confirmed it."""
        is_worth_all = self.is_refused and not self.needs_two
        return is_worth_all or self.confirmations >= min(1, self.confirmations_wanted)

    @property
    def accusers(self) -> Sequence[int]:
        """The run ids of the members that accuse, the first that was heard of first."""
        return self._accusers

    @property
    def is_proven(self) -> bool:
        """Whether the suspect's kernel has refused so many that there is nothing to wait for."""
        return len(self._refusers) >= self.refusals_wanted

    @property
    def confirmations(self) -> int:
        """How many members besides the first accuser have confirmed it."""
        return len(self._accusers) - 1

    @property
    def timeout(self) -> float:
        """How long the suspicion lasts, as confirmed so far."""
        if self._refusers or self.is_shortened:
            return self.shortest
        if self.confirmations_wanted == 0:
            return self.longest
        share = math.log(self.confirmations + 1) / math.log(self.confirmations_wanted + 1)
        return max(self.shortest, self.longest - (self.longest - self.shortest) * share)

    def _set_deadline(self) -> None:
        self.deadline = max(self.started + self.timeout, self.deferred_until)
        if self.wants_early_ping:
            self.due = max(self.started, self.deferred_until, self._pings_from)
            return
        ends = self.deadline if self.failure is None else max(self.started, self.deferred_until)
        if self._verified_at is not None:
            self.due = max(ends, self._verified_at + self.ack_timeout)
        elif self.verifies and self.failure is None:
            self.due = max(ends - self.ack_timeout, self._pings_from)
        else:
            self.due = ends

    @property
    def is_verified(self) -> bool:
        """Whether this node has pinged the suspect itself, as far as a declaration of failure requires it."""
        return (
            not self.verifies or self._verified_at is not None or (self._has_probe_failed and self.failure is not None)
        )

    @property
    def wants_early_ping(self) -> bool:
        """Whether others have confirmed the suspicion, and this node has not pinged the suspect itself."""
        has_pinged = self._has_probe_failed or self._early_pinged_at is not None or self._verified_at is not None
        return self.verifies and self.is_confirmed and self.failure is None and not has_pinged

    def early_ping(self, now: float) -> None:
        """Note that this node pings the suspect now, to have evidence of its own when a peer declares the failure."""
        self._early_pinged_at = now
        self._set_deadline()
        if self.due <= now:  # it expires so soon that this ping is the one that verifies
            self.verify(now)

    def verify(self, now: float) -> None:
        """This node pings the suspect now, to verify the suspicion."""
        self._verified_at = now
        self._set_deadline()

    def probe_failed(self) -> None:
        """This node has had no answer from the suspect either."""
        self._has_probe_failed = True
        self._set_deadline()

    def failure_received(self, failure: MemberUpdate) -> None:
        """A peer has declared the suspect failed: verify it now, unless this node has its own finding."""
        self.failure = failure
        if self._verified_at is None:
            self._verified_at = self._early_pinged_at
        self._set_deadline()

    def shorten(self) -> None:
        """It begins with a peer's declaration of failure, which is worth all confirmations."""
        self.is_shortened = True
        self._set_deadline()

    def confirm(self, accuser: int) -> bool:
        """Count ``accuser``; True when it is a new one that still shortens the suspicion."""
        if accuser in self._accusers or self.confirmations >= self.confirmations_wanted:
            return False
        self._accusers.append(accuser)
        self._set_deadline()
        return True

    def refuse(self, accuser: int) -> bool:
        """The suspect's own kernel has refused ``accuser``; True when that was not known and matters."""
        if accuser in self._refusers or self.is_proven:
            return False
        self._refusers.append(accuser)
        self._set_deadline()
        return True

    def ack_received(self, now: float) -> None:
        """The suspect has just answered this node: start over.

        It may answer without refuting, because flap damping has it wait. Then a ping at each answer would never end.
        """
        self._refusers.clear()
        self._pings_from = now + self.verify_interval
        self.restart(now)

    def restart(self, now: float) -> None:
        """Start over: this node was cut off, so earlier accusations are void, but for a kernel's refusals."""
        self.started = now
        self.failure = self._early_pinged_at = self._verified_at = None
        self.is_shortened = self._has_probe_failed = False
        del self._accusers[1:]
        self._set_deadline()

    def postpone(self, seconds: float, now: float) -> None:
        """Give the suspect the ``seconds`` before ``now`` in which this node itself was not running."""
        self.started = min(self.started + seconds, now)
        self._set_deadline()

    def defer(self, until: float) -> None:
        """No failure without a witness: check again at ``until``, and verify again as well."""
        self.deferred_until = until
        self._verified_at = None
        self._has_probe_failed = False
        self._set_deadline()

    def witness_found(self, now: float) -> None:
        """There is a witness now: the suspicion is put off no longer."""
        self.deferred_until = min(self.deferred_until, now)
        self._set_deadline()
