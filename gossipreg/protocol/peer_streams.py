"""Peer streams: opens streams to peers, sends and replies on them, fetches large records, and starts anti-entropy.

Theory of operation (docs/decisions/0004). A session is half-duplex: each side sends its messages, then `End`. The
opener sends first, and closes the stream when neither side has anything left to send. Two nodes whose fingerprints
have differed for longer than gossip needs compare their states in such a session, and so does a node that joins.

At most one comparison that a fingerprint has caused is under way with a member, and one with a peer that is none. What
such a peer sends neither delays a comparison with a member nor makes it seem needless: the key suffices to send it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import Destination
from gossipreg.protocol.membership.paths import SIZE_MIN, Passes
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import CloseStream, JoinEnded, KeepStream, OpenStream, SendFrame
from gossipreg.protocol.registry.records import Fetch
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose, StreamSession, StreamSessions, frames
from gossipreg.protocol.wire.messages import Message, pack

#: For how many periods it is remembered that a peer differed; one in bad health pings every ninth.
_DIFFERS_PERIODS = 20

#: How much less a TCP segment may hold than a datagram, in a packet of the same size (bytes): headers and options.
_SEGMENT_LESS = 24

#: Unknown peers remembered with whom a comparison failed; a newcomer has a few seeds.
_NARROW_MAX = 64

#: Members present where one refusal is proof.
_PAIR = 2

#: What a comparison is about that the fingerprint of a peer has caused which is no member.
_STRANGER = "stranger"

_END = pack(End())
_KEEP_OPEN = pack(KeepOpen())


@attrs.define(eq=False, repr=False)
class _Difference:
    """For how long the fingerprints of the members, or of other peers, have differed from this node's (seconds)."""

    unequal_since: float | None = None  # since when none was equal
    differs_since: float | None = None  # since when one was not, while our state stayed as it is
    compare_after: float = 0.0

    def end(self) -> None:
        """States are equal."""
        self.unequal_since = self.differs_since = None

    def note(self, now: float, remembered: float) -> None:
        """One more peer differs. One in bad health is ``remembered`` for long (seconds)."""
        if self.unequal_since is None:
            self.unequal_since = now
        if self.differs_since is None or now - self.differs_since > remembered:
            self.differs_since = now

    def since(self) -> float:
        """Since when one of them has differed, or all have; infinite if none does."""
        return min((at for at in (self.unequal_since, self.differs_since) if at is not None), default=math.inf)


@attrs.define(eq=False, repr=False)
class PeerStreams:
    """The streams of one node, and the state of anti-entropy."""

    settings: EngineSettings
    rng: Random
    state: ClusterState
    outbox: Outbox
    sessions: StreamSessions = attrs.field(factory=StreamSessions)
    _members: _Difference = attrs.field(factory=_Difference)
    _strangers: _Difference = attrs.field(factory=_Difference)
    _steady: int = 0  # our fingerprint when a peer's was last received
    _narrow: dict[Address, None] = attrs.field(factory=dict)  # unknown peers with whom a comparison failed

    def open(
        self,
        purpose: Purpose,
        to: Destination,
        messages: Sequence[Message],
        about: object = None,
        *,
        idle: bool = False,
    ) -> int | None:
        """Open a stream, which may be ``idle`` once it is open; its number, or None when too many are open."""
        stream = self.sessions.open(purpose, to, about)
        if stream is None:
            self.state.counters[Count.STREAMS_OVER_LIMIT] += 1
            return None
        self.state.counters[Count.STREAMS_OPENED] += 1
        [frame] = frames(self.outbox.sender, map(pack, messages))
        frame = self.outbox.proven(frame, to)
        self.outbox.put(OpenStream(stream, to.address, frame, self.settings.stream_patience, idle, self._segment(to)))
        return stream

    def ping(self, purpose: Purpose, to: Destination, ping: Ping, *, about: object) -> None:
        """Ping a member over a stream, whose refusal is evidence against that member.

        Of two members one refusal is proof. So there a packet goes ahead: if this host's own kernel refuses what it
        sends, as a firewall may have it do, the packet is refused first, and the stream proves nothing.
        """
        if self.state.members.present_count == _PAIR:
            self.outbox.send(to, pack(attrs.evolve(ping, seq=0)))
        self.open(purpose, to, [ping, End()], about=about)

    def _segment(self, to: Destination) -> int:
        """The largest segment that passes to ``to`` (bytes), where large packets are lost, or may be; else 0."""
        paths = self.outbox.paths
        if paths.least_size == limits.PACKET_BYTES_MAX and not self._narrow:
            return 0
        member = self.state.members.reached_at(to)
        if member is None:
            size = SIZE_MIN if to.address in self._narrow else limits.PACKET_BYTES_MAX
        else:
            size = paths.size(member.run_id)
        return size - _SEGMENT_LESS if size < limits.PACKET_BYTES_MAX else 0

    def comparison_failed(self, to: Address) -> None:
        """A comparison with the unknown peer at ``to`` has ended without data: large segments may be lost.

        A newcomer cannot test the path before it is admitted, so its next stream there has segments that pass
        everywhere.
        """
        if len(self._narrow) >= _NARROW_MAX:
            self._narrow.clear()
        self._narrow[to] = None

    def open_comparison(
        self, purpose: Purpose, to: Destination, now: float, *, of_stranger: bool = False
    ) -> int | None:
        """Open a stream to compare states; a newcomer sends its clock first. Returns what `open` does."""
        clock = [self.outbox.clock(now)] if purpose is Purpose.JOIN else []
        return self.open(purpose, to, [*clock, *self._comparison()], about=_STRANGER if of_stranger else None)

    def compare(self, stream: int) -> None:
        """Compare states on a stream that is open."""
        self.send(stream, self._comparison())

    def _comparison(self) -> list[Message]:
        cells = self.state.cells
        heads = [] if cells is None else [cells.own_head(""), *cells.heads]
        return [*heads, Compare(self.state.fingerprint.sums), End()]

    def reply(self, stream: int, session: StreamSession, replies: list[bytes], *, ended: bool) -> None:
        """Send the replies; when the peer has sent `End`, send ours, or close when nothing is left to send."""
        session.spoken = session.spoken or bool(replies)
        closing = ended and stream > 0 and not session.spoken
        if ended and not closing:
            replies.append(_END)
            session.spoken = session.compared = False
        for frame in frames(self.outbox.sender, replies):
            self.outbox.put(SendFrame(stream, self.outbox.proven(frame, session.destination)))
        if closing:
            if session.is_comparison:
                (self._strangers if session.about == _STRANGER else self._members).end()
            if session.requested:
                self.outbox.put(JoinEnded(session.to, compared=True))
            self.close(stream)

    def send(self, stream: int, messages: Sequence[Message]) -> None:
        """Send messages on a stream that is open, outside the half-duplex order."""
        session = self.sessions.find(stream)
        for frame in frames(self.outbox.sender, map(pack, messages)):
            data = frame if session is None else self.outbox.proven(frame, session.destination)
            self.outbox.put(SendFrame(stream, data))

    def keep_open(self, context: MessageContext) -> None:
        """A peer wants to keep a stream open although nothing more is sent on it."""
        if context.stream is not None and context.stream < 0:
            self.outbox.put(KeepStream(context.stream))
            context.replies.append(_KEEP_OPEN)

    def close(self, stream: int) -> None:
        """Close a stream that has served its purpose, or cannot any more."""
        self.outbox.put(CloseStream(stream))
        self.ended(stream)

    def ended(self, stream: int) -> StreamSession | None:
        """A stream is closed, by either side; returns its session."""
        session = self.sessions.end(stream)
        if session is not None and session.purpose is Purpose.FETCH:
            assert isinstance(session.about, tuple), "a fetch is known by owner and id"
            self.fetch(session.about)
        return session

    def fetch(self, key: tuple[str, str]) -> None:
        """Fetch a large record from the next peer that has it; if none is left, reconciliation will bring it."""
        source = self.sessions.next_source(key)
        if source is None:
            return
        wanted, to = source
        fetch = Fetch(key[0], wanted.generation, wanted.version, key[1])
        if self.open(Purpose.FETCH, to, [fetch, End()], about=key) is None:
            self.sessions.got(key)

    # Anti-entropy

    def met(
        self, fingerprint: int, peer: Destination, now: float, *, may_compare: bool, is_member: bool = True
    ) -> None:
        """The run ``peer`` has this ``fingerprint``: compare states, if ours differs for longer than gossip needs.

        Where packets do not pass, gossip is not waited for; where streams do not, another peer has to do. Either no
        peer was equal for a while; or one has differed, and then one again, while nothing was new to us: the others may
        be equal, and one be left out.
        """
        ours = self.state.fingerprint.total
        if ours != self._steady:
            self._steady = ours
            self._members.differs_since = self._strangers.differs_since = None
        difference = self._members if is_member else self._strangers
        if fingerprint == ours:
            difference.unequal_since = None
            return
        difference.note(now, _DIFFERS_PERIODS * self.settings.probe_interval)
        since = min(difference.since(), self._members.since())
        passes = self.outbox.paths.passes(peer.run_id)
        is_time = now - since >= self.settings.reconcile_settle or passes is Passes.STREAMS_ONLY
        if not (may_compare and is_time and now >= difference.compare_after) or passes is Passes.PACKETS_ONLY:
            return
        if not self._is_comparing(is_member=is_member):
            difference.compare_after = now + self.settings.reconcile_gap * (0.75 + self.rng.random() / 2)
            self.state.counters[Count.RECONCILIATIONS] += 1
            self.outbox.paths.gossip_missed(peer.run_id, now)
            self.open_comparison(Purpose.RECONCILE, peer, now, of_stranger=not is_member)

    def _is_comparing(self, *, is_member: bool) -> bool:
        """Whether a session that repairs the difference is under way; a seed merely dialled may never answer."""
        joins = [session for _, session in self.sessions.of(Purpose.JOIN) if session.answered]
        told = any(not (is_member and session.about == _STRANGER) for session in joins)
        return told or any(
            is_member == (session.about != _STRANGER) for _, session in self.sessions.of(Purpose.RECONCILE)
        )

    def hurry(self, now: float) -> None:
        """States are known to differ: compare as soon as possible."""
        self._members.unequal_since = now - self.settings.reconcile_settle
