"""Borders: the relays of a cell compare with those of each other cell what the two cells' members own.

Theory of operation (docs/decisions/0089). A relay opens a stream to a relay of the other cell when something of its
own cell has changed, at most every `BATCH_SECONDS`, and else every `CROSS_SECONDS`. Both sides say which cell they are
of and the fingerprint of what its members own (`CellHead`). A side that holds another fingerprint of that cell asks
for the difference, partition by partition, as members do for their whole state:

    opener    its head, and those of further cells                            (some 60 bytes each)
    accepter  likewise; Compare: the sums of what it holds of the opener's cell, and of what belongs to no cell
    opener    the entries, or listings of buckets; Compare: the sums of what it holds of the accepter's cell
    ...       as in `anti_entropy.reconcile`

When the opener has nothing left to ask, all that the other cell had at the beginning has arrived: that moment is when
the cell was confirmed. A relay states it within its own cell, so that each node knows the age of what it holds.

The first relay of each side sends at once. The second looks twice a second, and finds in most cases that the other side
has it all.

A node that hears none of the members of its own cell is no relay: it answers as if it had not joined. It may be cut off
from its cell, or be the only one left of it, and cannot tell which. So it crosses to one other cell a second, relay or
not, and says since when it hears nothing (`CellHead.confirmed`). Its own records cross, and the other cell says whether
it still hears the node's cell. If one of them does, others are there, and connect the cell. If none does, those that
answered are the witness without which a node declares no failure (docs/decisions/0005).
"""

from __future__ import annotations

import math
from random import Random

import attrs

from gossipreg.counters import Count
from gossipreg.model import Address
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, Listing, Want
from gossipreg.protocol.cells.cell_head import COMMON, CellHead
from gossipreg.protocol.cells.cells import CONFIRM_SECONDS, STALE_SECONDS, Cells
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.isolation import Isolation
from gossipreg.protocol.joining import Joining
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.membership.member_update import Destination
from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outputs import CellChanged
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose, StreamSession
from gossipreg.protocol.wire.messages import Message, pack
from gossipreg.text import utc
from gossipreg.values import frozen

#: Least time between two streams that a relay opens to one other cell (seconds): the changes between share one.
BATCH_SECONDS = 0.1

#: Time between two streams while nothing changes (seconds), jittered by a quarter.
CROSS_SECONDS = 2.0

#: How often the second relay looks for changes (seconds); it crosses for one that it has seen twice.
_STANDBY_SECONDS = 0.5

#: How long a relay waits after a stream that failed (seconds); then another member of that cell has its turn.
RETRY_SECONDS = 1.0

#: For how long each crossing says where further cells are, after one of them has come or gone (seconds), and after how
#: many crossings it says so again.
_OTHERS_SECONDS = 10.0
_OTHERS_CROSSINGS = 8

#: How long a crossing may take (seconds): all records of a large cell cross within it. A stream on which nothing comes
#: is ended by the driver, much earlier.
_CROSSING_SECONDS_MAX = 60.0

#: How long a newcomer tries the members of its cell that other cells name, until it is the first of its cell (seconds).
ALONE_SECONDS = 10.0


#: How long it counts at the least that another cell has said to hear this one (seconds). Members of that cell that this
#: node does not reach take their turn, each for as long as a stream may take.
_ANSWER_SECONDS = 60.0


@frozen
class Crossing:
    """One stream of a relay to another cell: when it was opened, and the fingerprints that it tells."""

    cell: str
    at: float  # seconds
    wall: float  # ms since the epoch
    told: tuple[int, int]  # of this cell, and of what belongs to no cell


@attrs.define(eq=False, repr=False)
class _Border:
    """What a relay remembers of one border."""

    last_at: float  # when it crossed last, or looked for a change as the second relay (seconds)
    cross_at: float  # when it crosses even if nothing has changed
    told: tuple[int, int] = (-1, -1)  # what the other side has at the least
    is_noticed: bool = False  # whether the second relay has seen a change once
    failures: int = 0  # streams that have failed since one has not


@frozen
class _Answer:
    """Whether another cell still hears this node's cell, of which this node hears no member."""

    at: float  # seconds
    is_heard: bool


@attrs.define(eq=False, repr=False)
class Borders:
    """The borders of one node's cell. In a flat cluster it does nothing."""

    rng: Random
    state: ClusterState
    streams: PeerStreams
    local_member: LocalMember
    joining: Joining
    isolation: Isolation
    _borders: dict[str, _Border] = attrs.field(factory=dict)
    _stated: dict[str, int] = attrs.field(factory=dict)  # cell -> the last confirmation stated within this cell (ms)
    _answers: dict[str, _Answer] = attrs.field(factory=dict)  # cell -> what it has said while this node was apart
    _others: tuple[str, ...] = ()  # the other cells, when a stream was last begun
    _others_at: float = -math.inf  # when they were found to be others than before (seconds)
    _crossings: int = 0  # streams begun, from either side
    _asked: int = 0  # how often other cells were asked whether they hear this one
    _alone_until: float | None = None
    _has_heard_out: bool = False  # whether another cell has told this newcomer all that it knows

    # Crossing

    def deadline(self) -> float:
        """When `handle_timeout` is wanted (seconds), or infinity."""
        cells = self.state.cells
        if cells is None or not cells.others:
            return math.inf
        if not self.is_announced:
            return cells.check_at
        return min([cells.check_at, *(self._due(cell, cells) for cell in cells.others)])

    @property
    def is_announced(self) -> bool:
        """Whether this node has joined its cell."""
        return self.local_member.identity.announced

    def _is_apart(self, now: float) -> bool:
        """Whether this node hears none of its cell's members, although some are there: another relay knows more."""
        return bool(self.state.members.present) and self.isolation.is_isolated(now)

    def _rank(self, cell: str, cells: Cells) -> int | None:
        """Which relay to ``cell`` this node is, from 0; None if it is none."""
        relays = cells.relays(cell)
        return relays.index(self.state.members.own_name) if self.state.members.own_name in relays else None

    def _told(self, cells: Cells) -> tuple[int, int]:
        return cells.partitions.total(cells.own), cells.partitions.total(COMMON)

    def _due(self, cell: str, cells: Cells) -> float:
        rank = self._rank(cell, cells)
        if rank is None or self._is_crossing(cell):
            return math.inf
        border = self._borders.get(cell)
        if border is None:
            return -math.inf
        if border.failures:
            return border.last_at + RETRY_SECONDS
        if rank:
            return min(border.last_at + _STANDBY_SECONDS, border.cross_at)
        return border.cross_at if self._told(cells) == border.told else border.last_at + BATCH_SECONDS

    def _is_crossing(self, cell: str) -> bool:
        sessions = self.streams.sessions.of(Purpose.BORDER)
        return any(isinstance(session.about, Crossing) and session.about.cell == cell for _, session in sessions)

    def handle_timeout(self, now: float) -> None:
        """Cross the borders that are due, and look for cells of which nothing new is known."""
        cells = self.state.cells
        if cells is None or not cells.others:
            return
        if cells.take_due_check(now):
            self._check_ages(cells, now)
            self._end_long_crossings(now)
            if self.is_announced and self._is_apart(now):
                self._ask_elsewhere(cells, now)
        for cell in cells.others if self.is_announced else ():
            rank = self._rank(cell, cells)
            if rank is None:
                self._borders.pop(cell, None)
            elif now >= self._due(cell, cells):
                self._look(cell, rank, cells, now)

    def _look(self, cell: str, rank: int, cells: Cells, now: float) -> None:
        border = self._borders.get(cell)
        if border is None:
            border = self._borders[cell] = _Border(now, now)
        if rank and now < border.cross_at and not border.failures:
            has_changed = self._told(cells) != border.told
            if not (has_changed and border.is_noticed):
                border.last_at, border.is_noticed = now, has_changed
                return
        border.last_at, border.is_noticed = now, False
        border.cross_at = now + CROSS_SECONDS * (0.75 + self.rng.random() / 2)
        known = cells.relays_there(cell) if not border.failures else cells.addresses(cell)
        if known and not self._is_apart(now):
            self._cross(cell, known[(rank + border.failures) % len(known)], cells.own_head(cell), cells, now)

    def _end_long_crossings(self, now: float) -> None:
        """Close the streams of crossings whose other side sends, and comes to no end."""
        for stream, session in list(self.streams.sessions.of(Purpose.BORDER)):
            if isinstance(session.about, Crossing) and now - session.about.at >= _CROSSING_SECONDS_MAX:
                self.streams.close(stream)
                self.ended(session, now, completed=False)

    def _ask_elsewhere(self, cells: Cells, now: float) -> None:
        """Cross to one other cell, in turn, and ask whether it hears this node's cell."""
        turn, number = divmod(self._asked, len(cells.others))
        self._asked += 1
        cell = cells.others[number]
        known = cells.addresses(cell)
        if known and not self._is_crossing(cell):
            silent_since = self.state.clock.wall(now) - 1000 * self.isolation.silence(now)
            own = attrs.evolve(cells.own_head(cell), confirmed=max(1, int(silent_since)))
            self._cross(cell, known[turn % len(known)], own, cells, now)

    def _answered(self, cell: str, cells: Cells, context: MessageContext, now: float, *, is_heard: bool) -> None:
        """Note whether another cell hears this node's. If none does, any that answers is a witness."""
        self.state.begin_change()
        self._answers[cell] = _Answer(now, is_heard)
        lasting = max(_ANSWER_SECONDS, 3 * len(cells.others))  # each is asked in turn, one a second
        if not any(answer.is_heard for answer in self._answers.values() if now - answer.at < lasting):
            self.isolation.detector.answer_received(context.sender, now)

    def _cross(self, cell: str, to: Address, own: CellHead, cells: Cells, now: float) -> None:
        self.state.counters[Count.CELLS_CROSSINGS] += 1
        about = Crossing(cell, now, self.state.clock.wall(now), self._told(cells))
        said: list[Message] = [own, *self._further_heads(cell, cells, now), End()]
        self.streams.open(Purpose.BORDER, Destination(0, to), said, about=about)

    def _further_heads(self, cell: str, cells: Cells, now: float, *, is_asked: bool = False) -> list[CellHead]:
        """Where the members of the cells besides this one and ``cell`` are.

        Said after one has come or gone, to a newcomer (``is_asked``), and else now and then.
        """
        if cells.others != self._others:
            self._others, self._others_at = cells.others, now
        self._crossings += 1
        if not (is_asked or now - self._others_at < _OTHERS_SECONDS or self._crossings % _OTHERS_CROSSINGS == 0):
            return []
        return [CellHead(each, 0, 0, 0, cells.addresses(each)) for each in cells.others if each != cell]

    def ended(self, session: StreamSession, now: float, *, completed: bool) -> None:
        """A stream across a border that this node opened has ended; ``completed``: with nothing left to ask."""
        cells, head = self.state.cells, session.head
        assert cells is not None, "a node of a flat cluster opens none"
        crossing = session.about
        if not isinstance(crossing, Crossing):
            self._has_heard_out = self._has_heard_out or (completed and head is not None)
            self.seed_ended(session.to, now)
            return
        border = self._borders.get(crossing.cell)
        is_good = completed and head is not None and head.cell == crossing.cell and head.size > 0
        if border is not None:
            border.failures = 0 if is_good else border.failures + 1
            border.told = crossing.told if is_good else border.told
        if is_good and head is not None:
            self._confirm(head, crossing, cells, now)

    def _confirm(self, head: CellHead, crossing: Crossing, cells: Cells, now: float) -> None:
        confirmed = attrs.evolve(head, confirmed=int(crossing.wall))
        if not cells.note_head(confirmed, crossing.at, crossing.wall):
            return
        was_stale = head.cell in cells.stale
        since = confirmed.confirmed - self._stated.get(head.cell, 0)
        if was_stale or not 0 <= since < 1000 * CONFIRM_SECONDS:
            self._stated[head.cell] = confirmed.confirmed
            self.state.spread_head(confirmed, now)
        if was_stale:
            self._check_ages(cells, now)

    def _check_ages(self, cells: Cells, now: float) -> None:
        """Report the cells of which nothing new is known any more, or again."""
        wall = self.state.clock.wall(now)
        for cell in cells.others:
            is_stale = cells.unconfirmed(cell, now, wall) >= STALE_SECONDS
            if is_stale == (cell in cells.stale):
                continue
            self.state.counters[Count.CELLS_CUT_OFF] += is_stale
            self.state.note_cell_state(cell, _why(cell, cells.head(cell)) if is_stale else None)
            self.streams.outbox.put(CellChanged(cell, reachable=not is_stale, age=cells.age(cell, now, wall)))

    # Heads of peers

    def handle_head(self, head: CellHead, context: MessageContext, now: float) -> None:
        """Handle the head of a cell that a peer has sent."""
        cells = self.state.cells
        if cells is None:
            return
        session = None if context.stream is None else self.streams.sessions.find(context.stream)
        if session is None:
            if context.member is not None and head.cell != cells.own:
                self._note_stated(head, cells, context, now)
        elif session.head is None:
            session.head, context.cell = head, head.cell
            if head.cell != cells.own:
                self._meet(head, session, cells, context, now)
            elif not context.is_answer:
                context.replies += map(pack, (cells.own_head(""), *cells.heads))
        elif session.head.cell == cells.own:
            is_told = context.member is not None or (context.is_answer and not self.is_announced)
            if head.cell != cells.own and is_told:
                self._note_stated(head, cells, context, now)
        elif head.cell == cells.own and isinstance(session.about, Crossing) and self._is_apart(now):
            self._answered(session.about.cell, cells, context, now, is_heard=head.size > 0)
        elif head.cell == cells.own:
            self._alone_until = now + ALONE_SECONDS if self._alone_until is None else self._alone_until
            self.joining.join_own_cell(head.relays, now)
        else:
            self._learn(head, cells, now)

    def _note_stated(self, head: CellHead, cells: Cells, context: MessageContext, now: float) -> None:
        """A member of this cell has stated when another cell was confirmed, or where it is."""
        is_ahead = head.confirmed > self.state.clock.wall(now) + 1000 * CLOCK_SKEW_MAX
        if is_ahead or not self.state.makes_room_for_cell(head.cell, now):
            self.state.counters[Count.CELLS_CLAIMS_REFUSED] += 1
            return
        self.state.begin_change()
        if cells.note_head(head, now, self.state.clock.wall(now)):
            self._stated[head.cell] = head.confirmed
            if context.admit_forward(announced=self.is_announced):
                self.state.spread_head(head, now, context.name)
            self._check_ages(cells, now)
        elif not context.over_stream:
            self.state.broadcaster.note_duplicate(Topic.HEADS, head.cell, now)

    def _learn(self, head: CellHead, cells: Cells, now: float) -> None:
        """Another cell says where a cell is that may be unknown here."""
        if head.cell not in cells.others and self.state.makes_room_for_cell(head.cell, now):
            self._note_contact(head.cell, head.relays, cells, now)

    def _note_contact(self, cell: str, addresses: tuple[Address, ...], cells: Cells, now: float) -> None:
        """Remember where a cell is, as long as nothing else is known of it."""
        self.state.begin_change()
        contact = CellHead(cell, 0, 0, 0, addresses)
        if addresses and cells.note_contact(contact, now) and self.is_announced:
            self.state.spread_head(contact, now)

    def _meet(self, head: CellHead, session: StreamSession, cells: Cells, context: MessageContext, now: float) -> None:
        """The peer on a stream is of another cell: say who is there, and ask for what differs."""
        if not self.state.makes_room_for_cell(head.cell, now):
            self.state.counters[Count.CELLS_CLAIMS_REFUSED] += 1
            return
        if session.purpose is Purpose.JOIN:
            session.purpose = Purpose.BORDER
            self.joining.settle(session.to)
        # Where a stream comes from is no address to call: its port is the kernel's choice.
        self._note_contact(head.cell, head.relays or ((session.to,) if context.is_answer else ()), cells, now)
        said: list[Message] = []
        is_able = self.is_announced and not self._is_apart(now)
        if not context.is_answer:
            own = cells.own_head(head.cell)
            said.append(own if is_able else attrs.evolve(own, size=0))
            if head.confirmed and is_able:
                said.append(CellHead(head.cell, self._heard_size(head.cell, cells), 0, 0, ()))
            elif not head.size and (known := cells.addresses(head.cell)):
                said.append(CellHead(head.cell, 0, 0, 0, known))  # where the newcomer's own cell is
            said += self._further_heads(head.cell, cells, now, is_asked=not head.size)
        if head.size and (is_able or (context.is_answer and self.is_announced)):
            if head.fingerprint != cells.partitions.total(head.cell):
                said.append(Compare(cells.partitions.of(head.cell).sums, head.cell))
            if not context.is_answer and head.common != cells.partitions.total(COMMON):
                said.append(Compare(cells.partitions.of(COMMON).sums, COMMON))
        context.replies += map(pack, said)

    def _heard_size(self, cell: str, cells: Cells) -> int:
        """How many members are present in a cell that is heard; 0 if nothing of it is."""
        return 0 if cell in cells.stale else max(1, len(cells.remote.present(cell)))

    def seed_ended(self, address: Address, now: float) -> None:
        """A try of a seed has ended, without its being of this cell.

        A newcomer that has heard another cell out has joined as the first of its own, if no member of that is named,
        and none of its seeds may still be one.
        """
        self.joining.settle(address)
        local = self.local_member
        if local.identity.announced or local.identity.rival is not None:
            return
        if self.joining.awaits_seed or not self._has_heard_out:
            return
        if self._alone_until is None or now >= self._alone_until:
            local.complete_join(now)

    # What may be said on a stream

    def refuses(self, message: Message, session: StreamSession, context: MessageContext) -> bool:
        """Whether the peer and this node can never be members of one another, so that the stream is to be closed.

        A node of a flat cluster and one of a cell are such a pair: neither may be told the other's whole state.
        """
        if self.state.cells is None:
            return isinstance(message, CellHead)
        is_whole = isinstance(message, Compare) and not message.partition
        return is_whole and session.head is None and context.member is None

    def is_across(self, context: MessageContext) -> bool:
        """Whether a message came across a border, from a peer of another cell."""
        cells = self.state.cells
        return cells is not None and context.cell not in ("", cells.own)

    def may_answer(self, question: Message, context: MessageContext) -> bool:
        """Whether a peer's request is answered: about the whole state within a cell, about parts across borders."""
        cells = self.state.cells
        partition = question.partition if isinstance(question, Compare | Listing | Want) else ""
        if cells is None or not self.is_across(context):
            return not partition
        if isinstance(question, Listing):
            return partition in (context.cell, COMMON)
        return partition in (cells.own, COMMON)

    def may_claim(self, context: MessageContext) -> bool:
        """Whether claims count that a peer makes: on a stream, it has said which cell it is of, or is a member."""
        return self.state.cells is None or context.stream is None or bool(context.cell) or context.member is not None


def _why(cell: str, head: CellHead | None) -> str:
    if head is None or not head.confirmed:
        return f"nothing was heard of its cell {cell} yet"
    return f"nothing was heard of its cell {cell} since {utc(head.confirmed // 1000)}"
