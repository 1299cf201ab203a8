"""No address that may be forged is sent much more than it has asked with."""

from __future__ import annotations

import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.dns import limits
from gossipreg.frontends.dns.reflection import Reflection, network_of, truncated
from tests.frontends.dns.client import DnsClient

BURST = limits.UNPROVEN_BYTES_PER_SECOND * limits.UNPROVEN_BURST_SECONDS


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_not_bounded(host: str) -> None:
    reflection = Reflection()
    assert all(reflection.allows(host, 8192, 0.0) for _ in range(10_000))


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.integers(12, 8192), st.sampled_from(["192.0.2.1", "192.0.2.9", "198.51.100.1"])),
        max_size=60,
    )
)
def test_a_network_is_never_sent_more_than_its_burst_and_its_rate(steps: list[tuple[float, int, str]]) -> None:
    reflection, now, sent = Reflection(), 0.0, {"192.0.2": 0, "198.51.100": 0}
    for wait, size, host in steps:
        now += wait
        if reflection.allows(host, size, now):
            sent[network_of(host)] += size
        assert all(each <= BURST + now * limits.UNPROVEN_BYTES_PER_SECOND + 1 for each in sent.values())


def test_a_network_that_was_refused_is_answered_again_later() -> None:
    reflection = Reflection()
    while reflection.allows("192.0.2.1", 8000, 0.0):
        pass
    assert not reflection.allows("192.0.2.200", 8000, 0.01)
    assert reflection.allows("198.51.100.1", 8000, 0.01)
    assert reflection.allows("192.0.2.1", 8000, 1.0)


def test_what_is_remembered_is_bounded_and_a_destination_is_not_forgotten() -> None:
    reflection = Reflection()
    for number in range(3 * limits.UNPROVEN_NETWORKS_MAX):
        reflection.allows(f"10.{number // 256 % 256}.{number % 256}.1", 100, 0.0)
        reflection.allows("192.0.2.1", 1, 0.0)
    assert len(reflection._left) == limits.UNPROVEN_NETWORKS_MAX
    assert reflection._left["192.0.2"][0] == BURST - 3 * limits.UNPROVEN_NETWORKS_MAX


@pytest.mark.parametrize(
    ("host", "network"),
    [("192.0.2.7", "192.0.2"), ("2001:db8:1:2ff::1", "2001:db8:1:200::"), ("fe80::1%eth0", "fe80::")],
)
def test_neighbours_are_counted_together(host: str, network: str) -> None:
    assert network_of(host) == network


@pytest.mark.parametrize("type_", ["A", "SRV", "TXT", "ANY", "NS"])
@pytest.mark.parametrize("name", ["orders.service.gossipreg", "gossipreg", "nothing.example", "."])
@pytest.mark.parametrize("edns", [None, 0])
def test_what_is_cut_is_an_answer_no_longer_than_the_query(
    dns_client: DnsClient, type_: str, name: str, edns: int | None
) -> None:
    for number in range(20):
        dns_client.offer(f"10.0.0.{number + 1}")
    query = dns.message.make_query(name, type_, use_edns=edns)
    answer = dns_client.responder.answer(query.to_wire())
    assert answer is not None
    cut = truncated(answer)
    assert len(cut) <= len(query.to_wire())
    read = dns.message.from_wire(cut)
    assert query.is_response(read)
    assert read.flags & dns.flags.TC
    assert truncated(b"\x00\x01" + bytes(10)) == b"\x00\x01\x02" + bytes(9)
