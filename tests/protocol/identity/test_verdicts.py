"""Verdicts: a failure is proven, and a failed member forgotten, only as far as members that may say so signed it."""

from __future__ import annotations

import attrs

from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import StatementRefused
from tests.protocol.delivering import believed
from tests.protocol.identity.signing import Peer, deliver, meeting, signer
from tests.protocol.making import update

B = Peer("b")
FIRST, SECOND = Peer("first", 7010), Peer("second", 7011)
OPS = Peer("ops", 7012, signer("ops", grants=("forget",)))


def verdict(status: Status, *accusers: Peer, incarnation: int = 0) -> MemberUpdate:
    """``b`` has that status: its kernel has refused ``accusers``, and each has signed; the first one states it."""
    said = attrs.evolve(B.state(incarnation=incarnation), status=status, accuser=accusers[0].state().run_id)
    said = attrs.evolve(said, refused=status is not Status.LEFT)
    signed = [each.authenticator.sign_verdict(said, each.state().run_id).witnesses for each in accusers]
    return attrs.evolve(said, witnesses=tuple(one for each in signed for one in each))


def status_of(node: Engine) -> Status:
    return believed(node, "b").status


def test_two_signed_refusals_prove_a_failure_that_carries_both_signatures() -> None:
    here = meeting(B, FIRST, SECOND)
    by_first, by_second = (verdict(Status.SUSPECT, each) for each in (FIRST, SECOND))
    deliver(here, FIRST.state(), by_first)
    assert status_of(here) is Status.SUSPECT
    deliver(here, FIRST.state(), by_first)
    assert status_of(here) is Status.SUSPECT, "the same accuser proves nothing more"
    deliver(here, SECOND.state(), by_second)
    assert status_of(here) is Status.FAILED
    assert believed(here, "b").witnesses == (*by_first.witnesses, *by_second.witnesses)


def test_signatures_against_a_former_incarnation_do_not_go_with_a_later_failure() -> None:
    here = meeting(B, FIRST, SECOND)
    suspected = attrs.evolve(verdict(Status.SUSPECT, FIRST), refused=False)
    deliver(here, FIRST.state(), FIRST.authenticator.sign_verdict(suspected, FIRST.state().run_id))
    deliver(here, FIRST.state(), verdict(Status.SUSPECT, FIRST))
    assert set(here.membership_handler.accusations._signed) == {("b", False), ("b", True)}
    deliver(here, B.state(), B.state(incarnation=1))
    assert status_of(here) is Status.ALIVE
    assert here.membership_handler.accusations._signed == {}, "nothing is kept about one that is suspect no more"
    later = [verdict(Status.SUSPECT, each, incarnation=1) for each in (FIRST, SECOND)]
    for accuser, said in zip((FIRST, SECOND), later, strict=True):
        deliver(here, accuser.state(), said)
    assert status_of(here) is Status.FAILED
    assert believed(here, "b").witnesses == (*later[0].witnesses, *later[1].witnesses)


def test_an_accusation_that_was_verified_and_comes_again_without_its_signature_is_no_refused_statement() -> None:
    here = meeting(B, FIRST)
    said = verdict(Status.SUSPECT, FIRST)
    deliver(here, FIRST.state(), said)
    stranger = Peer("stranger", 7013)
    deliver(here, stranger.state(), attrs.evolve(said, witnesses=()))
    assert here.counters[Count.STATEMENTS_REFUSED] == 0


def test_a_second_refusal_that_is_not_signed_proves_nothing() -> None:
    here = meeting(B, FIRST, SECOND)
    deliver(here, FIRST.state(), verdict(Status.SUSPECT, FIRST))
    deliver(here, SECOND.state(), attrs.evolve(verdict(Status.SUSPECT, SECOND), witnesses=()))
    assert status_of(here) is Status.SUSPECT


def test_this_nodes_own_signature_is_one_of_the_two() -> None:
    here = meeting(B, FIRST)
    failed = verdict(Status.FAILED, FIRST)
    own = here.state.authenticator.sign_verdict(failed, here.identity.run_id).witnesses
    deliver(here, FIRST.state(), failed)
    assert status_of(here) is Status.SUSPECT
    deliver(here, FIRST.state(), attrs.evolve(failed, witnesses=(*failed.witnesses, *own)))
    assert status_of(here) is Status.FAILED


def test_a_failed_member_is_forgotten_by_the_word_of_a_member_that_may_say_so_only() -> None:
    here = meeting(B, FIRST, SECOND, OPS)
    deliver(here, FIRST.state(), verdict(Status.FAILED, FIRST, SECOND))
    assert status_of(here) is Status.FAILED
    unsigned = attrs.evolve(verdict(Status.LEFT, OPS), witnesses=())
    outputs = deliver(here, FIRST.state(), verdict(Status.LEFT, FIRST), unsigned)
    why = [each.why for each in outputs if isinstance(each, StatementRefused)]
    assert why == ["it is to be forgotten by the word of no member that may say so"] * 2
    assert here.counters[Count.STATEMENTS_REFUSED] == 2
    assert status_of(here) is Status.FAILED
    deliver(here, FIRST.state(), verdict(Status.LEFT, OPS))
    assert status_of(here) is Status.LEFT


def test_what_is_superseded_is_neither_verified_nor_counted() -> None:
    here = meeting(FIRST)
    held = B.state(incarnation=3)
    deliver(here, held, held)
    deliver(here, FIRST.state(), update("b"), FIRST.authenticator.sign_update(update("b", incarnation=2)))
    assert believed(here, "b") == held
    assert here.counters[Count.STATEMENTS_REFUSED] + here.counters[Count.STATEMENTS_UNSIGNED] == 0


def test_a_wrong_signature_is_not_added_to_what_was_believed_unsigned() -> None:
    here = meeting(mode=IdentityMode.PREFER)
    unsigned = update("b")
    deliver(here, unsigned, unsigned)
    deliver(here, FIRST.state(), FIRST.authenticator.sign_update(unsigned))
    assert believed(here, "b").proof == b""
    deliver(here, FIRST.state(), B.authenticator.sign_update(unsigned))
    assert believed(here, "b").proof == B.state().proof


def test_the_signature_of_a_superseded_statement_is_not_added_to_a_later_unsigned_one() -> None:
    here = meeting(mode=IdentityMode.PREFER)
    later = update("b", incarnation=3)
    deliver(here, later, later)
    deliver(here, later, B.state(incarnation=2))
    assert believed(here, "b") == later
    assert believed(here, "b").proof == b""
