"""Authenticator: signs what this node states, and decides whether a peer's statement is that of whom it is about.

Theory of operation (docs/decisions/0074). A member's update carries its proof: a signature and the member's
certificate. Its records carry a signature only, verified with the certificate of the update that is held; a table
digest carries the signature of the record that made it. Policies outlive their writer, so they carry a proof of their
own.

A statement is verified once, where it would change something: what is held already, or superseded, is not looked at. So
an idle node verifies nothing. Certificates are verified once each.

Without identity (`Identity mode OFF`) proofs are carried along, and not looked at.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.authority import Authority
from gossipreg.certificate import Certificate, Revocation
from gossipreg.errors import InvalidCertificate
from gossipreg.model import Instance
from gossipreg.protocol.identity.statements import (
    MEMBER,
    POLICY,
    RECORD,
    VERDICT,
    is_same_statement,
    member_statement,
    policy_statement,
    record_statement,
    verdict_statement,
)
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.key_statements import is_about_keys
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import CONTENT_BYTES, Record, TableDigest
from gossipreg.protocol.registry.token_statements import is_about_tokens
from gossipreg.signatures import SIGNATURE_BYTES, SigningKey

#: How far clocks may be off when a certificate begins or ends (seconds). Members whose clock is 25 s off stay out.
LEEWAY: Final = 60.0


class IdentityMode(enum.Enum):
    """Whether statements must be signed."""

    OFF = "off"
    PREFER = "prefer"  # what is signed is verified; a member that once was signed is not believed unsigned
    REQUIRE = "require"  # what is not signed is refused


@attrs.frozen
class Signer:
    """What a node signs with."""

    key: SigningKey
    certificate: Certificate


@attrs.frozen
class StatementRefusal:
    """Why a statement is not believed: a few words. ``unsigned``: it has no signature at all."""

    why: str
    unsigned: bool = False
    is_excess: bool = False  # signed by its owner, whose certificate does not allow it
    is_lie: bool = True  # whether the peer that sent it had to know better


@attrs.define(eq=False, repr=False)
class Authenticator:
    """Signs and verifies for one node."""

    cluster: str
    mode: IdentityMode = IdentityMode.OFF
    signer: Signer | None = None
    authorities: tuple[Authority, ...] = ()
    revoked: dict[bytes, Revocation] = attrs.field(factory=dict)  # by serial number
    _certificates: dict[bytes, Certificate | StatementRefusal] = attrs.field(factory=dict)  # by document
    _own: dict[bytes, bytes] = attrs.field(factory=dict)  # what this node states of itself -> its proof

    @property
    def is_on(self) -> bool:
        """Whether statements are verified."""
        return self.mode is not IdentityMode.OFF

    # Signing

    def sign_update(self, update: MemberUpdate) -> MemberUpdate:
        """This node's own ``update`` with its proof."""
        if self.signer is None:
            return update
        said = member_statement(self.cluster, update)
        proof = self._own.get(said)
        if proof is None:
            proof = self.signer.key.sign(MEMBER, said) + self.signer.certificate.data
            self._own = {said: proof}
        return attrs.evolve(update, proof=proof)

    def use(self, signer: Signer) -> None:
        """Sign with ``signer`` from now on."""
        self.signer = signer
        self._own = {}

    def sign_record(self, record: Record) -> bytes:
        """The signature of one of this node's own records; none without a certificate."""
        if self.signer is None:
            return b""
        said = record_statement(self.cluster, record, record.content)
        return self.signer.key.sign(RECORD, said)

    def sign_policy(self, version: PolicyVersion) -> PolicyVersion:
        """A version that this node has written, with its proof."""
        if self.signer is None:
            return version
        signature = self.signer.key.sign(POLICY, policy_statement(self.cluster, version))
        return attrs.evolve(version, proof=signature + self.signer.certificate.data)

    def sign_verdict(self, update: MemberUpdate, own_run: int) -> MemberUpdate:
        """``update``, by which this node accuses another or itself, with this node as a witness."""
        if self.signer is None or not self.is_on:
            return update
        signature = self.signer.key.sign(VERDICT, verdict_statement(self.cluster, update, own_run))
        return attrs.evolve(update, witnesses=((own_run, signature),))

    def excess_of(self, instance: Instance) -> str | None:
        """What of ``instance`` this node's certificate does not allow, as ``service NAME``; None if it allows all."""
        if self.signer is None or not self.is_on:
            return None
        return _excess(self.signer.certificate, instance)

    def lacks(self, grant: str) -> bool:
        """Whether this node's certificate does not allow what ``grant`` names; without identity all is allowed."""
        if not self.is_on:
            return False
        if self.signer is None:
            return self.mode is IdentityMode.REQUIRE
        return grant not in self.signer.certificate.grants

    # Verifying

    def check_update(
        self, update: MemberUpdate, held: MemberUpdate | None, wall: float
    ) -> MemberUpdate | StatementRefusal:
        """A peer's ``update`` about a member, with the proof of its own part; or why it is not believed.

        ``held``: what is held of that member. ``wall``: this node's wall clock (seconds since the epoch).
        """
        if not self.is_on:
            return update
        if held is not None and held.proof and is_same_statement(update, held):
            return attrs.evolve(update, proof=held.proof)
        if not update.proof:
            return self._unsigned(update.name, held) or update
        certificate = self.certificate_of(update.proof, wall)
        if isinstance(certificate, StatementRefusal):
            return certificate
        said = member_statement(self.cluster, update)
        if not certificate.key.is_signed(MEMBER, said, update.proof[:SIGNATURE_BYTES]):
            return StatementRefusal("its signature is wrong")
        return _beyond_name(certificate, update.name) or _beyond_zone(certificate, update.zone) or update

    def _unsigned(self, name: str, held: MemberUpdate | None) -> StatementRefusal | None:
        if self.mode is IdentityMode.REQUIRE:
            return StatementRefusal("it is not signed", unsigned=True)
        if held is not None and held.proof:
            # A node of an earlier release passes signed statements on without their proof.
            return StatementRefusal(f"it is not signed, and {name} signs what it states", unsigned=True, is_lie=False)
        return None

    def witnesses_of(
        self, update: MemberUpdate, by_run_id: Callable[[int], MemberUpdate | None], grant: str = ""
    ) -> dict[bytes, tuple[int, bytes]]:
        """Those that have signed the verdict in ``update``, by their public keys; with ``grant``, that have it."""
        found: dict[bytes, tuple[int, bytes]] = {}
        for run_id, signature in update.witnesses:
            accuser = by_run_id(run_id)
            certificate = None if accuser is None else self.held_certificate(accuser)
            if certificate is None or (grant and grant not in certificate.grants):
                continue
            if certificate.key.is_signed(VERDICT, verdict_statement(self.cluster, update, run_id), signature):
                found[certificate.public] = run_id, signature
        return found

    def check_record(self, record: Record, owner: MemberUpdate | None) -> StatementRefusal | None:
        """Why a peer's record is not believed. ``owner``: what is held of its owner."""
        if not self.is_on:
            return None
        if owner is None or owner.generation != record.generation or not owner.proof:
            return self._unsigned(record.owner, None)
        if not record.proof:
            return self._unsigned(record.owner, owner)
        refusal = self._check_table(record, owner, record.content, record.proof)
        if refusal is not None or record.payload is None:
            return refusal
        certificate = self.held_certificate(owner)
        assert certificate is not None, "its proof was verified"
        try:
            excess = _excess(certificate, record.instance)
        except BadPayload:
            return None  # counted as such by the table
        return None if excess is None else StatementRefusal(f"its certificate does not allow {excess}", is_excess=True)

    def check_digest(self, digest: TableDigest, owner: MemberUpdate | None) -> StatementRefusal | None:
        """Why a peer's digest of an owner's whole table is not believed."""
        if not self.is_on or not digest.version:
            return None
        if owner is None or owner.generation != digest.generation or not owner.proof:
            return self._unsigned(digest.owner, None)
        if not digest.proof:
            return self._unsigned(digest.owner, owner)
        return self._check_table(digest, owner, digest.proof[:CONTENT_BYTES], digest.proof[CONTENT_BYTES:])

    def _check_table(
        self, said: Record | TableDigest, owner: MemberUpdate, content: bytes, signature: bytes
    ) -> StatementRefusal | None:
        certificate = self.held_certificate(owner)
        if certificate is None:
            return StatementRefusal("the certificate of its owner does not count")
        stated = record_statement(self.cluster, said, content)
        if not certificate.key.is_signed(RECORD, stated, signature):
            return StatementRefusal("its signature is wrong")
        return None

    def check_policy(self, version: PolicyVersion) -> StatementRefusal | None:
        """Why a peer's policy version is not believed. It counts if its writer's certificate was in force then."""
        if not self.is_on:
            return None
        if not version.proof:
            return self._unsigned(version.writer, None)
        certificate = self.certificate_of(version.proof, version.ms / 1000)
        if isinstance(certificate, StatementRefusal):
            return certificate
        grant = grant_for(version.key)
        if not certificate.key.is_signed(
            POLICY, policy_statement(self.cluster, version), version.proof[:SIGNATURE_BYTES]
        ):
            return StatementRefusal("its signature is wrong")
        if grant not in certificate.grants:
            return StatementRefusal(f"its certificate does not allow {grant}", is_excess=True)
        return _beyond_name(certificate, version.writer)

    # Certificates

    def certificate_of(self, proof: bytes, wall: float) -> Certificate | StatementRefusal:
        """The certificate in a proof, if it counts at ``wall`` (seconds since the epoch); or why it does not."""
        certificate = self._verified(proof[SIGNATURE_BYTES:])
        if isinstance(certificate, StatementRefusal):
            return certificate
        if certificate.serial in self.revoked:
            return StatementRefusal("its certificate was revoked", is_lie=False)
        if not certificate.is_in_force(wall, LEEWAY):
            return StatementRefusal("its certificate is not in force at this time", is_lie=False)
        return certificate

    def held_certificate(self, member: MemberUpdate) -> Certificate | None:
        """The certificate of a member whose update is held, unless it was revoked since."""
        certificate = self._verified(member.proof[SIGNATURE_BYTES:]) if member.proof else None
        if not isinstance(certificate, Certificate) or certificate.serial in self.revoked:
            return None
        return certificate

    def _verified(self, document: bytes) -> Certificate | StatementRefusal:
        found = self._certificates.get(document)
        if found is None:
            if len(self._certificates) >= limits.CERTIFICATES_REMEMBERED_MAX:
                del self._certificates[next(iter(self._certificates))]
            found = self._certificates[document] = self._verify(document)
        return found

    def _verify(self, document: bytes) -> Certificate | StatementRefusal:
        try:
            certificate = Certificate.read(document)
        except InvalidCertificate:
            return StatementRefusal("its certificate cannot be read")
        authority = self._authority_of(certificate)
        if authority is None or certificate.cluster != self.cluster:
            return StatementRefusal("its certificate is of another authority or cluster")
        return certificate

    def _authority_of(self, document: Certificate | Revocation) -> Authority | None:
        return next((each for each in self.authorities if document.is_signed_by(each.public)), None)

    def has_ended(self, proof: bytes, wall: float) -> bool:
        """Whether the certificate in a proof that was verified counts no more."""
        return isinstance(self.certificate_of(proof, wall), StatementRefusal)

    def check_revocation(self, revocation: Revocation | None) -> StatementRefusal | None:
        """Why a revocation that a peer states is not believed; else it counts from now on.

        It counts after the end of its certificate, too: policies that are dated before that end could be signed still.
        """
        if revocation is None or revocation.cluster != self.cluster:
            return StatementRefusal("it is no revocation of this cluster")
        if self._authority_of(revocation) is None:
            return StatementRefusal("it is of another authority")
        self.revoked[revocation.serial] = revocation
        return None

    def trust(self, authorities: tuple[Authority, ...]) -> None:
        """Trust these authorities from now on."""
        self.authorities = authorities
        self._certificates.clear()


def grant_for(key: str) -> str:
    """What a certificate has to allow for versions of this key to be written under it."""
    return "keys" if is_about_keys(key) else "tokens" if is_about_tokens(key) else "policies"


def _beyond_name(certificate: Certificate, name: str) -> StatementRefusal | None:
    if certificate.allows("names", name):
        return None
    return StatementRefusal(f"its certificate is for {', '.join(certificate.names)}")


def _beyond_zone(certificate: Certificate, zone: str) -> StatementRefusal | None:
    if not zone or certificate.allows("zones", zone):
        return None
    return StatementRefusal(f"its certificate does not allow zone {zone}")


def _excess(certificate: Certificate, instance: Instance) -> str | None:
    """What of ``instance`` a certificate does not allow."""
    if not certificate.allows("services", instance.service):
        return f"service {instance.service}"
    if instance.role is not None and not certificate.allows("roles", instance.role):
        return f"role {instance.role}"
    return None
