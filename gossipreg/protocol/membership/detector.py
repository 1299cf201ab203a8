"""The failure detector: holds the suspicions, and decides when a suspect is declared failed.

A missed probe and a peer's suspicion both become a timer here. When a timer ends the suspect is declared failed,
provided that this node is in a position to judge:

- *a failure needs a witness*: since the suspicion began, and in the last `_WITNESS_PERIODS`, a member other than the
  suspect has answered this node, or the suspect's kernel has refused a connection of an accuser while all others are
  silent. So an isolated node declares no failure, whatever it was told before it was cut off. Where only two members
  are present there is no witness, so the timeout alone decides. While this host's own kernel refuses to send, nothing
  is a witness; what it refused `_REJECTED_PERIODS` ago says nothing any more;
- *a failure is verified*: this node itself has pinged the suspect shortly before, whichever node accused it first.
  A failure that is proven (`Suspicion.is_proven`) needs neither;
- a node that heard nothing for `_DEAF_PERIODS` restarts its suspicions at the first packet. One that was itself stopped
  extends them by the time of the stop.

Any ack makes its sender a witness for the suspicions of others, never for its own. A suspect's own suspicion restarts
only with an ack that bears the number of a probe of the suspect. A ping without a number (seq 0: to seeds, to lost
members, to find a witness, to end a silence) is tied to no time, so its ack may be older than the suspicion. Such an
ack need not count: whatever a suspect sends, it is sent the suspicion at once, and refutes; and the ping that verifies
a failure has a number.

The times of silence follow one another, in probe intervals: after 2 the node pings several members at once, after 4 it
reports itself isolated, after 5 it restarts its suspicions, and after 7 it takes its own failure for its own fault.

It also takes it for that after a stop in which the others may have failed it: one as long as the shortest suspicion,
`suspicion_alpha` intervals. After a shorter stop it refutes before any suspicion of it expires. If that recurs, each
refutation makes its local health worse, which counts as well (`Detector.is_unwell`).
"""

from __future__ import annotations

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

#: Probe intervals of silence after which a node reports itself isolated. They are not stretched by local health: how
#: long a user waits for the report must not depend on the node's own health. 4 s at the default interval.
_SILENT_PERIODS = 4

#: Probe intervals of silence after which a node pings several members at once, and again in each further interval. A
#: member in bad health probes every ninth interval only, so in a cluster of two it may be silent while all is well.
_SILENCE_PING_PERIODS = 2

#: Members that are pinged then. Of three at 30 % loss each way, one in eight such rounds goes without an answer.
_SILENCE_PINGS = 3

#: Probe intervals of silence after which the node takes it for its own fault that others declare it failed (flap
#: damping), not stretched either. A member of a small side of a partition hears the others there more often than that.
_OUT_PERIODS = 7

#: For how long it does so after it was stopped for long or heard nothing (seconds).
_UNWELL_SECONDS = 30.0

#: Probe intervals of silence after which its suspicions restart. These are not stretched: it heard nothing for so
#: long, whatever its health score, and the first packet that it receives again proves nothing about the time before.
_DEAF_PERIODS = 5

#: Probe intervals for which an answer counts as a witness. Fewer than those of an isolated node, so that such a node
#: has none; and half an interval off the rhythm of the probes, so that no answer to one is just on the edge.
_WITNESS_PERIODS = 3.5

#: Probe intervals for which it counts that this host's kernel has refused a packet. While it goes on refusing there is
#: another one in each such time: a node in the worst health probes every ninth interval.
_REJECTED_PERIODS = 10

#: How long it is remembered that a member was not reached (seconds).
_UNREACHED_KEPT = 120.0


@attrs.frozen
class ExpiredSuspicions:
    """The suspicions on which the node must act now."""

    failures: list[
        MemberUpdate
    ]  # updates to declare failed: a peer's, or one that still says suspect, on our own findings
    verify: list[MemberUpdate]  # suspects that this node must ping itself before it declares, or accepts, their failure
    lacks_witness: bool  # whether a suspicion cannot expire until a peer answers


_NOTHING_EXPIRED = ExpiredSuspicions([], [], lacks_witness=False)


@attrs.define(eq=False, repr=False)
class Detector:
    """The prober, the suspicions, and the evidence that this node itself is reachable."""

    settings: EngineSettings
    members: Members
    prober: Prober
    health: LocalHealth
    reachability: Reachability
    _suspicions: dict[str, Suspicion] = attrs.field(factory=dict)
    _soonest: float | None = None  # when the next suspicion is due; None when it must be computed anew
    _unreached: dict[str, float] = attrs.field(factory=dict)  # name -> when it was last accused, and not answered late
    _back_at: float = float("-inf")  # when this node last went on after a long stop, or heard a member after a silence
    _silence_pinged_at: float = float("-inf")  # when members were last pinged because none was heard

    @classmethod
    def create(cls, settings: EngineSettings, members: Members, rng: Random, now: float) -> Detector:
        """Create a detector that begins within its first interval, so nodes started together do not probe in step."""
        health = LocalHealth(settings.local_health_max)
        prober = Prober(settings, members, health, now + rng.random() * settings.probe_interval)
        return cls(settings, members, prober, health, Reachability(now))

    @property
    def deadline(self) -> float:
        """When `handle_timeout` has something to do (seconds)."""
        return min(self.prober.deadline, self.suspicion_deadline, self._silence_ping_at)

    @property
    def _silence_ping_at(self) -> float:
        """When members are to be pinged if none is heard before (seconds), or infinity."""
        if not self.members.present or not self.settings.failure_witness:
            return float("inf")
        interval = self.settings.probe_interval
        return max(self.reachability.last + _SILENCE_PING_PERIODS * interval, self._silence_pinged_at + interval)

    def silence_pings(self, now: float) -> list[MemberUpdate]:
        """The members to ping now, because none was heard for a while: so a lasting silence is known to be real."""
        if now < self._silence_ping_at:
            return []
        self._silence_pinged_at = now
        return [self.members.next_silence_ping() for _ in range(min(_SILENCE_PINGS, len(self.members.present)))]

    @property
    def suspicion_deadline(self) -> float:
        """When a suspicion is due (seconds), or infinity."""
        if self._soonest is None:
            self._soonest = min([suspicion.due for suspicion in self._suspicions.values()], default=float("inf"))
        return self._soonest

    def is_isolated(self, now: float) -> bool:
        """Whether no member has been heard for so long that the fault is more likely here than everywhere else."""
        return self.reachability.silence(now) > _SILENT_PERIODS * self.settings.probe_interval

    def heard(self, run_id: int, now: float) -> None:
        """A packet of the member ``run_id`` came in."""
        if self._is_silent(_DEAF_PERIODS, now):
            if self._is_silent(_OUT_PERIODS, now):
                self._back_at = now
            if self.settings.failure_witness:
                for suspicion in self._suspicions.values():
                    suspicion.renew(now)
                self._soonest = None
        self.reachability.heard(run_id, now)

    def _is_silent(self, periods: int, now: float) -> bool:
        return self.reachability.silence(now) > periods * self.settings.probe_interval

    def was_answered(self, run_id: int, now: float) -> None:
        """The member ``run_id`` has answered a message of this node: a witness for the suspicions of others."""
        self.reachability.answered(run_id, now)
        if self._suspicions:
            self._soonest = None
            witness = self.members.by_run_id(run_id)
            for name, suspicion in self._suspicions.items():
                if witness is None or name != witness.name:
                    suspicion.witnessed(now)

    def unsent(self, to: Address, now: float) -> None:
        """This host's kernel has refused to send to ``to``."""
        self.reachability.unsent(to, len(self.members.present), now, since=self._rejected_since(now))

    def is_rejected(self, now: float) -> bool:
        """Whether this host's own kernel refuses what this node sends, so that no refusal proves anything."""
        return self.reachability.is_rejected(len(self.members.present), self._rejected_since(now))

    def _rejected_since(self, now: float) -> float:
        return now - _REJECTED_PERIODS * self.settings.probe_interval

    def was_out(self, now: float) -> bool:
        """Whether this node heard no member, or was itself stopped for long, until half a minute ago."""
        return self._is_silent(_OUT_PERIODS, now) or now - self._back_at < _UNWELL_SECONDS

    def is_unwell(self, *, on_probation: bool) -> bool:
        """Whether this node misses so many acks that the fault is more likely its own; always, where the score is off.

        A node ``on_probation`` has come back after such a fault lately: for it one missed ack is enough.
        """
        return self.health.score >= min(self.health.worst, 1 if on_probation else (self.health.worst + 1) // 2)

    def unreached(self, lately: float, now: float) -> list[str]:
        """The members that this node, or a peer of its side, could not reach in the last ``lately`` seconds.

        Without those whose answer came late: those were reachable.
        """
        return [name for name, at in self._unreached.items() if now - at < lately]

    def expire(self, now: float) -> None:
        """Forget which members were not reached long ago: only the last minute is ever asked for."""
        self._unreached = {name: at for name, at in self._unreached.items() if now - at < _UNREACHED_KEPT}

    # Suspicions

    def suspected(self, update: MemberUpdate, now: float) -> None:
        """The member is suspect from now on, accused by the update's accuser."""
        self._soonest = None
        self._unreached[update.name] = now
        members = self.members.present_count
        patience = min(self.prober.trips.timeout(update.run_id), self.settings.probe_interval)
        self._suspicions[update.name] = Suspicion.start(
            self.settings, members, update.accuser, now, refused=update.refused, patience=patience
        )

    def cleared(self, name: str) -> None:
        """The member is suspect no more."""
        if self._suspicions.pop(name, None) is not None:
            self._soonest = None

    def confirm(self, name: str, accuser: int, *, refused: bool = False) -> bool:
        """Count an accuser of a suspect; True when it is a new one that others should learn of."""
        suspicion = self._suspicions.get(name)
        if suspicion is None or accuser == 0:
            return False
        self._soonest = None
        is_new_accuser = suspicion.confirm(accuser)
        return (refused and suspicion.refuse(accuser)) or is_new_accuser

    def tried(self, name: str) -> None:
        """This node itself has had no answer from the suspect."""
        suspicion = self._suspicions.get(name)
        if suspicion is not None:
            self._soonest = None
            suspicion.tried()

    def concluded(self, failure: MemberUpdate) -> None:
        """A peer has declared the suspect failed."""
        self._soonest = None
        self._suspicions[failure.name].concluded(failure)

    def hasten(self, name: str) -> None:
        """The suspicion of ``name``, which has just begun, came from a peer's declaration of failure."""
        self._soonest = None
        self._suspicions[name].hasten()

    def is_confirmed(self, name: str) -> bool:
        """Whether ``name`` is suspected by more than one member, or, in a pair, by the only other one."""
        suspicion = self._suspicions.get(name)
        return suspicion is not None and suspicion.is_confirmed

    def is_proven(self, name: str) -> bool:
        """Whether the failure of ``name`` is proven: its kernel has refused enough members."""
        suspicion = self._suspicions.get(name)
        return suspicion is not None and suspicion.is_proven

    def answered(self, name: str, now: float, *, late: bool) -> None:
        """The suspect has answered this node, perhaps ``late``: it gets its full time to refute."""
        if late:
            self._unreached.pop(name, None)
        suspicion = self._suspicions.get(name)
        if suspicion is not None:
            self._soonest = None
            suspicion.answered(now)

    def expired_suspicions(self, now: float) -> ExpiredSuspicions:
        """The suspicions that have expired, the suspects to verify, and whether a witness is missing."""
        if now < self.suspicion_deadline:
            return _NOTHING_EXPIRED
        self._soonest = None
        overdue = [(name, suspicion) for name, suspicion in self._suspicions.items() if now >= suspicion.due]
        failures: list[MemberUpdate] = []
        verify: list[MemberUpdate] = []
        lacks_witness = False
        for name, suspicion in overdue:
            update = self.members.get(name)
            assert update is not None, "a suspect is a member"
            assert update.status is Status.SUSPECT, "a suspicion ends when its member is cleared"
            if suspicion.wants_look:
                suspicion.look(now)
                verify.append(update)
            elif not self._may_declare(update, suspicion, now):
                suspicion.put_off(now + self.settings.probe_interval)
                lacks_witness = True
            elif not suspicion.is_verified:
                suspicion.verify(now)
                verify.append(update)
            else:
                failures.append(suspicion.failure or update)
        return ExpiredSuspicions(failures, verify, lacks_witness)

    def _may_declare(self, accused: MemberUpdate, suspicion: Suspicion, now: float) -> bool:
        if not self.settings.failure_witness:
            return True
        if self.is_rejected(now):
            return False
        since = max(suspicion.started, now - _WITNESS_PERIODS * self.settings.probe_interval)
        return (
            self.members.present_count == 2
            or self.reachability.has_witness(accused.run_id, since)
            or (suspicion.is_refused and not self.reachability.has_heard(since))
        )

    def postpone(self, seconds: float, now: float) -> None:
        """Extend the suspicions by ``seconds``, for which this node was itself stopped.

        So long that it may itself have been declared failed meanwhile, and that is its own fault (`was_out`).
        """
        self._soonest = None
        if seconds >= self.settings.suspicion_alpha * self.settings.probe_interval:
            self._back_at = now
        self.prober.postpone(seconds)
        for suspicion in self._suspicions.values():
            suspicion.postpone(seconds, now)
