"""Join tokens: what lets a new node ask an issuer for its certificate; and the requests for certificates themselves.

A token has a text (what the certificate may say, for how many nodes, until when) and a secret, which the issuer derives
from that text and its own key. So the issuer need not store its tokens. A request carries the text of the token and
a MAC under its secret, never the secret itself, and is signed with the node's own key. An eavesdropper learns nothing
that it can use; a replayed request is answered with the same certificate, which only the holder of that key can use
(docs/decisions/0088).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any, Final, Self

import attrs
import msgpack

from gossipreg import limits
from gossipreg.authority import CERTIFICATE_REQUEST, JOIN_TOKEN, decode, encode
from gossipreg.certificate import ISSUED_BACK_SECONDS, Certificate
from gossipreg.delegation import Delegation, beyond_patterns
from gossipreg.errors import CertificateRefused, InvalidCertificate, NotAnIssuer
from gossipreg.model import is_name
from gossipreg.signatures import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey
from gossipreg.signed_document import SERIAL_BYTES, authority_id, packable, unpacked_list
from gossipreg.values import frozen

#: The first version of tokens and requests.
_VERSION: Final = 1

#: The kind in the signature of a request: it cannot be taken for the signature of anything else.
_REQUEST: Final = b"certificate request"

#: The size of a token's secret, and of the MAC of a request under it (bytes).
_SECRET_BYTES: Final = 32

#: How far the clocks of a node and of its issuer may be apart (seconds).
CLOCKS_SECONDS: Final = 300.0

_Names = tuple[str, ...]


@frozen
class JoinToken:
    """What the certificates of some new nodes may say. It is secret: any holder can get a certificate with it."""

    cluster: str
    issuer: str  # the id of the issuer whose key made it; no other honours it
    serial: bytes
    names: _Names  # patterns; a certificate is for the one name of its node
    zones: _Names
    services: _Names
    roles: _Names
    grants: _Names
    lifetime: int  # of a certificate (seconds)
    uses: int  # how many nodes may use it
    expires: int  # seconds since the epoch
    body: bytes = attrs.field(default=b"", repr=False)  # all of the above, packed
    secret: bytes = attrs.field(default=b"", repr=False)

    @classmethod
    def make(cls, by: SigningKey, delegation: Delegation, **fields: Any) -> Self:
        """A new token of the issuer with the key ``by``. Raises `InvalidCertificate` for what it may not give."""
        serial = secrets.token_bytes(SERIAL_BYTES)
        made = cls(cluster=delegation.cluster, issuer=authority_id(by.public), serial=serial, **fields)
        for what in ("names", "zones", "services", "roles", "grants"):
            beyond = beyond_patterns(getattr(made, what), getattr(delegation, what))
            if beyond is not None:
                raise InvalidCertificate(f"{what}: {beyond}: the delegation of issuer {made.issuer} does not allow it")
        if not 0 < made.lifetime <= delegation.lifetime:
            raise InvalidCertificate(f"lifetime: {made.lifetime} s, the issuer may give 1 to {delegation.lifetime}")
        if not 1 <= made.uses <= limits.JOIN_TOKEN_USES_MAX:
            raise InvalidCertificate(f"uses: {made.uses} is not 1 to {limits.JOIN_TOKEN_USES_MAX}")
        packed: bytes = msgpack.packb([_VERSION, *(packable(getattr(made, name)) for name in _TOKEN_FIELDS)])
        return attrs.evolve(cls.read_body(packed), secret=_secret_of(by, packed))

    @classmethod
    def read_body(cls, body: bytes) -> Self:
        """The token with this body, without its secret. Raises `InvalidCertificate`."""
        fields = unpacked_list(body, "join token")
        if len(body) > limits.CERTIFICATE_BYTES_MAX or len(fields) <= len(_TOKEN_FIELDS) or fields[0] != _VERSION:
            raise InvalidCertificate("not a join token of this version")
        values: list[Any] = [tuple(each) if type(each) is list else each for each in fields[1 : len(_TOKEN_FIELDS) + 1]]
        token = cls(*values)
        patterns = (token.names, token.zones, token.services, token.roles, token.grants)
        numbers = (token.lifetime, token.uses, token.expires)
        is_right = (
            all(type(each) is str for each in (token.cluster, token.issuer))
            and type(token.serial) is bytes
            and len(token.serial) == SERIAL_BYTES
            and all(type(each) is tuple and all(type(text) is str for text in each) for each in patterns)
            and all(type(each) is int and each > 0 for each in numbers)
        )
        if not is_right:
            raise InvalidCertificate("not a join token")
        return attrs.evolve(token, body=body)

    @property
    def serial_text(self) -> str:
        """Its serial number as people see it (16 hexadecimal digits)."""
        return self.serial.hex()

    def encoded(self) -> str:
        """The token as a line of a file."""
        return encode(JOIN_TOKEN, msgpack.packb([self.body, self.secret]))

    @classmethod
    def decoded(cls, line: str, *, where: str) -> Self:
        """The token in a line. Raises `InvalidCertificate`, which says ``where`` and quotes no secret."""
        data = decode(JOIN_TOKEN, line, where=where)
        try:
            parts = unpacked_list(data, "join token")
            token = cls.read_body(parts[0] if parts and type(parts[0]) is bytes else b"")
        except InvalidCertificate as error:
            raise InvalidCertificate(f"{where}: {error}: copy the whole line") from None
        if len(parts) != 2 or type(parts[1]) is not bytes or len(parts[1]) != _SECRET_BYTES:
            raise InvalidCertificate(f"{where}: not a join token: copy the whole line")
        return attrs.evolve(token, secret=parts[1])


_TOKEN_FIELDS: Final = tuple(each.name for each in attrs.fields(JoinToken) if each.name not in ("body", "secret"))


@frozen
class CertificateRequest:
    """A node's request for a certificate: its first one by a join token, or a later one by the present one."""

    public: bytes  # the node's key
    at: int  # seconds since the epoch, by the node's clock
    token: JoinToken | None = None  # its secret is the issuer's own
    name: str = ""  # of the node, with a token
    certificate: Certificate | None = None  # the one to be renewed
    inner: bytes = attrs.field(default=b"", repr=False)  # what is signed
    mac: bytes = attrs.field(default=b"", repr=False)  # of ``inner``, under the token's secret; empty without a token

    @classmethod
    def read(cls, line: str) -> Self:
        """Read the request in a line and verify its signature. Raises `InvalidCertificate`.

        The `Issuer` decides whether its token or its certificate counts.
        """
        if len(line) > limits.CERTIFICATE_REQUEST_CHARACTERS_MAX:
            raise InvalidCertificate("the request: it is too long")
        parts = unpacked_list(decode(CERTIFICATE_REQUEST, line, where="the request"), "request")
        if len(parts) != 3 or any(type(each) is not bytes for each in parts):
            raise InvalidCertificate("not a request for a certificate")
        inner, mac, signature = parts
        fields = unpacked_list(inner, "request")
        if len(fields) < 6 or fields[0] != _VERSION:
            raise InvalidCertificate("a request of another version")
        public, at, token, name, certificate = fields[1:6]
        is_right = (
            all(type(each) is bytes for each in (public, token, certificate))
            and type(at) is int
            and type(name) is str
            and len(public) == PUBLIC_KEY_BYTES
            and bool(token) != bool(certificate)
            and len(signature) == SIGNATURE_BYTES
        )
        if not is_right or not VerifyingKey(public).is_signed(_REQUEST, inner, signature):
            raise InvalidCertificate("a request that the holder of its key has not signed")
        if certificate:
            return cls(public, at, certificate=Certificate.read(certificate), inner=inner)
        if not is_name(name):
            raise InvalidCertificate("a request for what is no name of a member")
        return cls(public, at, JoinToken.read_body(token), name, inner=inner, mac=mac)


def request_by_token(token: JoinToken, key: SigningKey, name: str, at: float) -> str:
    """A line that asks for the first certificate of the node ``name``, which holds ``key``."""
    inner: bytes = msgpack.packb([_VERSION, key.public, int(at), token.body, name, b""])
    return _request(inner, _mac_of(token.secret, inner), key)


def request_renewal(certificate: Certificate, key: SigningKey, at: float) -> str:
    """A line that asks for ``certificate`` for longer; ``key`` is that of its holder."""
    return _request(msgpack.packb([_VERSION, key.public, int(at), b"", "", certificate.data]), b"", key)


@frozen
class Issuer:
    """Decides on requests, by the key and the delegation of an issuer. Its agent counts how often a token was used."""

    key: SigningKey
    delegation: Delegation

    @property
    def id(self) -> str:
        """A short name of its key, to compare by eye."""
        return authority_id(self.key.public)

    def check_token(self, request: CertificateRequest, now: float) -> JoinToken:
        """The token of a ``request``, if it is one of this issuer's that counts ``now`` (seconds since the epoch).

        How often it was used is not checked. Raises `CertificateRefused`, and `NotAnIssuer` for another issuer's.
        """
        token = request.token
        assert token is not None, "the request is by a token"
        if token.issuer != self.id:
            raise NotAnIssuer(f"the join token is of issuer {token.issuer}, this one is {self.id}: ask that one")
        if not hmac.compare_digest(request.mac, _mac_of(_secret_of(self.key, token.body), request.inner)):
            raise CertificateRefused("the join token is wrong: this issuer has not made it, or it was changed")
        if token.cluster != self.delegation.cluster:
            raise CertificateRefused(f"the join token is for cluster {token.cluster}")
        if now >= token.expires:
            raise CertificateRefused("the join token has expired: make another with `gossipreg ca token`")
        if beyond_patterns((request.name,), token.names) is not None:
            raise CertificateRefused(f"the join token is for {', '.join(token.names)}, not for {request.name}")
        return token

    def first(
        self, request: CertificateRequest, token: JoinToken, now: float, *, serial: bytes | None = None
    ) -> Certificate:
        """The certificate that a ``request`` by a ``token``, which was checked, asks for.

        ``serial``: of the certificate that the same key was given before, if it was. Raises `CertificateRefused`.
        """
        return self._signed(
            now,
            token.lifetime,
            serial=secrets.token_bytes(SERIAL_BYTES) if serial is None else serial,
            public=request.public,
            names=(request.name,),
            zones=token.zones,
            services=token.services,
            roles=token.roles,
            grants=token.grants,
        )

    def renewed(self, request: CertificateRequest, now: float) -> Certificate:
        """The renewed certificate that a ``request`` asks for: for as long again, from ``now`` on.

        It keeps its serial number, so that a revocation of either is one of both. It names the issuers that have signed
        it before, and falls with them. The caller checks that the present one counts and was not revoked. Raises
        `CertificateRefused`.
        """
        held = request.certificate
        assert held is not None, "the request is for a renewal"
        if held.public != request.public:
            raise CertificateRefused("the certificate is that of another key")
        if abs(now - request.at) > CLOCKS_SECONDS:
            raise CertificateRefused(
                f"the request was made {now - request.at:.0f} s ago by this clock: set both clocks"
            )
        others = dict.fromkeys((*held.renewed_from, held.authority))
        return self._signed(
            now,
            held.not_after - held.not_before - ISSUED_BACK_SECONDS,
            renewed_from=tuple(each for each in others if each not in (self.id, self.delegation.authority)),
            serial=held.serial,
            public=held.public,
            names=held.names,
            zones=held.zones,
            services=held.services,
            roles=held.roles,
            grants=held.grants,
        )

    def _signed(self, now: float, lifetime: int, **fields: Any) -> Certificate:
        """A certificate for ``lifetime`` seconds, or for as long as the delegation allows."""
        begins = max(int(now) - ISSUED_BACK_SECONDS, self.delegation.not_before - ISSUED_BACK_SECONDS)
        ends = min(int(now) + max(1, min(lifetime, self.delegation.lifetime)), self.delegation.not_after)
        if ends <= now:
            raise CertificateRefused("the delegation of this issuer has ended: sign another with `ca delegate`")
        made = Certificate.issue(self.key, cluster=self.delegation.cluster, not_before=begins, not_after=ends, **fields)
        excess = self.delegation.excess_of(made)
        if excess is not None:
            raise CertificateRefused(f"issuer {self.id} may not sign {excess}: renew it with `gossipreg ca renew`")
        return made


def _request(inner: bytes, mac: bytes, key: SigningKey) -> str:
    return encode(CERTIFICATE_REQUEST, msgpack.packb([inner, mac, key.sign(_REQUEST, inner)]))


def _secret_of(key: SigningKey, body: bytes) -> bytes:
    """The secret of a token: a MAC of its text under the issuer's key."""
    own = hashlib.blake2b(key.secret, digest_size=_SECRET_BYTES, person=b"gossipreg join").digest()
    return hashlib.blake2b(body, key=own, digest_size=_SECRET_BYTES, person=b"gossipreg token").digest()


def _mac_of(secret: bytes, inner: bytes) -> bytes:
    return hashlib.blake2b(inner, key=secret, digest_size=_SECRET_BYTES, person=b"gossipreg ask").digest()
