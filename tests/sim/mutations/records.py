"""Mutations of records: tombstones, tables, views and fingerprints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from gossipreg.protocol.anti_entropy.fingerprint import Entry, Fingerprint
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.table import Freshness, Table
from gossipreg.protocol.state import ClusterState
from tests.sim.mutations.mutation import mutation
from tests.sim.mutations.scenarios import BAD_NETWORK, SPLIT, STEADY


@mutation(STEADY, "SingleWriter")
def received_records_are_repacked_with_a_difference(patch: pytest.MonkeyPatch) -> None:
    original = ClusterState.take

    def take(self: ClusterState, record: Record, now: float, **how: Any) -> bool:
        if record.payload is not None:
            record = attrs.evolve(record, payload=pack_instance(attrs.evolve(record.instance, zone="elsewhere")))
        return original(self, record, now, **how)

    patch.setattr(ClusterState, "take", take)


@mutation(BAD_NETWORK, "NoResurrection", seeds=42, first=29)
def tombstones_are_dropped(patch: pytest.MonkeyPatch) -> None:
    original = Table.classify

    def classify(self: Table, id: str, version: int) -> Freshness:
        tombstone = self._tombstones.pop(id, None)
        self._by_version.replace(() if tombstone is None else (tombstone,), ())
        return original(self, id, version)

    patch.setattr(Table, "classify", classify)


@mutation(BAD_NETWORK, "NoResurrection")
def compacted_below_is_ignored(patch: pytest.MonkeyPatch) -> None:
    original = Table.classify

    def classify(self: Table, id: str, version: int) -> Freshness:
        floor, self.compacted_below = self.compacted_below, 0
        freshness = original(self, id, version)
        self.compacted_below = floor
        return freshness

    patch.setattr(Table, "classify", classify)


@mutation(BAD_NETWORK, "MessageStorm", "NoResurrection", "raised")
def every_record_counts_as_new(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Table, "classify", lambda *_: Freshness.NEW)


@mutation(BAD_NETWORK, "Healing", "NoResurrection")
def a_removed_record_stays_in_the_view(patch: pytest.MonkeyPatch) -> None:
    original = Registry._index

    def index(self: Registry, *, came: Iterable[Record], went: Iterable[Record]) -> None:
        original(self, came=tuple(came), went=tuple(went) if came else ())

    patch.setattr(Registry, "_index", index)


@mutation(SPLIT, "Healing", "raised")
def removed_entries_stay_in_the_fingerprint(patch: pytest.MonkeyPatch) -> None:
    original = Fingerprint.replace

    def replace(self: Fingerprint, before: Entry | None, after: Entry | None) -> None:
        if after is not None:
            original(self, before, after)

    patch.setattr(Fingerprint, "replace", replace)
