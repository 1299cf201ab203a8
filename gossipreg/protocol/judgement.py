"""Knows how claims about other members are weighed: heard, believed, confirmed, and in the end judged.

The detector says who did not answer and whose time is over, peers say what they believe; here it becomes what this
node believes and tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.protocol.exchange import Exchange
from gossipreg.protocol.knowledge import Knowledge
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.probe import Finding, Missed, Ping, Say, TryStream, Unreached
from gossipreg.protocol.membership.rumor import Rumor
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import MemberChanged
from gossipreg.protocol.spreading.dissemination import Topic
from gossipreg.protocol.spreading.reconcile import End
from gossipreg.protocol.talks import Purpose
from gossipreg.protocol.voice import Voice
from gossipreg.protocol.wire.messages import pack


@attrs.define(eq=False, repr=False)
class Judgement:
    """What this node makes of what is said about others."""

    identity: Identity
    knowledge: Knowledge
    detector: Detector
    exchange: Exchange
    outbox: Outbox

    def hear(self, rumor: Rumor, voice: Voice, now: float) -> None:
        """A peer says something of a member that is not this node."""
        held = self.knowledge.members.get(rumor.name)
        if held is None:
            if not self.knowledge.expect(rumor):
                return
        elif not rumor.supersedes(held):
            if rumor.rank == held.rank and rumor.status is Status.SUSPECT:
                self._confirm(held, rumor.accuser, now, refused=rumor.refused)
            elif rumor.rank == held.rank and not voice.in_talk:
                self.knowledge.heard_again(Topic.MEMBERSHIP, rumor.name, now)
            return
        if voice.in_talk and rumor.status is Status.FAILED and held is not None and held.status.is_present:
            # The verdict of the other side of a split: here the member may be well, so it gets the chance to refute.
            rumor = attrs.evolve(rumor, status=Status.SUSPECT, accuser=voice.sender)
            if not rumor.supersedes(held):
                return
        if held is not None and rumor.is_forgotten and held.status.is_present and rumor.is_same_life(held):
            # Forgotten where it was taken for failed; here it may be well, so it gets the chance to refute.
            rumor = attrs.evolve(rumor, status=Status.SUSPECT)
            if not rumor.supersedes(held):
                return
        self._believe(rumor, now, spread=voice.is_worth_telling(settled=self.identity.settled))
        if rumor.status is Status.SUSPECT and self.detector.prober.was_unreached(rumor.life, now):
            self._second(rumor, now)
        revived = held is not None and held.status is Status.FAILED and rumor.status is Status.ALIVE
        if revived and not voice.in_talk:
            self.exchange.hurry(now)  # it was away

    def _believe(self, rumor: Rumor, now: float, *, spread: bool) -> None:
        members = self.knowledge.members
        if not members.present and not members.has_failed:
            self.detector.hearing.expect(now)
        before = self.knowledge.believe(rumor, now, spread=spread)
        if rumor.status is Status.SUSPECT:
            self.detector.suspected(rumor, now)
        else:
            self.detector.cleared(rumor.name)
        self.outbox.put(MemberChanged(before, rumor))
        self._conclude(rumor, now)

    def _confirm(self, held: Rumor, accuser: int, now: float, *, refused: bool = False) -> None:
        if self.detector.confirm(held.name, accuser, refused=refused):
            voice = attrs.evolve(held, accuser=accuser, refused=refused)
            self.knowledge.mill.add(Topic.MEMBERSHIP, held.name, pack(voice), now)
            self._conclude(held, now)

    def _second(self, suspect: Rumor, now: float) -> None:
        """This node could not reach the suspect either, on behalf of somebody: that is a voice of its own."""
        if self.detector.settings.seconding:
            self._confirm(suspect, self.identity.life, now)

    def _conclude(self, suspect: Rumor, now: float) -> None:
        """Two speeds: routing reacts to a suspicion that is confirmed, membership to one that is over or proven."""
        if self.detector.is_proven(suspect.name):
            self._condemn(suspect, now)
        elif self.detector.is_confirmed(suspect.name):
            self.knowledge.doubt(suspect.name)

    def _condemn(self, suspect: Rumor, now: float) -> None:
        self.knowledge.counters[Count.VERDICTS] += 1
        self._believe(suspect.graver(Status.FAILED, self.identity.life), now, spread=True)

    def forget(self, failed: Rumor, now: float) -> None:
        """Have every node take a member that failed for one that left, and drop what it offers."""
        self._believe(failed.graver(Status.LEFT, self.identity.life), now, spread=True)

    # What the detector finds

    def probe(self, now: float) -> None:
        """Ask whom it is time to ask, and accuse whoever has not answered."""
        self.perform(self.detector.prober.wake(self.knowledge.fingerprint.total, now), now)
        for target in self.detector.recheck(now):
            self.outbox.send(target.address, pack(Ping(0, target.life, self.knowledge.fingerprint.total)))

    def pinged(self, now: float) -> None:
        """Ask whom it will soon be time to ask, since this node is awake."""
        self.perform(self.detector.prober.pinged(self.knowledge.fingerprint.total, now), now)

    def judge(self, now: float) -> None:
        """Pass the verdicts that are due."""
        for suspect in self.detector.verdicts(now):
            self._condemn(suspect, now)

    def perform(self, findings: Sequence[Finding], now: float) -> None:
        """Do what the prober wants done, and draw the conclusions from what it found."""
        for finding in findings:
            match finding:
                case Say():
                    self._say(finding, now)
                case TryStream(target, seq):
                    ping = Ping(seq, target.life, self.knowledge.fingerprint.total)
                    self.exchange.open(Purpose.PROBE, target.address, [ping, End()], about=seq)
                case Missed():
                    self._miss(finding, now)
                case Unreached(target):
                    suspect = self.knowledge.members.by_life(target)
                    if suspect is not None and suspect.status is Status.SUSPECT:
                        self._second(suspect, now)
                case _:
                    self.detector.answered(finding.target.name, now)

    def _say(self, finding: Say, now: float) -> None:
        message = pack(finding.message)
        accused = None if finding.about is None else self.knowledge.members.get(finding.about)
        if accused is not None and accused.status is not Status.ALIVE:
            # The accusation goes first, so that the ack already carries the refutation.
            self.outbox.send(finding.to, pack(accused), message, now=now)
        else:
            self.outbox.send(finding.to, message, now=now)

    def _miss(self, missed: Missed, now: float) -> None:
        if self._may_be_accused(missed.target):
            self.knowledge.counters[Count.PROBES_MISSED] += 1
            self._accuse(missed.target, now, refused=missed.refused)

    def refused(self, target: Rumor, confidants: Iterable[str], now: float) -> None:
        """The kernel of ``target`` has refused this node: say so, to the members named ``confidants`` at once."""
        if not self._may_be_accused(target):
            return
        self.knowledge.counters[Count.REFUSALS] += 1
        self._accuse(target, now, refused=True)
        believed = self.knowledge.members.get(target.name)
        assert believed is not None, "it has just been accused"
        word = pack(attrs.evolve(believed, accuser=self.identity.life, refused=True))
        for name in confidants:
            confidant = self.knowledge.members.get(name)
            assert confidant is not None, "who has a seat on the ring is known"
            self.outbox.send(confidant.address, word)

    def _may_be_accused(self, target: Rumor) -> bool:
        held = self.knowledge.members.get(target.name)
        return held is not None and held.is_same_life(target) and held.status.is_present

    def _accuse(self, target: Rumor, now: float, *, refused: bool) -> None:
        held = self.knowledge.members.get(target.name)
        assert held is not None, "only members are accused"
        if held.status is Status.SUSPECT:
            self._confirm(held, self.identity.life, now, refused=refused)
        else:
            self.knowledge.counters[Count.SUSPICIONS] += 1
            self._believe(held.graver(Status.SUSPECT, self.identity.life, refused=refused), now, spread=True)
