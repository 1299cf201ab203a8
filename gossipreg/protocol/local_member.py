"""The local member: this node's own entry in the cluster, from joining to announced, draining and left.

`identity` decides how to react to an update about this node; this module carries the reaction out. It writes the new
update into the cluster state and the broadcast queue and, in a name conflict, answers the other run of the name.
"""

from __future__ import annotations

from itertools import islice

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address, Status
from gossipreg.protocol.accusations import Accusations
from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.expulsion import Expulsion
from gossipreg.protocol.identity.refusals import StatementRefusal
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.flap_damping import FlapDamping
from gossipreg.protocol.membership.identity import Identity, NameConflictQuery, Reaction
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import MemberChanged, NameConflicted, NameConflictFound
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.view import first_index
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.messages import pack

#: Own records that are also gossiped when a join completes; beyond it the seed and reconciliation carry them.
_RESPREAD_MAX = 64

#: How long this node remembers that it failed others, or could not send (seconds). Accusations within that time are
#: not its own fault: a suspicion takes a while to expire, and the failure some seconds to arrive.
_EXCUSED_SECONDS = 60.0

#: Time in which a refutation reaches all members (seconds). A peer that does not know it after that has missed it.
_SPREAD_SECONDS = 1.0

#: A node that has lately declared this share of the others failed was on one side of a partition.
_SPLIT_SHARE = 0.25

#: Likewise one that could not reach this share of them, and at least two: it need not have declared any failed yet.
_UNREACHED_SHARE = 0.125
_UNREACHED_LEAST = 2


#: How long an admitted node may still find that its name is taken, and stop (seconds): two that start at once under
#: one name may both be admitted before either is known.
_JOINING_SECONDS = 5.0


@attrs.define(eq=False, repr=False)
class LocalMember:
    """This node's identity, and the reactions that follow from it."""

    identity: Identity
    state: ClusterState
    detector: Detector
    streams: PeerStreams
    outbox: Outbox
    expulsion: Expulsion
    accusations: Accusations = attrs.field(init=False)
    damping: FlapDamping = attrs.field(init=False)
    _refuted_at: float = float("-inf")
    _joined_until: float = float("-inf")  # until when this node counts as joining

    def __attrs_post_init__(self) -> None:
        self.accusations = Accusations(self.identity, self.state, self.detector)
        self.damping = FlapDamping(self.identity.settings)

    @property
    def deadline(self) -> float:
        """When `handle_timeout` is wanted (seconds)."""
        return min(self.identity.deadline, self.damping.suppress_until)

    def handle_timeout(self, now: float) -> None:
        """Query the rival for the name again, or rejoin, if it is time."""
        if now >= self.identity.deadline:
            self._query_rival(now)
        if now >= self.damping.suppress_until:
            unanswered = self.damping.release(now)
            if self.identity.reaction_to(unanswered) is Reaction.REFUTE:
                self._refute(unanswered, now)

    def begin(self, now: float, *, alone: bool) -> None:
        """Enter the node into its own view; one that is ``alone`` has no peer to ask whether its name is free."""
        self._claim()
        if alone:
            self.complete_join(now)

    def _claim(self) -> MemberUpdate:
        update = self.signed_update()
        self.state.own = update
        self.outbox.sign(self.identity.run_id)
        return update

    def signed_update(self) -> MemberUpdate:
        """This node's update about itself, with its proof."""
        return self.state.authenticator.sign_update(self.identity.own_update())

    def announce(self, now: float) -> None:
        """Broadcast this node's current update."""
        update = self._claim()
        if self.identity.announced:
            before = self.state.believe(update, now, spread=True)
            self.outbox.put(MemberChanged(before, update))
        self.state.registry.touch(update.name)

    def complete_join(self, now: float) -> None:
        """Announce this node: its name is free."""
        self.identity.announced = True
        self.announce(now)
        table = self.state.registry.table(self.identity.name)
        for record in islice(table or (), _RESPREAD_MAX):
            self.state.spread(record, now)

    def introduce(self, now: float) -> list[bytes]:
        """Complete the join if the peer has sent all of its state and our name is free; returns what to send back."""
        if self.identity.announced or self.identity.rival is not None:
            return []
        self._joined_until = now + _JOINING_SECONDS
        self.complete_join(now)
        table = self.state.registry.table(self.identity.name)
        return [pack(self.signed_update()), *map(pack, table or ())]

    def handle_own_update(self, update: MemberUpdate, context: MessageContext, now: float) -> None:
        """Handle an update that bears this node's name."""
        if not self._is_stated_by_owner(update, context, now):
            return
        self.state.begin_change()
        match self.identity.reaction_to(update):
            case Reaction.REFUTE:
                self._handle_accusation(update, context, now)
            case Reaction.RECLAIM:
                self._reclaim(update.generation, now)
            case Reaction.NAME_CONFLICT:
                self.identity.query_rival(update, now)
            case Reaction.IGNORE if update.run_id == self.identity.run_id and not self.identity.left:
                self._handle_outdated(update, context, now)

    def _is_stated_by_owner(self, update: MemberUpdate, context: MessageContext, now: float) -> bool:
        """Whether a holder of a certificate for this node's name has stated it, as far as identity is asked for."""
        wall = self.state.clock.wall(now) / 1000
        checked = self.state.authenticator.check_update(update, self.state.own, wall)
        if not isinstance(checked, StatementRefusal) and self._is_accused_by_none(update, context):
            checked = StatementRefusal("no member is known to say so")
        if isinstance(checked, StatementRefusal):
            self.expulsion.refuse(f"member {update.name}, this node itself", checked, context)
        return not isinstance(checked, StatementRefusal)

    def _is_accused_by_none(self, update: MemberUpdate, context: MessageContext) -> bool:
        """Whether no known member makes the accusation in an update about this run: then there is nothing to refute."""
        is_accused = update.status is not Status.ALIVE and update.run_id == self.identity.run_id
        return is_accused and self.accusations.are_required and self.accusations.proven(update, context) is None

    def renew(self, now: float) -> None:
        """Have this node's certificate, which has changed, replace the former one everywhere.

        What was signed stays true of a certificate that only lasts longer. Otherwise the records are registered again,
        in a later generation: they are signed with another key, or may have to go.
        """
        own = self.state.own
        if own is not None and own.proof == self._proof:
            return
        if own is not None and self.state.authenticator.prolongs(own, self.state.clock.wall(now) / 1000):
            self.identity.restate()
            self.announce(now)
        else:
            self._reclaim(self.identity.generation, now)

    @property
    def _proof(self) -> bytes:
        return self.signed_update().proof

    def _handle_outdated(self, update: MemberUpdate, context: MessageContext, now: float) -> None:
        """A peer holds an update that this node has superseded, or never sent: send it the current one."""
        if update.status not in (Status.SUSPECT, Status.FAILED):
            return
        if update.status is Status.FAILED and self._is_own_fault(update, now):
            self.damping.note_return(update, now)
        if self.damping.unanswered is not None:
            self._tell(self._concession(), context, now)
        elif now - self._refuted_at > _SPREAD_SECONDS:
            self._tell(self.signed_update(), context, now)

    def _handle_accusation(self, update: MemberUpdate, context: MessageContext, now: float) -> None:
        waited = self.damping.unanswered
        if self.damping.admit_refutation(update, now, own_fault=self._is_own_fault(update, now)):
            self._refute(update, now)
            return
        self.state.counters[Count.RETURNS_PUT_OFF] += waited is None
        unanswered = self.damping.unanswered
        assert unanswered is not None, "what is not answered waits"
        if unanswered.status is Status.FAILED:
            concession = self._concession()
            if waited is None or unanswered.rank > waited.rank:
                self.state.broadcasts.enqueue(Topic.MEMBERSHIP, self.identity.name, pack(concession), now)
            if update.status is Status.SUSPECT:
                self._tell(concession, context, now)

    def _concession(self) -> MemberUpdate:
        """The failure of this node, confirmed by itself for as long as it waits: peers need not verify it."""
        unanswered = self.damping.unanswered
        assert unanswered is not None, "only a node that waits concedes"
        own = attrs.evolve(unanswered, accuser=self.identity.run_id, refused=False, age=0, proof=self._proof)
        return self.state.authenticator.sign_verdict(own, self.identity.run_id)

    def _tell(self, said: MemberUpdate, context: MessageContext, now: float) -> None:
        if context.member is not None and not context.over_stream:
            self.state.counters[Count.CORRECTIONS] += 1
            self.outbox.tell(context.origin, pack(said), now)

    def _is_own_fault(self, accusation: MemberUpdate, now: float) -> bool:
        """Whether this node was the unreachable one, rather than the accuser or its side of a partition.

        The first of these rules that applies decides:

        1. It has itself declared the accuser failed, or a good part of the others: no. That was a partition, because a
           node declares failures only while some member answers it.
        2. Its own kernel refused to send: no. The cause is known, and over.
        3. It was stopped, or heard no member: yes.
        4. It could not reach the accuser, or a good part of the others, either: no.
        5. It misses acks in time: yes; otherwise no.
        """
        members, detector = self.state.members, self.detector
        accuser = members.by_run_id(accusation.accuser)
        name = None if accuser is None else accuser.name
        if name is not None and members.was_failed(name, _EXCUSED_SECONDS, now):
            return False
        if members.failed_share(_EXCUSED_SECONDS, now) >= _SPLIT_SHARE:
            return False
        if now - detector.reachability.rejected_at < _EXCUSED_SECONDS:
            return False
        if detector.was_cut_off(now):
            return True
        unreached = detector.unreachable_members(_EXCUSED_SECONDS, now)
        if name in unreached or len(unreached) >= max(_UNREACHED_LEAST, _UNREACHED_SHARE * members.present_count):
            return False
        return detector.is_unhealthy(on_probation=self.damping.wait(now) > 0)

    def _refute(self, update: MemberUpdate, now: float) -> None:
        self._refuted_at = now
        self.detector.health.worse()
        self.state.counters[Count.REFUTATIONS] += 1
        if update.incarnation > limits.INCARNATION_MAX // 2:  # no honest node refutes so often; room must remain above
            self._reclaim(self.identity.generation, now)
        else:
            self.identity.refute(update)
            self.announce(now)

    def handle_shared_generation(self, said: Record | TableDigest, now: float) -> bool:
        """Whether ``said`` bears our name and generation but is not ours; if so, take a later generation.

        Two runs that reclaim their name above the same update at the same time come to share a generation.
        """
        if self.identity.left or not self.state.is_foreign(said):
            return False
        self.state.begin_change()
        self._reclaim(said.generation, now)
        return True

    def move(self, address: Address, now: float) -> None:
        """Move to another address, and register everything again from there."""
        self.identity.address = address
        self._reclaim(self.identity.generation, now)

    def _reclaim(self, generation: int, now: float) -> None:
        """Begin a generation above the one received under our name, and register everything again in it."""
        table = self.state.registry.table(self.identity.name)
        offered = [(record.instance, record.payload) for record in table or ()]
        self.state.drop_table(self.identity.name)
        was_in_conflict = self.identity.conflict is not None
        self.identity.reclaim(generation)
        if was_in_conflict and self.identity.conflict is None:
            self.outbox.put(NameConflicted(None))
        self.state.view.raise_to(first_index(self.identity.generation))
        self.announce(now)
        for instance, payload in offered:
            record, change = self.state.registry.offer(instance, self.identity.generation, payload)
            self.state.remake(record, change)
            self.state.term_state.raise_by(record, now, spread=self.identity.announced)
            if self.identity.announced:
                self.state.spread(record, now)

    # Name conflicts

    def _query_rival(self, now: float) -> None:
        """Query the other run of our name, or conclude that it is gone."""
        other = self.identity.rival
        assert other is not None, "a name conflict is open"
        query = self._query_to(self.identity.asked)
        if not self.identity.next_try(now):
            self.rival_gone(now)
            return
        self.outbox.send(other.destination, pack(query))
        if not self.streams.sessions.is_open(Purpose.NAME_CONFLICT):
            self.streams.open(Purpose.NAME_CONFLICT, other.destination, [query, End()])

    def _query_to(self, run_id: int) -> NameConflictQuery:
        """What this node states of its name to the run ``run_id`` of the same name."""
        return self.state.authenticator.sign_query(self.identity.query(), run_id)

    def rival_gone(self, now: float, *, at: Address | None = None) -> None:
        """No node runs under our name there, or ``at`` that address: the update was of our own past run."""
        other = self.identity.rival
        if other is None or (at is not None and at != other.address):
            return
        self._reclaim(other.generation, now)
        if not self.identity.announced:
            self.complete_join(now)

    def handle_name_conflict(self, query: NameConflictQuery, context: MessageContext, now: float) -> None:
        """Handle a query, or the answer to ours, from another run of our name.

        Only an answer from the address that was queried decides anything; else any packet could end this node's name.
        """
        if query.name != self.identity.name or query.run_id == self.identity.run_id or self.identity.left:
            return
        if not context.admit_question(query):
            return
        wall = self.state.clock.wall(now) / 1000
        refusal = self.state.authenticator.check_query(query, self.identity.run_id, wall)
        if refusal is not None:
            self.expulsion.refuse(f"the name {query.name}, this node's own", refusal, context)
            return
        if context.stream is None or context.stream < 0:  # an answer on our own stream needs no answer
            # A question that proves nothing is answered likewise: any process can ask in any other's name.
            answer = pack(self._query_to(query.run_id) if query.proof else self.identity.query())
            if context.stream is None:
                self.outbox.tell(Destination(query.run_id, context.source), answer, now)
            else:
                context.replies.append(answer)
        self.state.begin_change()
        other = self.identity.rival
        if other is None or not self._was_asked(other, context):
            if not self.identity.yields_to(query):
                self.outbox.put(NameConflictFound(context.source, yielding=False))
            return
        if self.identity.is_queried(query.run_id):
            self._resolve_conflict(query, other, now)
        elif context.stream is not None:
            self.identity.ask(query.run_id, now)  # it has begun another run since the update

    def _was_asked(self, other: MemberUpdate, context: MessageContext) -> bool:
        """Whether the message comes from where ``other`` is: by packet, or on the stream that we opened to it."""
        if context.stream is None:
            return context.source == other.address
        session = self.streams.sessions.find(context.stream)
        return session is not None and session.purpose is Purpose.NAME_CONFLICT and session.to == other.address

    def _resolve_conflict(self, query: NameConflictQuery, other: MemberUpdate, now: float) -> None:
        if not self.identity.yields_to(query):
            self.outbox.put(NameConflictFound(other.address, yielding=False))
            self.rival_gone(now)
        elif not self.identity.announced or now < self._joined_until:
            self.outbox.put(NameConflictFound(other.address, yielding=True))
        else:
            self._report_conflict(other, now)

    def _report_conflict(self, other: MemberUpdate, now: float) -> None:
        """An older node has the name that this one runs under: report it, go on, and query again in a while."""
        if self.identity.conflict != other.address:
            self.identity.conflict = other.address
            self.state.counters[Count.NAME_CONFLICTS] += 1
            self.outbox.put(NameConflicted(other.address))
        self.identity.ask(other.run_id, now + self.identity.settings.reconnect_interval)
