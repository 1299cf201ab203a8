"""Knows who is under suspicion and when a suspicion becomes a verdict.

The prober says who did not answer; peers say whom they suspect; here both become timers, and the end of a timer a
verdict, provided that this node is fit to give one:

- *a verdict needs a witness*: since the suspicion began, somebody else than the accused was heard, or the accused's
  own kernel refused us. In a cluster of two there is no witness, so there the longest timeout must do;
- a node that was cut off, or was itself stopped, begins its suspicions anew when it is back.
"""

from __future__ import annotations

from random import Random

import attrs

from gossipreg.config import Settings
from gossipreg.model import Status
from gossipreg.protocol.membership.hearing import Hearing
from gossipreg.protocol.membership.local_health import LocalHealth
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import Prober
from gossipreg.protocol.membership.rumor import Rumor
from gossipreg.protocol.membership.suspicion import Suspicion

#: Probe intervals of silence after which a node calls itself isolated. They are not stretched by local health: how long
#: a user waits to be told must not depend on how the node thinks of itself. 4 s at the default interval.
_SILENT_PERIODS = 4

#: Probe intervals of silence after which a node pings several members at once, and again in each further interval. A
#: member in bad health probes every ninth interval only, so two of them may be silent for long although all is well.
_RECHECK_PERIODS = 2

#: Members that are pinged then. Of three at 30 % loss each way, one in eight such rounds goes without an answer.
_RECHECKED = 3

#: Probe intervals of silence after which its suspicions begin anew. These are not stretched: it was deaf for so long,
#: however well it thinks of itself, and the first voice that it hears again is no witness to what went before.
_DEAF_PERIODS = 5


@attrs.define(eq=False, repr=False)
class Detector:
    """The prober, the suspicions, and what this node's own ears are worth."""

    settings: Settings
    members: Members
    prober: Prober
    health: LocalHealth
    hearing: Hearing
    _suspicions: dict[str, Suspicion] = attrs.field(factory=dict)
    _soonest: float | None = None  # when the next suspicion ends; None when that must be found out anew
    _rechecked: float = float("-inf")  # when members were last pinged because none was heard

    @classmethod
    def create(cls, settings: Settings, members: Members, dice: Random, now: float) -> Detector:
        """A detector that begins to probe within its first interval, so that nodes started together do not in step."""
        health = LocalHealth(settings.local_health_max)
        prober = Prober(settings, members, health, now + dice.random() * settings.probe_interval)
        return cls(settings, members, prober, health, Hearing(now))

    @property
    def deadline(self) -> float:
        """When something is due (seconds)."""
        return min(self.prober.deadline, self.verdict_deadline, self._recheck_at)

    @property
    def _recheck_at(self) -> float:
        """When members are to be pinged if none is heard before (seconds), or infinity."""
        if not self.members.present or not self.settings.verdict_witness:
            return float("inf")
        interval = self.settings.probe_interval
        return max(self.hearing.last + _RECHECK_PERIODS * interval, self._rechecked + interval)

    def recheck(self, now: float) -> list[Rumor]:
        """The members to ping now, because none was heard for a while: so a silence that lasts is a real one."""
        if now < self._recheck_at:
            return []
        self._rechecked = now
        return [self.members.next_rechecked() for _ in range(min(_RECHECKED, len(self.members.present)))]

    @property
    def verdict_deadline(self) -> float:
        """When the next suspicion ends (seconds), or infinity."""
        if self._soonest is None:
            self._soonest = min([suspicion.deadline for suspicion in self._suspicions.values()], default=float("inf"))
        return self._soonest

    def is_isolated(self, now: float) -> bool:
        """Whether nobody has been heard for so long that the fault is more likely here than everywhere else."""
        return self.hearing.silence(now) > _SILENT_PERIODS * self.settings.probe_interval

    def heard(self, life: int, now: float) -> None:
        """A packet of the member ``life`` came in."""
        if self._suspicions and self.settings.verdict_witness and self._was_deaf(now):
            for suspicion in self._suspicions.values():
                suspicion.renew(now)
            self._soonest = None
        self.hearing.heard(life, now)

    def _was_deaf(self, now: float) -> bool:
        return self.hearing.silence(now) > _DEAF_PERIODS * self.settings.probe_interval

    # Suspicions

    def suspected(self, rumor: Rumor, now: float) -> None:
        """The member is believed suspect from now on, on the word of the rumor's accuser."""
        self._soonest = None
        members = self.members.present_count
        self._suspicions[rumor.name] = Suspicion.start(
            self.settings, members, rumor.accuser, now, refused=rumor.refused
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
        is_new_voice = suspicion.confirm(accuser)
        return (refused and suspicion.refuse(accuser)) or is_new_voice

    def is_confirmed(self, name: str) -> bool:
        """Whether ``name`` is suspected by more than one member, or, in a pair, by the only other one."""
        suspicion = self._suspicions.get(name)
        return suspicion is not None and suspicion.is_confirmed

    def is_proven(self, name: str) -> bool:
        """Whether ``name`` is suspected for reasons that leave no doubt."""
        suspicion = self._suspicions.get(name)
        return suspicion is not None and suspicion.is_proven

    def answered(self, name: str, now: float) -> None:
        """The suspect has answered us, late perhaps: it gets its full time to refute."""
        suspicion = self._suspicions.get(name)
        if suspicion is not None:
            self._soonest = None
            suspicion.answered(now)

    def verdicts(self, now: float) -> list[Rumor]:
        """The suspects whose time is over, and about whom this node is fit to judge."""
        if now < self.verdict_deadline:
            return []
        self._soonest = None
        overdue = [name for name, suspicion in self._suspicions.items() if now >= suspicion.deadline]
        judged = []
        for name in overdue:
            suspicion = self._suspicions[name]
            rumor = self.members.get(name)
            assert rumor is not None, "a suspect is a member"
            assert rumor.status is Status.SUSPECT, "a suspicion ends when its member is cleared"
            if suspicion.is_refused or self._may_judge(rumor, suspicion):
                judged.append(rumor)
            else:
                suspicion.put_off(now + self.settings.probe_interval)
        return judged

    def _may_judge(self, accused: Rumor, suspicion: Suspicion) -> bool:
        if not self.settings.verdict_witness or self.members.present_count == 2:
            return True
        return self.hearing.has_witness(accused.life, suspicion.started)

    def postpone(self, seconds: float, now: float) -> None:
        """This node was itself stopped for ``seconds``: nobody is judged for what was not heard meanwhile."""
        self._soonest = None
        self.prober.postpone(seconds)
        for suspicion in self._suspicions.values():
            suspicion.postpone(seconds, now)
