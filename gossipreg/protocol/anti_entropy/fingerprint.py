"""The fingerprint: the state in 64 bits, in 256 x 64 bits, and entry by entry; equal states, equal fingerprints."""

from __future__ import annotations

import zlib
from collections.abc import Collection

import attrs

from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.terms import TermRegister

#: How finely two states are compared before entries are named. 2 KiB in all; 10,000 entries make 39 a bucket.
BUCKETS = 256

Entry = MemberUpdate | TableDigest | Record | PolicyVersion | TermRegister


def bucket_of(entry: Entry) -> int:
    """The bucket of an entry: by its subject, so that all its versions are in one place."""
    if isinstance(entry, Record):  # the most frequent first
        key = f"r\0{entry.owner}\0{entry.id}"
    elif isinstance(entry, TableDigest):
        key = f"h\0{entry.owner}"
    elif isinstance(entry, MemberUpdate):
        key = f"m\0{entry.name}"
    elif isinstance(entry, PolicyVersion):
        key = f"p\0{entry.key}"
    else:
        key = f"t\0{entry.service}"
    return zlib.crc32(key.encode()) % BUCKETS


@attrs.define(eq=False, repr=False)
class Fingerprint:
    """The entries of the converged state, filed by digest. The sum is an xor, so it is kept, never recomputed."""

    total: int = 0
    _sums: list[int] = attrs.field(factory=lambda: [0] * BUCKETS)
    _buckets: list[dict[int, Entry]] = attrs.field(factory=lambda: [{} for _ in range(BUCKETS)])

    def replace(self, before: Entry | None, after: Entry | None) -> None:
        """An entry came, went, or took another's place."""
        if before is not None:
            self._toggle(before, present=False)
        if after is not None:
            self._toggle(after, present=True)

    def _toggle(self, entry: Entry, *, present: bool) -> None:
        number, digest = bucket_of(entry), entry.digest
        bucket = self._buckets[number]
        if present:
            if digest in bucket:
                return  # two entries of one digest: a key holder has searched for them, and only one counts
            bucket[digest] = entry
        else:
            held = bucket.get(digest)
            if held is not entry and held != entry:
                return
            del bucket[digest]
        self.total ^= digest
        self._sums[number] ^= digest

    @property
    def sums(self) -> tuple[int, ...]:
        """The fingerprint of each bucket."""
        return tuple(self._sums)

    def count(self, bucket: int) -> int:
        """How many entries are in a bucket."""
        return len(self._buckets[bucket])

    def digests(self, bucket: int) -> tuple[int, ...]:
        """The digests of the entries in a bucket."""
        return tuple(self._buckets[bucket])

    def lacking(self, bucket: int, digests: Collection[int]) -> list[Entry]:
        """The entries in a bucket that a peer with ``digests`` lacks."""
        return [entry for digest, entry in self._buckets[bucket].items() if digest not in digests]

    def unknown(self, bucket: int, digests: Collection[int]) -> tuple[int, ...]:
        """Those of ``digests`` that are not in the bucket."""
        return tuple(digest for digest in digests if digest not in self._buckets[bucket])

    def find(self, bucket: int, digests: Collection[int]) -> list[Entry]:
        """The entries with these digests that are in the bucket."""
        entries = self._buckets[bucket]
        return [entries[digest] for digest in digests if digest in entries]
