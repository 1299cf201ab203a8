"""Remote members: the updates held about the members of other cells, which no node of this cell probes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import attrs

from gossipreg import limits
from gossipreg.protocol.membership.member_update import MemberUpdate


@attrs.define(eq=False, repr=False)
class RemoteMembers:
    """The updates held, one a member, by cell. They are not probed, and sit on no ring: their own cell does that."""

    _updates: dict[str, MemberUpdate] = attrs.field(factory=dict)
    _by_cell: dict[str, dict[str, None]] = attrs.field(factory=dict)
    _changes: dict[str, int] = attrs.field(factory=dict)  # cell -> how often a member there has come, moved, or gone
    _since: dict[str, float] = attrs.field(factory=dict)  # name -> when the failed or left one did so

    def __iter__(self) -> Iterator[MemberUpdate]:
        return iter(self._updates.values())

    def snapshot(self) -> list[MemberUpdate]:
        """The updates held, at one moment: safe to call from any thread."""
        return list(self._updates.values())

    def get(self, name: str) -> MemberUpdate | None:
        """The update held about ``name``."""
        return self._updates.get(name)

    def names(self, cell: str) -> Collection[str]:
        """The names of all members held of a cell."""
        return self._by_cell.get(cell, {}).keys()

    def present(self, cell: str) -> list[MemberUpdate]:
        """The members of a cell that it states to be there."""
        return [held for name in self._by_cell.get(cell, ()) if (held := self._updates[name]).status.is_present]

    def has_room(self) -> bool:
        """Whether another member may be remembered."""
        return len(self._updates) < limits.REMOTE_MEMBERS_MAX

    def put(self, update: MemberUpdate, now: float) -> MemberUpdate | None:
        """Hold ``update`` from now on; returns what was held before. The caller has checked that it is new."""
        before = self._updates.get(update.name)
        assert before is None or before.cell == update.cell, "one that has moved is forgotten first"
        self._updates[update.name] = attrs.evolve(update, age=0) if update.age else update
        self._by_cell.setdefault(update.cell, {})[update.name] = None
        if update.status.is_present:
            self._since.pop(update.name, None)
        elif before is None or before.status != update.status or not before.is_same_run(update):
            self._since[update.name] = now - update.age
        is_there = update.status.is_present
        if is_there != (before is not None and before.status.is_present) or (
            is_there and before is not None and before.address != update.address
        ):
            self._changed(update.cell)
        return before

    def changes(self, cell: str) -> int:
        """How often a member of a cell has come, moved to another address, or gone."""
        return self._changes.get(cell, 0)

    def _changed(self, cell: str) -> None:
        self._changes[cell] = self.changes(cell) + 1

    def drop(self, name: str) -> MemberUpdate:
        """Forget the member ``name``; returns the update that was held."""
        update = self._updates.pop(name)
        self._since.pop(name, None)
        del self._by_cell[update.cell][name]
        self._changed(update.cell)
        return update

    def since(self, name: str) -> float | None:
        """When ``name`` failed or left (seconds); None if it did neither, or is not known."""
        return self._since.get(name)
