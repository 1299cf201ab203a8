"""The membership list: the update held about each member, and the probe order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import attrs

from gossipreg import limits
from gossipreg.model import Address, Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate
from gossipreg.protocol.membership.ring import Ring, tree_fanout

#: How much longer members that left are remembered than failed ones. Behind a partition a member that leaves is failed
#: a little later; if it were forgotten first where it is known to have left, it would come back as failed.
_LEFT_LONGER = 1.05


@attrs.define(eq=False, repr=False)
class Members:
    """The update held about each member, this node included; of two updates the greater is kept.

    ``present`` (alive or suspect others) is kept as a list with positions, so that a random choice costs the same at
    any size. Probing goes round-robin through a shuffled list, a newcomer entering at a random place: so each member is
    probed within two rounds at the most (SWIM §4.3).
    """

    settings: EngineSettings
    rng: Random
    own_name: str
    _updates: dict[str, MemberUpdate] = attrs.field(factory=dict)
    _names: dict[int, str] = attrs.field(factory=dict)  # run id -> name
    _at: dict[Address, str] = attrs.field(factory=dict)  # address -> the name that was known there last
    _present: list[str] = attrs.field(factory=list)
    _position: dict[str, int] = attrs.field(factory=dict)
    _order: list[str] = attrs.field(factory=list)
    _cursor: int = 0
    _reachability_position: int = 0  # in ``present``, the position of the next member to ping because none was heard
    ring: Ring = attrs.field(factory=Ring)  # this node and the present others
    _failed: dict[str, None] = attrs.field(factory=dict)
    _suspect: dict[str, None] = attrs.field(factory=dict)
    reachable: float = (
        1.0  # the share of the other members, without those that left, that are alive; 1.0 if there are none
    )
    _since: dict[str, float] = attrs.field(factory=dict)  # name -> when the failed or left one did so
    _back: dict[str, float] = attrs.field(factory=dict)  # name -> when one that had failed was back, in the same run
    changes: int = 0  # how often a member has come or gone
    _strangers: dict[str, None] = attrs.field(factory=dict)  # present, in runs that were never heard or answered
    _gone_strangers: dict[str, None] = attrs.field(factory=dict)  # likewise, failed or left

    def __attrs_post_init__(self) -> None:
        self.ring.seat(self.own_name)

    def __len__(self) -> int:
        return len(self._updates)

    def __iter__(self) -> Iterator[MemberUpdate]:
        return iter(self._updates.values())

    def snapshot(self) -> list[MemberUpdate]:
        """The updates held about all members, at one moment: safe to call from any thread."""
        return list(self._updates.values())

    def get(self, name: str) -> MemberUpdate | None:
        """The update held about ``name``."""
        return self._updates.get(name)

    def by_run_id(self, run_id: int) -> MemberUpdate | None:
        """The update about the run with this id, if it is the one held."""
        name = self._names.get(run_id)
        return None if name is None else self._updates[name]

    @property
    def present(self) -> Sequence[str]:
        """Names of the other members that are alive or suspect."""
        return self._present

    @property
    def present_count(self) -> int:
        """How many take part, this node included."""
        return len(self._present) + 1

    def _count_reachable(self) -> None:
        there = len(self._present) + len(self._failed)
        self.reachable = (len(self._present) - len(self._suspect)) / there if there else 1.0

    def has_room(self) -> bool:
        """Whether another member may be remembered."""
        return len(self._updates) < limits.MEMBERS_MAX

    def attest(self, name: str, proof: bytes) -> None:
        """Hold the proof of an update that was held without one."""
        self._updates[name] = attrs.evolve(self._updates[name], proof=proof)

    def put(self, update: MemberUpdate, now: float) -> MemberUpdate | None:
        """Hold ``update`` from now on; returns what was held before. The caller has checked that it is new."""
        before = self._updates.get(update.name)
        if before is None or before.run_id != update.run_id:
            if before is not None:
                self._names.pop(before.run_id, None)
            self._names[update.run_id] = update.name
            if before is not None and self._at.get(before.address) == update.name:
                del self._at[before.address]
            self._at[update.address] = update.name
        self._updates[update.name] = attrs.evolve(update, age=0) if update.age else update
        self._note_stranger(update, before)
        if update.name != self.own_name:
            self._seat(update.name, present=update.status.is_present)
        was_failed = before is not None and before.status is Status.FAILED
        if was_failed and before is not None and before.is_same_run(update) and update.status.is_present:
            self._back[update.name] = now
        elif before is None or not before.is_same_run(update):
            self._back.pop(update.name, None)
        if update.status is Status.FAILED:
            self._failed[update.name] = None
        else:
            self._failed.pop(update.name, None)
        if update.status is Status.SUSPECT and update.name != self.own_name:
            self._suspect[update.name] = None
        else:
            self._suspect.pop(update.name, None)
        if update.status.is_present:
            self._since.pop(update.name, None)
        elif before is None or before.status != update.status or not before.is_same_run(update):
            self._since[update.name] = now - update.age
        self._count_reachable()
        return before

    def _note_stranger(self, update: MemberUpdate, before: MemberUpdate | None) -> None:
        is_known = before is not None and before.is_same_run(update) and not self.is_stranger(update.name)
        if is_known or update.name == self.own_name:
            return
        here, there = self._strangers, self._gone_strangers
        if not update.status.is_present:
            here, there = there, here
        there.pop(update.name, None)
        here.setdefault(update.name)

    def is_stranger(self, name: str) -> bool:
        """Whether ``name`` is known by peers' updates only: in its present run it has sent or answered nothing."""
        return name in self._strangers or name in self._gone_strangers

    def prove(self, name: str) -> None:
        """``name`` has sent an authentic packet from its own address, or answered one, if only to a peer."""
        self._strangers.pop(name, None)
        self._gone_strangers.pop(name, None)

    def first_to_go(self, newcomer: MemberUpdate) -> str | None:
        """The member to evict for ``newcomer`` where there is no room; None if there is none.

        Strangers go first, those that failed or left before others, and those known first before the latest; then
        members that failed or left. A newcomer that is not present itself evicts none that is.
        """
        strangers = self._strangers if newcomer.status.is_present else ()
        return next((name for names in (self._gone_strangers, strangers, self._since) for name in names), None)

    def _seat(self, name: str, *, present: bool) -> None:
        position = self._position.get(name)
        if present and position is None:
            self.changes += 1
            self.ring.seat(name)
            self._position[name] = len(self._present)
            self._present.append(name)
            place = self.rng.randrange(len(self._order) + 1)
            self._order.insert(place, name)
            if place < self._cursor:
                self._cursor += 1
        elif not present and position is not None:
            self.changes += 1
            self.ring.unseat(name)
            last = self._present.pop()
            del self._position[name]
            if last != name:
                self._present[position] = last
                self._position[last] = position
            place = self._order.index(name)
            del self._order[place]
            if place < self._cursor:
                self._cursor -= 1

    def next_target(self) -> MemberUpdate | None:
        """The next member to probe, or None when there is none."""
        if not self._order:
            return None
        if self._cursor >= len(self._order):
            self.rng.shuffle(self._order)
            self._cursor = 0
        name = self._order[self._cursor]
        self._cursor += 1
        return self._updates[name]

    def next_reachability_target(self) -> MemberUpdate:
        """The next present member in turn. There must be one."""
        self._reachability_position = (self._reachability_position + 1) % len(self._present)
        return self._updates[self._present[self._reachability_position]]

    def sample(self, count: int, *, without: str | None = None) -> list[MemberUpdate]:
        """Up to ``count`` distinct present others, drawn at random."""
        pool = self._present
        if count >= len(pool):
            chosen = [name for name in pool if name != without]
        elif without in self._position:
            chosen = [name for name in self.rng.sample(pool, min(len(pool), count + 1)) if name != without][:count]
        else:
            chosen = self.rng.sample(pool, count)
        return [self._updates[name] for name in chosen]

    def has_seat(self, name: str) -> bool:
        """Whether ``name`` is this node or a present other."""
        return name in self._position or name == self.own_name

    def is_parent(self, name: str | None, origin: str, fanout: int) -> bool:
        """Whether ``name`` is this node's parent in the broadcast tree of ``origin``; ``fanout`` as for `children`."""
        if name is None or not self.has_seat(origin):
            return False
        return self.ring.parent(self.own_name, origin, tree_fanout(len(self.ring), fanout)) == name

    def children(self, origin: str, fanout: int) -> list[MemberUpdate]:
        """This node's children in the broadcast tree of ``origin``, ``fanout`` of them or more (`tree_fanout`).

        None, if ``origin`` has gone meanwhile.
        """
        return self.children_of(self.own_name, origin, fanout)

    def children_of(self, name: str, origin: str, fanout: int) -> list[MemberUpdate]:
        """The children of ``name`` in the broadcast tree of ``origin``; none, if either has gone meanwhile."""
        if not (self.has_seat(origin) and self.has_seat(name)):
            return []
        return [self._updates[child] for child in self.ring.children(name, origin, tree_fanout(len(self.ring), fanout))]

    def failed(self) -> list[MemberUpdate]:
        """The members that failed and are still remembered."""
        return [self._updates[name] for name in self._failed]

    def was_failed(self, name: str, lately: float, now: float) -> bool:
        """Whether this node holds ``name`` failed, or did so in the last ``lately`` seconds."""
        return name in self._failed or now - self._back.get(name, float("-inf")) < lately

    def failed_share(self, lately: float, now: float) -> float:
        """The share of members that failed in the last ``lately`` seconds, or are back since then."""
        back = {name: at for name, at in self._back.items() if name not in self._failed}
        times = [*back.values(), *(self._since[name] for name in self._failed)]
        known = len(self._failed) + self.present_count
        return sum(1 for at in times if now - at < lately) / known

    @property
    def has_failed(self) -> bool:
        """Whether any member is remembered that failed."""
        return bool(self._failed)

    def since(self, name: str) -> float | None:
        """When ``name`` failed or left (seconds); None if it did neither, or is not known."""
        return self._since.get(name)

    def memory(self, status: Status) -> float:
        """How long a member of this status is remembered (seconds)."""
        if status.is_present:
            return float("inf")
        return self.settings.remember_departed * (_LEFT_LONGER if status is Status.LEFT else 1.0)

    def forget(self, now: float) -> list[MemberUpdate]:
        """Drop the members whose time is over, and return them."""
        gone = [n for n, since in self._since.items() if now - since >= self.memory(self._updates[n].status)]
        return [self.drop(name) for name in gone]

    def drop(self, name: str) -> MemberUpdate:
        """Forget the member ``name``; returns the update that was held."""
        update = self._updates.pop(name)
        self._names.pop(update.run_id, None)
        if self._at.get(update.address) == name:
            del self._at[update.address]
        self._seat(name, present=False)
        self._since.pop(name, None)
        self._back.pop(name, None)
        self._failed.pop(name, None)
        self._suspect.pop(name, None)
        self.prove(name)
        self._count_reachable()
        return update

    def held_at(self, address: Address) -> MemberUpdate | None:
        """The member that was known last at ``address``, present or not."""
        name = self._at.get(address)
        return None if name is None else self._updates[name]

    def at(self, address: Address) -> MemberUpdate | None:
        """The present other at ``address``."""
        for name in self._present:
            if self._updates[name].address == address:
                return self._updates[name]
        return None

    def reached_at(self, to: Destination) -> MemberUpdate | None:
        """The present other that ``to`` names by its run; if it names none, the one that states this address."""
        if not to.run_id:
            return self.at(to.address)
        member = self.by_run_id(to.run_id)
        return member if member is not None and member.name in self._present else None

    def present_addresses(self) -> dict[Address, str]:
        """The addresses of the present others."""
        return {self._updates[name].address: name for name in self._present}
