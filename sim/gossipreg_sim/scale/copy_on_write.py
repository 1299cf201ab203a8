"""Copy-on-write state: all nodes share the same tables until one of them modifies its own.

In an idle cluster all nodes hold equal tables: N nodes with N owners each hold N² rows, of which N differ. So a
simulated node may hold another's tables, and copies a table before it modifies it. The sharing does not affect
behaviour (a test compares the traces).
"""
# ruff: noqa: SLF001 -- sharing replaces private tables

from __future__ import annotations

import copy

import attrs

from gossipreg.protocol.anti_entropy.fingerprint import Entry, Fingerprint, bucket_of
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.table import Table
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.state import ClusterState


@attrs.define
class _SharedRegistry(Registry):
    """A registry whose tables belong to the shared state until they are modified here."""

    source: Registry = attrs.field(kw_only=True)

    def _table_for(self, owner: str, generation: int) -> Table:
        table = self._tables.get(owner)
        if table is not None and table is self.source.table(owner):
            self._tables[owner] = attrs.evolve(
                table,
                live=dict(table._live),
                tombstones=dict(table._tombstones),
                by_version=table._by_version.copy(),
                deleted=dict(table._deleted),
            )
        return Registry._table_for(self, owner, generation)

    def _index(self, *, came: tuple[Record, ...], went: tuple[Record, ...]) -> None:
        for record in (*went, *came):
            owners = self._services.get(record.service)
            if owners is not None and owners is self.source._services.get(record.service):
                self._services[record.service] = {owner: dict(ids) for owner, ids in owners.items()}
        Registry._index(self, came=came, went=went)


@attrs.define
class _SharedFingerprint(Fingerprint):
    """A fingerprint whose buckets belong to the shared state until they are modified here."""

    source: Fingerprint = attrs.field(kw_only=True)

    def _toggle(self, entry: Entry, *, present: bool) -> None:
        number = bucket_of(entry)
        if self._buckets[number] is self.source._buckets[number]:
            self._buckets[number] = dict(self._buckets[number])
        Fingerprint._toggle(self, entry, present=present)


def share_state(source: ClusterState, target: ClusterState, now: float) -> None:
    """Give ``target`` the state of ``source``, which must not change any more; ``target`` gossips none of it."""
    updates = source.members if source.cells is None else source.cells.remote
    own_cell = "" if target.cells is None else target.cells.own
    for update in updates:
        if update.cell != own_cell:
            assert target.cells is not None, "a flat cluster has no cells"
            target.cells.note(update.cell, now)
            target.cells.remote.put(update, now)
        elif update.name != target.members.own_name:
            target.members.put(update, now)
    if target.cells is not None and source.cells is not None:
        parts = source.cells.partitions._fingerprints
        target.cells.partitions._fingerprints = {cell: _shared(fingerprint) for cell, fingerprint in parts.items()}
    registry, fingerprint = source.registry, source.fingerprint
    target.registry = _SharedRegistry(
        target.members.own_name,
        source=registry,
        tables=dict(registry._tables),
        services=dict(registry._services),
    )
    target.fingerprint = _shared(fingerprint)
    target.view = View(target.view._index, dict(source.view._services))
    target._filed = copy.copy(source._filed)
    target._connect()


def _shared(fingerprint: Fingerprint) -> Fingerprint:
    return _SharedFingerprint(
        fingerprint.total, list(fingerprint._sums), list(fingerprint._buckets), source=fingerprint
    )
