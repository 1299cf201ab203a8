"""Certificates: what a cluster's authority lets the holder of a key state.

A certificate travels with every statement about its member, so it is small.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, ClassVar, Final, Self

from gossipreg.errors import InvalidCertificate
from gossipreg.signatures import PUBLIC_KEY_BYTES, VerifyingKey
from gossipreg.signed_document import Reader, SignedDocument, read_bytes, read_ids, read_patterns, read_time
from gossipreg.values import frozen

#: What a certificate may allow beside names, zones, services and roles.
GRANTS: Final = ("policies", "keys", "tokens", "forget")

#: How far a new certificate reaches back (seconds): a node whose clock is a little behind accepts it at once.
ISSUED_BACK_SECONDS: Final = 300


@frozen
class Permit(SignedDocument):
    """What one key may be used for in one cluster, from when until when: a certificate or a delegation.

    Names, zones, services and roles are patterns, in which ``*`` stands for any characters.
    """

    public: bytes  # the key
    names: tuple[str, ...]
    zones: tuple[str, ...]
    services: tuple[str, ...]
    roles: tuple[str, ...]
    grants: tuple[str, ...]
    not_before: int  # seconds since the epoch
    not_after: int  # seconds since the epoch

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a document. Raises `InvalidCertificate` for anything else; its signature is not verified here."""
        permit = super().read(data)
        if permit.not_before >= permit.not_after:
            raise InvalidCertificate(f"a {cls.noun} that ends before it begins")
        return permit


def _read_names(value: Any) -> tuple[str, ...]:
    names = read_patterns(value)
    if not names:
        raise InvalidCertificate("a certificate is for at least one name")
    return names


KEY_READERS: Final[Mapping[str, Reader]] = {"public": read_bytes(PUBLIC_KEY_BYTES)}
LIMIT_READERS: Final[Mapping[str, Reader]] = {
    "names": _read_names,
    "zones": read_patterns,
    "services": read_patterns,
    "roles": read_patterns,
    "grants": read_patterns,  # one that this release does not know is kept: a later one may give a meaning to it
    "not_before": read_time,
    "not_after": read_time,
}


@frozen
class Certificate(Permit):
    """What the holder of one key may state.

    A pattern for names is an identity that all its names share: its holder may speak for each of them.
    """

    noun: ClassVar = "certificate"
    readers: ClassVar = {**KEY_READERS, **LIMIT_READERS}
    later_readers: ClassVar = {"renewed_from": read_ids}

    renewed_from: tuple[str, ...] = ()  # the issuers of which another issuer has renewed it; it falls with each of them

    @cached_property
    def key(self) -> VerifyingKey:
        """What verifies the statements of its holder."""
        return VerifyingKey(self.public)

    def is_in_force(self, wall: float, leeway: float = 0.0) -> bool:
        """Whether ``wall`` (seconds since the epoch) is within its time, give or take ``leeway`` seconds."""
        return self.not_before - leeway <= wall < self.not_after + leeway

    def allows(self, what: str, value: str) -> bool:
        """Whether its patterns for ``what`` (``names``, ``zones``, ``services``, ``roles``) allow ``value``."""
        patterns: tuple[str, ...] = getattr(self, what)
        return any(fnmatchcase(value, pattern) for pattern in patterns)
