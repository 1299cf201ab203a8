"""A DNS listener at every address of the machine answers unknown clients only within bounds."""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial
from typing import Any, cast

import attrs
import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest
import trio

from gossipreg.counters import Count
from gossipreg.frontends.dns import limits, serve_dns, server
from gossipreg.frontends.dns.reflection import Reflection
from gossipreg.model import Address, Instance
from tests.frontends.dns.client import DnsClient
from tests.frontends.fake_node import FakeNode


@pytest.fixture
async def port(nursery: trio.Nursery) -> int:
    fake = FakeNode()
    for number in range(1, 200):
        fake.hold(Instance(id=str(number), service="orders", host=f"10.0.0.{number}", port=80, owner="alpha"))
    serve = partial(serve_dns, fake, Address("0.0.0.0", 0), domains=["gossipreg"], counters=Counter())
    bound: Address = await nursery.start(serve)
    assert bound.host == "0.0.0.0"
    return bound.port


async def ask(port: int, type_: str, **how: Any) -> dns.message.Message:
    query = dns.message.make_query("orders.service.gossipreg", type_, **how)
    return await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=60)


async def test_a_later_version_of_edns_is_told_ours(port: int) -> None:
    answer = await ask(port, "A", use_edns=1)
    assert answer.rcode() == dns.rcode.BADVERS
    assert answer.edns == 0
    assert not answer.answer


async def test_a_question_for_every_type_gets_the_least(port: int) -> None:
    answer = await ask(port, "ANY", use_edns=0, payload=4096)
    assert [each.to_text() for rrset in answer.answer for each in rrset] == ['"RFC8482" ""']


@attrs.define
class Wire:
    """A UDP socket at which queries wait, each from a source of its own choice; and where what was sent to."""

    queries: list[tuple[bytes, tuple[str, int]]]
    sent: list[tuple[bytes, tuple[str, int]]] = attrs.field(factory=list)

    def recvfrom(self, _: int) -> tuple[bytes, tuple[str, int]]:
        if not self.queries:
            raise BlockingIOError
        return self.queries.pop()

    def sendto(self, answer: bytes, source: tuple[str, int]) -> None:
        self.sent.append((answer, source))


@pytest.mark.slow
def test_a_forged_source_is_sent_no_more_than_its_network_has_room_for_and_others_are_answered() -> None:
    dns_client = DnsClient(own=Address("0.0.0.0", 8600))
    for number in range(1, 200):
        dns_client.offer(f"10.0.0.{number}")
    query = dns.message.make_query("orders.service.gossipreg", "A", use_edns=0, payload=4096).to_wire()
    wire = Wire([(query, (f"192.0.2.{number % 250}", 53)) for number in range(600)])
    reflection = Reflection()
    while wire.queries:
        server._drain(cast("socket.socket", wire), dns_client.responder, reflection, 0.0)
    full = [answer for answer, _ in wire.sent if not dns.message.from_wire(answer).flags & dns.flags.TC]
    cut = [answer for answer, _ in wire.sent if dns.message.from_wire(answer).flags & dns.flags.TC]
    assert sum(map(len, full)) <= limits.UNPROVEN_BYTES_PER_SECOND * limits.UNPROVEN_BURST_SECONDS
    assert max(map(len, cut)) <= len(query), "which amplifies nothing"
    assert dns_client.responder.counters[Count.DNS_UNPROVEN_TRUNCATED] == len(cut) > 400
    wire.queries.append((query, ("198.51.100.7", 53)))
    server._drain(cast("socket.socket", wire), dns_client.responder, reflection, 0.0)
    assert len(wire.sent[-1][0]) > 1_000
