"""Terms: with identity a service's term is raised, and reset, only by members whose certificate allows it."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.authority import AuthorityKey
from gossipreg.counters import Count
from gossipreg.errors import NotAllowed
from gossipreg.model import PRIMARY
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.outputs import StatementRefused
from gossipreg.protocol.registry.policy_version import revocation_version
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.terms import TermProofs, TermRegister
from gossipreg.protocol.wire.messages import message_of, pack
from gossipreg.signatures import SIGNATURE_BYTES
from tests.protocol.identity.signing import (
    AUTHORITY,
    UNTIL,
    Peer,
    authenticator,
    deliver,
    meeting,
    node,
    receive_over_stream,
    signer,
)
from tests.protocol.making import BORN, address, engine, instance

B = Peer("b")
EVIL = Peer("evil", 7666, signer("evil", services=("other",)))
OPS = Peer("ops", 7012, signer("ops", grants=("policies",), services=("nothing",)))
OTHER_CA = AuthorityKey.new("prod")


def claim(term: int, role: str | None = PRIMARY) -> Record:
    return Peer("b", signer=B.signer).offer("pg-1", service="pg", role=role, term=term)


def signed(by: Peer, register: TermRegister) -> TermRegister:
    """``register`` with the word of ``by`` for each of its parts, whether it may give it or not."""
    word = by.authenticator
    reset = word.sign_reset(register).proofs.reset if register.reset else b""
    claimed = word.sign_term(register, register.claimed, claimed=True)
    return attrs.evolve(
        register, proofs=TermProofs(reset, claimed, word.sign_term(register, register.seen, claimed=False))
    )


def raised(by: Peer, claimed: int, seen: int) -> TermRegister:
    return signed(by, TermRegister("pg", claimed=claimed, seen=seen))


def term_of(of: Engine) -> tuple[int, int]:
    return of.state.terms.claimed("pg"), of.state.terms.seen("pg")


def held(of: Engine) -> TermRegister:
    found = of.state.terms.get("pg")
    assert found is not None
    return found


def with_term(*others: Peer, mode: IdentityMode = IdentityMode.REQUIRE) -> Engine:
    """A node that knows ``b``, with the term 3 that it claims."""
    here = meeting(B, *others, mode=mode)
    deliver(here, B.state(), claim(3))
    assert term_of(here) == (3, 3)
    return here


RESET = TermRegister("pg", BORN + 1000, 0, "ops", 1, 1)
FORGED = {
    "unsigned": TermRegister("pg", claimed=9, seen=9),
    "unsigned, seen only": TermRegister("pg", claimed=3, seen=9),
    "signed for another service": raised(EVIL, 9, 9),
    "for a role that it may not claim": raised(Peer("r", signer=signer("r", roles=())), 9, 9),
    "by another authority": raised(Peer("b", signer=signer("b", by=OTHER_CA)), 9, 9),
    "with the proof of a lower term": attrs.evolve(raised(B, 3, 3), claimed=9, seen=9),
    "with the proof of a seen term": attrs.evolve(
        raised(B, 9, 9), proofs=TermProofs(claimed=B.authenticator.sign_term(RESET, 9, claimed=False))
    ),
    "of the epoch before": attrs.evolve(RESET, claimed=9, seen=9, proofs=raised(B, 9, 9).proofs),
    "reset by one that may not": attrs.evolve(
        RESET, claimed=0, seen=0, proofs=TermProofs(B.authenticator.sign_reset(RESET).proofs.reset)
    ),
    "unsigned reset": attrs.evolve(RESET, claimed=0, seen=0),
    "reset with numbers that none has signed": attrs.evolve(OPS.authenticator.sign_reset(RESET), claimed=9, seen=9),
    "reset with a seen term that none has signed": attrs.evolve(OPS.authenticator.sign_reset(RESET), seen=9),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_term_is_neither_raised_nor_reset_by_those_that_may_not(forged: TermRegister) -> None:
    here = with_term(EVIL)
    outputs = deliver(here, EVIL.state(), forged) + receive_over_stream(here, EVIL.state(), forged)
    assert term_of(here) == (3, 3)
    assert held(here).reset is None
    assert here.counters[Count.STATEMENTS_REFUSED] + here.counters[Count.STATEMENTS_UNSIGNED] == 2
    assert [each.sender for each in outputs if isinstance(each, StatementRefused)] == ["evil", "evil"]


def test_a_signed_register_raises_the_term_where_its_record_has_not_come() -> None:
    giver, here = with_term(), meeting(B)
    read = message_of(pack(held(giver)))
    assert isinstance(read, TermRegister)
    assert read.proofs == held(giver).proofs
    deliver(here, B.state(), read)
    assert term_of(here) == (3, 3)
    assert here.counters[Count.STATEMENTS_UNSIGNED] == 0


def test_parts_of_two_signers_are_merged_with_both_proofs() -> None:
    replica = Peer("r", 7013, signer("r", services=("pg",), roles=("replica",)))
    giver, here = with_term(replica), meeting()
    deliver(giver, replica.state(), raised(replica, 0, 7))
    assert term_of(giver) == (3, 7)
    deliver(here, B.state(), held(giver))
    assert term_of(here) == (3, 7)


def test_what_changes_nothing_is_not_verified() -> None:
    here = with_term()
    deliver(here, B.state(), TermRegister("pg", claimed=1, seen=3))
    assert here.counters[Count.STATEMENTS_UNSIGNED] == 0


def test_a_record_without_the_signature_of_its_term_raises_none() -> None:
    here, record = meeting(B), claim(5)
    for proof in (record.proof[:64], record.proof[:64] + bytes(64)):
        deliver(here, B.state(), attrs.evolve(record, proof=proof))
    assert term_of(here) == (0, 0)


def test_after_a_reset_the_owner_states_its_term_anew_and_its_older_word_counts_no_more() -> None:
    here = with_term()
    here.register(instance("pg-2", service="pg", role=PRIMARY, term=5), 6.0)
    reset = OPS.authenticator.sign_reset(attrs.evolve(RESET, claimed=0, seen=0))
    deliver(here, B.state(), reset)
    assert held(here).epoch == RESET.epoch
    assert term_of(here) == (5, 5), "this node's own instance states its term in the new epoch"
    third = meeting(B)
    deliver(third, B.state(), held(here), claim(9))
    assert term_of(third) == (5, 5), "the record was signed in another epoch"
    deliver(third, B.state(), signed(B, attrs.evolve(RESET, claimed=9, seen=9)))
    assert term_of(third) == (9, 9)


def test_a_term_outlives_the_certificate_that_it_was_signed_under() -> None:
    here = with_term()
    before = held(here).proofs
    gone = revocation_version(AUTHORITY.revoke(B.signer.certificate, at=BORN // 1000))
    deliver(here, EVIL.state(), gone)
    assert here.members.get("b") is None
    assert term_of(here) == (3, 3)
    assert held(here).proofs != before
    newcomer = meeting()
    deliver(newcomer, EVIL.state(), gone, attrs.evolve(held(here), proofs=before))
    assert term_of(newcomer) == (0, 0), "the word of a revoked member is no proof"
    deliver(newcomer, EVIL.state(), held(here))
    assert term_of(newcomer) == (3, 3)


def test_a_term_outlives_the_end_of_the_certificate() -> None:
    here, before = with_term(), 0.0
    proofs = held(here).proofs
    own = signer("a", not_after=UNTIL + 86_400)
    here.renew_certificate(own, before)
    here.set_wall_clock((UNTIL + 120) * 1000, 10.0)
    here.handle_timeout(60.0)
    assert term_of(here) == (3, 3)
    assert held(here).proofs.claimed[64:] == own.certificate.data != proofs.claimed[64:]


def test_a_node_that_may_not_vouch_keeps_the_term_and_takes_the_proof_of_another() -> None:
    giver, here = with_term(EVIL), with_term(EVIL)
    here.state.authenticator.signer = signer("a", services=("nothing",))
    gone = revocation_version(AUTHORITY.revoke(B.signer.certificate, at=BORN // 1000))
    for each in (giver, here):
        deliver(each, EVIL.state(), gone)
    assert held(here).proofs.claimed == b""
    deliver(here, EVIL.state(), TermRegister("pg", claimed=3, seen=3))
    deliver(here, EVIL.state(), raised(EVIL, 3, 3))
    assert held(here).proofs.claimed == b""
    deliver(here, EVIL.state(), held(giver))
    assert held(here) == held(giver)
    assert held(here).proofs == held(giver).proofs
    deliver(here, EVIL.state(), raised(OPS, 3, 3))
    assert held(here).proofs == held(giver).proofs, "a proof that counts is not replaced"


@pytest.mark.parametrize("claimed", [0, 3])
@pytest.mark.parametrize("may_reset", [True, False])
def test_the_reset_of_a_revoked_member_is_void_unless_another_that_may_reset_vouches_for_it(
    may_reset: bool, claimed: int
) -> None:
    here = with_term(OPS)
    if not may_reset:
        here.state.authenticator.signer = signer("a")
    deliver(here, OPS.state(), OPS.authenticator.sign_reset(attrs.evolve(RESET, claimed=claimed, seen=claimed)))
    assert held(here).epoch == RESET.epoch
    fingerprint = here.fingerprint
    deliver(here, B.state(), revocation_version(AUTHORITY.revoke(OPS.signer.certificate, at=BORN // 1000)))
    if may_reset:
        assert held(here).epoch == RESET.epoch
        return
    assert term_of(here) == (claimed, claimed)
    found = here.state.terms.get("pg")
    assert found is None or found.reset is None
    assert here.fingerprint != fingerprint
    third = meeting(OPS)
    deliver(third, B.state(), *([] if found is None else [found]))
    assert term_of(third) == (claimed, claimed)


def test_terms_on_disk_are_proven_anew_where_their_proofs_count_no_more() -> None:
    here = node()
    here.recall([], 1.0, terms=[TermRegister("pg", claimed=4, seen=6)])
    assert term_of(here) == (4, 6)
    third = meeting()
    deliver(third, B.state(), held(here))
    assert term_of(third) == (4, 6)


def test_without_the_requirement_a_term_that_is_not_signed_is_believed() -> None:
    here = meeting(B, mode=IdentityMode.PREFER)
    unsigned = engine("x", address=address(7020))
    unsigned.register(instance("pg-1", service="pg", role=PRIMARY, term=2), 0.0)
    table = unsigned.state.registry.table("x")
    deliver(here, unsigned.identity.own_update(), unsigned.identity.own_update(), *(table or ()))
    assert term_of(here) == (2, 2)
    deliver(here, B.state(), TermRegister("pg", claimed=9, seen=9))
    assert term_of(here) == (9, 9)
    deliver(here, B.state(), attrs.evolve(RESET, claimed=1, seen=1))
    assert term_of(here) == (1, 1)
    here.state.authenticator.signer = None
    here.state.term_state.vouch(6.0)
    assert held(here).reset is not None


def test_a_reset_of_this_node_is_signed_and_refused_if_its_certificate_does_not_allow_it() -> None:
    here, third = with_term(), meeting(B)
    here.reset_term("pg", 7.0)
    deliver(third, B.state(), held(here))
    assert held(third).epoch == held(here).epoch
    here.state.authenticator.signer = signer("a")
    with pytest.raises(NotAllowed, match=r"the term of 'pg': .* --allow policies"):
        here.reset_term("pg", 8.0)


def test_a_node_without_a_certificate_signs_no_term() -> None:
    nameless = authenticator(None, IdentityMode.PREFER)
    assert nameless.sign_term(RESET, 1, claimed=True) == b""
    assert nameless.sign_reset(RESET) is RESET
    assert nameless.vouch(RESET, BORN / 1000).proofs == TermProofs()


def test_a_reset_that_is_stamped_anew_is_signed_anew() -> None:
    here = node()
    here.recall([], 1.0, terms=[attrs.evolve(RESET, ms=BORN + 3 * 86_400_000)])
    [before] = here.state.term_state.restamp(2.0)
    assert held(here).epoch < before.epoch
    third = meeting()
    deliver(third, B.state(), held(here))
    assert held(third).epoch == held(here).epoch


def test_a_malformed_list_of_proofs_is_none() -> None:
    packed = pack(TermRegister("pg", claimed=1, seen=1, proofs=TermProofs(claimed=b"x")))
    read = message_of(packed.replace(b"\x93\xc4\x00\xc4\x01x\xc4\x00", b"\x92\xc4\x00\xc4\x01x"))
    assert isinstance(read, TermRegister)
    assert read.proofs == TermProofs()


def test_a_record_without_a_term_carries_the_signature_of_the_record_only() -> None:
    here = meeting()
    sizes = []
    for term in (0, 3):
        here.register(instance("x", term=term), 7.0)
        table = here.state.registry.table("a")
        assert table is not None
        [record] = table
        sizes.append(len(record.proof))
    assert sizes == [SIGNATURE_BYTES, 2 * SIGNATURE_BYTES]
