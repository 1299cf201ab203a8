"""What does not fit is left out, and never in silence."""

from __future__ import annotations

import dns.flags
import dns.message
import pytest

from gossipreg.frontends.dns import limits
from tests.frontends.dns.client import DnsClient, additional, data, is_truncated

NAME = "orders.service.gossipreg"


def offer(dns_client: DnsClient, count: int) -> None:
    for number in range(count):
        dns_client.offer(f"10.0.{number // 250}.{number % 250 + 1}")


def test_what_fits_is_whole(dns_client: DnsClient) -> None:
    offer(dns_client, 20)
    response = dns_client.ask(NAME)
    assert (len(data(response)), is_truncated(response)) == (20, False)


def test_what_does_not_fit_is_cut_and_said_and_whole_over_tcp(dns_client: DnsClient) -> None:
    offer(dns_client, 100)
    response = dns_client.ask(NAME)
    assert is_truncated(response)
    assert 25 < len(data(response)) < 32
    whole = dns_client.ask(NAME, tcp=True)
    assert (len(data(whole)), is_truncated(whole)) == (100, False)


@pytest.mark.parametrize("payload", [512, 1232, 4096])
def test_an_answer_is_never_longer_than_the_client_takes(dns_client: DnsClient, payload: int) -> None:
    offer(dns_client, 300)
    query = dns.message.make_query(NAME, "SRV", use_edns=0, payload=payload)
    answer = dns_client.responder.answer(query.to_wire())
    assert answer is not None
    assert payload - 60 < len(answer) <= payload
    assert dns.message.from_wire(answer).edns == 0


def test_addresses_of_targets_are_given_as_far_as_they_fit(dns_client: DnsClient) -> None:
    offer(dns_client, 8)
    response = dns_client.ask(NAME, "SRV")
    assert (len(data(response)), is_truncated(response)) == (8, False)
    assert 0 < len(additional(response)) < 8
    assert len(additional(dns_client.ask(NAME, "SRV", use_edns=0, payload=4096))) == 8


def test_what_is_cut_is_cut_by_weight(dns_client: DnsClient) -> None:
    offer(dns_client, 100)
    dns_client.offer("10.9.9.9", weight=1_000)
    assert all("10.9.9.9" in dns_client.records(NAME) for _ in range(20))


def test_more_than_tcp_can_carry_is_cut_and_said(dns_client: DnsClient) -> None:
    for number in range(30):
        dns_client.offer(f"10.0.0.{number + 1}", meta={f"key{n}": "x" * 200 for n in range(30)})
    response = dns_client.ask(NAME, "TXT", tcp=True)
    assert is_truncated(response)
    assert 10 < len(data(response)) < 20


def test_no_answer_has_more_records_than_are_quickly_drawn(dns_client: DnsClient) -> None:
    offer(dns_client, limits.ANSWER_RECORDS_MAX)
    assert not is_truncated(dns_client.ask(NAME, tcp=True))
    dns_client.offer("10.99.99.99")
    response = dns_client.ask(NAME, tcp=True)
    assert (len(data(response)), is_truncated(response)) == (limits.ANSWER_RECORDS_MAX, True)


@pytest.mark.parametrize("wanted", [True, False])
def test_recursion_is_never_offered(dns_client: DnsClient, wanted: bool) -> None:
    dns_client.offer()
    response = dns_client.ask(NAME, flags=dns.flags.RD if wanted else 0)
    assert bool(response.flags & dns.flags.RD) is wanted
    assert not response.flags & dns.flags.RA
    assert response.flags & dns.flags.AA
    assert not dns_client.ask("www.example.com").flags & dns.flags.AA
