"""Certificate issuing: what an agent with an issuer's key signs for new nodes and for those that renew."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import msgpack
import trio

from gossipreg.authority import CERTIFICATE, encode
from gossipreg.certificate import Certificate
from gossipreg.counters import Count
from gossipreg.errors import CertificateRefused, InvalidCertificate, NotAnIssuer
from gossipreg.join_tokens import CertificateRequest, Issuer
from gossipreg.msgpack_documents import read_msgpack
from gossipreg.protocol.identity.authenticator import Authenticator
from gossipreg.protocol.identity.certificate_verifier import LEEWAY
from gossipreg.runtime.node_context import NodeContext

log = logging.getLogger(__name__)

#: For how long after its end the uses of a join token are kept (seconds): a clock that was ahead of the time for less
#: than that, and is set back, brings no token back that was used.
_USES_KEPT_SECONDS: Final = 86_400.0


@attrs.define(eq=False, repr=False)
class _TokenUses:
    """The nodes that have used one join token, by their public keys."""

    expires: int  # seconds since the epoch
    given: dict[bytes, Certificate] = attrs.field(factory=dict)


@attrs.define(eq=False, repr=False)
class CertificateIssuing:
    """Decides on the requests for certificates that this agent is sent.

    A use of a join token is on disk before the certificate is given, and no other agent honours that token. So it is
    used by no more nodes than it is for, whatever is cut off from what and whatever crashes, unless the data directory
    is lost.
    """

    _context: NodeContext
    _issuer: Callable[[], Issuer | None]
    _wall: Callable[[], float] = time.time
    _uses: dict[str, _TokenUses] = attrs.field(init=False, factory=dict)  # by the serial numbers of tokens
    _turn: trio.Lock = attrs.field(init=False, factory=trio.Lock)

    def restore(self, rows: Mapping[str, bytes]) -> None:
        """Take up which tokens were used before a restart. A row that cannot be read is logged and left out."""
        for key, body in rows.items():
            serial, _, public = key.partition(":")
            try:
                expires, document = read_msgpack(body)
                certificate = Certificate.read(document)
            except (ValueError, TypeError, InvalidCertificate) as error:
                log.warning("the use %s of a join token cannot be read: %s", key, error)
                continue
            self._uses.setdefault(serial, _TokenUses(expires)).given[bytes.fromhex(public)] = certificate

    async def issue(self, line: str) -> str:
        """The certificate that a request asks for, as a line.

        Raises ``InvalidCertificate`` for what is no request, ``NotAnIssuer``, ``CertificateRefused``, ``StorageError``.
        """
        issuer = self._issuer()
        if issuer is None:
            raise NotAnIssuer("this agent signs no certificates: it has no issuer_key_file")
        request = CertificateRequest.read(line)
        try:
            certificate = await (self._renewed if request.token is None else self._first)(issuer, request)
        except CertificateRefused:
            self._context.counters[Count.CERTIFICATES_REFUSED] += 1
            raise
        self._context.counters[Count.CERTIFICATES_ISSUED] += 1
        log.info("certificate %s is given to %s", certificate.serial_text, ", ".join(certificate.names))
        return encode(CERTIFICATE, certificate.data)

    async def _first(self, issuer: Issuer, request: CertificateRequest) -> Certificate:
        async with self._turn:
            now = self._wall()
            token = issuer.check_token(request, now)
            await self._drop_expired(now)
            uses = self._uses.get(token.serial_text, _TokenUses(token.expires))
            before = uses.given.get(request.public)
            if before is None and len(uses.given) >= token.uses:
                raise CertificateRefused(f"the join token has been used by {token.uses}, which is all that it is for")
            if before is not None and self._authenticator.certificates.is_revoked(before):
                raise CertificateRefused("the certificate of this key was revoked")
            if before is not None and before.names != (request.name,):
                raise CertificateRefused(
                    f"the join token has brought this key a certificate for {', '.join(before.names)}: a node of "
                    "another name needs a key of its own"
                )
            if before is not None and before.is_in_force(now):
                return before
            self._check_holder(request)
            certificate = issuer.first(request, token, now, serial=None if before is None else before.serial)
            store = self._context.store
            assert store is not None, "an issuer has a data directory"
            key = f"{token.serial_text}:{request.public.hex()}"
            await store.put_join_use(key, msgpack.packb([token.expires, certificate.data]))
            uses.given[request.public] = certificate
            self._uses[token.serial_text] = uses
            return certificate

    async def _renewed(self, issuer: Issuer, request: CertificateRequest) -> Certificate:
        await trio.lowlevel.checkpoint()
        assert request.certificate is not None, "the request is for a renewal"
        now = self._wall()
        self._check_counts(request.certificate, now)
        return issuer.renewed(request, now)

    def _check_counts(self, certificate: Certificate, now: float) -> None:
        """Refuse a certificate that members do not believe. Nothing of it is remembered: any stranger may ask."""
        authenticator = self._authenticator
        by = next(
            (each for each in authenticator.certificates.authorities if certificate.is_signed_by(each.public)), None
        )
        excess = None if by is None or by.delegation is None else by.delegation.excess_of(certificate)
        if by is None or certificate.cluster != authenticator.cluster or excess is not None:
            raise CertificateRefused("the certificate is of no authority or issuer that this agent trusts for it")
        if authenticator.certificates.is_revoked(certificate):
            raise CertificateRefused("the certificate was revoked")
        if not certificate.is_in_force(now, LEEWAY):
            raise CertificateRefused("the certificate is not in force at this time")

    def _check_holder(self, request: CertificateRequest) -> None:
        """Refuse a name that a member with another key has now."""
        engine = self._context.engine
        member = engine.state.own if request.name == self._context.name else engine.members.get(request.name)
        if member is None or not member.status.is_present:
            return
        certificate = self._authenticator.certificates.of_member(member)
        if certificate is None or certificate.public != request.public:
            raise CertificateRefused(
                f"the name {request.name} is that of a member with another key: choose another name"
            )

    async def _drop_expired(self, now: float) -> None:
        """Forget the uses of tokens that have expired long ago: these are refused anyway."""
        store = self._context.store
        long_ago = now - _USES_KEPT_SECONDS
        for serial in [serial for serial, uses in self._uses.items() if uses.expires <= long_ago]:
            for public in self._uses.pop(serial).given:
                if store is not None:
                    await store.drop_join_use(f"{serial}:{public.hex()}")

    @property
    def _authenticator(self) -> Authenticator:
        return self._context.engine.state.authenticator


def describe_request(line: str) -> dict[str, Any]:
    """What the audit log keeps of a request for a certificate; nothing of what is none."""
    try:
        request = CertificateRequest.read(line)
    except InvalidCertificate:
        return {}
    if request.token is not None:
        return {"member": request.name, "join_token": request.token.serial_text}
    assert request.certificate is not None, "it is by the one or the other"
    return {"members": list(request.certificate.names), "certificate": request.certificate.serial_text}
