"""Identities of a simulated cluster: its authority, the certificates of its nodes, and a ledger of what they signed.

The signatures are real ones (Ed25519). All keys and serial numbers come from the run's random streams, so a seed gives
the same certificates everywhere. The ledger is the ground truth of the oracle `Authority`: what a node has not signed
itself, it has not stated.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from gossipreg.authority import Authority, AuthorityKey
from gossipreg.certificate import Certificate, Permit
from gossipreg.delegation import Delegation
from gossipreg.model import Status
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode, Signer
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.revocation import Revocation
from gossipreg.signatures import SECRET_KEY_BYTES, SIGNATURE_BYTES, SigningKey
from gossipreg.signed_document import SERIAL_BYTES
from gossipreg_sim.world import EPOCH_MS, World

#: The cluster that certificates are for.
CLUSTER: Final = "sim"

#: When certificates begin and, unless that is given, end (seconds after the start of the run): beyond any run.
BEGIN: Final = -3600.0
END: Final = 30 * 86_400.0

#: What the certificates of nodes allow beside all services and roles.
_GRANTS: Final = ("policies", "keys", "tokens")

Stated = tuple[Any, ...]


@attrs.define
class Ledger:
    """All that the nodes of a cluster have signed, by content, and which certificates were revoked."""

    stated: dict[Stated, None] = attrs.field(factory=dict)
    revoked: dict[bytes, int] = attrs.field(factory=dict)  # `permit_key` -> ns, when it was published first

    def note(self, stated: Stated) -> None:
        """A node has signed it."""
        self.stated[stated] = None

    def has(self, stated: Stated) -> bool:
        """Whether its owner has signed it."""
        return stated in self.stated


def member_stated(update: MemberUpdate) -> Stated:
    """The part of an update that is for its member to state."""
    has_left = update.status is Status.LEFT
    fields = (update.name, update.generation, update.incarnation, update.address, update.zone, update.draining)
    return "member", *fields, has_left


def record_stated(record: Record) -> Stated:
    """What an owner states by a record, or by its tombstone."""
    return "record", record.owner, record.generation, record.version, record.id, record.payload


def table_stated(owner: str, generation: int, version: int, xor: int) -> Stated:
    """What an owner states of its whole table."""
    return "table", owner, generation, version, xor


def policy_stated(version: PolicyVersion) -> Stated:
    """What a writer states by a policy version; a revocation is stated by the authority."""
    return "policy", version.key, version.ms, version.counter, version.writer, version.payload


def term_stated(register: TermRegister, term: int, *, claimed: bool) -> Stated:
    """What a member states by a term of a service, in the epoch of ``register``."""
    return "term", register.service, register.epoch, term, claimed


def reset_stated(register: TermRegister) -> Stated:
    """What a writer states by a reset of a service's terms."""
    return "reset", register.service, register.epoch


@attrs.define(eq=False, repr=False)
class WitnessedAuthenticator(Authenticator):
    """An authenticator of a node, which enters into the ledger what the node signs."""

    ledger: Ledger = attrs.field(factory=Ledger, kw_only=True)

    def sign_update(self, update: MemberUpdate) -> MemberUpdate:
        """Note the update, also that of a node without a certificate."""
        self.ledger.note(member_stated(update))
        return super().sign_update(update)

    def sign_record(self, record: Record) -> bytes:
        """Note the record, and the table that it makes."""
        self.ledger.note(record_stated(record))
        self.ledger.note(table_stated(record.owner, record.generation, record.version, record.table_xor))
        return super().sign_record(record)

    def sign_policy(self, version: PolicyVersion) -> PolicyVersion:
        """Note the version."""
        self.ledger.note(policy_stated(version))
        return super().sign_policy(version)

    def sign_term(self, register: TermRegister, term: int, *, claimed: bool) -> bytes:
        """Note the term."""
        self.ledger.note(term_stated(register, term, claimed=claimed))
        return super().sign_term(register, term, claimed=claimed)

    def sign_reset(self, register: TermRegister) -> TermRegister:
        """Note the reset."""
        self.ledger.note(reset_stated(register))
        return super().sign_reset(register)


@attrs.define
class Identities:
    """The authority of one cluster and what it has signed; ``mode`` is that of nodes without one of their own."""

    world: World
    mode: IdentityMode
    ledger: Ledger = attrs.field(factory=Ledger)
    modes: dict[str, IdentityMode] = attrs.field(factory=dict)  # of nodes that were restarted with another
    signers: dict[str, Signer] = attrs.field(factory=dict)  # by node
    known_revocations: list[Revocation] = attrs.field(factory=list)  # in the files of all nodes, from their start
    issuers: list[Authority] = attrs.field(factory=list)  # in the files of all nodes, from their start
    authority: AuthorityKey = attrs.field(init=False)
    _issued: int = 0

    def __attrs_post_init__(self) -> None:
        self.authority = self.new_authority("authority")

    def new_authority(self, name: str) -> AuthorityKey:
        """An authority of the cluster; its key comes from the stream of that name."""
        return AuthorityKey(CLUSTER, self._key(name))

    def mode_of(self, name: str) -> IdentityMode:
        """What the node asks of statements."""
        return self.modes.get(name, self.mode)

    def authenticator(self, name: str) -> Authenticator:
        """The authenticator of a node that starts now. A node keeps its certificate over restarts."""
        mode = self.mode_of(name)
        if mode is IdentityMode.OFF:
            return WitnessedAuthenticator(CertificateVerifier(CLUSTER), mode, ledger=self.ledger)
        certificates = CertificateVerifier(CLUSTER, (self.authority.authority, *self.issuers))
        return WitnessedAuthenticator(certificates, mode, self.signer_of(name), ledger=self.ledger)

    def delegate(self, name: str, service: str) -> AuthorityKey:
        """A new issuer for members of these names and one service, in the files of all nodes from their start."""
        made = self.new_authority(f"issuer {len(self.issuers)}")
        delegation = Delegation.issue(
            self.authority.key,
            cluster=CLUSTER,
            serial=self._bytes(SERIAL_BYTES, "delegation", len(self.issuers)),
            public=made.key.public,
            agent="issuer",
            names=(name,),
            zones=("*",),
            services=(service,),
            roles=(),
            grants=(),
            not_before=EPOCH_MS // 1000 + int(BEGIN),
            not_after=EPOCH_MS // 1000 + int(END),
            lifetime=int(END - BEGIN),
        )
        self.issuers.append(Authority(CLUSTER, made.key.public, delegation))
        return made

    def signer(
        self,
        *names: str,
        by: AuthorityKey | None = None,
        services: tuple[str, ...] = ("*",),
        roles: tuple[str, ...] = ("*",),
        grants: tuple[str, ...] = (),
        end: float = END,
        serial: bytes | None = None,
    ) -> Signer:
        """A new key with a certificate for ``names``, patterns; ``end`` in seconds after the start of the run.

        ``serial``: a serial number that the signer has chosen.
        """
        self._issued += 1
        key, signed_by = self._key("node", *names, self._issued), by or self.authority
        begin = EPOCH_MS // 1000 + int(min(BEGIN, end - 3600))
        certificate = Certificate.issue(
            signed_by.key,
            cluster=CLUSTER,
            serial=serial or self._bytes(SERIAL_BYTES, "serial", *names, self._issued),
            public=key.public,
            names=names,
            zones=("*",),
            services=services,
            roles=roles,
            grants=grants,
            not_before=begin,
            not_after=EPOCH_MS // 1000 + int(end),
        )
        return Signer(key, certificate)

    def signer_of(self, name: str) -> Signer:
        """What a node signs with, also before it starts."""
        if name not in self.signers:
            self.signers[name] = self.signer(name, grants=_GRANTS)
        return self.signers[name]

    def revoke(self, certificate: Certificate, at: float) -> Revocation:
        """Revoke a certificate; ``at`` in seconds after the start of the run."""
        delegations = tuple(each.delegation for each in self.issuers if each.delegation is not None)
        return self.authority.revoke(certificate, at=EPOCH_MS // 1000 + int(at), delegations=delegations)

    def publish_from_start(self, revocation: Revocation) -> None:
        """Have a revocation in the files of all nodes, before any of them starts."""
        self.known_revocations.append(revocation)
        self.ledger.revoked[revocation_key(revocation)] = 0

    def renew(self, name: str) -> None:
        """Give the node a new key and certificate; it uses them from its next start on."""
        self.signers[name] = self.signer(name, grants=_GRANTS)

    def _key(self, *purpose: object) -> SigningKey:
        return SigningKey(self._bytes(SECRET_KEY_BYTES, *purpose))

    def _bytes(self, count: int, *purpose: object) -> bytes:
        rng = self.world.rng("identity", *purpose)
        return b"".join(rng.bits().to_bytes(8) for _ in range((count + 7) // 8))[:count]


def permit_key(permit: Permit) -> bytes:
    """What tells a certificate from all others: its serial number, which an issuer chooses, and its holder's key."""
    return permit.serial + permit.public


def revocation_key(revocation: Revocation) -> bytes:
    """The `permit_key` of what is revoked."""
    return revocation.serial + revocation.holder


def key_in(proof: bytes) -> bytes:
    """The `permit_key` of the certificate in a proof; empty if there is no proof."""
    return permit_key(Certificate.read(proof[SIGNATURE_BYTES:])) if proof else b""
