"""Question handler: answers what peers ask of the state on streams, each question once a stream.

Those are the requests of a comparison of states (`anti_entropy.reconcile`), and for large records. A few bytes may ask
for thousands of entries, so their number is known before the answer is made: `answer_pacing` has long ones wait.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from gossipreg.counters import Count
from gossipreg.protocol.answer_pacing import AnswerPacing
from gossipreg.protocol.anti_entropy.reconcile import Compare, Listing, Want, answer_size
from gossipreg.protocol.borders import Borders
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.registry.records import Fetch
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose, StreamSession, StreamSessions, answers, part_of
from gossipreg.protocol.wire.messages import Message


@attrs.define(eq=False, repr=False)
class QuestionHandler:
    """The questions that peers ask of one node's state."""

    _state: ClusterState
    _sessions: StreamSessions
    _borders: Borders
    _pacing: AnswerPacing

    def handle(self, question: Compare | Listing | Want | Fetch, context: MessageContext, now: float) -> None:
        """Answer a question on its stream, unless the peer may not ask it, or has asked it there before."""
        session = None if context.stream is None else self._sessions.find(context.stream)
        if session is None or not self._may_ask(question, session, context):
            return
        if session.was_asked(question):
            self._state.counters[Count.QUESTIONS_REPEATED] += 1
            return
        session.note_question(question)
        told = answers(question, self._state, now)
        context.replies += told
        session.unpaced = self._pacing.spend(session.unpaced + len(told), now)

    def entries(self, messages: Iterable[Message], session: StreamSession, context: MessageContext) -> int:
        """How many entries the answers to a frame tell, with those of the stream that made no pause; 0 if none."""
        messages, cell = tuple(messages), context.cell
        if not cell:  # it is of the cell whose head comes first
            context.cell = next((each.cell for each in messages if isinstance(each, CellHead)), "")
        asked = {
            (type(each), *part_of(each)): each
            for each in reversed(messages)  # of those that are alike the first is answered
            if isinstance(each, Compare | Listing | Want)
            and not session.was_asked(each)
            and self._may_ask(each, session, context)
        }
        context.cell = cell
        entries = sum(answer_size(self._state.part(each.partition), each) for each in asked.values())
        return entries and session.unpaced + entries

    def _may_ask(self, question: Message, session: StreamSession, context: MessageContext) -> bool:
        """Whether a peer is answered on its stream: any for a comparison, for what follows from one, else a member."""
        if not self._borders.may_answer(question, context):
            return False
        if self._borders.is_across(context):
            return True
        match question:
            case Listing():
                return session.purpose in (Purpose.JOIN, Purpose.RECONCILE)
            case Want():
                return session.accepted
            case Fetch():
                return context.member is not None
            case _:
                return True
