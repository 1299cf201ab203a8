"""Targets of the documents of authorities and issuers, and of join tokens and the requests by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from gossipreg import limits
from gossipreg.authority import AuthorityKey
from gossipreg.certificate import Certificate
from gossipreg.delegation import Delegation
from gossipreg.errors import CertificateRefused, InvalidCertificate, NotAnIssuer
from gossipreg.join_tokens import CertificateRequest, Issuer, JoinToken, request_by_token, request_renewal
from gossipreg.revocation import Revocation
from gossipreg.signatures import SigningKey
from tests.fuzz.target import Target, check_error_text, outcome

_AUTHORITY: Final = AuthorityKey("prod", SigningKey(bytes(32)))


def _document(data: bytes) -> str:
    """Read as each kind: what its authority has not signed is refused by the signature, whatever it says."""
    said = []
    for noun in (Certificate, Revocation, Delegation):
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
    yield _DELEGATION.data


def _token(data: bytes) -> str:
    """Read as a token, and as a request: an issuer honours its own tokens only, for those that have their secret."""
    text = data.decode("latin-1")
    said = []
    try:
        token = JoinToken.decoded(text, where="test")
        said.append(f"token {token == _TOKEN}")
    except InvalidCertificate as error:
        check_error_text(error)
        said.append(f"{outcome(error)} {str(error)[:16]}")
    try:
        request = CertificateRequest.read(text)
        given = _ISSUER.check_token(request, _NOW) if request.certificate is None else _ISSUER.renewed(request, _NOW)
        is_asked = request.public == _NODE.public and request.name in ("web-1", "")
        assert is_asked, "what the holder of the token or of the certificate has not asked for"
        said.append(f"request {type(given).__name__}")
    except (InvalidCertificate, CertificateRefused, NotAnIssuer) as error:
        check_error_text(error)
        said.append(f"{outcome(error)} {str(error)[:16]}")
    return " ".join(said)


def _token_seeds() -> Iterator[bytes]:
    yield _TOKEN.encoded().encode()
    for line in _REQUESTS:
        yield line.encode()


_NOW: Final = 1_790_000_100.0
_ISSUER_KEY: Final = SigningKey(bytes([2]) * 32)
_NODE: Final = SigningKey(bytes([1]) * 32)
_LIMITS: Final[dict[str, Any]] = {"names": ("web-*",), "zones": ("*",), "services": ("orders",), "roles": ()}
_DELEGATION: Final = Delegation.issue(
    _AUTHORITY.key,
    cluster="prod",
    serial=bytes([1]) * 8,
    public=_ISSUER_KEY.public,
    agent="ops-1",
    **_LIMITS,
    grants=(),
    not_before=1_790_000_000,
    not_after=1_800_000_000,
    lifetime=86_400,
)
_ISSUER: Final = Issuer(_ISSUER_KEY, _DELEGATION)
_SEEDS: Final = tuple(_made())
_READ: Final = (Certificate.read(_SEEDS[0]), Revocation.read(_SEEDS[1]), Delegation.read(_SEEDS[2]))
_SAID: Final = tuple(attrs.evolve(each, data=b"") for each in _READ)
_TOKEN: Final = JoinToken.make(
    _ISSUER_KEY, _DELEGATION, **_LIMITS, grants=(), lifetime=3600, uses=1, expires=1_790_000_600
)
_HELD: Final = Certificate.issue(
    _ISSUER_KEY,
    cluster="prod",
    serial=bytes([3]) * 8,
    public=_NODE.public,
    **{**_LIMITS, "names": ("web-1",)},
    grants=(),
    not_before=1_790_000_000,
    not_after=1_790_003_600,
)
_REQUESTS: Final = (request_by_token(_TOKEN, _NODE, "web-1", _NOW), request_renewal(_HELD, _NODE, _NOW))

TARGETS: Final = (
    Target(
        "certificates",
        "a document is read, or InvalidCertificate is raised; none is signed that the authority did not sign",
        _document,
        _seeds,
        (b"\x92\xc4", b"\xc4\x40", b"\xc4\x20", b"\xdc", b"*", b"policies", b"\xc4\x08", bytes(64)),
    ),
    Target(
        "join-tokens",
        "a join token or a request is read, or an error is raised; an issuer grants what the token's holder asks only",
        _token,
        _token_seeds,
        (b"gossipreg-join-token-1 ", b"gossipreg-certificate-request-1 ", b"=", b"AAAA", b"xCA", b"kw", b"\n"),
    ),
)
