"""A table: the records of one run of one owner, as far as they have arrived, and whether they are complete.

Theory of operation. An owner counts its changes: each makes a record with the next version. Records travel by gossip
and arrive in any order, or never. A removal must not be undone by an older record that arrives late, so tombstones
have to be kept; but a registry that keeps every tombstone grows for ever, and one that drops them after a while
resurrects records when a node sleeps for longer than that.

So each record also carries the owner's table digest: the xor of the digests of all of its records as of that version.
When what we hold has the xor of the latest digest seen, we hold exactly the owner's table, and may compact it: every
id up to that version that is not held is obsolete (`compacted_below`). Then no tombstone needs to be kept any more,
however late an old record comes, and however long its sender slept.

Departs from design §4.4, where the owner compacts as it collects tombstones: see docs/decisions/0002.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence

import attrs

from gossipreg import limits
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.version_order import VersionOrder
from gossipreg.signatures import SIGNATURE_BYTES


class Freshness(enum.Enum):
    """How a record or an announcement compares with what is held."""

    NEW = "news"
    KNOWN = "known"  # held already, or superseded by what is held
    OBSOLETE = "dead"  # below the compaction and not held: deleted since
    OVER_LIMIT = "full"  # over the limit of records for one owner


@attrs.define(eq=False, repr=False)
class Table:
    """The records of one run of one owner."""

    owner: str
    generation: int
    compacted_below: int = 0  # version up to which nothing is missing and nothing is left over
    _live: dict[str, Record] = attrs.field(factory=dict)
    _tombstones: dict[str, Record] = attrs.field(factory=dict)  # tombstones by id; only those above `compacted_below`
    _by_version: VersionOrder = attrs.field(factory=VersionOrder)  # the live records and the tombstones
    payload_bytes: int = 0  # what the payloads of the live records take together
    _deleted: dict[str, int] = attrs.field(factory=dict)  # ids deleted lately -> version of the deletion, or later
    _deleted_from: int = 0  # of the deletions after this version, every id is in ``_deleted``
    _xor: int = 0
    _compacted_xor: int = 0
    _digest_version: int = 0
    _digest_xor: int = 0
    _digest_proof: bytes = b""
    _latest_digest: TableDigest | None = None  # once it was asked for
    _compacted_proof: bytes = b""

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._live.values())

    @property
    def size(self) -> int:
        """How many records are held, tombstones among them."""
        return len(self._live) + len(self._tombstones)

    def grown(self, id: str, size: int) -> int:
        """What `payload_bytes` would be with a payload of ``size`` for ``id``."""
        held = self._live.get(id)
        return self.payload_bytes + size - (0 if held is None else len(held.payload or b""))

    def get(self, id: str) -> Record | None:
        """The live record of an id."""
        return self._live.get(id)

    @property
    def latest_digest(self) -> TableDigest:
        """The latest digest seen."""
        if self._latest_digest is None:
            self._latest_digest = TableDigest(
                self.owner, self.generation, self._digest_version, self._digest_xor, proof=self._digest_proof
            )
        return self._latest_digest

    @property
    def compacted_digest(self) -> TableDigest:
        """The digest of the last version as of which no record was missing."""
        return TableDigest(
            self.owner, self.generation, self.compacted_below, self._compacted_xor, proof=self._compacted_proof
        )

    @property
    def xor(self) -> int:
        """The xor of the digests of all that is held."""
        return self._xor

    @property
    def is_complete(self) -> bool:
        """Whether every record that the owner is known to have made is here."""
        return self.compacted_below == self._digest_version

    def classify(self, id: str, version: int) -> Freshness:
        """Classify such a record, without taking it."""
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
        """Take a record that `classify` called new; returns the one that it replaces or deletes, if any."""
        self.payload_bytes = self.grown(record.id, len(record.payload or b""))
        before = self._live.pop(record.id, None)
        if before is not None:
            self._xor ^= before.digest
        held = self._tombstones.pop(record.id, None) if before is None else before
        self._by_version.replace(() if held is None else (held,), (record,))
        if record.payload is None:
            self._tombstones[record.id] = record
            self._note_deleted(record.id, record.version)
        else:
            self._deleted.pop(record.id, None)
            self._live[record.id] = record
            self._xor ^= record.digest
        self._raise_digest(record.version, record.table_xor, table_proof(record))
        return before

    def apply_digest(self, digest: TableDigest, *, proven: bool = False) -> list[Record]:
        """Apply the digest of a node that held the whole table; returns the records that are thereby deleted.

        ``proven``: the owner has signed version and xor, and nothing else is believed. Then ids that are said to be
        gone are deleted only if what is left has that xor.
        """
        if proven:
            deleted = self._delete_proven(digest)
            self._raise_digest(digest.version, digest.table_xor, digest.proof)
            return deleted
        deleted, tombstones = [], []
        for id_ in digest.gone if digest.version > self.compacted_below else ():
            held = self._live.get(id_)
            if held is not None and held.version <= digest.version:
                self.payload_bytes = self.grown(id_, 0)
                del self._live[id_]
                self._xor ^= held.digest
                tombstone = Record(self.owner, self.generation, digest.version, id_, digest.table_xor, None)
                self._tombstones[id_] = tombstone
                tombstones.append(tombstone)
                deleted.append(held)
                self._note_deleted(id_, digest.version)
        self._by_version.replace(deleted, tombstones)
        self._raise_digest(digest.version, digest.table_xor, digest.proof)
        return deleted

    def _delete_proven(self, digest: TableDigest) -> list[Record]:
        """Delete the ids that are gone, if what is left of versions up to that of the digest is what it vouches for."""
        if not digest.gone or digest.version <= self.compacted_below:
            return []
        gone = frozenset(digest.gone)
        until = tuple(self._by_version.between(1, digest.version + 1))
        xor = 0
        for record in until:
            if record.payload is not None and record.id not in gone:
                xor ^= record.digest
        if xor != digest.table_xor:
            return []
        deleted = [record for record in until if record.payload is not None and record.id in gone]
        tombstones = [record for record in until if record.payload is None]
        for record in deleted:
            self.payload_bytes = self.grown(record.id, 0)
            del self._live[record.id]
            self._xor ^= record.digest
            self._note_deleted(record.id, digest.version)
        for record in tombstones:
            del self._tombstones[record.id]
        self._by_version.replace((*deleted, *tombstones), ())
        self.compacted_below, self._compacted_xor, self._compacted_proof = (
            digest.version,
            digest.table_xor,
            digest.proof,
        )
        return deleted

    def _raise_digest(self, version: int, xor: int, proof: bytes) -> None:
        is_proof = version == self._digest_version and xor == self._digest_xor and not self._digest_proof
        if version > self._digest_version or is_proof:
            self._digest_version, self._digest_xor, self._digest_proof = version, xor, proof
            self._latest_digest = None
        if self._xor == self._digest_xor and self._digest_version > self.compacted_below:
            self.compacted_below, self._compacted_xor = self._digest_version, self._digest_xor
            self._compacted_proof = self._digest_proof
            self._by_version.replace(tuple(self._tombstones.values()), ())
            self._tombstones.clear()

    def _note_deleted(self, id: str, version: int) -> None:
        self._deleted.pop(id, None)
        self._deleted[id] = version
        if len(self._deleted) > limits.DELETED_IDS_MAX:
            oldest = next(iter(self._deleted))
            self._deleted_from = max(self._deleted_from, self._deleted.pop(oldest))

    def ranges(self) -> tuple[int, ...]:
        """The versions above `compacted_below` that are held: first and last of each range, the lowest first."""
        bounds: list[int] = []
        for record in self._by_version.between(self.compacted_below + 1):
            if bounds and bounds[-1] == record.version - 1:
                bounds[-1] = record.version
            elif len(bounds) < limits.RANGES_MAX:
                bounds += (record.version, record.version)
            else:
                break
        return tuple(bounds)

    def after(self, version: int, have: Sequence[int]) -> Iterator[Record]:
        """What is held of a later version than ``version`` and not within the ranges ``have``, the oldest first.

        The ranges are in order and do not overlap. Only the records that are taken from the iterator are looked at,
        besides some to find where ranges begin and end. Nothing must be applied meanwhile.
        """
        first = version + 1
        for start, last in zip(have[::2], have[1::2], strict=True):
            yield from self._by_version.between(first, start)
            first = max(first, last + 1)
        yield from self._by_version.between(first)

    def digest_after(self, version: int) -> TableDigest | None:
        """The digest for a peer that held the whole table as of ``version``, with the ids deleted since.

        None if this table is not complete, or does not remember them all.
        """
        if not self.is_complete or version < self._deleted_from:
            return None
        gone = tuple(id_ for id_, deleted in self._deleted.items() if deleted > version)
        return attrs.evolve(self.latest_digest, gone=gone)

    def tombstones_for(self, ids: Iterable[str]) -> list[TableDigest | Record]:
        """The messages for a peer that holds records with these deleted ids, so that it deletes them too.

        A table that is incomplete may never become complete (its owner crashed before all its records got out). But it
        knows that an id was gone as of `compacted_below`, and which ids were deleted since.
        """
        dead = [id_ for id_ in ids if id_ not in self._live]
        removals: list[TableDigest | Record] = [self._tombstones[id_] for id_ in dead if id_ in self._tombstones]
        gone = tuple(id_ for id_ in dead if id_ not in self._tombstones)
        digest = TableDigest(
            self.owner, self.generation, self.compacted_below, self._compacted_xor, gone, self._compacted_proof
        )
        return [digest, *removals]


def table_proof(record: Record) -> bytes:
    """What proves the table digest that a record carries, to one that has not got the record; empty if unsigned."""
    return record.content + record.proof[:SIGNATURE_BYTES] if record.proof else b""
