"""Members with certificates, and what they sign, for tests."""

from __future__ import annotations

from typing import Any

import attrs

from gossipreg.authority import AuthorityKey, new_node_key
from gossipreg.model import PRIMARY, Instance
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode, Signer
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.identity.packet_proofs import PacketProofs
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import Output
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import Message
from gossipreg.signatures import SIGNATURE_BYTES
from tests.protocol.making import BORN, engine, instance, packet, update

AUTHORITY = AuthorityKey.new("prod")
#: The peers made so far, by the run id of their first run and their public key; the first of each.
PEERS: dict[tuple[int, bytes], Peer] = {}
OTHER = AuthorityKey.new("prod")
FROM, UNTIL = BORN // 1000 - 3600, BORN // 1000 + 86_400


def signer(*names: str, by: AuthorityKey = AUTHORITY, **fields: Any) -> Signer:
    """A key with a certificate for ``names``."""
    key = new_node_key()
    given: dict[str, Any] = {"not_before": FROM, "not_after": UNTIL}
    return Signer(key, by.sign(key.public, names=names, **{**given, **fields}))


def authenticator(
    who: Signer | None, mode: IdentityMode = IdentityMode.REQUIRE, cluster: str = "prod"
) -> Authenticator:
    return Authenticator(CertificateVerifier(cluster, (AUTHORITY.authority,)), mode, who)


def node(name: str = "a", mode: IdentityMode = IdentityMode.REQUIRE, **fields: Any) -> Engine:
    """An engine that signs, and asks others to."""
    made = engine(name, authenticator=authenticator(signer(name, grants=("policies", "forget")), mode), **fields)
    made.set_wall_clock(BORN, fields.get("now", 0.0))
    return made


@attrs.define
class Peer:
    """A member that signs what it states, itself or whatever else it is told to."""

    name: str
    port: int = 7001
    signer: Signer = attrs.field(default=attrs.Factory(lambda self: signer(self.name), takes_self=True))
    registry: Registry = attrs.field(default=attrs.Factory(lambda self: Registry(self.name), takes_self=True))
    proofs: PacketProofs = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.registry.sign = self._sign
        self.proofs = PacketProofs(self.authenticator)
        PEERS.setdefault((self.state().run_id, self.signer.key.public), self)

    def _sign(self, record: Record, of: Instance | None) -> bytes:
        """The proof of a record; that of its term is in the epoch before any reset."""
        proof = self.authenticator.sign_record(record)
        if of is None or not of.term:
            return proof
        register = TermRegister(of.service)
        return proof + self.authenticator.sign_term(register, of.term, claimed=of.role == PRIMARY)[:SIGNATURE_BYTES]

    @property
    def authenticator(self) -> Authenticator:
        return authenticator(self.signer)

    def proven(self, data: bytes, to: Engine) -> bytes:
        """``data``, a packet or frame of this peer, with its code for a node."""
        return self.proofs.seal(data, to.state.own)

    def state(self, **fields: Any) -> MemberUpdate:
        """Its update about itself, signed."""
        return self.authenticator.sign_update(update(self.name, port=self.port, **fields))

    def offer(self, id_: str = "orders-1", **fields: Any) -> Record:
        record, _ = self.registry.offer(instance(id_, **fields), BORN)
        return record

    def withdraw(self, id_: str) -> Record:
        record, _ = self.registry.delete(id_, BORN)
        return record


def meeting(*peers: Peer, mode: IdentityMode = IdentityMode.REQUIRE) -> Engine:
    """A node that knows ``peers``, each by its own signed word."""
    made = node(mode=mode)
    for peer in peers:
        own = peer.state()
        made.receive(peer.proven(packet(own, own), made), own.address, 6.0)
    return made


def names(of: Engine) -> list[str]:
    """The members that an engine knows, itself among them."""
    return sorted(member.name for member in of.members.snapshot())


def proven(node: Engine, sender: MemberUpdate, *said: Message) -> bytes:
    """What ``sender`` sends to a node, with its code if it is the first run of a peer."""
    data, held = packet(sender, *said), node.members.by_run_id(sender.run_id)
    certificate = None if held is None else node.state.authenticator.certificates.of_member(held)
    peer = None if certificate is None else PEERS.get((sender.run_id, certificate.public))
    return data if peer is None else peer.proven(data, node)


def deliver(node: Engine, sender: MemberUpdate, *said: Message, now: float = 6.0) -> list[Output]:
    return node.receive(proven(node, sender, *said), sender.address, now)


def receive_over_stream(
    node: Engine, sender: MemberUpdate, *said: Message, stream: int = -1, now: float = 6.0
) -> list[Output]:
    return node.stream_frame(stream, proven(node, sender, *said), sender.address, now)
