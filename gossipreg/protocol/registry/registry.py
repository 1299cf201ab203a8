"""The registry: every owner's table, the instances of each service, and how this node's own records are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from gossipreg import limits
from gossipreg.model import Instance
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.records import Announcement, Record, TableDigest, record_digest
from gossipreg.protocol.registry.table import Freshness, Table


@attrs.frozen
class Change:
    """What a record or a table digest changed: records added and removed, the latest digest before and after."""

    came: tuple[Record, ...]
    went: tuple[Record, ...]
    digest_before: TableDigest
    digest_after: TableDigest


@attrs.define(eq=False, repr=False)
class Registry:
    """All tables, one an owner: when it begins a new run, the table of the past one is dropped as a whole."""

    own_name: str
    _tables: dict[str, Table] = attrs.field(factory=dict)
    _services: dict[str, dict[tuple[str, str], Record]] = attrs.field(factory=dict)  # service -> (id, owner) -> record
    size: int = 0  # records of all tables, removals among them
    payload_bytes: int = 0  # what their payloads take together
    _dirty: dict[str, None] = attrs.field(factory=dict)  # services to refresh, in order of change
    #: What signs this node's own records, if it has an identity.
    sign: Callable[[Record, Instance | None], bytes] | None = None

    def __len__(self) -> int:
        return sum(len(records) for records in self._services.values())

    @property
    def owners(self) -> Iterator[Table]:
        """Every table held."""
        return iter(self._tables.values())

    def table(self, owner: str) -> Table | None:
        """The table of ``owner``."""
        return self._tables.get(owner)

    def records_of(self, service: str) -> dict[tuple[str, str], Record]:
        """The records of a service by (id, owner), whatever the state of their owners. Not to be changed."""
        return self._services.get(service, {})

    # Records from peers

    def classify(self, owner: str, generation: int, id: str, version: int) -> Freshness:
        """Classify a record, without taking it."""
        table = self._tables.get(owner)
        if table is None or generation > table.generation:
            return Freshness.NEW if version > 0 else Freshness.OBSOLETE
        if generation < table.generation:
            return Freshness.OBSOLETE
        return table.classify(id, version)

    def apply(self, record: Record) -> Change:
        """Take a record that `classify` called new. Raises `BadPayload`, nothing changed, when it is no instance."""
        came = () if record.payload is None else (record,)
        if came:
            record.instance  # noqa: B018 - decoded before anything is touched
        table = self._table_for(record.owner, record.generation)
        digest = table.latest_digest
        self._count(table, -1)
        before = table.apply(record)
        self._count(table, 1)
        went = () if before is None else (before,)
        self._index(came=came, went=went)
        return Change(came, went, digest, table.latest_digest)

    def apply_digest(self, digest: TableDigest, *, proven: bool = False) -> Change:
        """Apply a digest of an owner's whole table; see `Table.apply_digest`."""
        table = self._table_for(digest.owner, digest.generation)
        before = table.latest_digest
        self._count(table, -1)
        went = tuple(table.apply_digest(digest, proven=proven))
        self._count(table, 1)
        self._index(came=(), went=went)
        return Change((), went, before, table.latest_digest)

    def _table_for(self, owner: str, generation: int) -> Table:
        table = self._tables.get(owner)
        if table is None:
            table = self._tables[owner] = Table(owner, generation)
        assert table.generation == generation, "the table of another run is dropped first"
        return table

    def drop(self, owner: str) -> None:
        """Drop an owner's table: it left, was forgotten, or began a new run."""
        table = self._tables.pop(owner, None)
        if table is not None:
            self._count(table, -1)
            self._index(came=(), went=tuple(table))

    def is_full(self, size: int) -> bool:
        """Whether another record with a payload of ``size`` bytes would exceed the limits of all owners together."""
        return self.size >= limits.RECORDS_MAX or self.payload_bytes + size > limits.RECORDS_BYTES_MAX

    def _count(self, table: Table, sign: int) -> None:
        self.size += sign * table.size
        self.payload_bytes += sign * table.payload_bytes

    def _index(self, *, came: tuple[Record, ...], went: tuple[Record, ...]) -> None:
        for record in went:
            service = record.instance.service
            records = self._services[service]
            del records[record.id, record.owner]
            if not records:
                del self._services[service]
            self._dirty[service] = None
        for record in came:
            service = record.instance.service
            self._services.setdefault(service, {})[record.id, record.owner] = record
            self._dirty[service] = None

    # Services to refresh

    def touch(self, owner: str) -> None:
        """An owner's state changed: its services must be refreshed."""
        for record in self._tables.get(owner, ()):
            self._dirty[record.instance.service] = None

    def touch_service(self, service: str) -> None:
        """The policies or terms of a service changed: it must be refreshed."""
        self._dirty[service] = None

    @property
    def is_dirty(self) -> bool:
        """Whether any service must be refreshed."""
        return bool(self._dirty)

    def take_dirty(self) -> list[str]:
        """The services to refresh since the last call, in order of change."""
        dirty = list(self._dirty)
        self._dirty.clear()
        return dirty

    # Records of this node

    def offer(self, instance: Instance, generation: int, payload: bytes | None = None) -> tuple[Record, Change]:
        """Make the next version of one of this node's own instances. The caller has checked it and its size.

        ``payload``: the instance as `pack_instance` packs it, if the caller has done that.
        """
        packed = pack_instance(instance) if payload is None else payload
        return self._say(generation, instance.id, packed, instance)

    def delete(self, id: str, generation: int) -> tuple[Record, Change]:
        """Make the tombstone of one of this node's own instances."""
        return self._say(generation, id, None)

    def _say(
        self, generation: int, id: str, payload: bytes | None, instance: Instance | None = None
    ) -> tuple[Record, Change]:
        table = self._table_for(self.own_name, generation)
        version = table.latest_digest.version + 1
        xor = table.xor
        held = table.get(id)
        if held is not None:
            xor ^= held.digest
        if payload is not None:
            xor ^= record_digest(self.own_name, generation, id, version, payload)
        record = Record(self.own_name, generation, version, id, xor, payload)
        if self.sign is not None:
            record = attrs.evolve(record, proof=self.sign(record, instance))
        if instance is not None:
            record.know(instance)
        change = self.apply(record)
        assert table.is_complete, "an owner's own table is complete"
        return record, change


def announcement(record: Record) -> Announcement:
    """The announcement that stands for ``record`` in gossip when it is too large to travel there."""
    assert record.payload is not None, "a tombstone is never too large"
    return Announcement(
        record.owner, record.generation, record.version, record.id, record.table_xor, record.digest, len(record.payload)
    )


def is_inline(record: Record) -> bool:
    """Whether ``record`` is small enough to travel in gossip."""
    return record.payload is None or len(record.payload) <= limits.INLINE_RECORD_BYTES_MAX
