"""Target of the authority's documents: certificates and revocations, from members and from files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.authority import AuthorityKey
from gossipreg.certificate import Certificate
from gossipreg.errors import InvalidCertificate
from gossipreg.revocation import Revocation
from gossipreg.signatures import SigningKey
from tests.fuzz.target import Target, check_error_text, outcome

_AUTHORITY: Final = AuthorityKey("prod", SigningKey(bytes(32)))


def _document(data: bytes) -> str:
    """Read as either kind: what its authority has not signed is refused by the signature, whatever it says."""
    said = []
    for noun in (Certificate, Revocation):
        try:
            read = noun.read(data)
        except InvalidCertificate as error:
            check_error_text(error)
            said.append(f"{outcome(error)} {str(error)[:16]}")
            continue
        assert noun.read(read.data) == read
        assert len(read.data) <= limits.CERTIFICATE_BYTES_MAX
        is_signed = read.is_signed_by(_AUTHORITY.authority.public)
        assert not is_signed or attrs.evolve(read, data=b"") in _SAID, "only what the authority signed is signed by it"
        said.append(f"{noun.__name__} {is_signed}")
    return " ".join(said)


def _seeds() -> Iterator[bytes]:
    yield from _SEEDS


def _made() -> Iterator[bytes]:
    public = SigningKey(bytes([1]) * 32).public
    first = Certificate.issue(
        _AUTHORITY.key,
        cluster="prod",
        serial=bytes(8),
        public=public,
        names=("web-*", "db-1"),
        zones=("*",),
        services=("orders",),
        roles=(),
        grants=("policies",),
        not_before=1_790_000_000,
        not_after=1_800_000_000,
    )
    yield first.data
    yield _AUTHORITY.revoke(first, at=1_790_000_001).data


_SEEDS: Final = tuple(_made())
_SAID: Final = tuple(attrs.evolve(each, data=b"") for each in (Certificate.read(_SEEDS[0]), Revocation.read(_SEEDS[1])))

TARGETS: Final = (
    Target(
        "certificates",
        "a certificate or a revocation is read, or InvalidCertificate; none is signed that the authority did not sign",
        _document,
        _seeds,
        (b"\x92\xc4", b"\xc4\x40", b"\xc4\x20", b"\xdc", b"*", b"policies", b"\xc4\x08", bytes(64)),
    ),
)
