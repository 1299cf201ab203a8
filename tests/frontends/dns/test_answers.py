"""What does not fit is left out, and never in silence."""

from __future__ import annotations

import dns.flags
import dns.message
import pytest

from gossipreg.frontends.dns import limits
from tests.frontends.dns.desk import Desk, additional, data, is_truncated

NAME = "orders.service.gossipreg"


def offer(desk: Desk, count: int) -> None:
    for number in range(count):
        desk.offer(f"10.0.{number // 250}.{number % 250 + 1}")


def test_what_fits_is_whole(desk: Desk) -> None:
    offer(desk, 20)
    response = desk.ask(NAME)
    assert (len(data(response)), is_truncated(response)) == (20, False)


def test_what_does_not_fit_is_cut_and_said_and_whole_over_tcp(desk: Desk) -> None:
    offer(desk, 100)
    response = desk.ask(NAME)
    assert is_truncated(response)
    assert 25 < len(data(response)) < 32
    whole = desk.ask(NAME, tcp=True)
    assert (len(data(whole)), is_truncated(whole)) == (100, False)


@pytest.mark.parametrize("payload", [512, 1232, 4096])
def test_an_answer_is_never_longer_than_the_client_takes(desk: Desk, payload: int) -> None:
    offer(desk, 300)
    query = dns.message.make_query(NAME, "SRV", use_edns=0, payload=payload)
    answer = desk.door.answer(query.to_wire())
    assert answer is not None
    assert payload - 60 < len(answer) <= payload
    assert dns.message.from_wire(answer).edns == 0


def test_addresses_of_targets_are_given_as_far_as_they_fit(desk: Desk) -> None:
    offer(desk, 8)
    response = desk.ask(NAME, "SRV")
    assert (len(data(response)), is_truncated(response)) == (8, False)
    assert 0 < len(additional(response)) < 8
    assert len(additional(desk.ask(NAME, "SRV", use_edns=0, payload=4096))) == 8


def test_what_is_cut_is_cut_by_weight(desk: Desk) -> None:
    offer(desk, 100)
    desk.offer("10.9.9.9", weight=1_000)
    assert all("10.9.9.9" in desk.records(NAME) for _ in range(20))


def test_more_than_tcp_can_carry_is_cut_and_said(desk: Desk) -> None:
    for number in range(30):
        desk.offer(f"10.0.0.{number + 1}", meta={f"key{n}": "x" * 200 for n in range(30)})
    response = desk.ask(NAME, "TXT", tcp=True)
    assert is_truncated(response)
    assert 10 < len(data(response)) < 20


def test_no_answer_has_more_records_than_are_quickly_drawn(desk: Desk) -> None:
    offer(desk, limits.ANSWER_RECORDS_MAX)
    assert not is_truncated(desk.ask(NAME, tcp=True))
    desk.offer("10.99.99.99")
    response = desk.ask(NAME, tcp=True)
    assert (len(data(response)), is_truncated(response)) == (limits.ANSWER_RECORDS_MAX, True)


@pytest.mark.parametrize("wanted", [True, False])
def test_recursion_is_never_offered(desk: Desk, wanted: bool) -> None:
    desk.offer()
    response = desk.ask(NAME, flags=dns.flags.RD if wanted else 0)
    assert bool(response.flags & dns.flags.RD) is wanted
    assert not response.flags & dns.flags.RA
    assert response.flags & dns.flags.AA
    assert not desk.ask("www.example.com").flags & dns.flags.AA
