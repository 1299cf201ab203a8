"""Revocations: which certificates and delegations count no more, before their end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from gossipreg.certificate import Permit
from gossipreg.delegation import Delegation
from gossipreg.errors import InvalidCertificate
from gossipreg.signatures import PUBLIC_KEY_BYTES, SigningKey
from gossipreg.signed_document import SignedDocument, authority_id, read_bytes, read_patterns, read_time
from gossipreg.values import frozen


@frozen
class Revocation(SignedDocument):
    """The authority's word that a certificate, or a delegation, counts no more, whatever its holder states under it.

    Its serial number is that of what it revokes, and its holder the key that it is for. Issuers choose serial
    numbers, so one alone may be that of several certificates; a renewed certificate keeps its number and its key.
    Documents of earlier releases name no holder, and revoke all certificates and delegations with their number.
    """

    noun: ClassVar = "revocation"
    readers: ClassVar = {"at": read_time, "until": read_time, "names": read_patterns}
    later_readers: ClassVar = {"holder": read_bytes(PUBLIC_KEY_BYTES)}

    at: int  # seconds since the epoch
    until: int  # when the certificate ends by itself (seconds since the epoch): nothing need be remembered after that
    names: tuple[str, ...]  # whom it named, for people
    holder: bytes = b""  # the public key that the certificate or delegation is for; empty: of any

    @property
    def revoked(self) -> tuple[bytes, bytes]:
        """What it revokes: a serial number and a holder, which may be any."""
        return self.serial, self.holder

    @staticmethod
    def keys_of(permit: Permit) -> tuple[tuple[bytes, bytes], ...]:
        """What is `revoked` by the revocations of a certificate or delegation."""
        return (permit.serial, permit.public), (permit.serial, b"")

    @classmethod
    def of(cls, permit: Permit, by: SigningKey, at: int, delegations: Iterable[Delegation] = ()) -> Self:
        """The revocation of a certificate or delegation, signed ``by`` the authority.

        ``at``: the time of it (seconds since the epoch). ``delegations``: of the issuers whose certificates the
        authority revokes, too. Raises `InvalidCertificate` for a certificate of any other authority or issuer.
        """
        own = [each for each in delegations if each.is_signed_by(by.public)]
        if not any(permit.is_signed_by(each) for each in (by.public, *(each.public for each in own))):
            raise InvalidCertificate(
                f"certificate {permit.serial_text} is of authority {permit.authority}, not of "
                f"{authority_id(by.public)}: only the authority that signed it revokes it"
            )
        return cls.issue(
            by,
            cluster=permit.cluster,
            serial=permit.serial,
            at=at,
            until=permit.not_after,
            names=permit.names,
            holder=permit.public,
        )
