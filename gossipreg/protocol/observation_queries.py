"""Observation queries: asks members what they believe of the others, and answers such requests.

A query is one stream, half-duplex as all are: the request and `End` go out, the answer and `End` come back. A peer of
an earlier version skips the request, so only its `End` comes. Members alone are answered.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.observations import LinkState, MemberObservation, ObserverReport
from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.observations import ObservationRequest, Observations, packed, unpacked
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import ObservationsEnded, ObservationsRequested
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose, StreamSession


@attrs.define(eq=False, repr=False)
class ObservationQuery:
    """One member that was asked, and what it has answered so far."""

    member: MemberUpdate
    version: str = ""
    problems: tuple[str, ...] = ()
    observed: dict[str, MemberObservation] = attrs.field(factory=dict)
    is_answered: bool = False

    def add(self, answer: Observations) -> None:
        """Take one message of the answer."""
        self.is_answered = True
        self.version = self.version or answer.version
        self.problems = self.problems or answer.problems
        for each in unpacked(answer.entries):
            if len(self.observed) < limits.MEMBERS_MAX:
                self.observed[each.name] = each

    def report(self, failure: str, *, is_silent: bool = False) -> ObserverReport:
        """What came of it; ``failure``: why there is no answer, if there is none; see `ObserverReport`."""
        if not self.is_answered:
            return ObserverReport(self.member.name, self.member.zone, failure, is_silent=is_silent)
        observed = tuple(sorted(self.observed.values(), key=lambda each: each.name))
        return ObserverReport(self.member.name, self.member.zone, "", self.version, self.problems, observed)


@attrs.define(eq=False, repr=False)
class ObservationQueries:
    """The queries of one node, and its answers."""

    state: ClusterState
    detector: Detector
    streams: PeerStreams
    outbox: Outbox

    def observe(self) -> list[MemberObservation]:
        """What this node believes of every other member that has not left, sorted by name."""
        own = self.state.members.own_name
        seen = [each for each in self.state.members if each.name != own and each.status is not Status.LEFT]
        return [self._observation(each) for each in sorted(seen, key=lambda each: each.name)]

    def _observation(self, member: MemberUpdate) -> MemberObservation:
        prober, run_id = self.detector.prober, member.run_id
        trip, unanswered = prober.trips.smoothed(run_id), prober.indirect.unanswered(run_id)
        return MemberObservation(member.name, member.status, self.link(member), trip, unanswered)

    def link(self, member: MemberUpdate) -> LinkState:
        """What passes directly between this node and ``member``."""
        indirect = self.detector.prober.indirect.find(member.run_id)
        if not member.status.is_present:
            return LinkState.DIRECT
        if indirect is not None:
            return LinkState.OUTGOING_LOST if indirect.is_heard else LinkState.INCOMING_LOST
        passes = str(self.outbox.paths.passes(member.run_id))
        return LinkState.DIRECT if passes == "all" else LinkState(passes)

    def ask(self, name: str) -> None:
        """Ask the member of that name; an `ObservationsEnded` follows."""
        member = self.state.members.get(name)
        if member is None or not member.status.is_present:
            zone = "" if member is None else member.zone
            status = "unknown" if member is None else str(member.status)
            self.outbox.put(ObservationsEnded(ObserverReport(name, zone, f"it is {status}")))
            return
        query = ObservationQuery(member)
        if self.streams.open(Purpose.OBSERVE, member.destination, [ObservationRequest(), End()], query) is None:
            self.outbox.put(ObservationsEnded(query.report("too many streams are open")))

    def requested(self, context: MessageContext) -> None:
        """A peer asks; strangers get no answer, and members one on each stream."""
        session = None if context.stream is None or context.stream > 0 else self.streams.sessions.find(context.stream)
        if context.member is None or context.stream is None or session is None or session.observed:
            return
        session.observed = True
        self.outbox.put(ObservationsRequested(context.stream))

    def tell(self, stream: int, version: str, problems: Sequence[str]) -> None:
        """Answer on ``stream`` with what this node believes, its version, and its problems."""
        told = tuple(each[: limits.OBSERVER_PROBLEM_CHARS_MAX] for each in problems[: limits.OBSERVER_PROBLEMS_MAX])
        entries, most = packed(self.observe()), limits.OBSERVATIONS_MAX
        rest = [Observations("", (), entries[place : place + most]) for place in range(0, len(entries), most)]
        self.streams.send(stream, [Observations(version, told, ()), *rest])

    def answered(self, answer: Observations, context: MessageContext) -> None:
        """A message of an answer came: it counts from the member that was asked, on the stream of its query."""
        session = None if context.stream is None else self.streams.sessions.find(context.stream)
        query = None if session is None else session.about
        if isinstance(query, ObservationQuery) and context.sender == query.member.run_id:
            query.add(answer)

    def give_up(self, name: str) -> None:
        """Wait no longer for the member of that name: the stream is needed for others. Nothing follows."""
        for stream, session in self.streams.sessions.of(Purpose.OBSERVE):
            if isinstance(session.about, ObservationQuery) and session.about.member.name == name:
                self.streams.close(stream)

    def ended(self, session: StreamSession) -> None:
        """The stream of a query has ended, or its answer: whichever is first."""
        query, session.about = session.about, None
        if isinstance(query, ObservationQuery):
            why = "its version is earlier: it does not know the question" if session.answered else "it does not answer"
            self.outbox.put(ObservationsEnded(query.report(why, is_silent=not session.answered)))
