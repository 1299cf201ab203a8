"""The registry: every owner's table, the instances of each service, and how this node's own records are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from gossipreg import limits
from gossipreg.model import Instance
from gossipreg.policy import Rule, Split
from gossipreg.prepared_query import PreparedQuery
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.records import Announcement, Record, TableDigest, record_digest
from gossipreg.protocol.registry.rows import Key
from gossipreg.protocol.registry.table import Freshness, Table
from gossipreg.values import frozen


@frozen
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
    _services: dict[str, dict[str, dict[str, None]]] = attrs.field(factory=dict)  # service -> owner -> its ids
    size: int = 0  # records of all tables, removals among them
    payload_bytes: int = 0  # what their payloads take together
    #: Services to refresh, in order of change: the records whose own or whose owner's state has changed; None for all.
    _dirty: dict[str, dict[Key, None] | None] = attrs.field(factory=dict)
    #: What signs this node's own records, if it has an identity.
    sign: Callable[[Record, Instance | None], bytes] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    @property
    def owners(self) -> Iterator[Table]:
        """Every table held."""
        return iter(self._tables.values())

    def table(self, owner: str) -> Table | None:
        """The table of ``owner``."""
        return self._tables.get(owner)

    def record_of(self, service: str, key: Key) -> Record | None:
        """The record of a service with that id and owner, whatever the state of the owner."""
        id_, owner = key
        table = self._tables.get(owner)
        record = None if table is None else table.get(id_)
        return record if record is not None and record.service == service else None

    def keys_of(self, service: str) -> Iterator[Key]:
        """The id and owner of each record of a service."""
        for owner, ids in self._services.get(service, {}).items():
            for id_ in ids:
                yield id_, owner

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
        record.share(table.owner, table.generation)
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
            service = record.service
            owners = self._services[service]
            ids = owners[record.owner]
            del ids[record.id]
            if not ids:
                del owners[record.owner]
            if not owners:
                del self._services[service]
            self._mark(service, record)
        for record in came:
            service = record.service
            self._services.setdefault(service, {}).setdefault(record.owner, {})[record.id] = None
            self._mark(service, record)

    # Services to refresh

    def touch(self, owner: str) -> None:
        """An owner's state changed: its services must be refreshed."""
        for record in self._tables.get(owner, ()):
            self._mark(record.service, record)

    def _mark(self, service: str, record: Record) -> None:
        """A record of ``service`` must be looked at again."""
        keys = self._dirty.setdefault(service, {})
        if keys is not None:
            keys[record.id, record.owner] = None

    def touch_service(self, service: str) -> None:
        """All of a service must be refreshed."""
        self._dirty[service] = None

    def touch_term(self, service: str) -> None:
        """The highest term of a service changed: its claims to be primary must be compared again."""
        self._dirty.setdefault(service, {})

    def touch_rule(self, rule: Rule) -> None:
        """A rule came, changed or went: the instances that it names must be refreshed; shares are compared anyway."""
        if isinstance(rule, PreparedQuery):
            return
        keys = self._dirty.setdefault(rule.service, {})
        if keys is not None and not isinstance(rule, Split):
            keys |= dict.fromkeys([key for key in self.keys_of(rule.service) if key[0] == rule.instance])

    @property
    def is_dirty(self) -> bool:
        """Whether any service must be refreshed."""
        return bool(self._dirty)

    def take_dirty(self) -> dict[str, dict[Key, None] | None]:
        """The services to refresh since the last call, in order of change.

        Of each, by id and owner: the instances that must be looked at, or None for all.
        """
        dirty, self._dirty = self._dirty, {}
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
