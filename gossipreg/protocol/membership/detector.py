"""The failure detector: SWIM's, with Lifeguard's suspicions and local health, and conditions of our own.

Theory of operation. Words and sections: SWIM (Das, Gupta, Motivala, DSN 2002), Lifeguard (Dadgar, Phillips, Currey,
arXiv 1707.00788).

1. *Probe* (SWIM §3.1, §4.3; Lifeguard §IV-A): `probe.Prober` pings one member in each protocol period, then asks k
   others to ping it. Missed acks and nacks make the local health worse (`local_health`), which stretches the period.
2. *Suspect* (SWIM §4.2): a probe that fails, or a peer's suspicion, starts a `suspicion.Suspicion`. Its timeout shrinks
   with each independent confirmation (Lifeguard §IV-B). The suspect learns of it with the next ping (§IV-C, buddy
   system) and refutes with a higher incarnation, which ends it (`Detector.end_suspicion`).
3. *Declare failed* (SWIM's confirm message): when a suspicion expires, on conditions of our own:
   - *There is a witness* (docs/decisions/0005). Since the suspicion started, and in the last `_WITNESS_PERIODS`, a
     member other than the suspect has answered this node; or the suspect's kernel has refused a connection of an
     accuser while all others are silent. So a node that is cut off declares nothing, whatever it was answered before.
     Where only two members are present there is no witness, and the timeout alone decides. While this host's own kernel
     refuses to send, nothing is a witness; what it refused `_REJECTED_PERIODS` ago does not count.
   - *The suspicion is verified* (docs/decisions/0036). This node itself has pinged the suspect shortly before,
     whichever node accused it first.
   - *Another member accuses it, too*, where members have certificates (`needs_two_accusers`): one member alone, whose
     key may have leaked, has no other failed. Where only two are present, one is enough.
   A failure that is proven needs none of these: the suspect's kernel has refused enough members
   (`Suspicion.is_proven`).

An ack with the number of a probe of the suspect restarts its suspicion; any answer makes its sender a witness for the
suspicions of others. A ping without a number (seq 0: to seeds, to lost members, to find a witness, to end a silence) is
tied to no time, so its ack may be older than the suspicion. It need not count: whatever a suspect sends, it is sent the
suspicion at once, and refutes; and the ping that verifies a failure has a number.

What a node that hears no member does, by the length of the silence in protocol periods (not stretched by local health):

    2    it pings several members at once, and again in each further period (`reachability_pings`)
    4    it reports itself isolated
    5    its suspicions restart with the first packet that it receives
    7    it takes its own failure for its own fault (`was_cut_off`): flap damping counts it (docs/decisions/0013)

It also takes it for that after a stop (SIGSTOP, a starved CPU) in which the others may have failed it: one as long as
the shortest suspicion. After a shorter stop it refutes before any suspicion of it expires. If that recurs, each
refutation makes its local health worse, which counts as well (`is_unhealthy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs

from gossipreg.model import Address, Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.local_health import LocalHealth
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import Prober
from gossipreg.protocol.membership.reachability import Reachability
from gossipreg.protocol.membership.suspicion import Suspicion
from gossipreg.values import frozen

#: Probe intervals of silence after which a node reports itself isolated. They are not stretched by local health: how
#: long a user waits for the report must not depend on the node's own health. 4 s at the default interval.
_ISOLATION_PERIODS = 4

#: Probe intervals of silence after which a node pings several members at once, and again in each further interval. A
#: member in bad health probes every ninth interval only, so in a cluster of two it may be silent while all is well.
_REACHABILITY_PING_PERIODS = 2

#: Members that are pinged then. Of three at 30 % loss each way, one in eight such rounds goes without an answer.
_REACHABILITY_PINGS = 3

#: Probe intervals of silence after which the node takes it for its own fault that others declare it failed (flap
#: damping), not stretched either. A member of a small side of a partition hears the others there more often than that.
_CUT_OFF_PERIODS = 7

#: For how long it does so after it was stopped for long or heard nothing (seconds).
_CUT_OFF_SECONDS = 30.0

#: Probe intervals of silence after which its suspicions restart. These are not stretched: it heard nothing for so
#: long, whatever its health score, and the first packet that it receives again proves nothing about the time before.
_RESTART_PERIODS = 5

#: Probe intervals for which an answer counts as a witness. Fewer than those of an isolated node, so that such a node
#: has none; and half an interval off the rhythm of the probes, so that no answer to one is just on the edge.
_WITNESS_PERIODS = 3.5

#: Probe intervals for which it counts that this host's kernel has refused a packet. While it goes on refusing there is
#: another one in each such time: a node in the worst health probes every ninth interval.
_REJECTED_PERIODS = 10

#: How long it is remembered that a member was not reached (seconds).
_UNREACHABLE_KEPT = 120.0


@frozen
class ExpiredSuspicions:
    """The suspicions on which the node must act now."""

    #: To declare: a peer's declaration, or the suspect's update if this node found it out by itself.
    failures: list[MemberUpdate]
    #: To ping before their failure is declared, or a peer's declaration of it is accepted.
    to_verify: list[MemberUpdate]
    #: Whether a suspicion cannot expire until a peer answers.
    lacks_witness: bool
    #: Suspects that this node alone accuses, where another member has to as well.
    lack_accuser: list[MemberUpdate]


_NOTHING_EXPIRED = ExpiredSuspicions([], [], lacks_witness=False, lack_accuser=[])


@attrs.define(eq=False, repr=False)
class Detector:
    """The prober, the suspicions, and the evidence that this node itself is reachable."""

    settings: EngineSettings
    members: Members
    prober: Prober
    health: LocalHealth
    reachability: Reachability
    needs_two_accusers: bool = False  # whether one member alone confirms no suspicion, and has no other failed
    _suspicions: dict[str, Suspicion] = attrs.field(factory=dict)
    _next_due: float | None = None  # when the next suspicion is due; None when it must be computed anew
    _unreachable: dict[str, float] = attrs.field(factory=dict)  # name -> when it was accused last, without a late ack
    _reconnected_at: float = float("-inf")  # when a long stop or silence last ended
    _reachability_pinged_at: float = float("-inf")  # when `reachability_pings` last gave any

    @classmethod
    def create(cls, settings: EngineSettings, members: Members, rng: Random, now: float) -> Detector:
        """Create a detector that begins within its first interval, so nodes started together do not probe in step."""
        health = LocalHealth(settings.local_health_max)
        prober = Prober(settings, members, health, now + rng.random() * settings.probe_interval)
        return cls(settings, members, prober, health, Reachability(now))

    @property
    def deadline(self) -> float:
        """When `handle_timeout` has something to do (seconds)."""
        return min(self.prober.deadline, self.suspicion_deadline, self._reachability_ping_at)

    @property
    def _reachability_ping_at(self) -> float:
        """When members are to be pinged if none is heard before (seconds), or infinity."""
        if not self.members.present or not self.settings.failure_witness:
            return float("inf")
        interval = self.settings.probe_interval
        return max(
            self.reachability.last + _REACHABILITY_PING_PERIODS * interval, self._reachability_pinged_at + interval
        )

    def reachability_pings(self, now: float) -> list[MemberUpdate]:
        """The members to ping now, because no member was heard for a while: an answer would end the silence."""
        if now < self._reachability_ping_at:
            return []
        self._reachability_pinged_at = now
        return [
            self.members.next_reachability_target() for _ in range(min(_REACHABILITY_PINGS, len(self.members.present)))
        ]

    @property
    def suspicion_deadline(self) -> float:
        """When a suspicion is due (seconds), or infinity."""
        if self._next_due is None:
            self._next_due = min([suspicion.due for suspicion in self._suspicions.values()], default=float("inf"))
        return self._next_due

    def is_isolated(self, now: float) -> bool:
        """Whether no member has been heard for so long that the fault is more likely here than everywhere else."""
        return self.reachability.silence(now) > _ISOLATION_PERIODS * self.settings.probe_interval

    def message_received(self, run_id: int, now: float) -> None:
        """A packet of the member ``run_id`` came in."""
        if self._is_silent(_RESTART_PERIODS, now):
            if self._is_silent(_CUT_OFF_PERIODS, now):
                self._reconnected_at = now
            if self.settings.failure_witness:
                for suspicion in self._suspicions.values():
                    suspicion.restart(now)
                self._next_due = None
        self.reachability.heard(run_id, now)

    def _is_silent(self, periods: int, now: float) -> bool:
        return self.reachability.silence(now) > periods * self.settings.probe_interval

    def answer_received(self, run_id: int, now: float) -> None:
        """The member ``run_id`` has answered a message of this node: a witness for the suspicions of others."""
        self.reachability.answered(run_id, now)
        if self._suspicions:
            self._next_due = None
            witness = self.members.by_run_id(run_id)
            for name, suspicion in self._suspicions.items():
                if witness is None or name != witness.name:
                    suspicion.witness_found(now)

    def send_rejected(self, to: Address, now: float) -> None:
        """This host's kernel has refused to send to ``to``."""
        self.reachability.unsent(to, len(self.members.present), now, since=self._rejected_since(now))

    def are_sends_rejected(self, now: float) -> bool:
        """Whether this host's own kernel refuses what this node sends, so that no refusal proves anything."""
        return self.reachability.is_rejected(len(self.members.present), self._rejected_since(now))

    def _rejected_since(self, now: float) -> float:
        return now - _REJECTED_PERIODS * self.settings.probe_interval

    def was_cut_off(self, now: float) -> bool:
        """Whether this node heard no member, or was itself stopped for long, until half a minute ago."""
        return self._is_silent(_CUT_OFF_PERIODS, now) or now - self._reconnected_at < _CUT_OFF_SECONDS

    def is_unhealthy(self, *, on_probation: bool) -> bool:
        """Whether this node misses so many acks that the fault is more likely its own; always true with the score off.

        A node ``on_probation`` has come back after such a fault lately: for it one missed ack is enough.
        """
        return self.health.score >= min(self.health.worst, 1 if on_probation else (self.health.worst + 1) // 2)

    def unreachable_members(self, lately: float, now: float) -> list[str]:
        """The members that this node, or a peer of its side, could not reach in the last ``lately`` seconds.

        Without those whose answer came late: those were reachable.
        """
        return [name for name, at in self._unreachable.items() if now - at < lately]

    def sweep(self, now: float) -> None:
        """Forget which members were not reached long ago: only the last minute is ever asked for."""
        self._unreachable = {name: at for name, at in self._unreachable.items() if now - at < _UNREACHABLE_KEPT}

    # Suspicions

    def start_suspicion(self, update: MemberUpdate, now: float) -> None:
        """The member is suspect from now on, accused by the update's accuser."""
        self._next_due = None
        self._unreachable[update.name] = now
        members = self.members.present_count
        ack_timeout = min(self.prober.trips.timeout(update.run_id), self.settings.probe_interval)
        self._suspicions[update.name] = Suspicion.start(
            self.settings,
            members,
            update.accuser,
            now,
            refused=update.refused,
            ack_timeout=ack_timeout,
            needs_two=self.needs_two_accusers,
        )

    def accusers(self, name: str) -> Sequence[int]:
        """The run ids of the members that are known to accuse ``name``; empty if it is not suspected."""
        suspicion = self._suspicions.get(name)
        return () if suspicion is None else suspicion.accusers

    def end_suspicion(self, name: str) -> None:
        """The member is suspect no more."""
        if self._suspicions.pop(name, None) is not None:
            self._next_due = None

    def confirm(self, name: str, accuser: int, *, refused: bool = False) -> bool:
        """Count an accuser of a suspect; True when it is a new one that others should learn of."""
        suspicion = self._suspicions.get(name)
        if suspicion is None or accuser == 0:
            return False
        self._next_due = None
        is_new_accuser = suspicion.confirm(accuser)
        return (refused and suspicion.refuse(accuser)) or is_new_accuser

    def probe_failed(self, name: str) -> None:
        """This node itself has had no answer from the suspect."""
        suspicion = self._suspicions.get(name)
        if suspicion is not None:
            self._next_due = None
            suspicion.probe_failed()

    def failure_received(self, failure: MemberUpdate) -> None:
        """A peer has declared the suspect failed."""
        self._next_due = None
        self._suspicions[failure.name].failure_received(failure)

    def shorten_suspicion(self, name: str) -> None:
        """The suspicion of ``name``, which has just begun, came from a peer's declaration of failure."""
        self._next_due = None
        self._suspicions[name].shorten()

    def is_confirmed(self, name: str) -> bool:
        """Whether ``name`` is suspected by more than one member, or, in a pair, by the only other one."""
        suspicion = self._suspicions.get(name)
        return suspicion is not None and suspicion.is_confirmed

    def is_proven(self, name: str) -> bool:
        """Whether the failure of ``name`` is proven: its kernel has refused enough members."""
        suspicion = self._suspicions.get(name)
        return suspicion is not None and suspicion.is_proven

    def ack_received(self, name: str, now: float, *, late: bool) -> None:
        """The suspect has answered this node, perhaps ``late``: it gets its full time to refute."""
        if late:
            self._unreachable.pop(name, None)
        suspicion = self._suspicions.get(name)
        if suspicion is not None:
            self._next_due = None
            suspicion.ack_received(now)

    def expired_suspicions(self, now: float, own_run: int = 0) -> ExpiredSuspicions:
        """The suspicions that have expired, the suspects to verify, and whether a witness is missing.

        ``own_run``: this node's run id, to tell its own accusations where another's are needed as well.
        """
        if now < self.suspicion_deadline:
            return _NOTHING_EXPIRED
        self._next_due = None
        overdue = [(name, suspicion) for name, suspicion in self._suspicions.items() if now >= suspicion.due]
        failures: list[MemberUpdate] = []
        to_verify: list[MemberUpdate] = []
        lacks_witness = False
        lack_accuser: list[MemberUpdate] = []
        needs_other = self.needs_two_accusers and self.members.present_count > 2
        for name, suspicion in overdue:
            update = self.members.get(name)
            assert update is not None, "a suspect is a member"
            assert update.status is Status.SUSPECT, "a suspicion ends when its member is cleared"
            if suspicion.wants_early_ping:
                suspicion.early_ping(now)
                to_verify.append(update)
            elif not self._may_declare(update, suspicion, now):
                suspicion.defer(now + self.settings.probe_interval)
                lacks_witness = True
            elif not suspicion.is_verified:
                suspicion.verify(now)
                to_verify.append(update)
            elif needs_other and suspicion.failure is None and all(each == own_run for each in suspicion.accusers):
                suspicion.defer(now + self.settings.probe_interval)
                lack_accuser.append(update)
            else:
                failures.append(suspicion.failure or update)
        return ExpiredSuspicions(failures, to_verify, lacks_witness, lack_accuser)

    def _may_declare(self, accused: MemberUpdate, suspicion: Suspicion, now: float) -> bool:
        """Whether there is a witness: see 3 in the theory of operation. The simulator can turn that condition off."""
        if not self.settings.failure_witness:
            return True
        if self.are_sends_rejected(now):
            return False
        since = max(suspicion.started, now - _WITNESS_PERIODS * self.settings.probe_interval)
        return (
            self.members.present_count == 2
            or self.reachability.has_witness(accused.run_id, since)
            or (suspicion.is_refused and not self.reachability.has_heard(since))
        )

    def postpone(self, seconds: float, now: float) -> None:
        """Extend the suspicions by ``seconds``, for which this node was itself stopped.

        So long that it may itself have been declared failed meanwhile, and that is its own fault (`was_cut_off`).
        """
        self._next_due = None
        if seconds >= self.settings.suspicion_alpha * self.settings.probe_interval:
            self._reconnected_at = now
        self.prober.postpone(seconds)
        for suspicion in self._suspicions.values():
            suspicion.postpone(seconds, now)
