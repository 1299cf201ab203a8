"""Inbound: decodes what peers send, and dispatches each message to its handler.

Datagrams come in here, and the frames of streams by way of `frame_handler`. Updates about members go to
`membership_handler` or, about this node, to `local_member`; records, policies and terms go to `record_handler`; pings
and acks to the prober; requests of anti-entropy to `question_handler`.
"""

from __future__ import annotations

import attrs

from gossipreg.counters import Count
from gossipreg.model import Address, Status
from gossipreg.protocol.anti_entropy.reconcile import Compare, KeepOpen, Listing, Want
from gossipreg.protocol.borders import Borders
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.disseminator import Disseminator
from gossipreg.protocol.identity.signature_verifier import SignatureVerifier
from gossipreg.protocol.isolation import Isolation
from gossipreg.protocol.lifelines import Lifelines
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Identity, NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.observations import ObservationRequest, Observations
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.membership_handler import MembershipHandler
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.observation_queries import ObservationQueries
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import MessageFailed
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.question_handler import QuestionHandler
from gossipreg.protocol.record_handler import RecordHandler
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Announcement, Fetch, Record, RecordRequest, TableDigest
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.remote_handler import RemoteHandler
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.messages import Message, pack
from gossipreg.protocol.wire.reader import Reader

#: Messages that count only if their sender is proven to be the member that it says.
_OF_MEMBERS = (
    *(Ack, Nack, PingReq, ReceiptRequest, Receipt, RecordRequest, WallClock, KeepOpen),
    *(ObservationRequest, Observations),
)


class HalfChanged(AssertionError):
    """An unforeseen exception interrupted a change of the node's state, which cannot be relied on any more."""


@attrs.define(eq=False, repr=False)
class Inbound:
    """The datagrams that peers send to one node, and the handlers of the messages in datagrams and frames."""

    identity: Identity
    state: ClusterState
    detector: Detector
    local_member: LocalMember
    membership_handler: MembershipHandler
    record_handler: RecordHandler
    lifelines: Lifelines
    streams: PeerStreams
    outbox: Outbox
    clocks: ClockWatch
    isolation: Isolation
    disseminator: Disseminator
    observations: ObservationQueries
    borders: Borders
    remote_handler: RemoteHandler
    reader: Reader
    questions: QuestionHandler

    def packet(self, data: bytes, source: Address, now: float) -> None:
        """Handle the messages of a datagram's payload. Junk is counted and dropped."""
        self.state.counters[Count.PACKETS_RECEIVED] += 1
        context, messages = self.read(data, source, None, now)
        self.begin_reading(context, len(data), now)
        for message in messages:
            self.handle(message, context, now)
        self.verifier.end()
        self.disseminator.lazy.answer_digests(context, now)
        self.outbox.end_answers()

    @property
    def verifier(self) -> SignatureVerifier:
        """What verifies the signatures in messages, within the bounds of the packet or frame that is being handled."""
        return self.state.authenticator.verifier

    def begin_reading(self, context: MessageContext, size: int, now: float) -> None:
        """Bound the signatures that a packet or frame of ``size`` bytes has this node verify."""
        if self.state.authenticator.is_on:
            member = context.sender if context.member is not None and self.outbox.proofs.are_required else None
            self.verifier.begin(member, context.source.host, size, now, over_stream=context.over_stream)

    def read(
        self, data: bytes, source: Address, stream: int | None, now: float, *, is_proven: bool = False
    ) -> tuple[MessageContext, list[Message]]:
        """Decode a packet, or a frame of ``stream``: what is known of its sender, and its messages.

        ``is_proven``: the frame has waited for its turn, and its proof was verified when it came. Junk, and what this
        node has sent itself, gives no messages; the context's ``sender`` is 0 then.
        """
        try:
            sender, messages = self.reader.read(self.outbox.proofs.without_code(data))
        except Junk:
            self.state.counters[Count.JUNK_PACKETS] += 1
            return MessageContext(0, source, None, stream), []
        except Exception as error:  # noqa: BLE001 - nothing has changed, and it is reported
            self._contained("a packet" if stream is None else "a frame", source, error)
            return MessageContext(0, source, None, stream), []
        if self.reader.junk:
            self.state.counters[Count.JUNK_MESSAGES] += self.reader.junk
            self.state.counters[Count.JUNK_PACKETS] += not messages
            if self.reader.is_broken and not messages:
                return MessageContext(0, source, None, stream), []
        if sender == self.identity.run_id:
            self.state.counters[Count.OWN_PACKETS] += 1
            return MessageContext(0, source, None, stream), []
        member = self.state.members.by_run_id(sender)
        proofs = self.outbox.proofs
        is_proven = is_proven or member is None or not proofs.are_required
        if member is not None and not (is_proven or proofs.verify(data, member, self.identity.run_id)):
            return self._unproven(member, source, stream, len(data)), messages
        context = MessageContext(sender, source, member, stream)
        if stream is None:
            self.outbox.begin_answers(source, member, len(data))
        if member is not None:
            self._member_heard(member, context, now)
        return context, messages

    def _member_heard(self, member: MemberUpdate, context: MessageContext, now: float) -> None:
        """Note that a packet or frame of a member has come."""
        if self.detector.is_isolated(now):
            self.streams.hurry(now)  # broadcasts of the meantime were lost in both directions
            self.isolation.note(isolated=False, now=now)
        self.detector.message_received(context.sender, now)
        self.detector.prober.indirect.heard(context.sender)
        if context.stream is None:
            self.outbox.paths.packet_heard(context.sender, now)
            if context.source == member.address:
                self.state.members.prove(member.name)
        elif context.stream > 0:
            self.outbox.paths.stream_answered(context.sender)
        if member.status in (Status.SUSPECT, Status.FAILED) or member.is_forgotten:
            self.outbox.tell_accused(member, now)

    def _unproven(self, claimed: MemberUpdate, source: Address, stream: int | None, size: int) -> MessageContext:
        """The context of a packet or frame under a member's run id but without its proof: it counts as a stranger's.

        It is a forgery if earlier packets of that member were proven. Otherwise the member may not know this node's
        present run yet.
        """
        context = MessageContext(claimed.run_id, source, None, stream, is_unproven=True)
        if stream is None:
            self.outbox.begin_answers(source, None, size)
        if self.outbox.proofs.is_proven(claimed.run_id, self.identity.run_id):
            self.membership_handler.expulsion.impersonated(claimed.name, context)
        else:
            self.state.counters[Count.PACKETS_UNPROVEN] += 1
        return context

    def handle(self, message: Message, context: MessageContext, now: float) -> None:
        """Handle a message. Report an unforeseen exception; raise `HalfChanged` if the state has changed before it."""
        before = self.state.changes
        try:
            self._dispatch(message, context, now)
        except Exception as error:
            if self.state.changes != before:
                raise HalfChanged(f"a {type(message).__name__} of {context.source} was handled in part") from error
            self._contained(f"a {type(message).__name__}", context.source, error)
        if self.verifier.is_over:
            self.state.counters[Count.STATEMENTS_NOT_VERIFIED] += 1
            self.verifier.next_statement()

    def _contained(self, what: str, source: Address, error: Exception) -> None:
        """Count and report an unforeseen exception that was raised before anything had changed."""
        self.state.counters[Count.MESSAGES_FAILED] += 1
        self.outbox.put(MessageFailed(what, source, error))

    def _dispatch(self, message: Message, context: MessageContext, now: float) -> None:
        if isinstance(message, MemberUpdate | Record | TableDigest | Announcement):
            self._handle_claim(message, context, now)
        elif isinstance(message, CellHead):
            self.borders.handle_head(message, context, now)
        elif not (context.is_unproven and isinstance(message, _OF_MEMBERS)):
            self._handle_other(message, context, now)

    def _handle_other(self, message: Message, context: MessageContext, now: float) -> None:
        """Handle a message that is no claim about a member or its records."""
        match message:
            case Ping():
                self._answer_ping(message, context, now)
            case Ack() | Nack():
                self.state.begin_change()
                self._handle_answer(message, context, now)
            case PingReq():
                self._handle_ping_req(message, context, now)
            case NameConflictQuery():
                self.local_member.handle_name_conflict(message, context, now)
            case PolicyVersion():
                self.record_handler.handle_policy(message, context, now)
            case TermRegister():
                self.record_handler.handle_term_register(message, context, now)
            case KeepOpen() | WallClock() | ObservationRequest() | Observations():
                self._handle_aside(message, context)
            case ReceiptRequest() | Receipt() | RecordRequest():
                if not context.over_stream:
                    if not isinstance(message, RecordRequest):
                        self.state.begin_change()
                    self.disseminator.handle(message, context, now)
            case Compare() | Listing() | Want() | Fetch():
                self.questions.handle(message, context, now)

    def _handle_claim(
        self, claim: MemberUpdate | Record | TableDigest | Announcement, context: MessageContext, now: float
    ) -> None:
        """Handle an update about one run of a member, or about its records."""
        if claim.generation > self.state.clock.latest_generation(now):
            self.state.counters[Count.GENERATIONS_FROM_THE_FUTURE] += 1
        elif not self.borders.may_claim(context):
            self.state.counters[Count.CELLS_CLAIMS_REFUSED] += 1
        elif isinstance(claim, MemberUpdate):
            if not self.remote_handler.handle_update(claim, context, now):
                self._handle_update(claim, context, now)
        elif not self.remote_handler.handle_records(claim, context, now):
            self.record_handler.handle(claim, context, now)
            if isinstance(claim, TableDigest) and not context.over_stream:
                self.disseminator.lazy.handle_digest(claim, context, now)

    def _handle_aside(
        self, message: KeepOpen | WallClock | ObservationRequest | Observations, context: MessageContext
    ) -> None:
        """Handle a message that changes no member, no instance and no policy."""
        match message:
            case KeepOpen():
                self.state.begin_change()
                self.streams.keep_open(context)
            case WallClock():
                context.clock = message.ms
            case ObservationRequest():
                self.observations.requested(context)
            case _:
                self.state.begin_change()
                self.observations.answered(message, context)

    def _answer_ping(self, ping: Ping, context: MessageContext, now: float) -> None:
        if not context.admit_question(ping):
            return  # a packet has room for two hundred pings, and a member sends one
        ack = pack(Ack(ping.seq, 0, self.state.fingerprint.total))
        clock = pack(self.outbox.clock(now))
        if context.over_stream:
            context.replies += [clock, ack]
        elif context.member is None:
            self.outbox.answer_stranger(context.origin, ack)
        else:
            self.outbox.send(context.origin, clock, ack, now=now)
            if not self.identity.left:
                self.state.begin_change()
                answers = self.outbox.end_answers()  # a probe is this node's own
                self.membership_handler.probe_early(now)
                self.outbox.resume_answers(answers)
        if not context.is_unproven:
            self.state.begin_change()
            self._compare(ping.fingerprint, context, now)

    def _handle_ping_req(self, request: PingReq, context: MessageContext, now: float) -> None:
        if context.member is not None:
            self.state.begin_change()
            pinging = self.detector.prober.handle_ping_req(request, context.origin, self.state.fingerprint.total, now)
            self.membership_handler.perform(pinging, now)

    def _handle_update(self, update: MemberUpdate, context: MessageContext, now: float) -> None:
        if update.name == self.identity.name:
            self.local_member.handle_own_update(update, context, now)
        else:
            self.membership_handler.handle(update, context, now)
            if update.refused and update.status is Status.SUSPECT:
                self.lifelines.refusal_reported(update, now)

    def _handle_answer(self, answer: Ack | Nack, context: MessageContext, now: float) -> None:
        if context.member is not None:
            self.detector.answer_received(context.sender, now)
        if isinstance(answer, Ack):
            self._handle_ack(answer, context, now)
        else:
            self.detector.prober.handle_nack(answer)

    def _handle_ack(self, ack: Ack, context: MessageContext, now: float) -> None:
        if context.member is not None:
            found = self.detector.prober.handle_ack(ack, context.sender, now)
            if context.over_stream and found:
                self.outbox.paths.stream_acked(context.sender, now)
            elif not context.over_stream and not ack.subject:
                self.outbox.paths.packet_acked(context.sender, ack.seq, now)
            self.clocks.acked(found, context, now)
            self.membership_handler.perform(found, now)
        if not ack.subject:
            self._compare(ack.fingerprint, context, now)

    def _compare(self, theirs: int, context: MessageContext, now: float) -> None:
        if context.member is None:
            peer, may_compare = context.origin, not context.over_stream
        else:
            peer, may_compare = context.member.destination, self.identity.announced or not context.over_stream
        may_compare = may_compare and not self.identity.left
        self.streams.met(theirs, peer, now, may_compare=may_compare, is_member=context.member is not None)
