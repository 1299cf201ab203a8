"""Knows how this node stands in the cluster: quiet or announced, accused, contested, draining, gone.

`identity` decides what to answer; here the answer is given: the claim goes into what is known, into the rumor mill
and, over the name, to the other life that bears it.
"""

from __future__ import annotations

from itertools import islice

import attrs

from gossipreg.counters import Count
from gossipreg.model import Address, Status
from gossipreg.protocol.exchange import Exchange
from gossipreg.protocol.knowledge import Knowledge
from gossipreg.protocol.membership.calm import Calm
from gossipreg.protocol.membership.identity import Answer, Contest, Identity
from gossipreg.protocol.membership.local_health import LocalHealth
from gossipreg.protocol.membership.rumor import Rumor
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import MemberChanged, NameContested
from gossipreg.protocol.registry.records import Head, Record
from gossipreg.protocol.registry.view import first_index
from gossipreg.protocol.spreading.reconcile import End
from gossipreg.protocol.talks import Purpose
from gossipreg.protocol.voice import Voice
from gossipreg.protocol.wire.messages import pack

#: Own records that are also gossiped when a node settles; beyond it the seed and reconciliation carry them.
_RESPREAD_MAX = 64


@attrs.define(eq=False, repr=False)
class Standing:
    """This node's identity, and what follows from it."""

    identity: Identity
    knowledge: Knowledge
    health: LocalHealth
    exchange: Exchange
    outbox: Outbox
    calm: Calm = attrs.field(init=False)

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
        self.settle(now)
        table = self.knowledge.registry.table(self.identity.name)
        return [pack(self.identity.rumor()), *map(pack, table or ())]

    def hear_of_self(self, rumor: Rumor, now: float) -> None:
        """Somebody says something of this node's name."""
        match self.identity.judge(rumor):
            case Answer.REFUTE:
                self._hear_accusation(rumor, now)
            case Answer.RECLAIM:
                self._reclaim(rumor.generation, now)
            case Answer.CONTEST:
                self.identity.open_contest(rumor, now)
            case Answer.IGNORE if rumor.status is Status.FAILED and rumor.life == self.identity.life:
                self.calm.note_return(rumor, now)

    def _hear_accusation(self, rumor: Rumor, now: float) -> None:
        waits = self.calm.verdict is not None
        if self.calm.may_answer(rumor, self._failed_share(), now):
            self._refute(rumor, now)
        elif not waits:
            self.knowledge.counters[Count.RETURNS_PUT_OFF] += 1

    def _refute(self, rumor: Rumor, now: float) -> None:
        self.identity.refute(rumor)
        self.health.worse()
        self.knowledge.counters[Count.REFUTATIONS] += 1
        self.announce(now)

    def _failed_share(self) -> float:
        failed = len(self.knowledge.members.failed())
        return failed / (failed + self.knowledge.members.present_count)

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
        self.identity.reclaim(generation)
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

    def uncontested(self, now: float) -> None:
        """Nobody lives there under our name: it was our own past."""
        other = self.identity.contested
        if other is None:
            return
        self._reclaim(other.generation, now)
        if not self.identity.settled:
            self.settle(now)

    def hear_contest(self, contest: Contest, voice: Voice, now: float) -> None:
        """Another life says that it bears our name."""
        if contest.name != self.identity.name or contest.life == self.identity.life or self.identity.left:
            return
        yielding = self.identity.yields_to(contest)
        contested = self.identity.contested
        self.outbox.put(NameContested(voice.source if contested is None else contested.address, yielding))
        answer = pack(self.identity.contest())
        if voice.stream is None:
            self.outbox.tell(contest.life, voice.source, answer, now)
        elif voice.stream < 0:  # who asked needs no answer to its answer
            voice.replies.append(answer)
        if not yielding and contested is not None:
            self.uncontested(now)
