"""Frame handler: handles the frames that arrive on streams, and the ends of streams.

The messages in a frame go to `inbound`, as those in a datagram do. A frame whose answer is long waits for its turn
(`answer_pacing`).
"""

from __future__ import annotations

import attrs

from gossipreg.counters import Count
from gossipreg.model import Address
from gossipreg.protocol.answer_pacing import AnswerPacing, WaitingFrame
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.borders import Borders
from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.inbound import Inbound
from gossipreg.protocol.joining import Joining
from gossipreg.protocol.lifelines import Lifelines
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.observation_queries import ObservationQueries
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import JoinEnded
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose, StreamSession, corrections
from gossipreg.protocol.wire.messages import Message, pack


@attrs.define(eq=False, repr=False)
class FrameHandler:
    """The frames that come on one node's streams, and the ends of these streams."""

    inbound: Inbound
    identity: Identity
    state: ClusterState
    detector: Detector
    local_member: LocalMember
    lifelines: Lifelines
    streams: PeerStreams
    outbox: Outbox
    joining: Joining
    clocks: ClockWatch
    observations: ObservationQueries
    borders: Borders
    pacing: AnswerPacing

    def handle(self, stream: int, frame: bytes, source: Address, now: float) -> None:
        """Handle the messages of a frame, and reply on the stream; a negative number is of a peer's stream."""
        self.state.counters[Count.FRAMES_RECEIVED] += 1
        session = self.streams.sessions.get(stream, source)
        if session is None:
            return
        if self.pacing.is_waiting(stream):
            self._wait(WaitingFrame(stream, frame, source), session, now)
        else:
            self._take_frame(WaitingFrame(stream, frame, source), session, now, has_turn=False)

    def handle_timeout(self, now: float) -> None:
        """Handle a frame that has waited for its turn."""
        waited = self.pacing.due(now)
        if waited is None:
            return
        session = self.streams.sessions.find(waited.stream)
        if session is None:
            self.pacing.forget(waited.stream)
        else:
            self._take_frame(waited, session, now, has_turn=True)

    def _wait(self, told: WaitingFrame, session: StreamSession, now: float) -> None:
        """Have a frame wait for its turn, or close its stream if it may not."""
        if self.pacing.wait(told):
            self.state.counters[Count.COMPARISONS_PACED] += 1
        else:
            self.state.counters[Count.COMPARISONS_OVER_LIMIT] += 1
            self._drop(told.stream, session, now)

    def _drop(self, stream: int, session: StreamSession, now: float) -> None:
        """Close a stream on which the peer does what it must not."""
        self.pacing.forget(stream)
        self.streams.close(stream)
        self._ended(session, now)

    def _take_frame(self, told: WaitingFrame, session: StreamSession, now: float, *, has_turn: bool) -> None:
        stream, frame, source = told.stream, told.frame, told.source
        context, messages = self.inbound.read(frame, source, stream, now, is_proven=told.is_proven)
        if not context.sender:
            self._drop(stream, session, now)
            return
        context.cell = "" if session.head is None else session.head.cell
        if not has_turn and not self.pacing.admits(self.inbound.questions.entries(messages, session, context), now):
            is_last = any(isinstance(each, End) for each in messages)
            is_proven = context.member is not None
            self._wait(WaitingFrame(stream, frame, source, is_proven=is_proven, is_last=is_last), session, now)
            return
        session.frames += 1
        session.sender = context.sender
        context.news = session.news
        ended = False
        self.inbound.begin_reading(context, len(frame), now)
        for message in messages:
            ended = ended or isinstance(message, End)
            if not self._take_message(message, stream, session, context, now):
                self.inbound.verifier.end()
                return
        self.inbound.verifier.end()
        session.news = context.news
        if stream < 0 and context.clock is not None:
            context.replies.insert(0, pack(self.outbox.clock(now)))
        session.accepted = session.accepted or (session.compared and session.purpose is None)
        context.replies += corrections(context.stale, self.state)
        told_all = ended and not session.spoken and not context.replies
        if told_all and session.is_comparison and not session.compared:
            context.replies += self.local_member.introduce(now)
        self.streams.reply(stream, session, context.replies, ended=ended)
        if session.purpose in (Purpose.SEED_PING, Purpose.JOIN):
            self.joining.go_on()
        elif session.purpose is Purpose.OBSERVE and ended:
            self.observations.ended(session)
        elif session.purpose is Purpose.BORDER and self.streams.sessions.find(stream) is None:
            self.borders.ended(session, now, completed=True)
            self.joining.go_on()

    def _take_message(
        self, message: Message, stream: int, session: StreamSession, context: MessageContext, now: float
    ) -> bool:
        """Handle a message of a frame; returns whether the stream is still open."""
        if self.borders.refuses(message, session, context):
            self.state.counters[Count.CELLS_MISMATCHED] += 1
            self._drop(stream, session, now)
            return False
        if isinstance(message, Compare) and not message.partition and self.borders.may_answer(message, context):
            session.compared = True
            if context.member is not None:
                self.outbox.paths.gossip_missed(context.sender, now)
        self.inbound.handle(message, context, now)
        if isinstance(message, WallClock) and self.clocks.is_refused(context, session, now):
            self.clocks.refuse(stream, context, session, now)
            self.streams.close(stream)
            self._ended(session, now)
            return False
        return True

    def stream_ended(self, stream: int, now: float, *, refused: bool) -> None:
        """A stream was closed; ``refused`` counts unless this host's own kernel refuses packets as well."""
        session = self.streams.ended(stream)
        self.pacing.forget(stream)
        if session is not None:
            self._ended(session, now, refused=refused and not self.detector.are_sends_rejected(now))

    def _ended(self, session: StreamSession, now: float, *, refused: bool = False) -> None:
        if session.purpose is not None and not (session.answered or refused or self.detector.are_sends_rejected(now)):
            member = self.state.members.reached_at(session.destination)
            if member is not None:
                self.outbox.paths.stream_stalled(member.run_id, now)
        if session.purpose in (Purpose.LIFELINE, Purpose.RECHECK):
            self.lifelines.ended(session, now, refused=refused)
        elif session.purpose is Purpose.PROBE and refused:
            assert isinstance(session.about, int), "a probe is known by its sequence number"
            self.detector.prober.handle_refusal(session.about)
        elif session.purpose is Purpose.NAME_CONFLICT and refused:
            self.local_member.rival_gone(now, at=session.to)
        elif session.purpose is Purpose.OBSERVE:
            self.observations.ended(session)
        elif session.purpose is Purpose.BORDER:
            if session.requested:
                self.outbox.put(JoinEnded(session.to, compared=False))
            self.borders.ended(session, now, completed=False)
        elif session.purpose in (Purpose.SEED_PING, Purpose.JOIN):
            if session.requested:
                self.outbox.put(JoinEnded(session.to, compared=False))
            if session.purpose is Purpose.JOIN and not self.identity.announced:
                self.streams.comparison_failed(session.to)
            self.borders.seed_ended(session.to, now)
            self.joining.go_on()
