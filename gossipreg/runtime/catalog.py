"""Catalog: the members, services and terms that one node knows, put together from the state of its engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gossipreg.events import NodeEvent
from gossipreg.model import NODE_SERVICE, PRIMARY, Instance, Member, ServiceCount, ServiceTerm, Status
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.regional import CellInfo
from gossipreg.values import frozen


@frozen(eq=False)
class Catalog:
    """What one engine knows, as users see it. It holds nothing itself; any thread may read it, also once it has ended.

    An engine keeps its own entry apart from those of other members, and the instances that describe members among all
    others: here the former is a member like any, and the latter are no service.
    """

    _engine: Engine
    _clock: Callable[[], float]  # the loop's, read in any thread (seconds)

    def members(self) -> tuple[Member, ...]:
        """See `Node.members`."""
        own = self._engine.identity.own_update()
        known = {update.name: update for update in self._engine.members.snapshot()} | {own.name: own}
        return tuple(known[name].as_member() for name in sorted(known))

    def member(self, name: str) -> Member | None:
        """The member of that name, or None."""
        identity = self._engine.identity
        update: MemberUpdate | None = self._engine.members.get(name)
        if name == identity.name:
            update = identity.own_update()
        return None if update is None else update.as_member()

    def region_members(self) -> tuple[Member, ...]:
        """See `Node.region_members`."""
        cells, own = self._engine.state.cells, self.members()
        if cells is None:
            return own
        names = {each.name for each in own}
        remote = [self._remote(update) for update in cells.remote.snapshot() if update.name not in names]
        return tuple(sorted((*own, *remote), key=lambda each: each.name))

    def region_member(self, name: str) -> Member | None:
        """The member of that name in this node's cell, else in another one, or None."""
        cells, own = self._engine.state.cells, self.member(name)
        if own is not None or cells is None:
            return own
        update = cells.remote.get(name)
        return None if update is None else self._remote(update)

    def _remote(self, update: MemberUpdate) -> Member:
        cells = self._engine.state.cells
        assert cells is not None, "only a node of a cell knows of others"
        return update.as_member(stale=update.cell in cells.stale)

    def cells(self) -> tuple[CellInfo, ...]:
        """See `Node.cells`."""
        cells = self._engine.state.cells
        if cells is None:
            return ()
        present = [update.status for update in self._engine.members.snapshot()]
        own = CellInfo(
            name=cells.own,
            own=True,
            members=sum(1 for status in present if status.is_present) or 1,
            failed=present.count(Status.FAILED),
            instances=self._owned(cells.own),
        )
        now = self._clock()
        return (own, *(self._cell(cells, name, now) for name in cells.others))

    def _cell(self, cells: Cells, name: str, now: float) -> CellInfo:
        held = [update.status for update in cells.remote.snapshot() if update.cell == name]
        return CellInfo(
            name=name,
            members=sum(1 for status in held if status.is_present),
            failed=held.count(Status.FAILED),
            instances=self._owned(name),
            relays=cells.relays(name),
            peers=cells.relays_there(name),
            age=cells.age(name, now, self._engine.state.clock.wall(now)),
            stale=name in cells.stale,
            problem=cells.stale.get(name, ""),
        )

    def _owned(self, cell: str) -> int:
        """How many instances the members of a cell have registered."""
        state = self._engine.state
        owned = [table for table in list(state.registry.owners) if state.cell_of(table.owner) == cell]
        return sum(1 for table in owned for record in list(table) if record.service != NODE_SERVICE)

    def round_trip(self, name: str) -> float | None:
        """See `Node.round_trip`."""
        update = self._engine.members.get(name)
        return None if update is None else self._engine.detector.prober.trips.smoothed(update.run_id)

    def isolation(self) -> NodeEvent:
        """Whether the node is isolated, as the event that reports it."""
        engine = self._engine
        return NodeEvent(
            "isolated" if engine.isolation.reported else "heard", engine.identity.name, engine.members.reachable
        )

    def services(self) -> Mapping[str, ServiceCount]:
        """See `Node.services`."""
        return {name: count for name, count in self._engine.view.counts().items() if name != NODE_SERVICE}

    def stated(self, instance: Instance) -> Instance | None:
        """See `Node.stated`."""
        record = self._engine.state.registry.record_of(instance.service, (instance.id, instance.owner))
        return None if record is None else record.instance

    def terms(self) -> tuple[ServiceTerm, ...]:
        """See `Node.terms`."""
        return tuple(self._term(register) for register in self._engine.state.terms)

    def term(self, service: str) -> ServiceTerm:
        """The highest term of ``service``; 0 if it has none."""
        return self._term(self._engine.state.terms.get(service) or TermRegister(service))

    def _term(self, register: TermRegister) -> ServiceTerm:
        instances = self._engine.view.service(register.service).instances
        primary = next((each for each in instances if each.role == PRIMARY), None)
        reset = register.reset
        return ServiceTerm(
            register.service,
            register.claimed,
            register.seen,
            primary,
            None if reset is None else reset.writer,
            None if reset is None else reset.ms / 1000,
        )
