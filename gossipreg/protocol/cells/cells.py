"""Cells: what one node knows of the other cells of its region: their members, heads, relays, and how old that is."""

from __future__ import annotations

import math

import attrs

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.cells.cell_head import COMMON, CellHead
from gossipreg.protocol.cells.partitions import Partitions
from gossipreg.protocol.cells.relays import elect
from gossipreg.protocol.cells.remote_members import RemoteMembers
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg.values import frozen

#: How often a relay states within its cell that another cell was confirmed (seconds). Each costs every node about as
#: much as one changed record.
CONFIRM_SECONDS = 4.0

#: How long nothing was confirmed of a cell until what is known of it counts as stale (seconds): three statements.
STALE_SECONDS = 12.0

#: How far a head may be confirmed in the future (ms): members' clocks differ by so much at the most.
_SKEW_MS = 1000 * CLOCK_SKEW_MAX

#: How often stale cells are looked for (seconds).
_CHECK_SECONDS = 1.0


@frozen
class _Known:
    """The latest head of a cell, and when it was received (seconds)."""

    head: CellHead
    at: float


@attrs.define(eq=False, repr=False)
class Cells:
    """The other cells of the region, as one node of the cell ``own`` knows them."""

    own: str
    members: Members
    remote: RemoteMembers = attrs.field(factory=RemoteMembers)
    partitions: Partitions = attrs.field(factory=Partitions)
    stale: dict[str, str] = attrs.field(factory=dict)  # cells of which nothing new is known -> why, in words
    check_at: float = -math.inf  # when stale cells are looked for next (seconds)
    _known: dict[str, _Known] = attrs.field(factory=dict)
    _seen: dict[str, float] = attrs.field(factory=dict)  # when a cell was first known (seconds)
    _names: tuple[str, ...] = ()  # of the cells in `_seen`, sorted
    _elected: dict[str, tuple[int, tuple[str, ...]]] = attrs.field(factory=dict)  # other cell -> own relays, and as of
    _elected_there: dict[str, tuple[int, tuple[Address, ...]]] = attrs.field(factory=dict)

    @property
    def others(self) -> tuple[str, ...]:
        """The other cells of which anything is known, by name."""
        return self._names

    def head(self, cell: str) -> CellHead | None:
        """The latest head of a cell."""
        known = self._known.get(cell)
        return None if known is None else known.head

    @property
    def heads(self) -> list[CellHead]:
        """The latest head of each other cell, by name."""
        return [self._known[cell].head for cell in sorted(self._known)]

    def has_room_for(self, cell: str) -> bool:
        """Whether ``cell`` is known, or one more cell may be."""
        return cell in self._seen or len(self._seen) < limits.CELLS_MAX - 1

    def first_to_go(self, now: float) -> str | None:
        """The cell that gives way to another where there is no room: one that a peer has named, and no relay found."""
        named = (cell for cell in self._seen if not self._is_confirmed(cell))
        return next((cell for cell in named if now - self._seen[cell] >= STALE_SECONDS), None)

    def _is_confirmed(self, cell: str) -> bool:
        known = self._known.get(cell)
        return known is not None and known.head.confirmed > 0

    def note(self, cell: str, now: float) -> None:
        """Something is known of ``cell``, which has room."""
        if cell not in self._seen:
            self._seen[cell] = now
            self._names = tuple(sorted(self._seen))

    def note_head(self, head: CellHead, now: float, wall: float) -> bool:
        """Hold the head of another cell, if it was confirmed later than the one held; returns whether it was.

        One that was confirmed after ``wall``, this node's wall clock (ms since the epoch), is from before clocks were
        set back: any other replaces it.
        """
        held = self.head(head.cell)
        if held is not None and head.confirmed <= held.confirmed <= wall + _SKEW_MS:
            return False
        self.note(head.cell, now)
        self._known[head.cell] = _Known(head, now)
        return True

    def note_contact(self, contact: CellHead, now: float) -> bool:
        """Hold where another cell is, if nothing of it was ever confirmed; returns whether that is new."""
        held = self.head(contact.cell)
        if held is not None and (held.confirmed or held == contact):
            return False
        self.note(contact.cell, now)
        self._known[contact.cell] = _Known(contact, now)
        return True

    def forget(self, cell: str) -> None:
        """Forget a cell, of which no member is held."""
        for table in (self._known, self._seen, self.stale, self._elected, self._elected_there):
            table.pop(cell, None)
        self._names = tuple(sorted(self._seen))
        self.partitions.drop(cell)

    # Relays

    def relays(self, cell: str) -> tuple[str, ...]:
        """The relays of this cell to another one, the first one first."""
        version, elected = self._elected.get(cell, (-1, ()))
        if version != self.members.changes:
            elected = elect((self.members.own_name, *self.members.present), self.own, cell)
            self._elected[cell] = self.members.changes, elected
        return elected

    def relays_there(self, cell: str) -> tuple[Address, ...]:
        """Where the relays of another cell to this one are, the first one first; as that cell said, if need be."""
        version, elected = self._elected_there.get(cell, (-1, ()))
        changes = self.remote.changes(cell)
        if version != changes:
            present = {held.name: held.address for held in self.remote.present(cell)}
            elected = tuple(present[name] for name in elect(present, self.own, cell))
            self._elected_there[cell] = changes, elected
        if elected:
            return elected
        head = self.head(cell)
        return () if head is None else head.relays

    def own_head(self, other: str) -> CellHead:
        """What this node states of its own cell to the cell ``other``, or to its own with ``other`` empty."""
        own = self.members.get(self.members.own_name)
        if own is None:
            return CellHead(self.own, 0, 0, 0, ())
        prints = self.partitions.total(self.own), self.partitions.total(COMMON)
        found = [self.members.get(name) for name in self.relays(other)] if other else []
        addresses = tuple(relay.address for relay in found if relay is not None)
        return CellHead(self.own, self.members.present_count, *prints, addresses)

    def addresses(self, cell: str) -> tuple[Address, ...]:
        """Where a few members of a cell are that it states to be there: its relays to this one first."""
        known = [*self.relays_there(cell), *(held.address for held in self.remote.present(cell))]
        return tuple(dict.fromkeys(known))[: limits.CELL_RELAYS_MAX]

    def root(self, name: str) -> str:
        """The member at the root of the broadcast tree of ``name``: itself, or for a remote one the first relay."""
        held = self.remote.get(name)
        return name if held is None else self.relays(held.cell)[0]

    # Age

    def age(self, cell: str, now: float, wall: float) -> float | None:
        """How long ago all of a cell was known here at the latest (seconds); None if it never was.

        Two clocks measure it, and the longer time counts: this node's since it received the head, and the wall clock,
        ``wall`` (ms since the epoch), since a relay made it. So neither a slow broadcast nor a clock that is behind
        makes what is old look younger, unless both do.
        """
        known = self._known.get(cell)
        if known is None or not known.head.confirmed:
            return None
        return max(0.0, now - known.at, (wall - known.head.confirmed) / 1000)

    def unconfirmed(self, cell: str, now: float, wall: float) -> float:
        """The age of a cell; if it was never confirmed, the time since it was first known (seconds)."""
        age = self.age(cell, now, wall)
        return now - self._seen[cell] if age is None else age

    def silence(self, cell: str, now: float) -> float:
        """How long nothing of a cell was confirmed here, by this node's own clock alone (seconds)."""
        return now - (self._known[cell].at if self._is_confirmed(cell) else self._seen[cell])

    def take_due_check(self, now: float) -> bool:
        """Return whether stale cells are to be looked for now; if so, set when it is next time."""
        if now < self.check_at:
            return False
        self.check_at = now + _CHECK_SECONDS
        return True

    def cut_off(self, owner: str) -> str | None:
        """Why what ``owner`` has registered is stale, if its cell cannot be reached."""
        if not self.stale:
            return None
        held = self.remote.get(owner)
        return None if held is None else self.stale.get(held.cell)
