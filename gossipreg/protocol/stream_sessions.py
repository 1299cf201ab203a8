"""Stream sessions: the streams that are open, the purpose of each, and the large records still to be fetched."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import attrs

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.anti_entropy.reconcile import (
    Compare,
    Listing,
    Want,
    answer_compare,
    answer_listing,
    answer_want,
)
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate
from gossipreg.protocol.registry.records import Fetch
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.wire.messages import SENDER_BYTES, Message, pack
from gossipreg.values import frozen


class Purpose(enum.Enum):
    """Why a stream was opened by this node."""

    PROBE = "probe"
    SEED_PING = "seed-ping"
    JOIN = "join"
    RECONCILE = "reconcile"
    FETCH = "fetch"
    LIFELINE = "lifeline"
    RECHECK = "recheck"
    NAME_CONFLICT = "name-conflict"
    OBSERVE = "observe"
    BORDER = "border"


@attrs.define(eq=False, repr=False)
class StreamSession:
    """One stream. For those that a peer opened, the purpose is None."""

    purpose: Purpose | None
    to: Address
    about: object = (
        None  # a probe's number, the (owner, id) fetched, a lifeline's member, a query of observations, a Crossing
    )
    frames: int = 0  # received from the peer
    spoken: bool = False  # whether this side has sent anything since its last `End`
    compared: bool = False  # whether the peer has asked for a comparison since its last `End`
    accepted: bool = False  # whether it ever has
    news: int = 0  # new entries received
    sender: int = 0  # the run id under which the peer has sent its last frame
    observed: bool = False  # whether the peer has asked what this node observes
    run_id: int = 0  # the run for which it was opened; 0: it was not known
    requested: bool = False  # whether a user has asked for it, so that `JoinEnded` is due
    head: CellHead | None = None  # of the cell that the peer has said to be of, in a region of several
    unpaced: int = 0  # entries told on it for which `AnswerPacing` has made no pause
    _asked: dict[tuple[type, str], int] = attrs.field(
        factory=dict
    )  # kind of question and partition -> the buckets asked about, a bit each

    @property
    def destination(self) -> Destination:
        """Where its frames go: to the run that has sent the last one, or for which it was opened."""
        return Destination(self.sender or self.run_id, self.to)

    @property
    def answered(self) -> bool:
        """Whether the peer has sent anything."""
        return self.frames > 0

    def was_asked(self, question: Message) -> bool:
        """Whether the peer was answered such a question, about this bucket of this partition, on this stream before.

        A peer has no reason to repeat one, and the answer to a few bytes can be long.
        """
        bucket, partition = part_of(question)
        return bool(self._asked.get((type(question), partition), 0) >> bucket & 1)

    def note_question(self, question: Message) -> None:
        """The peer is answered ``question``."""
        bucket, partition = part_of(question)
        key = type(question), partition
        self._asked[key] = self._asked.get(key, 0) | 1 << bucket

    @property
    def is_comparison(self) -> bool:
        """Whether it compares states: at its end each side has received all that the other holds."""
        return self.accepted or self.purpose in (Purpose.JOIN, Purpose.RECONCILE)


@frozen
class Wanted:
    """A large record that was announced and has not arrived yet."""

    generation: int
    version: int
    sources: tuple[Destination, ...]


@attrs.define(eq=False, repr=False)
class StreamSessions:
    """The streams that this node opened (positive numbers) and those that peers opened (negative numbers)."""

    _sessions: dict[int, StreamSession] = attrs.field(factory=dict)
    _last: int = 0
    _wanted: dict[tuple[str, str], Wanted] = attrs.field(factory=dict)

    def open(self, purpose: Purpose, to: Destination, about: object = None) -> int | None:
        """The number of a new stream; None when too many are open."""
        if sum(1 for stream in self._sessions if stream > 0) >= limits.STREAMS_OUT_MAX:
            return None
        self._last += 1
        self._sessions[self._last] = StreamSession(purpose, to.address, about, run_id=to.run_id)
        return self._last

    def is_open(self, purpose: Purpose, to: Address | None = None) -> bool:
        """Whether a stream for ``purpose`` (to ``to``) is open."""
        return any(t.purpose is purpose and (to is None or t.to == to) for t in self._sessions.values())

    def of(self, purpose: Purpose) -> list[tuple[int, StreamSession]]:
        """The streams for ``purpose``, the first opened first."""
        return [(stream, session) for stream, session in self._sessions.items() if session.purpose is purpose]

    def of_peer(self, run_id: int, address: Address) -> list[int]:
        """The streams to ``address``, and those on which ``run_id`` has sent anything."""
        return [number for number, each in self._sessions.items() if each.sender == run_id or each.to == address]

    def get(self, stream: int, source: Address) -> StreamSession | None:
        """The session of a stream; one that a peer opens begins with its first frame."""
        session = self._sessions.get(stream)
        if session is None and stream < 0:
            session = self._sessions[stream] = StreamSession(None, source)
        return session

    def find(self, stream: int) -> StreamSession | None:
        """The session of an open stream."""
        return self._sessions.get(stream)

    def end(self, stream: int) -> StreamSession | None:
        """The stream is closed, or is to be; returns its session."""
        return self._sessions.pop(stream, None)

    # Large records to be fetched

    def want(self, key: tuple[str, str], generation: int, version: int, source: Destination) -> bool:
        """Note a peer that has a large record; True when it is the first, so the record is to be fetched now."""
        wanted = self._wanted.get(key)
        if wanted is not None and (wanted.generation, wanted.version) == (generation, version):
            if source not in wanted.sources and len(wanted.sources) < _SOURCES_MAX:
                self._wanted[key] = attrs.evolve(wanted, sources=(*wanted.sources, source))
            return False
        if wanted is None and len(self._wanted) >= limits.BROADCAST_QUEUE_MAX:
            return False
        self._wanted[key] = Wanted(generation, version, (source,))
        return True

    def next_source(self, key: tuple[str, str]) -> tuple[Wanted, Destination] | None:
        """The next peer to fetch a wanted record from; each is asked once. None when unwanted, or none is left."""
        wanted = self._wanted.pop(key, None)
        if wanted is None or not wanted.sources:
            return None
        source, *others = wanted.sources
        self._wanted[key] = attrs.evolve(wanted, sources=tuple(others))
        return wanted, source

    def got(self, key: tuple[str, str]) -> None:
        """Stop wanting a record: it arrived, in whatever way, or cannot be fetched now."""
        self._wanted.pop(key, None)


#: Peers remembered as having one large record; the first of them nearly always serves.
_SOURCES_MAX = 4


def part_of(question: Message) -> tuple[int, str]:
    """The bucket and the partition that a peer's request is about; 0 and empty for one that is about none."""
    if isinstance(question, Listing | Want):
        return question.bucket, question.partition
    return 0, question.partition if isinstance(question, Compare) else ""


def answers(question: Compare | Listing | Want | Fetch, state: ClusterState, now: float) -> list[bytes]:
    """The messages that answer a peer's request on a stream. The caller has checked that it may be answered."""
    said: Iterable[Message]
    match question:
        case Compare():
            said = answer_compare(state.part(question.partition), question)
        case Listing():
            said = answer_listing(state.part(question.partition), question)
        case Want():
            said = answer_want(state.part(question.partition), question)
        case _:
            said = _answer_fetch(question, state)
    return [pack(state.with_age(entry, now) if isinstance(entry, MemberUpdate) else entry) for entry in said]


def _answer_fetch(fetch: Fetch, state: ClusterState) -> Iterable[Message]:
    table = state.registry.table(fetch.owner)
    if table is not None and table.generation == fetch.generation:
        record = table.get(fetch.id)
        if record is not None:
            yield record
        else:
            yield from table.tombstones_for([fetch.id])


def corrections(stale: dict[str, list[str]], state: ClusterState) -> list[bytes]:
    """The tombstones to send to a peer that still holds deleted records, by owner."""
    said: list[bytes] = []
    for owner, ids in stale.items():
        table = state.registry.table(owner)
        if table is not None:
            said += map(pack, table.tombstones_for(ids))
    return said


def frames(sender: bytes, messages: Iterable[bytes]) -> list[bytes]:
    """``messages`` cut into frames, each with the sender in front and within the limit of a frame."""
    cut: list[bytes] = []
    parts: list[bytes] = []
    size = SENDER_BYTES
    for message in messages:
        if parts and size + len(message) > limits.FRAME_BYTES_SOFT:
            cut.append(sender + b"".join(parts))
            parts, size = [], SENDER_BYTES
        parts.append(message)
        size += len(message)
    if parts:
        cut.append(sender + b"".join(parts))
    return cut
