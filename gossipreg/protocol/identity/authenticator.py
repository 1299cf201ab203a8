"""Authenticator: signs this node's statements, and decides whether a peer's statement is genuine.

Theory of operation (docs/decisions/0074). A member's update carries its proof: a signature and the member's
certificate. Its records carry a signature only, verified with the certificate of the update that is held; a table
digest carries the signature of the record that made it. Policies outlive their writer, so they carry a proof of their
own.

A statement is verified once, and only where it would change something: one that is held already, or superseded, is not
verified. So an idle node verifies nothing. If the certificate does not allow a statement, it is refused before its
signature is verified. A certificate is verified once (`CertificateVerifier`). A refused signature is remembered, and
refused without work when it comes again; `SignatureVerifier` bounds how many one sender can have verified.

Without identity (`IdentityMode.OFF`) proofs are passed on, and not verified.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from gossipreg.certificate import Certificate
from gossipreg.model import PRIMARY, Instance, Status
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.identity.refusals import (
    StatementRefusal,
    beyond_name,
    beyond_terms,
    beyond_zone,
    excess_of,
    grant_for,
)
from gossipreg.protocol.identity.signature_verifier import SignatureVerifier
from gossipreg.protocol.identity.statements import (
    MEMBER,
    NAME,
    POLICY,
    RECORD,
    RESET,
    SUSPICION,
    TERM,
    VERDICT,
    is_same_statement,
    member_statement,
    name_statement,
    policy_statement,
    record_statement,
    reset_statement,
    term_statement,
    verdict_statement,
)
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import CONTENT_BYTES, Record, TableDigest
from gossipreg.protocol.registry.terms import TermProofs, TermRegister
from gossipreg.signatures import SIGNATURE_BYTES, SigningKey
from gossipreg.values import frozen


class IdentityMode(enum.Enum):
    """Whether statements must be signed."""

    OFF = "off"
    PREFER = "prefer"  # what is signed is verified; a member that once was signed is not believed unsigned
    REQUIRE = "require"  # what is not signed is refused


@frozen
class Signer:
    """What a node signs with."""

    key: SigningKey
    certificate: Certificate


@attrs.define(eq=False, repr=False)
class Authenticator:
    """Signs and verifies for one node."""

    certificates: CertificateVerifier
    mode: IdentityMode = IdentityMode.OFF
    signer: Signer | None = None
    _own: dict[bytes, bytes] = attrs.field(factory=dict)  # what this node states of itself -> its proof

    @property
    def cluster(self) -> str:
        """The name of the cluster, which is a part of everything that is signed."""
        return self.certificates.cluster

    @property
    def verifier(self) -> SignatureVerifier:
        """What verifies signatures, and bounds how many."""
        return self.certificates.signatures

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

    def prolongs(self, own: MemberUpdate, wall: float) -> bool:
        """Whether this node's certificate only lasts longer than that of its ``own`` update, which still counts.

        It may be of another authority, or of another issuer.
        """
        before = self.certificates.of_member(own)
        if before is None or self.signer is None or self.certificates.has_ended(own.proof, wall):
            return False
        now = self.signer.certificate
        lasting = attrs.evolve(before, not_before=now.not_before, not_after=now.not_after)
        lasting = attrs.evolve(lasting, authority=now.authority, renewed_from=now.renewed_from)
        return attrs.evolve(lasting, serial=now.serial, data=now.data) == now

    def sign_record(self, record: Record) -> bytes:
        """The signature of one of this node's own records; none without a certificate."""
        if self.signer is None:
            return b""
        said = record_statement(self.cluster, record, record.content)
        return self.signer.key.sign(RECORD, said)

    def sign_term(self, register: TermRegister, term: int, *, claimed: bool) -> bytes:
        """The proof that this node states a term of a service, in the epoch of its ``register``."""
        if self.signer is None:
            return b""
        said = term_statement(self.cluster, register, term, claimed=claimed)
        return self.signer.key.sign(TERM, said) + self.signer.certificate.data

    def sign_reset(self, register: TermRegister) -> TermRegister:
        """A ``register`` that this node has reset, with the proof of each of its parts."""
        if self.signer is None:
            return register
        signature = self.signer.key.sign(RESET, reset_statement(self.cluster, register))
        proofs = TermProofs(reset=signature + self.signer.certificate.data)
        return self._with_term_proofs(attrs.evolve(register, proofs=proofs), register.ms / 1000)

    def vouch(self, register: TermRegister, wall: float) -> TermRegister:
        """``register`` as held here, with proofs of this node's own where those of others are missing or count no more.

        What was believed while its proof counted stays true; others that have not heard of it need a proof that counts.
        A reset that nothing proves any more is void: its numbers stay, without an epoch.
        """
        if not self.lacks_proof(register, wall):
            return register
        if register.reset is not None and not self._has_proof(register.proofs.reset, register.ms / 1000):
            if self.signer is not None and "policies" in self.signer.certificate.grants:
                return self.sign_reset(register)
            if self.mode is IdentityMode.REQUIRE:
                plain = TermRegister(register.service, claimed=register.claimed, seen=register.seen)
                return self._with_term_proofs(plain, wall)
        return self._with_term_proofs(register, wall)

    def lacks_proof(self, register: TermRegister, wall: float) -> bool:
        """Whether a part of ``register`` has no proof that counts at ``wall`` (seconds since the epoch)."""
        if not self.is_on:
            return False
        proofs = register.proofs
        return (
            (register.reset is not None and not self._has_proof(proofs.reset, register.ms / 1000))
            or (register.claimed > 0 and not self._has_proof(proofs.claimed, wall))
            or (register.seen > register.claimed and not self._has_proof(proofs.seen, wall))
        )

    def _has_proof(self, proof: bytes, wall: float) -> bool:
        return bool(proof) and not self.certificates.has_ended(proof, wall)

    def _with_term_proofs(self, register: TermRegister, wall: float) -> TermRegister:
        """``register`` with proofs of this node for its numbers where none counts, as far as its certificate allows."""
        proofs = register.proofs
        if register.claimed and not self._has_proof(proofs.claimed, wall):
            proofs = attrs.evolve(proofs, claimed=self._own_term_proof(register, register.claimed, claimed=True))
        if register.seen > register.claimed and not self._has_proof(proofs.seen, wall):
            proofs = attrs.evolve(proofs, seen=self._own_term_proof(register, register.seen, claimed=False))
        return attrs.evolve(register, proofs=proofs)

    def _own_term_proof(self, register: TermRegister, term: int, *, claimed: bool) -> bytes:
        if self.signer is None or beyond_terms(self.signer.certificate, register.service, claimed=claimed):
            return b""
        return self.sign_term(register, term, claimed=claimed)

    def sign_query(self, query: NameConflictQuery, to: int) -> NameConflictQuery:
        """What this node states of its name to the run ``to`` of the same name, with its proof."""
        if self.signer is None:
            return query
        signature = self.signer.key.sign(NAME, name_statement(self.cluster, query, to))
        return attrs.evolve(query, proof=signature + self.signer.certificate.data)

    def sign_policy(self, version: PolicyVersion) -> PolicyVersion:
        """A version that this node has written, with its proof."""
        if self.signer is None:
            return version
        signature = self.signer.key.sign(POLICY, policy_statement(self.cluster, version))
        return attrs.evolve(version, proof=signature + self.signer.certificate.data)

    def sign_verdict(self, update: MemberUpdate, own_run: int) -> MemberUpdate:
        """``update``, by which this node accuses another or itself, with this node as a witness.

        Its signature tells apart a refusal (or what a member concedes, or has forgotten) and a suspicion.
        """
        if self.signer is None or not self.is_on:
            return update
        is_verdict = update.refused or update.accuser == update.run_id or update.status is Status.LEFT
        kind = VERDICT if is_verdict else SUSPICION
        signature = self.signer.key.sign(kind, verdict_statement(self.cluster, update, own_run))
        return attrs.evolve(update, witnesses=((own_run, signature),))

    def excess_of(self, instance: Instance) -> str | None:
        """What of ``instance`` this node's certificate does not allow, as ``service NAME``; None if it allows all."""
        if self.signer is None or not self.is_on:
            return None
        return excess_of(self.signer.certificate, instance)

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
        certificate = self.certificates.of_proof(update.proof, wall)
        if isinstance(certificate, StatementRefusal):
            return certificate
        beyond = beyond_name(certificate, update.name) or beyond_zone(certificate, update.zone)
        return (
            beyond or self._wrong(certificate, MEMBER, member_statement(self.cluster, update), update.proof) or update
        )

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
        return self._signers_of(update, by_run_id, (VERDICT,), grant)

    def accusers_of(
        self, update: MemberUpdate, by_run_id: Callable[[int], MemberUpdate | None]
    ) -> dict[bytes, tuple[int, bytes]]:
        """Those that have signed that they suspect the member in ``update``, or that it refused, by public keys."""
        return self._signers_of(update, by_run_id, (SUSPICION, VERDICT), "")

    def _signers_of(
        self,
        update: MemberUpdate,
        by_run_id: Callable[[int], MemberUpdate | None],
        kinds: tuple[bytes, ...],
        grant: str,
    ) -> dict[bytes, tuple[int, bytes]]:
        found: dict[bytes, tuple[int, bytes]] = {}
        for run_id, signature in update.witnesses:
            accuser = by_run_id(run_id)
            certificate = None if accuser is None else self.certificates.of_member(accuser)
            if certificate is None or (grant and grant not in certificate.grants):
                continue
            said = verdict_statement(self.cluster, update, run_id)
            if self._is_signed(certificate, kinds, said, signature):
                found[certificate.public] = run_id, signature
        return found

    def check_record(
        self, record: Record, owner: MemberUpdate | None, *, is_barred: bool = False
    ) -> StatementRefusal | None:
        """Why a peer's record is not believed.

        ``owner``: what is held of its owner. ``is_barred``: the owner has signed a record beyond its certificate
        before, so another one is refused without the work of verifying its signature.
        """
        if not self.is_on:
            return None
        if owner is None or owner.generation != record.generation or not owner.proof:
            return self._unsigned(record.owner, None)
        if not record.proof:
            return self._unsigned(record.owner, owner)
        beyond = self._beyond_record(record, owner) if is_barred else None
        if beyond is not None:
            return beyond
        refusal = self._check_table(record, owner, record.content, record.proof[:SIGNATURE_BYTES])
        return refusal or self._beyond_record(record, owner)

    def _beyond_record(self, record: Record, owner: MemberUpdate) -> StatementRefusal | None:
        certificate = self.certificates.of_member(owner)
        if certificate is None or record.payload is None:
            return None
        try:
            excess = excess_of(certificate, record.instance)
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
        certificate = self.certificates.of_member(owner)
        if certificate is None:
            return StatementRefusal("the certificate of its owner does not count")
        stated = record_statement(self.cluster, said, content)
        return self._wrong(certificate, RECORD, stated, signature)

    def check_policy(self, version: PolicyVersion) -> StatementRefusal | None:
        """Why a peer's policy version is not believed. It counts if its writer's certificate was in force then."""
        if not self.is_on:
            return None
        if not version.proof:
            return self._unsigned(version.writer, None)
        certificate = self.certificates.of_proof(version.proof, version.ms / 1000)
        if isinstance(certificate, StatementRefusal):
            return certificate
        grant = grant_for(version.key)
        if grant not in certificate.grants:
            return StatementRefusal(f"its certificate does not allow {grant}", is_excess=True)
        beyond = beyond_name(certificate, version.writer)
        return beyond or self._wrong(certificate, POLICY, policy_statement(self.cluster, version), version.proof)

    def check_terms(self, said: TermRegister, held: TermRegister | None, wall: float) -> StatementRefusal | None:
        """Why a peer's register is not believed, as far as it would change what is ``held``.

        A reset counts if its writer's certificate was in force then, a term if its signer's is in force now.
        """
        before = TermRegister(said.service) if held is None else held
        if not self.is_on or said.epoch < before.epoch:
            return None
        if said.epoch != before.epoch:
            before = TermRegister(said.service)
            refusal = self._check_term_part(said, said.proofs.reset, said.ms / 1000, 0, claimed=None)
            if refusal is not None:
                return refusal
        if said.claimed > before.claimed:
            refusal = self._check_term_part(said, said.proofs.claimed, wall, said.claimed, claimed=True)
            if refusal is not None:
                return refusal
        if said.seen > max(before.seen, said.claimed):
            return self._check_term_part(said, said.proofs.seen, wall, said.seen, claimed=False)
        return None

    def _check_term_part(
        self, said: TermRegister, proof: bytes, wall: float, term: int, *, claimed: bool | None
    ) -> StatementRefusal | None:
        """Why one part of a register is not believed; ``claimed`` is None for its reset."""
        if not proof:
            return self._unsigned(said.service, None)
        certificate = self.certificates.of_proof(proof, wall)
        if isinstance(certificate, StatementRefusal):
            return certificate
        if claimed is None:
            kind, stated = RESET, reset_statement(self.cluster, said)
            beyond = None if "policies" in certificate.grants else "policies"
        else:
            kind, stated = TERM, term_statement(self.cluster, said, term, claimed=claimed)
            beyond = beyond_terms(certificate, said.service, claimed=claimed)
        if beyond is not None:
            return StatementRefusal(f"its certificate does not allow {beyond}", is_excess=True)
        return self._wrong(certificate, kind, stated, proof)

    def term_proof_of(self, register: TermRegister, record: Record, owner: MemberUpdate | None) -> bytes:
        """The proof that a record carries of its term in the epoch of ``register``; empty if it has none."""
        signature = record.proof[SIGNATURE_BYTES:]
        certificate = None if owner is None or not signature else self.certificates.of_member(owner)
        if certificate is None:
            return b""
        instance = record.instance
        stated = term_statement(self.cluster, register, instance.term, claimed=instance.role == PRIMARY)
        # One that was signed in another epoch is an honest member's.
        is_signed = self._is_signed(certificate, (TERM,), stated, signature, may_differ=True)
        return signature + certificate.data if is_signed else b""

    def check_query(self, query: NameConflictQuery, own_run: int, wall: float) -> StatementRefusal | None:
        """Why what a peer states of this node's name, to the run ``own_run`` of it, is not believed."""
        if not self.is_on:
            return None
        if not query.proof:
            return self._unsigned(query.name, None)
        certificate = self.certificates.of_proof(query.proof, wall)
        if isinstance(certificate, StatementRefusal):
            return certificate
        beyond = beyond_name(certificate, query.name)
        return beyond or self._wrong(certificate, NAME, name_statement(self.cluster, query, own_run), query.proof)

    def _wrong(self, certificate: Certificate, kind: bytes, stated: bytes, proof: bytes) -> StatementRefusal | None:
        """The refusal of a statement whose proof does not begin with its signature by the certificate's holder."""
        if self._is_signed(certificate, (kind,), stated, proof[:SIGNATURE_BYTES]):
            return None
        return StatementRefusal("its signature is wrong")

    def _is_signed(
        self,
        certificate: Certificate,
        kinds: tuple[bytes, ...],
        said: bytes,
        signature: bytes,
        *,
        may_differ: bool = False,
    ) -> bool:
        """Whether ``signature`` is that of the certificate's holder, of a statement of one of these kinds."""

        def verify() -> bool:
            return any(certificate.key.is_signed(kind, said, signature) for kind in kinds)

        content = certificate.public, signature, b"|".join(kinds), said
        return self.verifier.verify(content, verify, may_differ=may_differ)
