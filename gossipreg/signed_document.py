"""Signed documents: what an authority states in writing, and how that is packed, signed, read and verified.

A document is small msgpack, not X.509 (docs/decisions/0064): its body, and the signature of the authority over the
bytes of that body. A reader skips further fields of a body, which are signed like the rest. Certificates, delegations
and revocations are documents.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Self

import attrs
import msgpack

from gossipreg import limits
from gossipreg.errors import InvalidCertificate
from gossipreg.model import is_name
from gossipreg.msgpack_documents import read_msgpack
from gossipreg.signatures import SIGNATURE_BYTES, SigningKey, VerifyingKey
from gossipreg.values import frozen

#: The size of a serial number (bytes). It is random: an authority keeps no list of those that it has given.
SERIAL_BYTES: Final = 8

#: The first version of the documents. A reader refuses another.
_VERSION: Final = 1

_GLOB: Final = re.compile(r"[A-Za-z0-9._*-]{1,63}")
_ID: Final = re.compile(r"[0-9a-f]{8}")

#: The first time that no document names (seconds since the epoch): the year 10889.
_TIME_END: Final = 2**48 // 1000

#: Checks and converts one field of a body. Raises `InvalidCertificate`.
Reader = Callable[[Any], Any]


def authority_id(public: bytes) -> str:
    """A short name of an authority's public key (8 hexadecimal digits), to compare by eye."""
    return hashlib.blake2b(public, digest_size=4, person=b"gossipreg ca").hexdigest()


@frozen
class SignedDocument:
    """One statement of an authority about a cluster. Each kind has further fields."""

    #: What the kind is called: in errors, and in the signature, so that a signature of one kind is none of another.
    noun: ClassVar[str]
    #: The fields of the kind and their readers, in the order of the body. They follow those of every document.
    readers: ClassVar[Mapping[str, Reader]]
    #: Likewise, fields that documents of earlier releases have not: these have defaults, and at the end are left out
    #: where they have them.
    later_readers: ClassVar[Mapping[str, Reader]] = {}

    cluster: str
    authority: str  # the id of the authority
    serial: bytes
    data: bytes = attrs.field(default=b"", repr=False, kw_only=True)  # the document itself

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a document. Raises `InvalidCertificate` for anything else; its signature is not verified here."""
        return cls(**_read_body(data, {**_READERS, **cls.readers}, cls.later_readers, cls.noun), data=data)

    @classmethod
    def issue(cls, by: SigningKey, **fields: Any) -> Self:
        """A new document, signed ``by`` the authority. Raises `InvalidCertificate` for fields out of range."""
        made = cls(authority=authority_id(by.public), **fields)
        values = [packable(getattr(made, name)) for name in (*_READERS, *cls.readers, *cls.later_readers)]
        while len(values) > len(_READERS) + len(cls.readers) and not values[-1]:
            values.pop()
        body: bytes = msgpack.packb([_VERSION, *values])
        return cls.read(msgpack.packb([body, by.sign(cls.noun.encode(), body)]))

    @property
    def serial_text(self) -> str:
        """The serial number as people see it (16 hexadecimal digits). A revocation has that of what it revokes."""
        return self.serial.hex()

    def is_signed_by(self, public: bytes) -> bool:
        """Whether the authority with this public key has signed it."""
        if authority_id(public) != self.authority:
            return False
        try:
            body, signature = msgpack.unpackb(self.data)
            return VerifyingKey(public).is_signed(self.noun.encode(), body, signature)
        except (ValueError, TypeError, msgpack.UnpackException):
            return False


def packable(value: Any) -> Any:
    """A field of a body as it is packed."""
    return list(value) if isinstance(value, tuple) else value


def _read_body(
    data: bytes, readers: Mapping[str, Reader], later_readers: Mapping[str, Reader], noun: str
) -> dict[str, Any]:
    most = limits.CERTIFICATE_BYTES_MAX
    if len(data) > most:
        raise InvalidCertificate(f"a {noun} of {len(data)} bytes, {most} are allowed: use fewer or shorter patterns")
    document = unpacked_list(data, noun)
    if len(document) != 2 or not all(isinstance(each, bytes) for each in document):
        raise InvalidCertificate(f"not a {noun}")
    if len(document[1]) != SIGNATURE_BYTES:
        raise InvalidCertificate(f"a {noun} without a signature")
    body = unpacked_list(document[0], noun)
    if not body or body[0] != _VERSION:
        raise InvalidCertificate(f"a {noun} of another version than {_VERSION}")
    if len(body) <= len(readers):
        raise InvalidCertificate(f"a {noun} in which fields are missing")
    fields = {}
    for (name, read), value in zip({**readers, **later_readers}.items(), body[1:], strict=False):
        try:
            fields[name] = read(value)
        except InvalidCertificate as error:
            raise InvalidCertificate(f"{name} of the {noun}: {error}") from None
    return fields


def unpacked_list(data: bytes, noun: str) -> list[Any]:
    """The list that ``data`` is. Raises `InvalidCertificate` for anything else: that it is not a ``noun``."""
    try:
        value = read_msgpack(data)
    except ValueError:
        raise InvalidCertificate(f"not a {noun}") from None
    if type(value) is not list:
        raise InvalidCertificate(f"not a {noun}")
    return value


# Readers of one field each.


def read_name(value: Any) -> str:
    """The name of a cluster or member."""
    if type(value) is not str or not is_name(value):
        raise InvalidCertificate("not a name")
    return value


def read_ids(value: Any) -> tuple[str, ...]:
    """Ids of authorities or issuers; there may be none."""
    if type(value) is not list or len(value) > limits.CERTIFICATE_PATTERNS_MAX:
        raise InvalidCertificate("not a list of ids")
    return tuple(map(_read_id, value))


def _read_id(value: Any) -> str:
    if type(value) is not str or not _ID.fullmatch(value):
        raise InvalidCertificate("not an id of 8 hexadecimal digits")
    return value


def read_bytes(size: int) -> Reader:
    """A reader of exactly ``size`` bytes."""

    def read(value: Any) -> bytes:
        if type(value) is not bytes or len(value) != size:
            raise InvalidCertificate(f"not {size} bytes")
        return value

    return read


def read_time(value: Any) -> int:
    """A time or a length of time (seconds)."""
    if type(value) is not int or not 0 <= value < _TIME_END:
        raise InvalidCertificate("not a time")
    return value


def read_patterns(value: Any) -> tuple[str, ...]:
    """Patterns in which ``*`` stands for any characters; there may be none."""
    if type(value) is not list or len(value) > limits.CERTIFICATE_PATTERNS_MAX:
        raise InvalidCertificate("not a list of patterns")
    for each in value:
        if type(each) is not str or not _GLOB.fullmatch(each):
            raise InvalidCertificate(f"{each!r:.80} is not a pattern: use letters, digits, '.', '_', '-' and '*'")
    return tuple(value)


#: Of every document, in the order of the body.
_READERS: Final[Mapping[str, Reader]] = {
    "cluster": read_name,
    "authority": _read_id,
    "serial": read_bytes(SERIAL_BYTES),
}
