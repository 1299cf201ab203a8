"""Answers are copies for as long as they are true, and in orders that honour the weights."""

from __future__ import annotations

import logging
from collections import Counter

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipreg.events import InstanceEvent
from gossipreg.frontends.dns import limits
from gossipreg.model import Health
from tests.frontends.dns.client import DnsClient, code, data

NAME = "orders.service.gossipreg"


def test_the_same_question_is_looked_up_once(dns_client: DnsClient) -> None:
    dns_client.offer()
    for _ in range(10):
        dns_client.ask(NAME)
    assert dns_client.node.lookups == 2


def test_the_id_is_always_the_clients(dns_client: DnsClient) -> None:
    dns_client.offer()
    assert {dns_client.ask(NAME, id=number).id for number in (1, 2, 65_535)} == {1, 2, 65_535}


@pytest.mark.parametrize("type_", ["A", "SRV", "AAAA"])
def test_a_change_is_seen_by_the_next_question(dns_client: DnsClient, type_: str) -> None:
    instance = dns_client.offer("10.0.0.1")
    before = dns_client.records(NAME, type_)
    dns_client.offer("10.0.0.2")
    dns_client.offer("fd00::1")
    assert len(dns_client.records(NAME, type_)) > len(before)
    dns_client.node.fail_checks(instance)
    assert not set(before) & set(dns_client.records(NAME, type_))


def test_what_was_missing_is_seen_when_it_comes(dns_client: DnsClient) -> None:
    assert code(dns_client.ask("v2.orders.service.gossipreg")) == "NXDOMAIN"
    dns_client.offer("10.0.0.2", tags=["v2"])
    assert dns_client.records("v2.orders.service.gossipreg") == ["10.0.0.2"]
    dns_client.offer("10.0.0.1", service="v2.orders")
    assert dns_client.records("v2.orders.service.gossipreg") == ["10.0.0.1"]


def test_what_goes_and_comes_again_is_a_copy_again(dns_client: DnsClient) -> None:
    instance = dns_client.offer()
    dns_client.ask(NAME)
    dns_client.withdraw(instance)
    assert code(dns_client.ask(NAME)) == "NXDOMAIN"
    dns_client.offer()
    dns_client.ask(NAME)
    before = dns_client.node.lookups
    dns_client.ask(NAME)
    assert dns_client.node.lookups == before


def test_the_spelling_of_the_name_comes_back(dns_client: DnsClient) -> None:
    dns_client.offer()
    for spelled in ("oRdErS.SeRvIcE.gOsSiPrEg.", "orders.service.gossipreg.", "ORDERS.SERVICE.GOSSIPREG."):
        response = dns_client.ask(spelled)
        assert response.question[0].name.to_text() == spelled
        assert response.answer[0].name.to_text() == spelled
    assert dns_client.node.lookups == 2


def test_a_cookie_changes_nothing(dns_client: DnsClient) -> None:
    dns_client.offer()
    cookies = [dns.edns.GenericOption(dns.edns.OptionType.COOKIE, bytes([number] * 8)) for number in range(3)]
    for cookie in cookies:
        assert dns_client.ask(NAME, use_edns=0, options=[cookie]).edns == 0
    assert dns_client.node.lookups == 2


@pytest.mark.parametrize("weights", [(9, 1), (3, 1), (5, 3, 2), (1, 1, 1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_every_instance_comes_first_as_often_as_it_weighs(
    dns_client: DnsClient, weights: tuple[int, ...], seed: int
) -> None:
    dns_client.responder.zone.rng.seed(seed)
    due = {}
    for number, weight in enumerate(weights, 1):
        dns_client.offer(f"10.0.0.{number}", weight=weight)
        due[number] = 10_000 * weight / sum(weights)
    query = dns.message.make_query(NAME, "A").to_wire()
    firsts = Counter[int]()
    for _ in range(10_000):
        answer = dns_client.responder.answer(query)
        assert answer is not None
        firsts[answer[answer.index(b"\x0a\x00\x00") + 3]] += 1
    chi_squared = sum((firsts[number] - due[number]) ** 2 / due[number] for number in due)
    assert chi_squared < 24  # with one degree of freedom a fair draw exceeds it once in a million runs


def test_nearly_every_answer_in_an_order_is_a_copy(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1")
    dns_client.offer("10.0.0.2")
    for _ in range(limits.ORDERS + 4 * limits.ANSWERS_PER_DRAW):
        dns_client.ask(NAME)
    assert dns_client.node.lookups <= 2 * (limits.ORDERS + 4)


def test_answers_of_one_kind_need_no_other_orders(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1")
    dns_client.join("web-1", "10.0.0.7")
    for name in (NAME, "web-1.node.gossipreg", "gossipreg"):
        for _ in range(3):
            dns_client.ask(name)
    assert dns_client.node.lookups == 2


def test_questions_for_nothing_leave_nothing_behind(dns_client: DnsClient) -> None:
    dns_client.offer()
    dns_client.ask(NAME)
    for number in range(50):
        dns_client.ask(f"x{number}.service.gossipreg")
        dns_client.ask(f"x{number}.example.com")
    assert len(dns_client.responder._kept) == 1
    assert len(dns_client.responder._recognised) == 1


@pytest.mark.parametrize(("limit", "value"), [("CACHE_BYTES", 400), ("QUESTIONS_MAX", 3), ("RECOGNISED_MAX", 2)])
def test_what_is_kept_is_bounded(
    dns_client: DnsClient, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(limits, limit, value)
    for host in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        dns_client.offer(host)
    for _ in range(limits.ORDERS):
        for type_ in ("A", "SRV", "AAAA", "TXT", "ANY"):
            dns_client.ask(NAME, type_)
            kept = dns_client.responder._kept.values()
            assert dns_client.responder._bytes == sum(len(order) for entry in kept for order in entry.orders)
            assert dns_client.responder._bytes <= max(limits.CACHE_BYTES, 1000)
            assert len(dns_client.responder._kept) <= limits.QUESTIONS_MAX
            assert len(dns_client.responder._recognised) <= limits.RECOGNISED_MAX
    assert len(dns_client.records(NAME)) == 3


def test_a_node_that_has_left_fails_to_answer(dns_client: DnsClient) -> None:
    dns_client.offer()
    dns_client.ask(NAME)
    dns_client.directory.is_closed = True
    assert code(dns_client.ask(NAME)) == "SERVFAIL"
    assert code(dns_client.ask(NAME, "SRV")) == "SERVFAIL"


def test_a_mistake_of_ours_is_counted_and_told_ever_more_rarely(
    dns_client: DnsClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dns_client.responder, "zone", None)
    query = dns.message.make_query(NAME, "A").to_wire()
    with caplog.at_level(logging.ERROR):
        for _ in range(7):
            assert dns_client.responder.answer(query) is None
    assert dns_client.responder.counters["dns_mistakes"] == dns_client.responder.counters["tasks_failed"] == 7
    assert len(caplog.records) == 3


_TYPES = st.sampled_from(["A", "AAAA", "SRV", "TXT", "ANY"])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(1, 5)),
        st.tuples(st.just("fail"), st.integers(1, 5)),
        st.tuples(st.just("withdraw"), st.integers(1, 5)),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(steps=_STEPS, types=st.lists(_TYPES, min_size=1, max_size=3))
def test_a_copy_never_says_anything_else_than_a_fresh_answer(steps: list[tuple[str, int]], types: list[str]) -> None:
    dns_client = DnsClient()
    held = {}
    for verb, number in steps:
        if verb == "offer":
            held[number] = dns_client.offer(f"10.0.0.{number}")
        elif number in held and verb == "fail":
            dns_client.offer(f"10.0.0.{number}", health=Health.CRITICAL)
        elif number in held:
            dns_client.withdraw(held.pop(number))
        fresh = DnsClient(node=dns_client.node)
        for type_ in types:
            for _ in range(2):
                told, true = (each.ask(NAME, type_, use_edns=0, payload=4096) for each in (dns_client, fresh))
                assert (code(told), sorted(data(told))) == (code(true), sorted(data(true)))


@given(st.binary(max_size=limits.QUERY_BYTES_MAX + 10))
def test_any_bytes_are_counted_or_answered_and_nothing_is_raised(packet: bytes) -> None:
    _check_junk(packet)


@given(
    flags=st.integers(0, 65_535),
    counts=st.tuples(*[st.integers(0, 3)] * 4),
    rest=st.one_of(
        st.binary(max_size=100),
        st.lists(
            st.sampled_from(
                [
                    b"\x06orders",
                    b"\x07service",
                    b"\x09gossipreg",
                    b"\0",
                    b"\xc0\x0c",
                    b"\xc0\x0d",
                    b"\xff",
                    b"\x40",
                    b"\0\x01\0\x01",
                    b"\0\x21\0\x01",
                    b"\0\xff\0\xff",
                    b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
                    b"\0\0\x29\x04\xd0\0\x01\0\0\0\0",
                    b"\0\0\x29\0\0\0\0\0\0\xff\xff",
                ]
            ),
            max_size=12,
        ).map(b"".join),
    ),
)
def test_what_looks_like_a_query_is_counted_or_answered(flags: int, counts: tuple[int, ...], rest: bytes) -> None:
    _check_junk(b"".join(number.to_bytes(2, "big") for number in (7, flags, *counts)) + rest)


def _check_junk(packet: bytes) -> None:
    dns_client = DnsClient()
    instance = dns_client.offer()
    dns_client.directory.note(InstanceEvent("changed", instance))
    for tcp in (False, True, False):
        answer = dns_client.responder.answer(packet, tcp=tcp)
        assert not dns_client.responder.counters["dns_mistakes"]
        if answer is not None:
            assert answer[:2] == packet[:2]
            assert dns.message.from_wire(answer).flags & dns.flags.QR
    assert dns_client.responder.counters.total() == 3
