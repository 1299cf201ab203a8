"""The DNS server on real sockets of loopback, asked by dnspython's own client."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import ssl
from collections import Counter
from functools import partial
from pathlib import Path

import dns.asyncquery
import dns.asyncresolver
import dns.message
import dns.name
import dns.query
import dns.resolver
import pytest
import trio
import trio.testing

from gossipreg.counters import Count
from gossipreg.frontends.dns import limits, serve_dns, server
from gossipreg.frontends.dns.reflection import Reflection
from gossipreg.frontends.serving.tls import DNS, ServerTls
from gossipreg.model import Address, Instance
from tests import certificates
from tests.frontends.dns.client import DnsClient
from tests.frontends.fake_node import FakeNode


@pytest.fixture
def fake() -> FakeNode:
    return FakeNode()


@pytest.fixture
def counters() -> Counter[str]:
    return Counter()


@pytest.fixture
async def address(fake: FakeNode, counters: Counter[str], nursery: trio.Nursery) -> Address:
    domains = ["gossipreg", "consul"]
    serve = partial(serve_dns, fake, Address("127.0.0.1", 0), domains=domains, counters=counters)
    bound: Address = await nursery.start(serve)
    return bound


@pytest.fixture
def resolver(address: Address) -> dns.asyncresolver.Resolver:
    made = dns.asyncresolver.Resolver(configure=False)
    made.nameservers, made.port = [address.host], address.port
    made.lifetime = 10
    return made


def offer(fake: FakeNode, host: str, port: int = 80) -> None:
    fake.hold(Instance(id=f"{host}:{port}", service="orders", host=host, port=port, owner="alpha"))


def over_tls(query: dns.message.Message, where: Address, certificate: Path) -> dns.message.Message:
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.set_alpn_protocols(["dot"])
    return dns.query.tls(
        query, where.host, timeout=60, port=where.port, ssl_context=trusting, server_hostname=where.host
    )


async def test_a_client_that_trusts_the_certificate_is_answered_over_tls(
    fake: FakeNode, nursery: trio.Nursery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    offer(fake, "10.0.0.1")
    certificate, key = certificates.certificate("127.0.0.1", tmp_path)
    tls = ServerTls(certificate, key, protocols=DNS, failures=Count.DNS_TLS_FAILED)
    counters: Counter[str] = Counter()
    at = Address("127.0.0.1", 0)
    with caplog.at_level(logging.INFO, "gossipreg.frontends.dns.server"):
        await nursery.start(partial(serve_dns, fake, at, domains=["gossipreg"], counters=counters, tls=(at, tls)))
    [where] = [each for record in caplog.records for each in record.args or () if "over TLS" in record.message]
    assert isinstance(where, Address)
    query = dns.message.make_query("orders.service.gossipreg", "A")
    answer = await trio.to_thread.run_sync(over_tls, query, where, certificate)
    assert [record.to_text() for record in answer.answer[0]] == ["10.0.0.1"]
    async with await trio.open_tcp_stream(*where) as stream:  # in clear
        await stream.send_all(len(query.to_wire()).to_bytes(2, "big") + query.to_wire())
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
    assert counters["dns_tls_failed"] == 1


async def test_a_resolver_finds_a_service(
    fake: FakeNode, resolver: dns.asyncresolver.Resolver, counters: Counter[str]
) -> None:
    offer(fake, "10.0.0.1", 8080)
    found = await resolver.resolve("_orders._tcp.service.consul", "SRV")
    assert [each.to_text() for each in found] == ["1 1 8080 8080.0a000001.addr.consul."]
    assert [each.to_text() for each in await resolver.resolve(found[0].target, "A")] == ["10.0.0.1"]
    assert counters == {"dns_answers": 2}


async def test_a_resolver_is_told_what_there_is_not(fake: FakeNode, resolver: dns.asyncresolver.Resolver) -> None:
    with pytest.raises(dns.resolver.NXDOMAIN):
        await resolver.resolve("orders.service.consul", "A")
    offer(fake, "10.0.0.1")
    with pytest.raises(dns.resolver.NoAnswer):
        await resolver.resolve("orders.service.consul", "AAAA")
    with pytest.raises(dns.resolver.NoNameservers):
        await resolver.resolve("www.example.com", "A")


async def test_a_resolver_gets_what_is_too_long_for_udp_over_tcp(
    fake: FakeNode, resolver: dns.asyncresolver.Resolver
) -> None:
    for number in range(90):
        offer(fake, f"10.0.0.{number}")
    assert len(await resolver.resolve("orders.service.consul", "A")) == 90


async def test_a_burst_longer_than_a_batch_is_answered_whole(fake: FakeNode, address: Address) -> None:
    offer(fake, "10.0.0.1")
    query = dns.message.make_query("orders.service.consul", "A")
    count = limits.BATCH_MAX * 2
    with trio.socket.socket(type=socket.SOCK_DGRAM) as client, trio.fail_after(60):
        await client.connect(address)
        for number in range(count):
            query.id = number
            await client.send(query.to_wire())
        answers = {dns.message.from_wire(await client.recv(512)).id for _ in range(count)}
    assert answers == set(range(count))


async def test_queries_on_one_connection_are_answered_in_order(fake: FakeNode, address: Address) -> None:
    offer(fake, "10.0.0.1")
    async with await trio.open_tcp_stream(*address) as stream:
        first, second = (dns.message.make_query("orders.service.consul", type_) for type_ in ("A", "SRV"))
        await stream.send_all(framed(first.to_wire()) + framed(second.to_wire()))
        received = bytearray()
        answers = [await read_framed(stream, received), await read_framed(stream, received)]
    assert [first.is_response(answers[0]), second.is_response(answers[1])] == [True, True]


@pytest.mark.parametrize("junk", [b"", b"\0", b"\0\1x", b"\0\2x", b"\xff\xff"])
async def test_a_connection_that_sends_no_query_is_closed(dns_client: DnsClient, junk: bytes) -> None:
    client, ours = trio.testing.memory_stream_pair()
    await client.send_all(junk)
    await client.send_eof()
    with trio.fail_after(60):
        await server.admit(dns_client.responder, trio.CapacityLimiter(1), ours)
    assert await client.receive_some() == b""


async def test_a_client_that_goes_in_the_middle_harms_no_other(
    fake: FakeNode, address: Address, resolver: dns.asyncresolver.Resolver
) -> None:
    offer(fake, "10.0.0.1")
    stream = await trio.open_tcp_stream(*address)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
    await stream.send_all(b"\0")
    await stream.aclose()
    assert len(await resolver.resolve("orders.service.consul", "A", tcp=True)) == 1


async def test_connections_beyond_the_limit_are_closed(dns_client: DnsClient) -> None:
    connections = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery:
        held, ours = trio.testing.memory_stream_pair()
        nursery.start_soon(server.admit, dns_client.responder, connections, ours)
        await trio.testing.wait_all_tasks_blocked()
        refused, ours = trio.testing.memory_stream_pair()
        await server.admit(dns_client.responder, connections, ours)
        assert await refused.receive_some() == b""
        assert dns_client.responder.counters["dns_connections_refused"] == 1
        await held.aclose()
    assert connections.borrowed_tokens == 0


async def test_an_idle_connection_is_closed(dns_client: DnsClient, autojump_clock: trio.testing.MockClock) -> None:
    client, ours = trio.testing.memory_stream_pair()
    await client.send_all(b"\0")
    await server.serve_tcp(ours, dns_client.responder)
    assert trio.current_time() == pytest.approx(limits.IDLE_SECONDS, abs=0.1)


async def test_a_client_that_does_not_take_its_answer_is_left(
    dns_client: DnsClient, autojump_clock: trio.testing.MockClock
) -> None:
    client, ours = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, framed(dns.message.make_query("gossipreg", "SOA").to_wire()))
        await server.serve_tcp(ours, dns_client.responder)
    assert trio.current_time() == pytest.approx(limits.TAKE_SECONDS, abs=0.1)


class Failing:
    """A socket on which nothing goes well."""

    def __init__(self, *received: bytes) -> None:
        self.received = list(received)
        self.failures = 1
        self.host = "127.0.0.1"
        self.sent: list[bytes] = []

    def recvfrom(self, size: int) -> tuple[bytes, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        if not self.received:
            raise BlockingIOError
        return self.received.pop(), (self.host, 9)

    def sendto(self, answer: bytes, to: object) -> None:
        self.sent.append(answer)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_what_cannot_be_received_or_sent_is_counted(dns_client: DnsClient) -> None:
    query = dns.message.make_query("gossipreg", "SOA").to_wire()
    server._drain(Failing(query, b"junk"), dns_client.responder, Reflection(), 0.0)  # type: ignore[arg-type]
    assert dns_client.responder.counters == {
        "dns_receive_errors": 1,
        "dns_junk_size": 1,
        "dns_answers": 1,
        "dns_send_errors": 1,
    }


def test_a_network_that_was_sent_much_is_told_to_ask_over_tcp(dns_client: DnsClient) -> None:
    for number in range(200):
        dns_client.offer(f"10.0.0.{number + 1}")
    query = dns.message.make_query("orders.service.gossipreg", "SRV", use_edns=0, payload=8192).to_wire()
    for host, cut in (("127.0.0.1", False), ("192.0.2.1", True)):
        client = Failing(*[query] * 64)
        client.failures, client.host = 0, host
        server._drain(client, dns_client.responder, Reflection(), 0.0)  # type: ignore[arg-type]
        assert len(client.sent) == 64
        assert (len(client.sent[-1]) <= len(query)) is cut
    last = dns.message.from_wire(client.sent[-1])
    assert dns.message.from_wire(query).is_response(last)
    assert last.flags & dns.flags.TC
    assert dns_client.responder.counters["dns_unproven_truncated"] > 40


def test_no_more_than_a_batch_is_answered_before_others_get_their_turn(dns_client: DnsClient) -> None:
    waiting = Failing(*[b"junk"] * (limits.BATCH_MAX + 1))
    waiting.failures = 0
    server._drain(waiting, dns_client.responder, Reflection(), 0.0)  # type: ignore[arg-type]
    assert len(waiting.received) == 1


def test_a_batch_ends_when_it_has_taken_long_enough(dns_client: DnsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_SECONDS", 0.0)
    waiting = Failing(*[b"junk"] * limits.BATCH_MAX)
    waiting.failures = 0
    server._drain(waiting, dns_client.responder, Reflection(), 0.0)  # type: ignore[arg-type]
    assert len(waiting.received) == limits.BATCH_MAX - 1, "the clock is looked at after each: one may take milliseconds"


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(2, "big") + packet


async def read_framed(stream: trio.abc.ReceiveStream, received: bytearray) -> dns.message.Message:
    while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
        received += await stream.receive_some()
    end = 2 + int.from_bytes(received[:2], "big")
    packet = bytes(received[2:end])
    del received[:end]
    return dns.message.from_wire(packet)
