"""Knows what one life of one owner offers, as far as this node has heard, and whether that is all.

Theory of operation. An owner counts its changes: each makes a record with the next version. Records travel by
gossip and arrive in any order, or never. A removal must not be undone by an older record that arrives late, so
removals have to be remembered; but a registry that remembers every removal grows for ever, and one that forgets
them after a while brings back the dead when a node sleeps for longer than the while.

So each record also carries the *head*: the xor of the digests of everything that the owner offers as of that
version. When what we hold has the xor of the highest head that we heard of, we hold exactly the owner's table: the
version is our *floor*. Then whatever is at or below the floor and not in our hands is dead for certain; no removal
needs to be remembered any more, however late an old record comes, and however long its bearer slept.

Departs from design §4.4, where the owner raises the floor as it collects tombstones: see docs/decisions/0002.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

import attrs

from gossipreg import limits
from gossipreg.protocol.registry.records import Record, TableDigest


class Freshness(enum.Enum):
    """What became of a record or an announcement."""

    NEW = "news"
    KNOWN = "known"  # held already, or superseded by what is held
    OBSOLETE = "dead"  # at or below the floor and not held: buried since
    OVER_LIMIT = "full"  # over the limit of records for one owner


@attrs.define(eq=False, repr=False)
class Table:
    """The records of one life of one owner."""

    owner: str
    generation: int
    compacted_below: int = 0  # version up to which nothing is missing and nothing is left over
    _live: dict[str, Record] = attrs.field(factory=dict)
    _tombstones: dict[str, Record] = attrs.field(factory=dict)  # removals by id; only those above the floor
    payload_bytes: int = 0  # what the payloads of those that are offered take together
    _xor: int = 0
    _compacted_xor: int = 0
    _digest_version: int = 0
    _digest_xor: int = 0

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._live.values())

    @property
    def size(self) -> int:
        """How many records are held, removals among them."""
        return len(self._live) + len(self._tombstones)

    def grown(self, id: str, size: int) -> int:
        """What `payload_bytes` would be with a payload of ``size`` for ``id``."""
        held = self._live.get(id)
        return self.payload_bytes + size - (0 if held is None else len(held.payload or b""))

    def get(self, id: str) -> Record | None:
        """The record of an instance that is offered."""
        return self._live.get(id)

    @property
    def latest_digest(self) -> TableDigest:
        """The highest head heard of."""
        return TableDigest(self.owner, self.generation, self._digest_version, self._digest_xor)

    @property
    def xor(self) -> int:
        """The xor of the digests of all that is held."""
        return self._xor

    @property
    def is_complete(self) -> bool:
        """Whether nothing that the owner is known to have said is missing."""
        return self.compacted_below == self._digest_version

    def classify(self, id: str, version: int) -> Freshness:
        """What `apply` would say of such a record."""
        held = self._live.get(id)
        if held is not None:
            return Freshness.NEW if version > held.version else Freshness.KNOWN
        if version <= self.compacted_below:
            return Freshness.OBSOLETE
        deleted = self._tombstones.get(id)
        if deleted is not None:
            return Freshness.NEW if version > deleted.version else Freshness.OBSOLETE
        if len(self._live) + len(self._tombstones) >= limits.RECORDS_PER_OWNER_MAX:
            return Freshness.OVER_LIMIT
        return Freshness.NEW

    def apply(self, record: Record) -> Record | None:
        """Take a record that `judge` called news; returns the one that it replaces or buries, if any."""
        self.payload_bytes = self.grown(record.id, len(record.payload or b""))
        before = self._live.pop(record.id, None)
        if before is not None:
            self._xor ^= before.digest
        if record.payload is None:
            self._tombstones[record.id] = record
        else:
            self._tombstones.pop(record.id, None)
            self._live[record.id] = record
            self._xor ^= record.digest
        self._raise_digest(record.version, record.table_xor)
        return before

    def apply_digest(self, digest: TableDigest) -> list[Record]:
        """Take the word of one who held the whole table as of ``head``; returns what is thereby buried."""
        deleted = []
        for id_ in digest.gone if digest.version > self.compacted_below else ():
            held = self._live.get(id_)
            if held is not None and held.version <= digest.version:
                self.payload_bytes = self.grown(id_, 0)
                del self._live[id_]
                self._xor ^= held.digest
                self._tombstones[id_] = Record(self.owner, self.generation, digest.version, id_, digest.table_xor, None)
                deleted.append(held)
        self._raise_digest(digest.version, digest.table_xor)
        return deleted

    def _raise_digest(self, version: int, xor: int) -> None:
        if version > self._digest_version:
            self._digest_version, self._digest_xor = version, xor
        if self._xor == self._digest_xor and self._digest_version > self.compacted_below:
            self.compacted_below, self._compacted_xor = self._digest_version, self._digest_xor
            self._tombstones.clear()

    def tombstones_for(self, ids: Iterable[str]) -> list[TableDigest | Record]:
        """What to tell one who holds records with these ids that are dead here, so that it buries them too.

        A table that is not whole may never become so (its owner crashed before all its words got out), but what it
        knows, it knows: that an id was gone as of the floor, and what was removed since.
        """
        dead = [id_ for id_ in ids if id_ not in self._live]
        removals: list[TableDigest | Record] = [self._tombstones[id_] for id_ in dead if id_ in self._tombstones]
        gone = tuple(id_ for id_ in dead if id_ not in self._tombstones)
        return [TableDigest(self.owner, self.generation, self.compacted_below, self._compacted_xor, gone), *removals]
