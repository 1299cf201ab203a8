"""Adoption: a node that takes up an identity while it runs keeps what is signed or has no proof, and drops the rest."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg import limits
from gossipreg.authority import AuthorityKey
from gossipreg.model import PRIMARY
from gossipreg.policy import Split
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.identity.signature_verifier import SignatureVerifier
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberExpelled, PoliciesChanged
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, revocation_version
from gossipreg.protocol.registry.records import TableDigest
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.messages import Message
from tests.protocol.delivering import deliver
from tests.protocol.identity.signing import AUTHORITY, OTHER, Peer, names, signer
from tests.protocol.making import BORN, engine, instance, packet, update

TRUSTED = (AUTHORITY.authority,)
UNSIGNED = update("u", port=7050)
FORGED = AuthorityKey("prod", OTHER.key)


def without_identity() -> Engine:
    made = engine("a", authenticator=Authenticator(CertificateVerifier("prod")))
    made.set_wall_clock(BORN, 0.0)
    return made


def hear(here: Engine, sender: MemberUpdate, *said: Message) -> None:
    here.receive(packet(sender, *said), sender.address, 6.0)


def offered(here: Engine) -> list[str]:
    here.handle_timeout(6.1)
    return sorted(f"{each.owner} {each.id}" for each in here.view.service("orders").instances)


def policy(by: Peer | None, service: str) -> PolicyVersion:
    rule = Split(service, {"v1": 1})
    version = PolicyVersion(rule.key, BORN, 0, "u" if by is None else by.name, pack_rule(rule))
    return version if by is None else by.authenticator.sign_policy(version)


def test_what_is_signed_or_has_no_proof_stays_and_what_proves_wrong_is_dropped() -> None:
    here = without_identity()
    b = Peer("b")
    ops, liar = Peer("ops", 7002, signer("ops", grants=("policies",))), Peer("liar", 7003, signer("x"))
    hear(here, b.state(), b.state(), b.offer("orders-1"), b.offer("orders-2"), b.withdraw("orders-2"))
    hear(here, UNSIGNED, UNSIGNED, attrs.evolve(Peer("u").offer("orders-3"), proof=b""), policy(None, "free"))
    hear(here, ops.state(), ops.state(), policy(ops, "right"), policy(b, "wrong"))
    hear(here, liar.state(), liar.state(), liar.offer("orders-4"))
    before = names(here), offered(here)
    steps = list(here.review_identity(TRUSTED, 6.2))
    assert len(steps) > 6
    assert (names(here), offered(here)) == before == (["a", "b", "liar", "ops", "u"], before[1]), "a review drops none"
    assert len(before[1]) == 3
    outputs = here.adopt_identity(TRUSTED, 6.2)
    assert [each.member.name for each in outputs if isinstance(each, MemberExpelled)] == ["liar"]
    assert PoliciesChanged(("split:wrong",)) in outputs
    assert names(here) == ["a", "b", "ops", "u"]
    assert offered(here) == ["b orders-1", "u orders-3"]
    assert [each.key for each in here.state.policies] == ["split:free", "split:right"]


def test_a_review_ahead_leaves_nothing_to_be_verified() -> None:
    here, b = without_identity(), Peer("b")
    hear(here, b.state(), b.state(), *(b.offer(f"orders-{number}") for number in range(5)))
    list(here.review_identity(TRUSTED, 6.2))
    verified = dict(here.state.authenticator.verifier._results)
    here.adopt_identity(TRUSTED, 6.2)
    assert here.state.authenticator.verifier._results == verified
    assert len(verified) >= 7


def test_what_was_reviewed_is_not_verified_again_however_much_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIGNATURES_REMEMBERED_MAX", 4)
    here, b = without_identity(), Peer("b")
    records = [b.offer(f"orders-{number}") for number in range(30)]
    liar, other = Peer("c", 7003), Peer("c", 7003)
    hear(here, b.state(), b.state(), *records)
    hear(here, liar.state(), liar.state(), liar.offer("orders-1"))
    list(here.review_identity(TRUSTED, 6.2))
    hear(here, liar.state(), attrs.evolve(liar.offer("orders-2"), proof=other.offer("orders-2").proof))
    checked = []
    verify = here.state.authenticator.verifier.verify

    def counted(content: tuple[bytes, ...], *given: Any, **more: Any) -> bool:
        checked.append(content)
        return verify(content, *given, **more)

    monkeypatch.setattr(SignatureVerifier, "verify", lambda _, *given, **more: counted(*given, **more))
    here.adopt_identity(TRUSTED, 6.3)
    assert len(checked) < 10
    assert here.state.registry.table("c") is None, "what came since is wrong"
    assert len(offered(here)) == 30


def test_a_review_by_other_authorities_counts_for_nothing() -> None:
    here, c = without_identity(), Peer("c", 7003, signer("c", by=OTHER))
    hear(here, c.state(), c.state(), c.offer())
    assert list(here.review_identity((OTHER.authority,), 6.2))
    here.adopt_identity(TRUSTED, 6.3)
    assert names(here) == ["a"]


@pytest.mark.parametrize("lie", ["forged", "changed", "unsigned", "removal", "digest", "compacted"])
def test_a_table_with_one_lie_is_dropped_and_comes_again_from_its_owner(lie: str) -> None:
    here, b, again = without_identity(), Peer("b"), Peer("b")
    first, second = b.offer("orders-1"), b.offer("orders-2")
    hear(here, b.state(), b.state(), first)
    forged = attrs.evolve(second, proof=Peer("b").offer("orders-2").proof)
    whole = TableDigest("b", BORN, 9, first.digest)
    lies: dict[str, list[Message]] = {
        "forged": [forged],
        "changed": [attrs.evolve(second, version=7)],
        "unsigned": [attrs.evolve(second, proof=b"")],
        "removal": [attrs.evolve(second, payload=None)],
        "digest": [attrs.evolve(whole, table_xor=1, proof=first.proof)],
        "compacted": [whole, attrs.evolve(b.offer("orders-3"), version=10)],
    }
    hear(here, b.state(), *lies[lie])
    here.adopt_identity(TRUSTED, 6.2)
    assert here.state.registry.table("b") is None
    assert "b" in names(here)
    again.signer = b.signer
    deliver(here, b.state(), again.offer("orders-1"))
    assert offered(here) == ["b orders-1"]


def test_a_false_digest_below_a_true_one_is_found() -> None:
    here, b = without_identity(), Peer("b")
    first, missing, third = b.offer("orders-1"), b.offer("orders-2"), b.offer("orders-3")
    false = TableDigest("b", BORN, 2, first.digest)  # it says that the second is no more
    hear(here, b.state(), b.state(), first, false, third)
    table = here.state.registry.table("b")
    assert table is not None
    assert table.compacted_below == 2
    here.adopt_identity(TRUSTED, 6.2)
    deliver(here, b.state(), first, missing, third)
    assert offered(here) == ["b orders-1", "b orders-2", "b orders-3"]


def test_a_false_removal_by_a_digest_is_found() -> None:
    here, b = without_identity(), Peer("b")
    first, missing, third = b.offer("orders-1"), b.offer("orders-2"), b.offer("orders-3")
    hear(here, b.state(), b.state(), first, third)
    hear(here, UNSIGNED, TableDigest("b", BORN, 2, 0, gone=("orders-1",)))
    assert offered(here) == ["b orders-3"]
    here.adopt_identity(TRUSTED, 6.2)
    deliver(here, b.state(), first, missing, third)
    assert offered(here) == ["b orders-1", "b orders-2", "b orders-3"]


def test_revocations_that_are_held_count_if_an_authority_has_signed_them() -> None:
    here, evil = without_identity(), Peer("evil", 7666)
    true = revocation_version(AUTHORITY.revoke(evil.signer.certificate, at=BORN // 1000))
    false = revocation_version(OTHER.revoke(signer("b", by=OTHER).certificate, at=BORN // 1000))
    hear(here, evil.state(), evil.state(), true, false)
    assert names(here) == ["a", "evil"]
    here.adopt_identity(TRUSTED, 6.2)
    assert names(here) == ["a"]
    assert list(here.state.policies) == [true]
    deliver(here, evil.state(), evil.state())
    assert names(here) == ["a"]


def test_a_term_keeps_its_number_and_loses_a_proof_that_is_wrong() -> None:
    here, b = without_identity(), Peer("b")
    right = TermRegister("pg", claimed=3, seen=3)
    proof = b.authenticator.sign_term(right, 3, claimed=True)
    proven = attrs.evolve(right, proofs=attrs.evolve(right.proofs, claimed=proof))
    wrong = attrs.evolve(proven, service="db")
    hear(here, b.state(), b.state(), proven, wrong)
    here.adopt_identity(TRUSTED, 6.2)
    held = {each.service: each for each in here.state.terms}
    assert (held["pg"].claimed, held["pg"].proofs.claimed) == (3, proof)
    assert (held["db"].claimed, held["db"].proofs.claimed) == (3, b"")


def test_a_node_that_signs_from_then_on_registers_again_and_keeps_room_for_codes() -> None:
    here = without_identity()
    here.register(instance("x", role=PRIMARY, term=2), 1.0)
    born, room = here.identity.generation, here.outbox.room
    here.adopt_identity(TRUSTED, 6.2)
    assert (here.identity.generation, here.outbox.room) == (born, room), "it verifies only"
    here.renew_certificate(signer("a"), 6.3)
    assert here.identity.generation > born
    assert here.outbox.room < room
    assert here.state.message_room < room
    table = here.state.registry.table("a")
    assert table is not None
    [record] = table
    assert record.proof
    there = engine(
        "d", authenticator=Authenticator(CertificateVerifier("prod", TRUSTED), IdentityMode.REQUIRE, signer("d"))
    )
    there.set_wall_clock(BORN, 0.0)
    own = here.state.own
    assert own is not None
    deliver(there, own, own, record)
    there.handle_timeout(7.0)
    assert [each.id for each in there.view.service("orders").instances] == ["x"]
