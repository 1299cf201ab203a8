"""Impostor: a holder of the cluster's key that states what members have not stated, in packets and on streams.

It knows what the nodes know, and forges from that: other fields under the owner's genuine signature, statements signed
with a certificate that does not allow them, unsigned ones, members and policies that do not exist, deletions, and
genuine statements of any age again. Messages that are not signed at all are left out:
docs/security.md#identity lists them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.certificate import GRANTS, Certificate
from gossipreg.model import Address, Instance, Status
from gossipreg.policy import Split
from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode, Signer
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, revocation_version
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.table import Table
from gossipreg.protocol.registry.terms import TermProofs, TermRegister
from gossipreg.protocol.wire.messages import Message, pack, pack_sender
from gossipreg.protocol.wire.packets import PacketCodec
from gossipreg.revocation import Revocation
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.identities import CLUSTER, Identities
from gossipreg_sim.process import Process
from gossipreg_sim.rng import Rng
from gossipreg_sim.world import EPOCH_MS

#: Genuine statements kept, to be sent again.
_HOARD_MAX: Final = 256

#: Of an owner's records, how many are forged at a time.
_RECORDS: Final = 2

#: The share of strikes on a stream; the others are packets.
_ON_STREAM: Final = 0.3

#: Room in a packet for what is not the message (bytes).
_HEADERS: Final = 64

#: When an ended certificate ended (seconds after the start of the run).
_ENDED: Final = -7200.0

#: Where no node is, and what no node has registered.
_FALSE_ADDRESS: Final = Address("198.18.254.254", 7940)
_INSTANCE: Final = pack_instance(Instance(id="evil", service="service-0", host="198.18.254.254", port=1))


@attrs.define
class Impostor:
    """One attacker. ``ahead``: by how much it dates statements into the future (seconds)."""

    cluster: Cluster
    identities: Identities
    certificate: str  # one of CERTIFICATES
    victim: str  # a node
    rng: Rng
    ahead: float = 0.0
    _authenticator: Authenticator = attrs.field(init=False)
    _codec: PacketCodec = attrs.field(init=False)
    _run_id: int = attrs.field(init=False)
    _hoard: deque[Message] = attrs.field(factory=lambda: deque(maxlen=_HOARD_MAX))

    def __attrs_post_init__(self) -> None:
        self._authenticator = Authenticator(CertificateVerifier(CLUSTER), IdentityMode.REQUIRE, self._signer())
        self._codec = self.cluster.outsiders_codec(self.rng.bits().to_bytes(8))
        self._run_id = self.rng.bits()

    def _signer(self) -> Signer | None:
        """What it signs with; None: it has no certificate."""
        identities = self.identities
        makers: dict[str, Callable[[], Signer]] = {
            "foreign": lambda: identities.signer("*", by=identities.new_authority("foreign"), grants=GRANTS),
            "other": lambda: identities.signer("evil", services=("evil",)),
            "revoked": lambda: self._revoked(identities.signer("*", grants=GRANTS)),
            "ended": lambda: identities.signer("*", grants=GRANTS, end=_ENDED),
            "issued": lambda: identities.signer("*", by=identities.delegate("evil-*", "evil"), grants=GRANTS),
            "numbered": lambda: self._revoked(self._numbered()),
        }
        maker = makers.get(self.certificate)
        return None if maker is None else maker()

    def _revoked(self, signer: Signer) -> Signer:
        """``signer``, whose certificate all nodes know to be revoked from their start."""
        self.identities.publish_from_start(self.identities.revoke(signer.certificate, 0.0))
        return signer

    def _numbered(self) -> Signer:
        """What a stolen issuer has signed, with the serial number of the victim's certificate."""
        serial = self.identities.signer_of(self.victim).certificate.serial
        issuer = self.identities.delegate("evil-*", "evil")
        return self.identities.signer("evil-1", by=issuer, services=("evil",), roles=(), serial=serial)

    def strike(self, target: Process) -> int:
        """Send ``target`` forged statements about what a random node knows; returns how many."""
        alive = self.cluster.alive
        forged = list(self._forged(alive[self.rng.below(len(alive))]))
        sender = pack_sender(self._sender(target))
        packed = [data for data in map(pack, forged) if len(data) <= limits.PACKET_BYTES_MAX - _HEADERS]
        if self.rng.chance(_ON_STREAM):
            self.cluster.inject_stream(target.name, [sender + b"".join(packed) + pack(End())])
        else:
            wall = EPOCH_MS / 1000 + self.cluster.world.seconds
            for data in packed:
                self.cluster.inject(self._codec.encode(sender + data, wall), target.address)
        return len(packed)

    def _sender(self, target: Process) -> int:
        """Whom it pretends to be: a member that its target knows, or no member."""
        members = list(target.engine.members.snapshot())
        if not members or self.rng.chance(0.5):
            return self._run_id
        return members[self.rng.below(len(members))].run_id

    def _forged(self, view: Process) -> Iterator[Message]:
        """Forge from what ``view`` knows, and repeat what it knew before."""
        members = list(view.engine.members.snapshot())
        if not members:
            return  # it has just started
        victim = members[self.rng.below(len(members))]
        owner = self.cluster.running(victim.name) or view  # it may have heard a record before its target has
        table = owner.engine.state.registry.table(victim.name)
        policies = list(view.engine.state.policies)
        yield from self._repeated([victim, *list(table or ()), *policies[:1]], table)
        yield from self._updates(victim)
        if table is not None:
            yield from self._records(victim, table)
        yield from self._policies(victim.name, policies)
        yield from self._terms(victim.name, list(view.engine.state.terms))

    def _repeated(self, known: list[Message], table: Table | None) -> Iterator[Message]:
        """Keep what is known now, and send some of what was known at any time."""
        known += [table.latest_digest] if table is not None and table.latest_digest.version else []
        self._hoard.extend(known)
        for _ in range(3):
            yield self._hoard[self.rng.below(len(self._hoard))]

    def _updates(self, victim: MemberUpdate) -> Iterator[Message]:
        rng = self.rng
        false = _FALSE_ADDRESS if rng.chance(0.3) else victim.address
        changed = attrs.evolve(
            victim,
            generation=victim.generation + (0, 0, 5)[rng.below(3)] + int(1000 * self.ahead),
            incarnation=victim.incarnation + (1, 2, 9)[rng.below(3)],
            status=(Status.ALIVE, Status.ALIVE, Status.LEFT)[rng.below(3)],
            address=false,
            draining=rng.chance(0.5),
            accuser=0,
        )
        yield changed  # under the genuine signature of something else
        yield attrs.evolve(changed, proof=b"")
        yield self._authenticator.sign_update(attrs.evolve(changed, proof=b""))
        yield attrs.evolve(victim, status=Status.LEFT, accuser=0)
        yield attrs.evolve(victim, address=_FALSE_ADDRESS)
        made_up = MemberUpdate(f"ghost-{rng.below(5)}", victim.generation, 0, Status.ALIVE, _FALSE_ADDRESS)
        yield made_up
        yield self._authenticator.sign_update(made_up)

    def _records(self, victim: MemberUpdate, table: Table) -> Iterator[Message]:
        rng = self.rng
        records = list(table)
        for record in rng.sample(list(map(str, range(len(records)))), _RECORDS):
            held = records[int(record)]
            version = held.version + (0, 1, 1000)[rng.below(3)]
            payload = (None, held.payload, records[-1].payload)[rng.below(3)]
            later = attrs.evolve(held, version=version, payload=payload, table_xor=rng.bits())
            yield later
            yield attrs.evolve(later, proof=b"")
            yield attrs.evolve(later, proof=self._authenticator.sign_record(later))
            yield attrs.evolve(held, payload=None)
            proof = held.content + held.proof if held.proof else b""
            yield TableDigest(held.owner, held.generation, held.version, held.table_xor, (held.id,), proof)
        added = Record(victim.name, table.generation, table.latest_digest.version + 1, "evil", rng.bits(), _INSTANCE)
        yield attrs.evolve(added, proof=self._authenticator.sign_record(added))
        digest = table.latest_digest
        if digest.version:
            yield attrs.evolve(digest, gone=tuple(each.id for each in table))
            yield attrs.evolve(digest, version=digest.version + 1)
            yield attrs.evolve(digest, table_xor=0, gone=tuple(each.id for each in table))

    def _policies(self, writer: str, known: list[PolicyVersion]) -> Iterator[Message]:
        wall = EPOCH_MS + int(1000 * (self.cluster.world.seconds + self.ahead))
        rule = Split(f"service-{self.rng.below(3)}", {"evil": 1})
        version = PolicyVersion(rule.key, wall, 0, writer, pack_rule(rule))
        yield version
        yield self._authenticator.sign_policy(version)
        for held in known[:_RECORDS]:
            yield attrs.evolve(held, ms=held.ms + 1)  # under the genuine signature of an earlier one
            yield self._authenticator.sign_policy(attrs.evolve(held, ms=held.ms + 1, payload=None, proof=b""))
        signers = list(self.identities.signers.values())
        if signers and self._authenticator.signer is not None:
            yield self._revocation(signers[self.rng.below(len(signers))].certificate, wall)

    def _terms(self, writer: str, known: list[TermRegister]) -> Iterator[Message]:
        """Higher terms, under the genuine signatures of lower ones or its own, and a reset."""
        wall = EPOCH_MS + int(1000 * (self.cluster.world.seconds + self.ahead))
        for held in known or [TermRegister("store")]:
            higher = attrs.evolve(
                held, claimed=held.claimed + self.rng.below(2), seen=held.seen + 1 + self.rng.below(9)
            )
            yield higher
            yield attrs.evolve(higher, proofs=TermProofs())
            proofs = TermProofs(
                claimed=self._authenticator.sign_term(higher, higher.claimed, claimed=True),
                seen=self._authenticator.sign_term(higher, higher.seen, claimed=False),
            )
            yield attrs.evolve(higher, proofs=proofs)
            reset = TermRegister(held.service, wall, 0, writer, 0, 0)
            yield reset
            yield self._authenticator.sign_reset(reset)

    def _revocation(self, certificate: Certificate, wall: int) -> PolicyVersion:
        """A revocation of a member's certificate that bears the authority's name, and the impostor's signature."""
        signer = self._authenticator.signer
        assert signer is not None, "an impostor without a certificate forges none"
        genuine = self.identities.revoke(certificate, wall / 1000 - EPOCH_MS / 1000)
        body, _ = msgpack.unpackb(genuine.data)
        forged = Revocation.read(msgpack.packb([body, signer.key.sign(b"revocation", body)]))
        return revocation_version(forged)
