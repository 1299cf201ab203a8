"""Knows how claims about other members are weighed: heard, believed, confirmed, and in the end judged.

The detector says who did not answer and whose time is over, peers say what they believe; here it becomes what this
node believes and tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import attrs

from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.protocol.exchange import Exchange
from gossipreg.protocol.knowledge import Knowledge
from gossipreg.protocol.membership.admission import Admission
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

#: For how long after a failed member is back its verdicts over others count as those of another side (seconds).
_FOREIGN_SECONDS = 60.0

#: Members that are pinged when a verdict waits for a peer to answer. Half of all may be dead.
_WITNESSES_ASKED = 3

#: Of them, those that were heard or have answered last.
_NEAREST_ASKED = 2


@attrs.define(eq=False, repr=False)
class Judgement:
    """What this node makes of what is said about others."""

    identity: Identity
    knowledge: Knowledge
    detector: Detector
    exchange: Exchange
    outbox: Outbox
    _admission: Admission = attrs.field(factory=Admission)

    def hear(self, rumor: Rumor, voice: Voice, now: float) -> None:
        """A peer says something of a member that is not this node."""
        held = self.knowledge.members.get(rumor.name)
        if held is None:
            if not self._admit(rumor, voice, now):
                return
        elif not rumor.supersedes(held):
            if rumor.rank == held.rank and rumor.status is Status.SUSPECT:
                self._confirm(held, rumor.accuser, now, refused=rumor.refused)
            elif rumor.rank == held.rank and not voice.in_talk:
                self.knowledge.heard_again(Topic.MEMBERSHIP, rumor.name, now)
            return
        if held is not None and rumor.is_forgotten and held.status.is_present and rumor.is_same_life(held):
            # Forgotten where it was taken for failed; here it may be well, so it gets the chance to refute.
            rumor = attrs.evolve(rumor, status=Status.SUSPECT)
            if not rumor.supersedes(held):
                return
        spread = voice.is_worth_telling(settled=self.identity.settled)
        if rumor.status is Status.FAILED and held is not None and self._is_in_doubt(rumor, held, voice, now):
            self._hear_verdict(rumor, held, now, spread=spread)
            return
        self._believe(rumor, now, spread=spread)
        if rumor.status is Status.SUSPECT and self.detector.prober.was_unreached(rumor.life, now):
            self._second(rumor, now)
        revived = held is not None and held.status is Status.FAILED and rumor.status is Status.ALIVE
        if revived and not voice.in_talk:
            self.exchange.hurry(now)  # it was away

    def _admit(self, newcomer: Rumor, voice: Voice, now: float) -> bool:
        """Whether a member that is not known is to be remembered; if need be, another gives way to it."""
        if not self.knowledge.expect(newcomer):
            return False
        members = self.knowledge.members
        if members.has_room():
            return True
        in_person = voice.sender == newcomer.life and voice.source.host == newcomer.address.host
        goes = members.first_to_go(newcomer)
        if goes is None or not self._admission.may_enter(now, in_person=in_person):
            self.knowledge.counters[Count.RUMORS_OVER_MEMBER_LIMIT] += 1
            return False
        self.knowledge.counters[Count.MEMBERS_GAVE_WAY] += 1
        self.detector.cleared(goes)
        self.outbox.put(MemberChanged(self.knowledge.forget(goes), None))
        return True

    def _is_in_doubt(self, verdict: Rumor, held: Rumor, voice: Voice, now: float) -> bool:
        """Whether a peer's ``verdict`` over a member held to be present must be verified before it is believed.

        Not if the member concedes it itself; nor if two kernels have proven it, unless the accuser was cut off from
        this node lately: then it may be the network between the two sides that refused.
        """
        if not held.status.is_present or verdict.accuser == verdict.life:
            return False
        if not self.detector.settings.verify_verdicts:
            return voice.in_talk
        accuser = self.knowledge.members.by_life(verdict.accuser)
        is_credible = accuser is not None and not self.knowledge.members.was_failed(accuser.name, _FOREIGN_SECONDS, now)
        return voice.in_talk or not verdict.refused or not is_credible

    def _hear_verdict(self, verdict: Rumor, held: Rumor, now: float, *, spread: bool) -> None:
        """A peer failed a member that is present here: it is suspect, and this node sees for itself."""
        suspect = attrs.evolve(verdict, status=Status.SUSPECT, refused=False)
        verifies = self.detector.settings.verify_verdicts
        if suspect.supersedes(held):
            self._believe(suspect, now, spread=spread)
            if verifies:
                self.detector.hasten(verdict.name)
        elif verifies:
            self.detector.concluded(verdict)

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
        if accuser == self.identity.life:
            self.detector.tried(held.name)
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
        """Fail ``suspect``. That two kernels have refused goes with the verdict: it needs no more verifying."""
        self.knowledge.counters[Count.VERDICTS] += 1
        proven = self.detector.is_proven(suspect.name)
        self._believe(suspect.graver(Status.FAILED, self.identity.life, refused=proven), now, spread=True)

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
        """Pass the verdicts that are due, and see for this node itself what must be seen for those to come."""
        due = self.detector.due(now)
        for verdict in due.verdicts:
            if verdict.status is Status.FAILED:
                self._believe(verdict, now, spread=True)
            else:
                self._condemn(verdict, now)
        fingerprint = self.knowledge.fingerprint.total
        for suspect in due.verify:
            self.perform(self.detector.prober.ask_suspect(suspect, fingerprint, now), now)
        if due.lacks_witness:
            self._seek_witness(now)

    def _seek_witness(self, now: float) -> None:
        """Ask for an ack: first those that were heard last, for in a split these are on this side."""
        members = self.knowledge.members
        nearest = [members.by_life(life) for life in self.detector.hearing.nearest[:_NEAREST_ASKED]]
        known = {peer.name: peer for peer in nearest if peer is not None and peer.status is Status.ALIVE}
        known |= {peer.name: peer for peer in members.sample(_WITNESSES_ASKED)}
        for peer in islice(known.values(), _WITNESSES_ASKED):
            self.outbox.send(peer.address, pack(Ping(0, peer.life, self.knowledge.fingerprint.total)), now=now)

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
                    self.knowledge.members.prove(finding.target.name)
                    self.detector.answered(finding.target.name, now, late=finding.late)
                    self.knowledge.trust(finding.target.name)

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
            self.detector.tried(held.name)
