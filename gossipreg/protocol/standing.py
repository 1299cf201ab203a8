"""Knows how this node stands in the cluster: quiet or announced, accused, contested, draining, gone.

`identity` decides what to answer; here the answer is given: the claim goes into what is known, into the rumor mill
and, over the name, to the other life that bears it.
"""

from __future__ import annotations

from itertools import islice

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address, Status
from gossipreg.protocol.exchange import Exchange
from gossipreg.protocol.knowledge import Knowledge
from gossipreg.protocol.membership.calm import Calm
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Answer, Contest, Identity
from gossipreg.protocol.membership.rumor import Rumor
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import MemberChanged, NameConflicted, NameContested
from gossipreg.protocol.registry.records import Head, Record
from gossipreg.protocol.registry.view import first_index
from gossipreg.protocol.spreading.dissemination import Topic
from gossipreg.protocol.spreading.reconcile import End
from gossipreg.protocol.talks import Purpose
from gossipreg.protocol.voice import Voice
from gossipreg.protocol.wire.messages import pack

#: Own records that are also gossiped when a node settles; beyond it the seed and reconciliation carry them.
_RESPREAD_MAX = 64

#: For how long it is remembered that this node failed others, or could not send (seconds): what they say of it in that
#: time is no fault of its own. A verdict takes a suspicion to be passed, and some seconds to come across.
_EXCUSED_SECONDS = 60.0

#: How long a refutation takes to reach everybody (seconds). A peer that does not know it then has missed it.
_SPREAD_SECONDS = 1.0

#: A node that has lately failed this share of the others was on one side of a split.
_SPLIT_SHARE = 0.25

#: Likewise one that could not reach so large a share of them, and at least two: it need not have come to verdicts yet.
_UNREACHED_SHARE = 0.125
_UNREACHED_LEAST = 2


#: For how long a node that was let in may still find that its name is taken, and stop (seconds): two that start at once
#: under one name may both be let in before either is known.
_JOINING_SECONDS = 5.0


@attrs.define(eq=False, repr=False)
class Standing:
    """This node's identity, and what follows from it."""

    identity: Identity
    knowledge: Knowledge
    detector: Detector
    exchange: Exchange
    outbox: Outbox
    calm: Calm = attrs.field(init=False)
    _refuted_at: float = float("-inf")
    _joined_until: float = float("-inf")  # until when this node counts as one that joins

    def __attrs_post_init__(self) -> None:
        self.calm = Calm(self.identity.settings)

    @property
    def deadline(self) -> float:
        """When `wake` is wanted (seconds)."""
        return min(self.identity.deadline, self.calm.return_at)

    def wake(self, now: float) -> None:
        """Ask the namesake again, or come back, if it is time."""
        if now >= self.identity.deadline:
            self._ask_namesake(now)
        if now >= self.calm.return_at:
            verdict = self.calm.release(now)
            if self.identity.judge(verdict) is Answer.REFUTE:
                self._refute(verdict, now)

    def begin(self, now: float, *, alone: bool) -> None:
        """Be known to oneself; one that is ``alone`` has nobody to ask whether its name is free."""
        self._claim()
        if alone:
            self.settle(now)

    def _claim(self) -> Rumor:
        rumor = self.identity.rumor()
        self.knowledge.own = rumor
        self.outbox.sign(self.identity.life)
        return rumor

    def announce(self, now: float) -> None:
        """Tell everybody what this node says of itself."""
        rumor = self._claim()
        if self.identity.settled:
            before = self.knowledge.believe(rumor, now, spread=True)
            self.outbox.put(MemberChanged(before, rumor))
        self.knowledge.registry.touch(rumor.name)

    def settle(self, now: float) -> None:
        """The name is ours: join in."""
        self.identity.settled = True
        self.announce(now)
        table = self.knowledge.registry.table(self.identity.name)
        for record in islice(table or (), _RESPREAD_MAX):
            self.knowledge.spread(record, now)

    def introduce(self, now: float) -> list[bytes]:
        """Settle, if the peer has just told us all that it knows and our name is free; returns what to tell it."""
        if self.identity.settled or self.identity.contested is not None:
            return []
        self._joined_until = now + _JOINING_SECONDS
        self.settle(now)
        table = self.knowledge.registry.table(self.identity.name)
        return [pack(self.identity.rumor()), *map(pack, table or ())]

    def hear_of_self(self, rumor: Rumor, voice: Voice, now: float) -> None:
        """A peer says something of this node's name."""
        match self.identity.judge(rumor):
            case Answer.REFUTE:
                self._hear_accusation(rumor, voice, now)
            case Answer.RECLAIM:
                self._reclaim(rumor.generation, now)
            case Answer.CONTEST:
                self.identity.open_contest(rumor, now)
            case Answer.IGNORE if rumor.life == self.identity.life and not self.identity.left:
                self._hear_outdated(rumor, voice, now)

    def _hear_outdated(self, rumor: Rumor, voice: Voice, now: float) -> None:
        """A peer believes what this node has outbid, or never spread: tell it what this node says now."""
        if rumor.status not in (Status.SUSPECT, Status.FAILED):
            return
        if rumor.status is Status.FAILED and self._is_own_fault(rumor, now):
            self.calm.note_return(rumor, now)
        if self.calm.verdict is not None:
            self._tell(self._concession(), voice, now)
        elif now - self._refuted_at > _SPREAD_SECONDS:
            self._tell(self.identity.rumor(), voice, now)

    def _hear_accusation(self, rumor: Rumor, voice: Voice, now: float) -> None:
        waited = self.calm.verdict
        if self.calm.may_answer(rumor, now, own_fault=self._is_own_fault(rumor, now)):
            self._refute(rumor, now)
            return
        self.knowledge.counters[Count.RETURNS_PUT_OFF] += waited is None
        verdict = self.calm.verdict
        assert verdict is not None, "what is not answered waits"
        if verdict.status is Status.FAILED:
            concession = self._concession()
            if waited is None or verdict.rank > waited.rank:
                self.knowledge.mill.add(Topic.MEMBERSHIP, self.identity.name, pack(concession), now)
            if rumor.status is Status.SUSPECT:
                self._tell(concession, voice, now)

    def _concession(self) -> Rumor:
        """That this node takes its own failure as read, for as long as it waits: no peer need verify that."""
        verdict = self.calm.verdict
        assert verdict is not None, "only a node that waits concedes"
        return attrs.evolve(verdict, accuser=self.identity.life, refused=False, age=0)

    def _tell(self, said: Rumor, voice: Voice, now: float) -> None:
        if voice.member is not None and not voice.in_talk:
            self.knowledge.counters[Count.CORRECTIONS] += 1
            self.outbox.tell(voice.sender, voice.source, pack(said), now)

    def _is_own_fault(self, accusation: Rumor, now: float) -> bool:
        """Whether it is this node that the others could not reach, and not they that were cut off, or the accuser.

        It is not where this node has failed the accuser itself, or a good part of the others: that was a split, for
        to fail them it must have been answered by somebody. Nor where its own kernel refused to send: the cause is
        known, and over. Else it is, if this node was stopped or deaf. If it was neither, it is not where this node
        could not reach the accuser, or a good part of the others, either; nor where it is answered in time.
        """
        members, detector = self.knowledge.members, self.detector
        accuser = members.by_life(accusation.accuser)
        name = None if accuser is None else accuser.name
        if name is not None and members.was_failed(name, _EXCUSED_SECONDS, now):
            return False
        if members.failed_share(_EXCUSED_SECONDS, now) >= _SPLIT_SHARE:
            return False
        if now - detector.hearing.rejected_at < _EXCUSED_SECONDS:
            return False
        if detector.was_out(now):
            return True
        unreached = detector.unreached(_EXCUSED_SECONDS, now)
        if name in unreached or len(unreached) >= max(_UNREACHED_LEAST, _UNREACHED_SHARE * members.present_count):
            return False
        return detector.is_unwell(on_probation=self.calm.wait(now) > 0)

    def _refute(self, rumor: Rumor, now: float) -> None:
        self._refuted_at = now
        self.detector.health.worse()
        self.knowledge.counters[Count.REFUTATIONS] += 1
        if rumor.incarnation > limits.INCARNATION_MAX // 2:  # nobody refutes so often, and there must be room above it
            self._reclaim(self.identity.generation, now)
        else:
            self.identity.refute(rumor)
            self.announce(now)

    def hear_of_shared_generation(self, said: Record | Head, now: float) -> bool:
        """Whether ``said`` is of our name and generation but not by us; then take a later generation.

        Two lives that reclaim their name above the same rumor at the same time come to share one.
        """
        if self.identity.left or not self.knowledge.is_foreign(said):
            return False
        self._reclaim(said.generation, now)
        return True

    def move(self, address: Address, now: float) -> None:
        """Be at another address from now on, and offer everything again from there."""
        self.identity.address = address
        self._reclaim(self.identity.generation, now)

    def _reclaim(self, generation: int, now: float) -> None:
        """Begin a generation above the one heard of under our name, and offer everything again in it."""
        table = self.knowledge.registry.table(self.identity.name)
        instances = [record.instance for record in table or ()]
        self.knowledge.drop_table(self.identity.name)
        was_in_conflict = self.identity.conflict is not None
        self.identity.reclaim(generation)
        if was_in_conflict and self.identity.conflict is None:
            self.outbox.put(NameConflicted(None))
        self.knowledge.view.raise_to(first_index(self.identity.generation))
        self.announce(now)
        for instance in instances:
            record, change = self.knowledge.registry.offer(instance, self.identity.generation)
            self.knowledge.remake(record, change)
            self.knowledge.raise_term(record, now, spread=self.identity.settled)
            if self.identity.settled:
                self.knowledge.spread(record, now)

    # Contests

    def _ask_namesake(self, now: float) -> None:
        """Ask the other life of our name whether it is there, or conclude that it is not."""
        other = self.identity.contested
        assert other is not None, "a contest is open"
        contest = self.identity.contest()
        if not self.identity.next_try(now):
            self.uncontested(now)
            return
        self.outbox.send(other.address, pack(contest))
        if not self.exchange.talks.is_open(Purpose.CONTEST):
            self.exchange.open(Purpose.CONTEST, other.address, [contest, End()])

    def uncontested(self, now: float, *, at: Address | None = None) -> None:
        """Nobody lives there, or ``at`` that address, under our name: it was our own past."""
        other = self.identity.contested
        if other is None or (at is not None and at != other.address):
            return
        self._reclaim(other.generation, now)
        if not self.identity.settled:
            self.settle(now)

    def hear_contest(self, contest: Contest, voice: Voice, now: float) -> None:
        """Another life says that it bears our name: it asks, or it answers our question.

        What answers no question of ours, from where it was put to, is a question at most: else any packet could say so.
        """
        if contest.name != self.identity.name or contest.life == self.identity.life or self.identity.left:
            return
        answer = pack(self.identity.contest())
        if voice.stream is None:
            self.outbox.tell(contest.life, voice.source, answer, now)
        elif voice.stream < 0:  # who asked needs no answer to its answer
            voice.replies.append(answer)
        other = self.identity.contested
        if other is None or not self._was_asked(other, voice):
            if not self.identity.yields_to(contest):
                self.outbox.put(NameContested(voice.source, yielding=False))
            return
        if self.identity.is_asked(contest.life):
            self._conclude_contest(contest, other, now)
        elif voice.stream is not None:
            self.identity.ask(contest.life, now)  # it has begun another life since we heard of it

    def _was_asked(self, other: Rumor, voice: Voice) -> bool:
        """Whether ``voice`` comes from where ``other`` is: by packet, or on the stream that we opened to it."""
        if voice.stream is None:
            return voice.source == other.address
        talk = self.exchange.talks.find(voice.stream)
        return talk is not None and talk.purpose is Purpose.CONTEST and talk.to == other.address

    def _conclude_contest(self, contest: Contest, other: Rumor, now: float) -> None:
        if not self.identity.yields_to(contest):
            self.outbox.put(NameContested(other.address, yielding=False))
            self.uncontested(now)
        elif not self.identity.settled or now < self._joined_until:
            self.outbox.put(NameContested(other.address, yielding=True))
        else:
            self._bear_conflict(other, now)

    def _bear_conflict(self, other: Rumor, now: float) -> None:
        """An older node has the name that this one runs under: report it, go on, and ask again in a while."""
        if self.identity.conflict != other.address:
            self.identity.conflict = other.address
            self.knowledge.counters[Count.NAME_CONFLICTS] += 1
            self.outbox.put(NameConflicted(other.address))
        self.identity.ask(other.life, now + self.identity.settings.reconnect_interval)
