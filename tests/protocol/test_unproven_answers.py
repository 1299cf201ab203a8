"""Answers to unproven addresses: no message has a node send there much more than it was sent."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import Transmit
from gossipreg.protocol.registry.records import Record, RecordRequest
from gossipreg.protocol.wire.messages import Message
from tests.protocol.delivering import deliver
from tests.protocol.identity.signing import Peer, node
from tests.protocol.making import engine, instance, packet, said_to, spoken, update
from tests.protocol.unproven_answers import VICTIM, questions, ratios, situations, table

B = update("b")
SECURITY = Path(__file__).parents[2] / "docs" / "security.md"


def test_each_kind_of_message_is_asked_in_each_situation() -> None:
    for name, here, sender in situations():
        assert set(questions(here, sender)) == set(get_args(Message)), name


def test_no_message_has_an_unproven_address_sent_more_than_the_stated_factor() -> None:
    found = ratios()
    assert {key: ratio for key, ratio in found.items() if ratio > limits.ANSWER_FACTOR_MAX} == {}
    assert found["`Ping`", "a stranger"] > 1, "it is answered"
    assert found["`RecordRequest`", "a member that was made up, without a key"] == 0
    assert table() in SECURITY.read_text(), "python -m tests.protocol.unproven_answers prints it"


def test_a_question_without_a_proof_gets_an_answer_without_one() -> None:
    here = node("a", IdentityMode.PREFER)
    asked = NameConflictQuery("a", 7, 1, False)
    proven = Peer("a", 7040).authenticator.sign_query(asked, here.identity.run_id)
    for number, question in enumerate((asked, proven)):
        [answer] = said_to(here.receive(packet(50 + number, question), VICTIM, 6.0 + number), VICTIM)
        assert isinstance(answer, NameConflictQuery)
        assert bool(answer.proof) == bool(question.proof)


def test_without_a_key_a_member_gets_long_answers_once_it_has_answered_at_its_address() -> None:
    here = engine(is_open=True)
    for number in range(20):
        here.register(instance(f"orders-{number}"), 0.5)
    deliver(here, B, B, now=0.6)
    [ping] = (each for each in said_to(here.handle_timeout(1.0), B.address) if isinstance(each, Ping) and each.seq)
    own = here.identity.own_update()
    request = RecordRequest("a", own.generation, 0, ())
    assert deliver(here, B, request, now=1.1) == []
    assert here.counters[Count.ANSWERS_TOO_LONG] == 2
    deliver(here, B, Ack(ping.seq + 1, 0, 0), now=1.1)
    assert deliver(here, B, request, now=1.2) == [], "an ack of another ping proves nothing"
    deliver(here, B, Ack(ping.seq, 0, 0), now=1.3)
    said = said_to(deliver(here, B, request, now=1.4), B.address)
    assert sum(isinstance(each, Record) for each in said) == 20


@pytest.mark.parametrize("member", [VICTIM, B.address])
def test_of_the_pings_in_one_packet_one_is_answered(member: Address) -> None:
    here = engine()
    deliver(here, B, B, now=0.6)
    for now in (1.0, 2.0):
        outputs = here.receive(packet(B, *[Ping(number, 0, 1) for number in range(1, 200)]), member, now)
        acks = [each for each in said_to(outputs, member) if isinstance(each, Ack)]
        assert [each.seq for each in acks] == [1]


def test_a_stranger_gets_no_ack_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_FACTOR_MAX", 1)
    here = engine()
    outputs = here.receive(packet(50, Ping(1, 0, 1)), VICTIM, 1.0)
    assert not any(isinstance(each, Transmit) for each in outputs)
    assert here.counters[Count.ANSWERS_TOO_LONG] == 1


def test_a_member_with_its_code_gets_long_answers_at_its_own_address_and_at_no_other() -> None:
    here, peer = node(mode=IdentityMode.REQUIRE), Peer("b")
    for number in range(20):
        here.register(instance(f"orders-{number}"), 0.5)
    own = peer.state()
    here.receive(peer.proven(packet(own, own), here), own.address, 0.6)
    asked = packet(own, RecordRequest("a", here.identity.own_update().generation, 0, ()))
    sizes = []
    for source in (VICTIM, own.address):
        outputs = here.receive(peer.proven(asked, here), source, 0.7)
        sizes.append(sum(len(each.data) for each in outputs if isinstance(each, Transmit) and each.to == source))
    assert sizes[0] == 0
    assert sizes[1] > 20 * len("orders-1")
    assert sizes[1] > limits.ANSWER_FACTOR_MAX * len(asked)


def test_without_a_key_the_numbers_of_pings_follow_from_none_before() -> None:
    here = engine(is_open=True)
    deliver(here, B, B, now=0.6)
    numbers = []
    for period in range(1, 9):
        pings = [each for each in said_to(here.handle_timeout(float(period)), B.address) if isinstance(each, Ping)]
        numbers += [each.seq for each in pings if each.seq]
        deliver(here, B, Ack(numbers[-1], 0, 0), now=period + 0.01)
    steps = {after - before for before, after in pairwise(numbers)}
    assert len(steps) == len(numbers) - 1


def test_a_member_that_sends_from_elsewhere_gets_its_ack_with_as_much_news_as_has_room() -> None:
    here = engine()
    deliver(here, B, B, now=0.6)
    for number in range(20):
        here.register(instance(f"orders-{number}", meta={"filler": "x" * 200}), 0.7)
    asked = packet(B, Ping(1, 0, 1))
    sent = [each.data for each in here.receive(asked, VICTIM, 1.0) if isinstance(each, Transmit) and each.to == VICTIM]
    assert len(sent) == 1
    assert len(asked) < len(sent[0]) <= limits.ANSWER_FACTOR_MAX * len(asked)


def test_without_a_key_a_ping_has_this_node_begin_a_probe_that_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_FACTOR_MAX", 0)
    here = engine(is_open=True)
    deliver(here, B, B, update("c", port=7002), now=0.1)
    outputs = deliver(here, B, Ping(1, 0, 1), now=here.detector.prober.next_period - 0.01)
    pings = [ping for sent in outputs if isinstance(sent, Transmit) for ping in spoken(sent.data)]
    assert [type(each) for each in pings if isinstance(each, Ping | Ack)] == [Ping]


def test_without_a_key_a_member_that_has_signed_its_address_gets_what_it_asks_for() -> None:
    here, peer = node(mode=IdentityMode.PREFER, is_open=True), Peer("b")
    for number in range(20):
        here.register(instance(f"orders-{number}"), 0.5)
    request = RecordRequest("a", here.identity.own_update().generation, 0, ())
    deliver(here, peer.state(), peer.state(), now=0.6)
    said = said_to(deliver(here, peer.state(), request, now=0.7), peer.state().address)
    assert sum(isinstance(each, Record) for each in said) == 20


@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize("mode", IdentityMode)
def test_a_member_behind_a_nat_gets_what_it_asks_for_where_it_is_proven_to_be(
    mode: IdentityMode, is_heard: bool
) -> None:
    here, peer = node(mode=mode), Peer("b")
    for number in range(20):
        here.register(instance(f"orders-{number}"), 0.5)
    own = peer.state()
    for _ in range(2):
        here.receive(peer.proven(packet(own, own), here), own.address if is_heard else VICTIM, 0.6)
    asked = packet(own, RecordRequest("a", here.identity.own_update().generation, 0, ()))
    said = said_to(here.receive(peer.proven(asked, here), VICTIM, 0.7), own.address)
    assert sum(isinstance(each, Record) for each in said) == (20 if is_heard else 0)
