"""Knows how a thousand nodes hold the same tables once: what is lent is copied when it is first written to.

In a cluster at rest all nodes hold equal tables, so N nodes with N owners each are N² rows of which N differ. A node
of a simulated cluster may hold the very tables of another; what it writes to becomes its own, and nobody can tell
(a test holds the traces against each other).
"""
# ruff: noqa: SLF001 -- what no node can see is how its tables are held

from __future__ import annotations

import copy

import attrs

from gossipreg.protocol.anti_entropy.fingerprint import Entry, Fingerprint, bucket_of
from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.table import Table
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.state import ClusterState


@attrs.define
class _LentRegistry(Registry):
    """A registry whose tables are its lender's until they change here."""

    lender: Registry = attrs.field(kw_only=True)

    def _table_for(self, owner: str, generation: int) -> Table:
        table = self._tables.get(owner)
        if table is not None and table is self.lender.table(owner):
            self._tables[owner] = attrs.evolve(table, live=dict(table._live), tombstones=dict(table._tombstones))
        return Registry._table_for(self, owner, generation)

    def _index(self, *, came: tuple[Record, ...], went: tuple[Record, ...]) -> None:
        for record in (*went, *came):
            service = record.instance.service
            offers = self._services.get(service)
            if offers is not None and offers is self.lender._services.get(service):
                self._services[service] = dict(offers)
        Registry._index(self, came=came, went=went)


@attrs.define
class _LentFingerprint(Fingerprint):
    """A fingerprint whose buckets are its lender's until they change here."""

    lender: Fingerprint = attrs.field(kw_only=True)

    def _toggle(self, entry: Entry, *, present: bool) -> None:
        number = bucket_of(entry)
        if self._buckets[number] is self.lender._buckets[number]:
            self._buckets[number] = dict(self._buckets[number])
        Fingerprint._toggle(self, entry, present=present)


def lend(lender: ClusterState, borrower: ClusterState, now: float) -> None:
    """Let ``borrower`` know what ``lender`` knows, which must not change any more, and have nothing to tell."""
    for update in lender.members:
        if update.name != borrower.members.own_name:
            borrower.members.put(update, now)
    registry, fingerprint = lender.registry, lender.fingerprint
    borrower.registry = _LentRegistry(
        borrower.members.own_name,
        lender=registry,
        tables=dict(registry._tables),
        services=dict(registry._services),
    )
    borrower.fingerprint = _LentFingerprint(
        fingerprint.total, list(fingerprint._sums), list(fingerprint._buckets), lender=fingerprint
    )
    borrower.view = View(borrower.view._index, dict(lender.view._services))
    borrower._filed = copy.copy(lender._filed)
    borrower.broadcasts = BroadcastQueue(borrower.settings)
