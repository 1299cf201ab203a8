"""Target of the DNS port: queries over UDP and TCP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import dns.exception
import dns.message

from gossipreg.frontends.dns import limits
from tests.frontends.dns.client import DnsClient
from tests.fuzz.target import Target

_CONTROLLER: Final[list[DnsClient]] = []


def _controller() -> DnsClient:
    """Return one controller for all inputs, as in an agent: a query must leave no harmful state behind."""
    if not _CONTROLLER:
        dns_client = DnsClient()
        for number in range(60):
            dns_client.offer(f"10.0.0.{number + 1}", tags=("v1", "v.2"), zone="north", weight=number % 3)
        dns_client.offer("2001:db8::1", service="stock", role="primary")
        dns_client.join("beta", "10.0.1.1")
        _CONTROLLER.append(dns_client)
    return _CONTROLLER[0]


def _dns(data: bytes) -> str:
    """First byte: over TCP or UDP."""
    tcp, packet = data[:1] == b"t", data[1:]
    responder = _controller().responder
    answer = responder.answer(packet, tcp=tcp)
    assert not responder.counters["dns_mistakes"], "an internal error"
    if answer is None:
        return "nothing"
    assert answer[:2] == packet[:2], "an answer has the id of its query"
    assert answer[2] & 0x80, "an answer has the response flag"
    assert len(answer) <= (limits.TCP_BYTES_MAX if tcp else limits.UDP_BYTES_MAX)
    try:
        message = dns.message.from_wire(answer)
    except dns.exception.DNSException as error:  # a name that dnspython can read but not write
        raise AssertionError(f"an answer that cannot be read: {answer.hex()}") from error
    return f"{message.rcode()} {len(message.answer)} {message.flags:x} {message.edns}"


def _dns_seeds() -> Iterator[bytes]:
    names = (
        *("orders.service.gossipreg", "v1.orders.service.consul", "_orders._tcp.service.gossipreg", "gossipreg"),
        *(
            "beta.node.gossipreg",
            "0a000001.addr.gossipreg",
            "1.1.0.10.in-addr.arpa",
            "orders.service.north.zone.consul",
        ),
        *("ns.gossipreg", "absent.service.gossipreg", "elsewhere.example"),
    )
    for name in names:
        for type_ in ("A", "AAAA", "SRV", "ANY", "SOA", "PTR"):
            yield b"u" + dns.message.make_query(name, type_, id=7).to_wire()
    yield b"t" + dns.message.make_query(names[0], "SRV", id=7).to_wire()
    yield b"u" + dns.message.make_query(names[0], "SRV", id=7, use_edns=0, payload=4096).to_wire()
    yield b"u" + dns.message.make_query(names[0], "A", id=7, use_edns=1).to_wire()
    yield (
        b"u"
        + dns.message.make_query(
            names[0], "A", id=7, use_edns=0, options=[dns.edns.GenericOption("COOKIE", b"x" * 8)]
        ).to_wire()
    )


TARGETS: Final = (
    Target(
        "dns",
        "a query gets no answer, or one that can be read, with its id, within the size",
        _dns,
        _dns_seeds,
        (b"\x07service", b"\x04node", b"\xc0\x0c", b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00"),
        bytes_max=600,
    ),
)
