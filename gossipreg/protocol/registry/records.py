"""Records: an owner's instances as they travel, announcements of large ones, and digests of whole tables."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from functools import cached_property
from typing import Final

import attrs

from gossipreg.model import Health, Instance
from gossipreg.protocol.registry.payload import unpack_instance
from gossipreg.values import frozen

#: The size of the digest of a record's id and payload (bytes): what proves a table digest has it in place of both.
CONTENT_BYTES: Final = 16


def record_digest(owner: str, generation: int, id: str, version: int, payload: bytes) -> int:
    """64 bits that stand for one record, its content included."""
    prefix = f"{owner}\0{generation}\0{id}\0{version}\0".encode()
    return int.from_bytes(hashlib.blake2b(prefix + payload, digest_size=8, person=b"record").digest())


@frozen(weakref_slot=False)
class Record:
    """One version of one instance, or (without payload) its tombstone. Only its owner makes records about it.

    ``table_xor`` is the xor of the digests of all of the owner's records as of this version. A node whose records have
    the same xor holds the owner's whole table, and can tell that it does.
    """

    owner: str
    generation: int
    version: int  # the owner's counter in this generation, from 1
    id: str
    table_xor: int
    payload: bytes | None
    proof: bytes = attrs.field(default=b"", eq=False, repr=False)  # the owner's signature; empty without identity

    @cached_property
    def digest(self) -> int:
        """64 bits that stand for this record in a fingerprint."""
        assert self.payload is not None, "a tombstone is in no fingerprint"
        return record_digest(self.owner, self.generation, self.id, self.version, self.payload)

    @property
    def content(self) -> bytes:
        """A digest of id and payload, which stands for both in what the owner signs."""
        said = self.id.encode() + (b"\0\0" if self.payload is None else b"\0\1" + self.payload)
        return hashlib.blake2b(said, digest_size=CONTENT_BYTES, person=b"content").digest()

    @cached_property
    def instance(self) -> Instance:
        """The instance. Raises `BadPayload` when the bytes are no instance."""
        assert self.payload is not None, "a tombstone has no instance"
        return unpack_instance(self.payload, id=self.id, owner=self.owner)

    @cached_property
    def service(self) -> str:
        """The service of the instance: kept when that is forgotten. Raises `BadPayload` as `instance` does."""
        return sys.intern(self.instance.service)

    def forget_instance(self) -> None:
        """Keep the packed payload only: the instance takes five times as much. It is decoded when it is next read."""
        self.service  # noqa: B018 -- it is computed from the instance, and kept
        with contextlib.suppress(AttributeError):  # it is forgotten already
            object.__delattr__(self, "instance")

    def share(self, owner: str, generation: int) -> None:
        """Refer to ``owner`` and ``generation``, equal to its own, which a whole table shares."""
        object.__setattr__(self, "owner", owner)
        object.__setattr__(self, "generation", generation)

    def know(self, instance: Instance) -> None:
        """Spare the decoding of the payload, which was made of ``instance``, where that would give the same."""
        is_as_read = instance.owner == self.owner and not instance.stale
        if is_as_read and (instance.health is not Health.PASSING or not instance.reason):
            object.__setattr__(self, "instance", instance)

    @property
    def as_owner_failed(self) -> Instance:
        """The instance once its owner has failed."""
        reason = f"its owner {self.owner} has failed"
        return attrs.evolve(self.instance, health=Health.CRITICAL, reason=reason, stale=True)


@frozen
class Announcement:
    """Stands in gossip for a record too large to travel there; a node that lacks it fetches it from the sender."""

    owner: str
    generation: int
    version: int
    id: str
    table_xor: int
    digest: int
    size: int  # bytes of the payload


@frozen
class TableDigest:
    """A digest of an owner's whole table as of ``version``: its xor, and ids that are no longer in it."""

    owner: str
    generation: int
    version: int
    table_xor: int
    gone: tuple[str, ...] = ()
    #: A digest of id and payload of the record of that version, and its owner's signature; empty without identity.
    proof: bytes = attrs.field(default=b"", eq=False, repr=False)

    @property
    def unproven(self) -> TableDigest:
        """It without its proof."""
        return attrs.evolve(self, proof=b"")

    @cached_property
    def digest(self) -> int:
        """64 bits that stand for "the table is known up to this version" in a fingerprint."""
        text = f"{self.owner}\0{self.generation}\0{self.version}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"head").digest())


@frozen
class Fetch:
    """Asks a peer over a stream for a record that it announced."""

    owner: str
    generation: int
    version: int
    id: str


@frozen
class RecordRequest:
    """Asks a peer for the records of a table after ``version``, but those whose versions are in ``have``.

    ``have`` is a list of ranges: first and last version of the first, of the second, and so on.
    """

    owner: str
    generation: int
    version: int
    have: tuple[int, ...] = ()
