"""The cluster authority: its key, what it trusts nodes by, and the text files that its documents are kept in.

An authority is a key that is kept offline. It signs certificates and revocations; nodes hold its public key only. Each
file has a document a line: a word for its kind and version, then base64.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any, Final

import msgpack

from gossipreg.certificate import Certificate, Permit
from gossipreg.delegation import Delegation
from gossipreg.errors import InvalidCertificate
from gossipreg.model import is_name
from gossipreg.msgpack_documents import read_msgpack
from gossipreg.revocation import Revocation
from gossipreg.signatures import PUBLIC_KEY_BYTES, SECRET_KEY_BYTES, SigningKey
from gossipreg.signed_document import SERIAL_BYTES, authority_id
from gossipreg.values import frozen

AUTHORITY: Final = "gossipreg-authority-1"
AUTHORITY_KEY: Final = "gossipreg-authority-key-1"
NODE_KEY: Final = "gossipreg-node-key-1"
PUBLIC_KEY: Final = "gossipreg-public-key-1"
CERTIFICATE: Final = "gossipreg-certificate-1"
REVOCATION: Final = "gossipreg-revocation-1"
DELEGATION: Final = "gossipreg-delegation-1"
JOIN_TOKEN: Final = "gossipreg-join-token-1"  # noqa: S105 -- it is the name of a kind
CERTIFICATE_REQUEST: Final = "gossipreg-certificate-request-1"

#: What people read where a document is not what it should be.
_NOUNS: Final = {
    AUTHORITY: "an authority's public key, as `gossipreg ca init` writes it to FILE.pub",
    AUTHORITY_KEY: "an authority's key, as `gossipreg ca init` writes it",
    NODE_KEY: "a node's key, as `gossipreg ca request` writes it",
    PUBLIC_KEY: "a node's public key, as `gossipreg ca request` writes it to FILE.pub",
    CERTIFICATE: "a certificate, as `gossipreg ca sign` writes it",
    REVOCATION: "a revocation, as `gossipreg ca revoke` writes it",
    DELEGATION: "a delegation, as `gossipreg ca delegate` writes it",
    JOIN_TOKEN: "a join token, as `gossipreg ca token` writes it",
    CERTIFICATE_REQUEST: "a node's request for a certificate",
}


#: The kinds of documents that hold no secret.
_PUBLIC: Final = frozenset((AUTHORITY, PUBLIC_KEY, CERTIFICATE, REVOCATION, DELEGATION))


@frozen
class Authority:
    """The public side of an authority, or of an issuer: what nodes need in order to verify."""

    cluster: str
    public: bytes
    delegation: Delegation | None = None  # what an issuer may sign; None: it is an authority itself

    @property
    def id(self) -> str:
        """A short name of its key, to compare by eye."""
        return authority_id(self.public)


@frozen
class AuthorityKey:
    """An authority itself."""

    cluster: str
    key: SigningKey

    @classmethod
    def new(cls, cluster: str) -> AuthorityKey:
        """A new authority of ``cluster``."""
        return cls(cluster, SigningKey(secrets.token_bytes(SECRET_KEY_BYTES)))

    @property
    def authority(self) -> Authority:
        """Its public side."""
        return Authority(self.cluster, self.key.public)

    def sign(
        self,
        public: bytes,
        *,
        names: tuple[str, ...],
        zones: tuple[str, ...] = ("*",),
        services: tuple[str, ...] = ("*",),
        roles: tuple[str, ...] = ("*",),
        grants: tuple[str, ...] = (),
        not_before: int,
        not_after: int,
    ) -> Certificate:
        """A certificate for the holder of the key ``public``. Raises `InvalidCertificate` for what none may say."""
        return Certificate.issue(
            self.key,
            cluster=self.cluster,
            serial=secrets.token_bytes(SERIAL_BYTES),
            public=public,
            names=names,
            zones=zones,
            services=services,
            roles=roles,
            grants=grants,
            not_before=not_before,
            not_after=not_after,
        )

    def delegate(self, public: bytes, **fields: Any) -> Delegation:
        """A delegation for the holder of the key ``public``. Raises `InvalidCertificate` for what none may say."""
        serial = secrets.token_bytes(SERIAL_BYTES)
        return Delegation.issue(self.key, cluster=self.cluster, serial=serial, public=public, **fields)

    def renew(self, certificate: Certificate, *, not_before: int, not_after: int) -> Certificate:
        """The same certificate for another time, with a serial number of its own."""
        if certificate.cluster != self.cluster:
            raise InvalidCertificate(
                f"the certificate is for cluster {certificate.cluster}, the authority is that of {self.cluster}"
            )
        return self.sign(
            certificate.public,
            names=certificate.names,
            zones=certificate.zones,
            services=certificate.services,
            roles=certificate.roles,
            grants=certificate.grants,
            not_before=not_before,
            not_after=not_after,
        )

    def revoke(self, permit: Permit, *, at: int, delegations: tuple[Delegation, ...] = ()) -> Revocation:
        """The revocation of a certificate or delegation of its own, or of a certificate by one of the ``delegations``.

        Raises `InvalidCertificate` for that of another authority.
        """
        return Revocation.of(permit, self.key, at, delegations)


# The files


def new_node_key() -> SigningKey:
    """A new key for a node."""
    return SigningKey(secrets.token_bytes(SECRET_KEY_BYTES))


def encode(kind: str, data: bytes) -> str:
    """A document as a line of a file."""
    return f"{kind} {base64.b64encode(data).decode()}"


def decode(kind: str, line: str, *, where: str) -> bytes:
    """The document of this kind in a line. Raises `InvalidCertificate`, which says ``where`` and quotes no secret."""
    found, _, text = line.strip().partition(" ")
    if found != kind:
        seen = f": it is {_NOUNS[found]}" if found in _NOUNS else ""
        raise InvalidCertificate(f"{where}: not {_NOUNS[kind]}{seen}")
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCertificate(f"{where}: what follows {kind} is not base64: copy the whole line") from None


def lines_of(text: str) -> list[str]:
    """The documents in a file: its lines, without empty ones and those that begin with ``#``."""
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def is_public(content: bytes) -> bool:
    """Whether a file holds documents, and none that is secret: then it is not one that a secret is read from."""
    kinds = {line.partition(" ")[0] for line in lines_of(content.decode("ascii", "replace"))}
    return bool(kinds) and kinds <= _PUBLIC


def encode_authority(authority: Authority) -> str:
    """An authority's public side as a line."""
    return encode(AUTHORITY, msgpack.packb([authority.cluster, authority.public]))


def decode_authority(line: str, *, where: str) -> Authority:
    """The authority in a line. Raises `InvalidCertificate`."""
    return Authority(*_cluster_and_key(AUTHORITY, line, PUBLIC_KEY_BYTES, where))


def encode_authority_key(key: AuthorityKey) -> str:
    """An authority's key as a line. It is secret."""
    return encode(AUTHORITY_KEY, msgpack.packb([key.cluster, key.key.secret]))


def decode_authority_key(line: str, *, where: str) -> AuthorityKey:
    """The key of an authority in a line. Raises `InvalidCertificate`."""
    cluster, secret = _cluster_and_key(AUTHORITY_KEY, line, SECRET_KEY_BYTES, where)
    return AuthorityKey(cluster, SigningKey(secret))


def _cluster_and_key(kind: str, line: str, size: int, where: str) -> tuple[str, bytes]:
    data = decode(kind, line, where=where)
    try:
        fields: Any = read_msgpack(data)
    except ValueError:
        fields = None
    if type(fields) is not list or len(fields) < 2:
        raise InvalidCertificate(f"{where}: not {_NOUNS[kind]}")
    cluster, key = fields[:2]
    if type(cluster) is not str or not is_name(cluster) or type(key) is not bytes or len(key) != size:
        raise InvalidCertificate(f"{where}: not {_NOUNS[kind]}")
    return cluster, key


def decode_key(kind: str, line: str, *, where: str) -> bytes:
    """A node's key, or its public key, in a line. Raises `InvalidCertificate`."""
    data = decode(kind, line, where=where)
    if len(data) != SECRET_KEY_BYTES:
        raise InvalidCertificate(f"{where}: {len(data)} bytes are not {_NOUNS[kind]}")
    return data
