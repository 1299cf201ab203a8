"""Certificates: what a cluster's authority lets the holder of a key state; revocations and delegations.

A certificate is a small msgpack document, not X.509 (docs/decisions/0064): its body, and the signature of the authority
over the bytes of that body. It travels with every membership statement, so it is small. A reader skips further fields
of a body, which are signed like the rest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final, Self

import attrs
import msgpack

from gossipreg import limits
from gossipreg.errors import InvalidCertificate
from gossipreg.model import is_name
from gossipreg.msgpack_documents import read_msgpack
from gossipreg.signatures import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey
from gossipreg.values import frozen

#: What a certificate may allow beside names, zones, services and roles.
GRANTS: Final = ("policies", "keys", "tokens", "forget")

#: The size of a serial number (bytes). It is random: an authority keeps no list of those that it has given.
SERIAL_BYTES: Final = 8

#: How far a new certificate reaches back (seconds): a node whose clock is a little behind accepts it at once.
ISSUED_BACK_SECONDS: Final = 300

#: The first version of the documents. A reader refuses another.
_VERSION: Final = 1
_CERTIFICATE: Final = b"certificate"
_REVOCATION: Final = b"revocation"
_DELEGATION: Final = b"delegation"

_GLOB: Final = re.compile(r"[A-Za-z0-9._*-]{1,63}")
_ID: Final = re.compile(r"[0-9a-f]{8}")

#: The first time that no document names (seconds since the epoch): the year 10889.
_TIME_END: Final = 2**48 // 1000

_Reader = Callable[[Any], Any]


def authority_id(public: bytes) -> str:
    """A short name of an authority's public key (8 hexadecimal digits), to compare by eye."""
    return hashlib.blake2b(public, digest_size=4, person=b"gossipreg ca").hexdigest()


@frozen
class Certificate:
    """What the holder of one key may state in one cluster, from when until when.

    Names, zones, services and roles are patterns, in which ``*`` stands for any characters. A pattern for names is an
    identity that all its names share: its holder may speak for each of them.
    """

    cluster: str
    authority: str  # the id of the authority
    serial: bytes
    public: bytes
    names: tuple[str, ...]
    zones: tuple[str, ...]
    services: tuple[str, ...]
    roles: tuple[str, ...]
    grants: tuple[str, ...]
    not_before: int  # seconds since the epoch
    not_after: int  # seconds since the epoch
    data: bytes = attrs.field(default=b"", repr=False)  # the document itself

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a document. Raises `InvalidCertificate` for anything else; its signature is not verified here."""
        fields = _read_body(data, _CERTIFICATE_FIELDS, "certificate", limits.CERTIFICATE_BYTES_MAX)
        certificate = attrs.evolve(cls(*fields), data=data)
        if certificate.not_before >= certificate.not_after:
            raise InvalidCertificate("a certificate that ends before it begins")
        return certificate

    @classmethod
    def issue(cls, by: SigningKey, **fields: Any) -> Self:
        """A new certificate, signed ``by`` the authority. Raises `InvalidCertificate` for fields out of range."""
        made = cls(authority=authority_id(by.public), **fields)
        body = [_VERSION, *(_packable(getattr(made, name)) for name, _ in _CERTIFICATE_FIELDS)]
        return cls.read(_signed(body, by, _CERTIFICATE))

    @property
    def serial_text(self) -> str:
        """The serial number as people see it (16 hexadecimal digits)."""
        return self.serial.hex()

    @cached_property
    def key(self) -> VerifyingKey:
        """What verifies the statements of its holder."""
        return VerifyingKey(self.public)

    def is_signed_by(self, public: bytes) -> bool:
        """Whether the authority with this public key has signed it."""
        return authority_id(public) == self.authority and _is_signed(self.data, public, _CERTIFICATE)

    def is_in_force(self, wall: float, leeway: float = 0.0) -> bool:
        """Whether ``wall`` (seconds since the epoch) is within its time, give or take ``leeway`` seconds."""
        return self.not_before - leeway <= wall < self.not_after + leeway

    def allows(self, what: str, value: str) -> bool:
        """Whether its patterns for ``what`` (``names``, ``zones``, ``services``, ``roles``) allow ``value``."""
        patterns: tuple[str, ...] = getattr(self, what)
        return any(fnmatchcase(value, pattern) for pattern in patterns)


@frozen
class Delegation:
    """What one agent, the *issuer*, may sign certificates for in the place of the authority (docs/decisions/0088).

    A certificate that the issuer has signed counts as far as it is within the delegation: a part of its patterns, none
    but its grants, and no longer than ``lifetime`` or its own end.
    """

    cluster: str
    authority: str  # the id of the authority
    serial: bytes
    public: bytes  # the issuer's key
    agent: str  # the member that holds the key: the only one that counts how often a join token is used
    names: tuple[str, ...]
    zones: tuple[str, ...]
    services: tuple[str, ...]
    roles: tuple[str, ...]
    grants: tuple[str, ...]
    not_before: int  # seconds since the epoch
    not_after: int  # seconds since the epoch
    lifetime: int  # of a certificate (seconds)
    data: bytes = attrs.field(default=b"", repr=False)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a document. Raises `InvalidCertificate` for anything else; its signature is not verified here."""
        fields = _read_body(data, _DELEGATION_FIELDS, "delegation", limits.CERTIFICATE_BYTES_MAX)
        delegation = attrs.evolve(cls(*fields), data=data)
        if delegation.not_before >= delegation.not_after:
            raise InvalidCertificate("a delegation that ends before it begins")
        return delegation

    @classmethod
    def issue(cls, by: SigningKey, **fields: Any) -> Self:
        """A new delegation, signed ``by`` the authority. Raises `InvalidCertificate` for fields out of range."""
        made = cls(authority=authority_id(by.public), **fields)
        body = [_VERSION, *(_packable(getattr(made, name)) for name, _ in _DELEGATION_FIELDS)]
        return cls.read(_signed(body, by, _DELEGATION))

    @property
    def serial_text(self) -> str:
        """Its serial number as people see it (16 hexadecimal digits), by which a revocation names it."""
        return self.serial.hex()

    def is_signed_by(self, public: bytes) -> bool:
        """Whether the authority with this public key has signed it."""
        return authority_id(public) == self.authority and _is_signed(self.data, public, _DELEGATION)

    def excess_of(self, certificate: Certificate) -> str | None:
        """What of a ``certificate`` that the issuer has signed is beyond this delegation, in words; None: nothing."""
        if certificate.cluster != self.cluster:
            return f"cluster {certificate.cluster}"
        for what in ("names", "zones", "services", "roles"):
            beyond = beyond_patterns(getattr(certificate, what), getattr(self, what))
            if beyond is not None:
                return f"{what} {beyond}"
        for grant in certificate.grants:
            if grant not in self.grants:
                return f"grant {grant}"
        # A renewal reaches back a little, so that clocks may differ; that is no part of how long it lasts.
        lasts = certificate.not_after - certificate.not_before - ISSUED_BACK_SECONDS
        if lasts > self.lifetime:
            return f"{lasts} s of time, where {self.lifetime} are allowed"
        if certificate.not_before < self.not_before - ISSUED_BACK_SECONDS or certificate.not_after > self.not_after:
            return "a time outside of its own"
        return None


def beyond_patterns(inner: Iterable[str], outer: Iterable[str]) -> str | None:
    """The first pattern of ``inner`` that may match what no pattern of ``outer`` matches; None if there is none.

    A ``*`` of an inner pattern has to be within what a ``*`` of an outer one stands for.
    """
    allowed = tuple(outer)
    return next((each for each in inner if not any(fnmatchcase(each, pattern) for pattern in allowed)), None)


@frozen
class Revocation:
    """The authority's word that a certificate, or a delegation, counts no more, whatever its holder states under it."""

    cluster: str
    authority: str  # the id of the authority
    serial: bytes
    at: int  # seconds since the epoch
    until: int  # when the certificate ends by itself (seconds since the epoch): nothing need be remembered after that
    names: tuple[str, ...]  # whom it named, for people
    data: bytes = attrs.field(default=b"", repr=False)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a document. Raises `InvalidCertificate` for anything else; its signature is not verified here."""
        fields = _read_body(data, _REVOCATION_FIELDS, "revocation", limits.CERTIFICATE_BYTES_MAX)
        return attrs.evolve(cls(*fields), data=data)

    @classmethod
    def issue(
        cls, by: SigningKey, certificate: Certificate | Delegation, at: int, delegations: Iterable[Delegation] = ()
    ) -> Self:
        """The revocation of ``certificate``, signed ``by`` the authority that signed it or its issuer's delegation."""
        own = [each for each in delegations if each.is_signed_by(by.public)]
        if not any(certificate.is_signed_by(each) for each in (by.public, *(each.public for each in own))):
            raise InvalidCertificate(
                f"certificate {certificate.serial_text} is of authority {certificate.authority}, not of "
                f"{authority_id(by.public)}: only the authority that signed it revokes it"
            )
        made = cls(
            certificate.cluster,
            authority_id(by.public),
            certificate.serial,
            at,
            certificate.not_after,
            certificate.names,
        )
        body = [_VERSION, *(_packable(getattr(made, name)) for name, _ in _REVOCATION_FIELDS)]
        return cls.read(_signed(body, by, _REVOCATION))

    @property
    def serial_text(self) -> str:
        """The serial number of the certificate (16 hexadecimal digits)."""
        return self.serial.hex()

    def is_signed_by(self, public: bytes) -> bool:
        """Whether the authority with this public key has signed it."""
        return authority_id(public) == self.authority and _is_signed(self.data, public, _REVOCATION)


def _packable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _signed(body: list[Any], by: SigningKey, kind: bytes) -> bytes:
    packed: bytes = msgpack.packb(body)
    document: bytes = msgpack.packb([packed, by.sign(kind, packed)])
    return document


def _is_signed(document: bytes, public: bytes, kind: bytes) -> bool:
    try:
        body, signature = msgpack.unpackb(document)
        return VerifyingKey(public).is_signed(kind, body, signature)
    except (ValueError, TypeError, msgpack.UnpackException):
        return False


def _read_body(data: bytes, fields: Iterable[tuple[str, _Reader]], noun: str, most: int) -> list[Any]:
    if len(data) > most:
        raise InvalidCertificate(f"a {noun} of {len(data)} bytes, {most} are allowed: use fewer or shorter patterns")
    document = _unpacked(data, noun)
    if len(document) != 2 or not all(isinstance(each, bytes) for each in document):
        raise InvalidCertificate(f"not a {noun}")
    if len(document[1]) != SIGNATURE_BYTES:
        raise InvalidCertificate(f"a {noun} without a signature")
    body = _unpacked(document[0], noun)
    if not body or body[0] != _VERSION:
        raise InvalidCertificate(f"a {noun} of another version than {_VERSION}")
    readers = tuple(fields)
    if len(body) <= len(readers):
        raise InvalidCertificate(f"a {noun} in which fields are missing")
    values = []
    for (name, read), value in zip(readers, body[1:], strict=False):
        try:
            values.append(read(value))
        except InvalidCertificate as error:
            raise InvalidCertificate(f"{name} of the {noun}: {error}") from None
    return values


def _unpacked(data: bytes, noun: str) -> list[Any]:
    try:
        value = read_msgpack(data)
    except ValueError:
        raise InvalidCertificate(f"not a {noun}") from None
    if type(value) is not list:
        raise InvalidCertificate(f"not a {noun}")
    return value


# Readers of one field each.


def _name(value: Any) -> str:
    if type(value) is not str or not is_name(value):
        raise InvalidCertificate("not a name")
    return value


def _id(value: Any) -> str:
    if type(value) is not str or not _ID.fullmatch(value):
        raise InvalidCertificate("not an id of 8 hexadecimal digits")
    return value


def _bytes_of(size: int) -> _Reader:
    def read(value: Any) -> bytes:
        if type(value) is not bytes or len(value) != size:
            raise InvalidCertificate(f"not {size} bytes")
        return value

    return read


def _time(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _TIME_END:
        raise InvalidCertificate("not a time")
    return value


def _globs(value: Any) -> tuple[str, ...]:
    if type(value) is not list or len(value) > limits.CERTIFICATE_PATTERNS_MAX:
        raise InvalidCertificate("not a list of patterns")
    for each in value:
        if type(each) is not str or not _GLOB.fullmatch(each):
            raise InvalidCertificate(f"{each!r:.80} is not a pattern: use letters, digits, '.', '_', '-' and '*'")
    return tuple(value)


def _names(value: Any) -> tuple[str, ...]:
    names = _globs(value)
    if not names:
        raise InvalidCertificate("a certificate is for at least one name")
    return names


def _grants(value: Any) -> tuple[str, ...]:
    """Grants that this release does not know are kept: a later one may give a meaning to them."""
    return _globs(value)


_CERTIFICATE_FIELDS: Final = (
    ("cluster", _name),
    ("authority", _id),
    ("serial", _bytes_of(SERIAL_BYTES)),
    ("public", _bytes_of(PUBLIC_KEY_BYTES)),
    ("names", _names),
    ("zones", _globs),
    ("services", _globs),
    ("roles", _globs),
    ("grants", _grants),
    ("not_before", _time),
    ("not_after", _time),
)
_DELEGATION_FIELDS: Final = (
    ("cluster", _name),
    ("authority", _id),
    ("serial", _bytes_of(SERIAL_BYTES)),
    ("public", _bytes_of(PUBLIC_KEY_BYTES)),
    ("agent", _name),
    ("names", _names),
    ("zones", _globs),
    ("services", _globs),
    ("roles", _globs),
    ("grants", _grants),
    ("not_before", _time),
    ("not_after", _time),
    ("lifetime", _time),
)
_REVOCATION_FIELDS: Final = (
    ("cluster", _name),
    ("authority", _id),
    ("serial", _bytes_of(SERIAL_BYTES)),
    ("at", _time),
    ("until", _time),
    ("names", _globs),
)
