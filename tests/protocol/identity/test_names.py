"""Names: with identity only the holder of a certificate for a name decides a conflict about it."""

from __future__ import annotations

import attrs

from gossipreg.counters import Count
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.outputs import NameConflictFound, StatementRefused
from tests.protocol.identity.signing import Peer, authenticator, deliver, node
from tests.protocol.making import BORN, said_to

EVIL = Peer("evil", 7666)
#: Another run of the node's own name, at another address, which booted before.
ELDER = Peer("a", 7002)


def joining(mode: IdentityMode = IdentityMode.REQUIRE) -> Engine:
    """A node that joins, and asks the other run of its name whether it lives."""
    here = node("a", mode, has_seeds=True)
    here.set_wall_clock(BORN, 0.0)
    elder = ELDER.state(generation=BORN - 5000)
    here.receive(b"", ELDER.state().address, 0.5)
    deliver(here, EVIL.state(), elder, now=1.0)
    outputs = here.handle_timeout(1.0)
    assert [each for each in said_to(outputs, elder.address) if isinstance(each, NameConflictQuery)]
    return here


def answer(of: Peer, here: Engine, *, to: int | None = None) -> NameConflictQuery:
    elder = ELDER.state(generation=BORN - 5000)
    said = NameConflictQuery("a", elder.run_id, BORN - 5000, True)
    return of.authenticator.sign_query(said, here.identity.run_id if to is None else to)


def yields(here: Engine, said: NameConflictQuery) -> bool:
    outputs = deliver(here, ELDER.state(generation=BORN - 5000), said, now=1.1)
    return any(isinstance(each, NameConflictFound) and each.yielding for each in outputs)


def test_a_newcomer_yields_to_the_signed_answer_of_the_elder_run() -> None:
    here = joining()
    assert yields(here, answer(ELDER, here))


def test_a_forged_answer_keeps_no_newcomer_out() -> None:
    here = joining()
    unsigned = attrs.evolve(answer(ELDER, here), proof=b"")
    replayed = answer(ELDER, here, to=77)
    by_another = answer(EVIL, here)
    junk = attrs.evolve(unsigned, proof=bytes(200))
    for forged in (unsigned, replayed, by_another, junk, attrs.evolve(answer(ELDER, here), born=1)):
        assert not yields(here, forged)
    assert here.counters[Count.STATEMENTS_REFUSED] == 4
    assert here.counters[Count.STATEMENTS_UNSIGNED] == 1


def test_the_source_of_a_forged_answer_is_named() -> None:
    here = joining()
    outputs = deliver(here, EVIL.state(), attrs.evolve(answer(ELDER, here), proof=b""), now=1.1)
    [refused] = [each for each in outputs if isinstance(each, StatementRefused)]
    assert refused.what == "the name a, this node's own"
    assert refused.source == EVIL.state().address


def test_without_the_requirement_an_unsigned_answer_counts() -> None:
    here = joining(IdentityMode.PREFER)
    assert yields(here, attrs.evolve(answer(ELDER, here), proof=b""))


def test_a_node_without_a_certificate_answers_unsigned() -> None:
    said = NameConflictQuery("a", 1, BORN, True)
    assert authenticator(None, IdentityMode.PREFER).sign_query(said, 2) is said


def test_a_query_that_is_refused_gets_no_answer() -> None:
    here = node("a", IdentityMode.REQUIRE)
    asked = [NameConflictQuery("a", run, 1, False) for run in range(1, 100)]
    assert not any(
        isinstance(each, NameConflictQuery)
        for each in said_to(deliver(here, ELDER.state(), *asked), ELDER.state().address)
    )


def test_a_packet_of_many_queries_gets_one_answer() -> None:
    here = node("a", IdentityMode.PREFER)
    asked = [NameConflictQuery("a", run, 1, False) for run in range(1, 100)]
    said = said_to(deliver(here, ELDER.state(), *asked), ELDER.state().address)
    assert len([each for each in said if isinstance(each, NameConflictQuery)]) == 1
