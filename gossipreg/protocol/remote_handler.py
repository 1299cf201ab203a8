"""The remote handler: merges what other cells state of their members, from a border or from members of this cell.

Only a cell declares its members failed. So what a border brings counts if it is about members of the cell at the
other end: it is held and broadcast in this cell as it came. What is about this cell's own members comes back from it,
and changes nothing here. But two things follow from it:

- A member that is present here, and that the other cell holds as failed, is told so, and refutes it: where a cell is
  split, each part declares the other failed, and other cells hold that.
- A member that another cell holds as present, and that this cell does not know at all or has declared failed before,
  must be decided on by this cell, for no other may: it is asked to join, and if that is in vain, it has failed. It may
  have died since it refuted its failure in the other cell. Or the cell is split, and it refutes this verdict too: so
  each takes twice as long as the one before.
"""

from __future__ import annotations

import math
from collections import Counter

import attrs

from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.joining import Joining
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership_handler import MembershipHandler
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import MemberChanged
from gossipreg.protocol.record_handler import RecordHandler
from gossipreg.protocol.registry.records import Announcement, Record, TableDigest
from gossipreg.protocol.registry.table import Freshness
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.wire.messages import pack

#: How long a member of this cell that only another cell holds as present may stay so until it has failed (seconds). A
#: node that has just joined may not know all of its cell yet, and most splits heal within this time.
UNKNOWN_SECONDS = 30.0

#: The longest such wait, for a member that has refuted the verdicts before (seconds).
_UNKNOWN_SECONDS_MAX = 600.0

#: Members of this cell remembered that are not decided on, for each cell that was the first to hold them; others are
#: looked at when these are settled.
_UNKNOWN_MAX = 256

#: After how long without being told of one again it is undecided anew (seconds): several crossings.
_LAPSE_SECONDS = 15.0

#: Time between two looks for those that no cell holds any more (seconds).
_SWEEP_SECONDS = 1.0


@attrs.define(eq=False, repr=False)
class _Undecided:
    """A member of this cell that only another cell holds as present."""

    cell: str  # that was the first to hold it
    since: float  # seconds
    seen: float  # when another cell was last found to hold it (seconds)
    patience: float = UNKNOWN_SECONDS
    is_asked: bool = False  # whether it was asked to join since


@attrs.define(eq=False, repr=False)
class RemoteHandler:
    """Handles claims that came across a border, and claims of this cell's members about those of other cells."""

    identity: Identity
    state: ClusterState
    membership_handler: MembershipHandler
    record_handler: RecordHandler
    joining: Joining
    outbox: Outbox
    _undecided: dict[str, _Undecided] = attrs.field(factory=dict)  # by name
    _counts: Counter[str] = attrs.field(factory=Counter)  # of these, by cell
    _sweep_at: float = -math.inf  # seconds

    def handle_update(self, update: MemberUpdate, context: MessageContext, now: float) -> bool:
        """Handle an update if it is about another cell's member or came across a border; returns whether it was."""
        cells = self.state.cells
        if cells is None:
            self._count_mismatch(bool(update.cell))
            return bool(update.cell)
        if update.name == self.identity.name and (update.cell == cells.own or not update.status.is_present):
            return False  # what is held of this node itself it answers, also of a run of it in another cell
        if context.cell and context.cell != cells.own:
            self._handle_crossed(update, cells, context, now)
        elif update.cell == cells.own:
            held = cells.remote.get(update.name)
            if held is None or update.generation <= held.generation:
                return held is not None
            self.state.forget_remote(update.name)  # it has moved to this cell
            return False
        elif update.cell:
            self._merge(update, cells, context, now)
        else:
            self._count_mismatch(True)
        return True

    def _count_mismatch(self, counts: bool) -> None:
        self.state.counters[Count.CELLS_MISMATCHED] += counts

    def _handle_crossed(self, update: MemberUpdate, cells: Cells, context: MessageContext, now: float) -> None:
        if update.cell == context.cell:
            self._merge(update, cells, context, now)
        elif update.cell == cells.own:
            self._handle_returned(update, cells, context, now)
        else:
            self.state.counters[Count.CELLS_CLAIMS_REFUSED] += 1

    def _merge(self, update: MemberUpdate, cells: Cells, context: MessageContext, now: float) -> None:
        """Hold what another cell states of one of its members, if it is new."""
        if update.status is Status.SUSPECT:  # a suspicion is its own cell's business
            update = attrs.evolve(update, status=Status.ALIVE)
        own, held = self.state.members.get(update.name), cells.remote.get(update.name)
        is_taken = own is not None and (own.status.is_present or update.generation <= own.generation)
        if is_taken or update.name == self.identity.name:
            self.state.counters[Count.CELLS_NAMES_TAKEN] += 1
            return
        has_room = (held is not None or cells.remote.has_room()) and self.state.makes_room_for_cell(update.cell, now)
        if not has_room:
            self.state.counters[Count.UPDATES_OVER_MEMBER_LIMIT] += 1
            return
        if held is None:
            if not self.state.expect(update):
                return
        elif not update.supersedes(held):
            if update.rank == held.rank and not context.over_stream:
                self.state.broadcaster.note_duplicate(Topic.MEMBERSHIP, update.name, now)
            return
        if own is not None:  # it has moved to that cell
            self.outbox.put(MemberChanged(self.state.forget(update.name), None))
        spread = context.admit_forward(announced=self.identity.announced)
        self.state.believe_remote(update, now, spread=spread, received_from=context.name)

    def _handle_returned(self, update: MemberUpdate, cells: Cells, context: MessageContext, now: float) -> None:
        """Another cell holds this update about a member of this cell."""
        held = self.state.members.get(update.name)
        if held is not None and held.status.is_present:
            self._settle(update.name)
            self._tell_accused(update, held, now)
            return
        is_later = held is None or update.supersedes(held)
        if not (is_later and update.status.is_present and self.identity.announced):
            return
        moved = cells.remote.get(update.name)
        if moved is not None and moved.generation >= update.generation:
            # It runs in a third cell now, which the peer may not hear. The run that the peer holds has ended.
            context.replies.append(pack(update.graver(Status.FAILED, self.identity.run_id)))
            return
        self._decide(update, context.cell, now)

    def _settle(self, name: str) -> None:
        each = self._undecided.pop(name, None)
        if each is not None:
            self._counts[each.cell] -= 1
            self._counts += Counter()  # without those that are zero

    def _sweep(self, now: float) -> None:
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            for name in [name for name, each in self._undecided.items() if now - each.seen >= 2 * each.patience]:
                self._settle(name)

    def _decide(self, update: MemberUpdate, cell: str, now: float) -> None:
        """Ask a member that another cell holds as present to join, or declare that it has failed."""
        self._sweep(now)
        each = self._undecided.get(update.name)
        if each is None:
            if self._counts[cell] >= _UNKNOWN_MAX:
                return
            each = self._undecided[update.name] = _Undecided(cell, now, now)
            self._counts[cell] += 1
        elif now - each.seen > _LAPSE_SECONDS:  # it had become known meanwhile
            each.since, each.is_asked = now, False
        each.seen = now
        if not each.is_asked or now - each.since < each.patience:
            each.is_asked = self.joining.join_own_cell([update.address], now) or each.is_asked
            return
        each.since, each.patience, each.is_asked = now, min(2 * each.patience, _UNKNOWN_SECONDS_MAX), False
        self.state.counters[Count.CELLS_GHOSTS_FAILED] += 1
        self.membership_handler.adopt_failed(update, now)

    def _tell_accused(self, update: MemberUpdate, held: MemberUpdate, now: float) -> None:
        """Tell a member, which is present here, what another cell holds of it, if that has it failed or gone.

        A part of this cell that is cut off from this one has stated it, or has yet to tell this node.
        """
        if held.is_same_run(update) and update.supersedes(held):
            self.outbox.tell(held.destination, pack(update), now)

    def handle_records(self, said: Record | TableDigest | Announcement, context: MessageContext, now: float) -> bool:
        """Handle what is stated of an owner's records, if it came across a border; returns whether it did."""
        cells = self.state.cells
        if cells is None or not context.cell or context.cell == cells.own:
            return False
        remote, own = cells.remote.get(said.owner), self.state.members.get(said.owner)
        if isinstance(said, Announcement):
            self.state.counters[Count.CELLS_CLAIMS_REFUSED] += 1
        elif remote is not None and remote.cell == context.cell:
            self._take(said, context, now)
        elif own is not None and not own.status.is_present and own.generation == said.generation:
            self._take(said, context, now)  # what a member that has failed owned, until it is forgotten
        elif own is not None and isinstance(said, Record):
            freshness = self.state.classify(said.owner, said.generation, said.id, said.version)
            if freshness is Freshness.OBSOLETE:
                context.stale.setdefault(said.owner, []).append(said.id)
        else:
            self.state.counters[Count.CELLS_CLAIMS_REFUSED] += own is None
        return True

    def _take(self, said: Record | TableDigest, context: MessageContext, now: float) -> None:
        """Take what is new, and tell this cell; what a digest deletes, as the deletions that they were."""
        if isinstance(said, Record):
            self.record_handler.handle(said, context, now)
            return
        change = self.state.apply_digest(said, now)
        for record in () if change is None else change.went:
            if context.admit_forward(announced=self.identity.announced):
                deleted = Record(said.owner, said.generation, said.version, record.id, said.table_xor, None)
                self.state.spread(deleted, now)
