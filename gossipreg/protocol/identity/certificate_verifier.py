"""Certificate verifier: decides which certificates count: those signed by a trusted authority, and not revoked.

It verifies the signature of each certificate once, and then remembers the certificate by its document.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.authority import Authority
from gossipreg.certificate import Certificate, Permit
from gossipreg.delegation import Delegation
from gossipreg.errors import InvalidCertificate
from gossipreg.protocol.identity.refusals import StatementRefusal
from gossipreg.protocol.identity.signature_verifier import SignatureVerifier
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.revocation import Revocation
from gossipreg.signatures import SIGNATURE_BYTES
from gossipreg.signed_document import authority_id

#: How far clocks may be off when a certificate begins or ends (seconds). Members whose clock is 25 s off stay out.
LEEWAY: Final = 60.0


@attrs.define(eq=False, repr=False)
class CertificateVerifier:
    """The certificates of one cluster, as one node knows them."""

    cluster: str
    authorities: tuple[Authority, ...] = ()
    revoked: dict[tuple[bytes, bytes], Revocation] = attrs.field(factory=dict)  # by serial number and holder
    signatures: SignatureVerifier = attrs.field(factory=SignatureVerifier)
    _verified_documents: dict[bytes, Certificate] = attrs.field(factory=dict)
    #: The issuers' delegations, by the ids of the issuers.
    _issuers: dict[str, Delegation] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _issuers_among(self.authorities), takes_self=True)
    )

    def of_proof(self, proof: bytes, wall: float, *, is_held: bool = False) -> Certificate | StatementRefusal:
        """The certificate in a proof, if it counts at ``wall`` (seconds since the epoch); or why it does not.

        ``is_held``: the statement that it proves is held.
        """
        certificate = self._verified(proof[SIGNATURE_BYTES:], is_held=is_held)
        if isinstance(certificate, StatementRefusal):
            return certificate
        if self.is_revoked(certificate):
            return StatementRefusal("its certificate was revoked", is_lie=False)
        if not certificate.is_in_force(wall, LEEWAY):
            return StatementRefusal("its certificate is not in force at this time", is_lie=False)
        return certificate

    def of_member(self, member: MemberUpdate) -> Certificate | None:
        """The certificate of a member whose update is held, unless it was revoked since."""
        certificate = self._verified(member.proof[SIGNATURE_BYTES:], is_held=True) if member.proof else None
        if not isinstance(certificate, Certificate) or self.is_revoked(certificate):
            return None
        return certificate

    def is_revoked(self, certificate: Certificate) -> bool:
        """Whether a certificate counts no more: it was revoked itself, or the delegation of an issuer that signed it.

        One that other issuers have renewed is of all of them.
        """
        if not self.revoked:
            return False
        issuers = (self._issuers.get(each) for each in (certificate.authority, *certificate.renewed_from))
        permits: list[Permit] = [certificate, *(each for each in issuers if each is not None)]
        return any(key in self.revoked for permit in permits for key in Revocation.keys_of(permit))

    def _verified(self, document: bytes, *, is_held: bool) -> Certificate | StatementRefusal:
        found = self._verified_documents.get(document)
        if found is not None:
            return found
        verified = self._verify(document, is_held=is_held)
        if isinstance(verified, Certificate):  # what is refused takes no room from what counts
            if len(self._verified_documents) >= limits.CERTIFICATES_REMEMBERED_MAX:
                del self._verified_documents[next(iter(self._verified_documents))]
            self._verified_documents[document] = verified
        return verified

    def _verify(self, document: bytes, *, is_held: bool) -> Certificate | StatementRefusal:
        try:
            certificate = Certificate.read(document)
        except InvalidCertificate:
            return StatementRefusal("its certificate cannot be read")
        is_ours = certificate.cluster == self.cluster
        authority = self._authority_of(certificate, is_held=is_held) if is_ours else None
        if authority is None:
            return StatementRefusal("its certificate is of another authority or cluster")
        excess = None if authority.delegation is None else authority.delegation.excess_of(certificate)
        if excess is not None:
            return StatementRefusal(f"the issuer of its certificate may not sign {excess}")
        return certificate

    def _authority_of(self, document: Certificate | Revocation, *, is_held: bool = False) -> Authority | None:
        """Which of the authorities that this node trusts has signed ``document``."""
        for each in self.authorities:
            content = each.public, document.data
            if authority_id(each.public) == document.authority and self.signatures.verify(
                content, partial(document.is_signed_by, each.public), is_held=is_held
            ):
                return each
        return None

    def has_ended(self, proof: bytes, wall: float) -> bool:
        """Whether the certificate in a proof that was verified counts no more."""
        return isinstance(self.of_proof(proof, wall, is_held=True), StatementRefusal)

    def check_revocation(self, revocation: Revocation | None) -> StatementRefusal | None:
        """Why a revocation that a peer states is not believed; else it counts from now on.

        It counts after the end of its certificate, too: policies that are dated before that end could be signed still.
        """
        if revocation is None or revocation.cluster != self.cluster:
            return StatementRefusal("it is no revocation of this cluster")
        authority = self._authority_of(revocation)
        if authority is None or authority.delegation is not None:
            return StatementRefusal("it is of another authority")
        self.revoked[revocation.revoked] = revocation
        return None

    def trust(self, authorities: tuple[Authority, ...]) -> None:
        """Trust these authorities from now on."""
        self.authorities = authorities
        self._issuers = _issuers_among(authorities)
        self._verified_documents.clear()


def _issuers_among(authorities: tuple[Authority, ...]) -> dict[str, Delegation]:
    return {each.id: each.delegation for each in authorities if each.delegation is not None}
