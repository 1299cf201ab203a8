"""Why statements are refused, in the words that the log has, and what is no reason to refuse them."""

from __future__ import annotations

import attrs

from gossipreg.authority import AuthorityKey
from gossipreg.model import PRIMARY, Status
from gossipreg.protocol.identity.refusals import StatementRefusal
from gossipreg.protocol.identity.statements import is_same_statement
from gossipreg.protocol.registry.terms import TermProofs, TermRegister
from tests.protocol.identity.signing import AUTHORITY, OTHER, Peer, authenticator, signer
from tests.protocol.making import BORN, update

WALL = BORN / 1000
B = Peer("b")
OPS = Peer("ops", 7012, signer("ops", grants=("policies",)))


def test_a_reset_by_one_that_may_not_is_refused_by_its_grant_and_one_that_is_not_signed_by_its_signature() -> None:
    reset = TermRegister("pg", BORN, 0, "b")
    here = authenticator(None)
    assert here.check_terms(OPS.authenticator.sign_reset(reset), None, WALL) is None
    refusal = here.check_terms(B.authenticator.sign_reset(reset), None, WALL)
    assert refusal == StatementRefusal("its certificate does not allow policies", is_excess=True)
    other = attrs.evolve(reset, counter=7)
    moved = attrs.evolve(other, proofs=OPS.authenticator.sign_reset(reset).proofs)
    assert here.check_terms(moved, None, WALL) == StatementRefusal("its signature is wrong")


def test_a_revocation_is_refused_that_is_of_another_cluster_or_authority() -> None:
    here = authenticator(None)
    test = AuthorityKey.new("test")
    elsewhere = test.revoke(signer("b", by=test).certificate, at=BORN // 1000)
    for revocation in (None, elsewhere):
        assert here.certificates.check_revocation(revocation) == StatementRefusal("it is no revocation of this cluster")
    by_other = OTHER.revoke(signer("b", by=OTHER).certificate, at=BORN // 1000)
    assert here.certificates.check_revocation(by_other) == StatementRefusal("it is of another authority")
    assert here.certificates.revoked == {}
    assert here.certificates.check_revocation(AUTHORITY.revoke(B.signer.certificate, at=BORN // 1000)) is None


def test_a_member_is_believed_in_a_zone_that_its_certificate_allows_and_in_none() -> None:
    east = Peer("c", 7003, signer("c", zones=("east",)))
    here = authenticator(None)
    for zone in ("east", ""):
        said = east.state(zone=zone)
        assert here.check_update(said, None, WALL) == said
    refusal = here.check_update(east.state(zone="west"), None, WALL)
    assert refusal == StatementRefusal("its certificate does not allow zone west")


def test_what_others_add_to_a_members_statement_leaves_it_the_same() -> None:
    accused = attrs.evolve(update("b"), status=Status.SUSPECT, accuser=7, age=3)
    assert is_same_statement(update("b"), accused)
    assert not is_same_statement(update("b"), update("b", incarnation=1))


def test_only_numbers_that_are_stated_need_a_proof() -> None:
    own = OPS.authenticator
    assert not own.lacks_proof(TermRegister("pg"), WALL)
    assert own.lacks_proof(TermRegister("pg", claimed=1, seen=1), WALL)
    vouched = own.vouch(TermRegister("pg", claimed=3, seen=3), WALL)
    assert vouched.proofs.claimed
    assert vouched.proofs == TermProofs(claimed=vouched.proofs.claimed), "a claim is a sight, too"
    assert not own.lacks_proof(vouched, WALL)


def test_a_record_proves_no_term_whose_owner_is_not_known_or_that_carries_no_proof_of_one() -> None:
    register, owner = TermRegister("pg"), Peer("b", signer=B.signer)
    with_term = owner.offer("pg-1", service="pg", role=PRIMARY, term=3)
    without = owner.offer("pg-2", service="pg")
    here = authenticator(None)
    assert here.term_proof_of(register, with_term, B.state())
    assert here.term_proof_of(register, with_term, None) == b""
    assert here.term_proof_of(register, without, B.state()) == b""
