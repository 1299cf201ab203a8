"""Knows who is under suspicion and when a suspicion becomes a verdict.

The prober says who did not answer; peers say whom they suspect; here both become timers, and the end of a timer a
verdict, provided that this node is fit to give one:

- *a verdict needs a witness*: since the suspicion began, a member other than the accused has answered this node, or
  the accused's own kernel refused us while all others are silent. In a cluster of two there is no witness, so there
  the longest timeout must do. While this host's own kernel refuses to send, nothing is a witness;
- *a verdict is verified*: this node itself has pinged the accused shortly before, whoever accused it first;
- a node that was cut off, or was itself stopped, begins its suspicions anew when it is back.
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

#: Probe intervals of silence after which a node calls itself isolated. They are not stretched by local health: how long
#: a user waits to be told must not depend on how the node thinks of itself. 4 s at the default interval.
_SILENT_PERIODS = 4

#: Probe intervals of silence after which a node pings several members at once, and again in each further interval. A
#: member in bad health probes every ninth interval only, so two of them may be silent for long although all is well.
_SILENCE_PING_PERIODS = 2

#: Members that are pinged then. Of three at 30 % loss each way, one in eight such rounds goes without an answer.
_SILENCE_PINGS = 3

#: Probe intervals of silence after which it takes a failure of its own for its own fault, not stretched either. A
#: member of a small side of a split hears the others there more often than that.
_OUT_PERIODS = 7

#: For how long a node that was stopped or deaf takes a failure of its own for its own fault (seconds).
_UNWELL_SECONDS = 30.0

#: Probe intervals of silence after which its suspicions begin anew. These are not stretched: it was deaf for so long,
#: however well it thinks of itself, and the first voice that it hears again is no witness to what went before.
_DEAF_PERIODS = 5

#: For how long it is remembered that a member was not reached (seconds).
_UNREACHED_KEPT = 120.0


@attrs.frozen
class ExpiredSuspicions:
    """What is to be done about suspicions now."""

    failures: list[
        MemberUpdate
    ]  # what is to be believed, on the word of a peer or, if it still says suspect, on our own
    verify: list[MemberUpdate]  # suspects that this node must ping itself before it gives, or takes, a verdict
    lacks_witness: bool  # whether a verdict waits for a peer to answer


_NOTHING_EXPIRED = ExpiredSuspicions([], [], lacks_witness=False)


@attrs.define(eq=False, repr=False)
class Detector:
    """The prober, the suspicions, and what this node's own ears are worth."""

    settings: EngineSettings
    members: Members
    prober: Prober
    health: LocalHealth
    reachability: Reachability
    _suspicions: dict[str, Suspicion] = attrs.field(factory=dict)
    _soonest: float | None = None  # when the next suspicion is due; None when that must be found out anew
    _unreached: dict[str, float] = attrs.field(factory=dict)  # name -> when it was last accused, and not answered late
    _out_until: float = float("-inf")  # when this node last went on after it was stopped, or heard nobody for long
    _silence_pinged_at: float = float("-inf")  # when members were last pinged because none was heard

    @classmethod
    def create(cls, settings: EngineSettings, members: Members, rng: Random, now: float) -> Detector:
        """A detector that begins to probe within its first interval, so that nodes started together do not in step."""
        health = LocalHealth(settings.local_health_max)
        prober = Prober(settings, members, health, now + rng.random() * settings.probe_interval)
        return cls(settings, members, prober, health, Reachability(now))

    @property
    def deadline(self) -> float:
        """When something is due (seconds)."""
        return min(self.prober.deadline, self.suspicion_deadline, self._silence_ping_at)

    @property
    def _silence_ping_at(self) -> float:
        """When members are to be pinged if none is heard before (seconds), or infinity."""
        if not self.members.present or not self.settings.failure_witness:
            return float("inf")
        interval = self.settings.probe_interval
        return max(self.reachability.last + _SILENCE_PING_PERIODS * interval, self._silence_pinged_at + interval)

    def silence_pings(self, now: float) -> list[MemberUpdate]:
        """The members to ping now, because none was heard for a while: so a silence that lasts is a real one."""
        if now < self._silence_ping_at:
            return []
        self._silence_pinged_at = now
        return [self.members.next_silence_ping() for _ in range(min(_SILENCE_PINGS, len(self.members.present)))]

    @property
    def suspicion_deadline(self) -> float:
        """When something is to be done about a suspicion (seconds), or infinity."""
        if self._soonest is None:
            self._soonest = min([suspicion.due for suspicion in self._suspicions.values()], default=float("inf"))
        return self._soonest

    def is_isolated(self, now: float) -> bool:
        """Whether nobody has been heard for so long that the fault is more likely here than everywhere else."""
        return self.reachability.silence(now) > _SILENT_PERIODS * self.settings.probe_interval

    def heard(self, run_id: int, now: float) -> None:
        """A packet of the member ``life`` came in."""
        if self._is_silent(_DEAF_PERIODS, now):
            if self._is_silent(_OUT_PERIODS, now):
                self._out_until = now
            if self.settings.failure_witness:
                for suspicion in self._suspicions.values():
                    suspicion.renew(now)
                self._soonest = None
        self.reachability.heard(run_id, now)

    def _is_silent(self, periods: int, now: float) -> bool:
        return self.reachability.silence(now) > periods * self.settings.probe_interval

    def was_answered(self, run_id: int, now: float) -> None:
        """The member ``life`` has answered a message of this node, so it is a witness."""
        self.reachability.answered(run_id, now)
        if self._suspicions:
            self._soonest = None
            for suspicion in self._suspicions.values():
                suspicion.witnessed(now)

    def unsent(self, to: Address, now: float) -> None:
        """This host's kernel has refused to send to ``to``."""
        self.reachability.unsent(to, len(self.members.present), now)

    @property
    def is_rejected(self) -> bool:
        """Whether this host's own kernel refuses what this node sends, so that no refusal proves anything."""
        return self.reachability.is_rejected(len(self.members.present))

    def was_out(self, now: float) -> bool:
        """Whether this node has heard nobody, or was itself stopped, until a moment ago."""
        return self._is_silent(_OUT_PERIODS, now) or now - self._out_until < _UNWELL_SECONDS

    def is_unwell(self, *, on_probation: bool) -> bool:
        """Whether this node misses so many acks that the fault is more likely its own; always, if it does not count.

        A node ``on_probation`` has come back after such a fault lately: for it one ack that is missed is enough.
        """
        return self.health.score >= min(self.health.worst, 1 if on_probation else (self.health.worst + 1) // 2)

    def unreached(self, lately: float, now: float) -> list[str]:
        """The members that this node, or a peer of its side, could not reach in the last ``lately`` seconds.

        Without those whose answer came, only late: those this node could reach.
        """
        return [name for name, at in self._unreached.items() if now - at < lately]

    def expire(self, now: float) -> None:
        """Forget whom nobody has failed to reach for long: names are many, and what is asked of is the last minute."""
        self._unreached = {name: at for name, at in self._unreached.items() if now - at < _UNREACHED_KEPT}

    # Suspicions

    def suspected(self, update: MemberUpdate, now: float) -> None:
        """The member is believed suspect from now on, on the word of the rumor's accuser."""
        self._soonest = None
        self._unreached[update.name] = now
        members = self.members.present_count
        patience = min(self.prober.trips.timeout(update.run_id), self.settings.probe_interval)
        self._suspicions[update.name] = Suspicion.start(
            self.settings, members, update.accuser, now, refused=update.refused, patience=patience
        )

    def cleared(self, name: str) -> None:
        """The member is believed anything but suspect."""
        if self._suspicions.pop(name, None) is not None:
            self._soonest = None

    def confirm(self, name: str, accuser: int, *, refused: bool = False) -> bool:
        """One more voice against a suspect; True when it is a new one that others should hear of."""
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
        """A peer says that the suspicion of a member has come to its end."""
        self._soonest = None
        self._suspicions[failure.name].concluded(failure)

    def hasten(self, name: str) -> None:
        """The suspicion of ``name``, which has just begun, was a peer's verdict."""
        self._soonest = None
        self._suspicions[name].hasten()

    def is_confirmed(self, name: str) -> bool:
        """Whether ``name`` is suspected by more than one member, or, in a pair, by the only other one."""
        suspicion = self._suspicions.get(name)
        return suspicion is not None and suspicion.is_confirmed

    def is_proven(self, name: str) -> bool:
        """Whether ``name`` is suspected for reasons that leave no doubt."""
        suspicion = self._suspicions.get(name)
        return suspicion is not None and suspicion.is_proven

    def answered(self, name: str, now: float, *, late: bool) -> None:
        """The suspect has answered us, ``late`` perhaps: it gets its full time to refute."""
        if late:
            self._unreached.pop(name, None)
        suspicion = self._suspicions.get(name)
        if suspicion is not None:
            self._soonest = None
            suspicion.answered(now)

    def expired_suspicions(self, now: float) -> ExpiredSuspicions:
        """The suspects whose time is over and about whom this node is fit to judge, and what it lacks for others."""
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
        if self.is_rejected:
            return False
        lately = now - _SILENT_PERIODS * self.settings.probe_interval
        return (
            self.members.present_count == 2
            or self.reachability.has_witness(accused.run_id, suspicion.started)
            or (suspicion.is_refused and not self.reachability.has_heard(max(suspicion.started, lately)))
        )

    def postpone(self, seconds: float, now: float) -> None:
        """This node was itself stopped for ``seconds``: nobody is judged for what was not heard meanwhile."""
        self._soonest = None
        self._out_until = now
        self.prober.postpone(seconds)
        for suspicion in self._suspicions.values():
            suspicion.postpone(seconds, now)
