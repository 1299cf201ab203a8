"""A packet is one question, or junk with a name."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from gossipreg.frontends.dns import limits
from gossipreg.frontends.dns.queries import DnsQuery, UnreadableQuery, read

QUERY = dns.message.make_query("Orders.service.gossipreg", "SRV", use_edns=False, id=0x1234)  # ids enter test names
WIRE = QUERY.to_wire()
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def counted(wire: bytes, *counts: int) -> bytes:
    """The packet with other counts in its header."""
    return wire[:4] + b"".join(count.to_bytes(2, "big") for count in counts) + wire[12:]


def junk(packet: bytes) -> tuple[str, str | None]:
    found = read(packet, tcp=False)
    assert isinstance(found, UnreadableQuery)
    return found.reason, None if found.reply is None else dns.rcode.to_text(dns.message.from_wire(found.reply).rcode())


def query(packet: bytes, *, tcp: bool = False) -> DnsQuery:
    found = read(packet, tcp=tcp)
    assert isinstance(found, DnsQuery)
    return found


def test_a_question_is_in_lower_case_and_its_spelling_is_kept() -> None:
    found = query(WIRE)
    assert found.question.name.to_text() == "orders.service.gossipreg."
    assert found.spelled == b"\x06Orders\x07service\x09gossipreg\0"
    assert not found.is_plain


@pytest.mark.parametrize(
    ("payload", "size"), [(None, 512), (100, 512), (1232, 1232), (4096, 4096), (65_535, limits.UDP_BYTES_MAX)]
)
def test_the_client_says_how_much_it_takes(payload: int | None, size: int) -> None:
    packet = dns.message.make_query("a.gossipreg", "A", use_edns=payload is not None, payload=payload or 0).to_wire()
    assert query(packet).question.size == size
    assert query(packet, tcp=True).question.size == 65_535


def test_only_packets_without_options_are_recognised_by_their_bytes() -> None:
    option = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    assert query(dns.message.make_query("a.gossipreg", "A", use_edns=0).to_wire()).is_plain
    assert not query(dns.message.make_query("a.gossipreg", "A", use_edns=0, options=[option]).to_wire()).is_plain


def test_a_record_that_is_not_known_is_skipped() -> None:
    signature = b"\0\0\xfa\0\xff\0\0\0\0\0\x02hi"
    assert not query(counted(WIRE, 1, 0, 0, 1) + signature).question.edns
    assert query(counted(WIRE, 1, 0, 0, 2) + signature + OPT).question.edns


@pytest.mark.parametrize("packet", [b"", WIRE[:11], WIRE + bytes(limits.QUERY_BYTES_MAX)])
def test_too_short_or_too_long_is_dropped(packet: bytes) -> None:
    assert junk(packet) == ("dns_junk_size", None)


def test_an_answer_is_dropped() -> None:
    assert junk(dns.message.make_response(QUERY).to_wire()) == ("dns_junk_not_a_query", None)


def test_other_operations_are_not_implemented() -> None:
    update = dns.message.Message()
    update.set_opcode(dns.opcode.NOTIFY)
    assert junk(update.to_wire()) == ("dns_junk_opcode", "NOTIMP")


@pytest.mark.parametrize(
    "packet",
    [
        counted(WIRE, 0, 0, 0, 0),
        counted(WIRE, 2, 0, 0, 0),
        counted(WIRE, 2, 0, 0, 0) + WIRE[12:],
        counted(WIRE, 1, 1, 0, 0),
        counted(WIRE, 1, 0, 1, 0),
        counted(WIRE, 1, 0, 0, 65_535),
        WIRE[:-1],
        WIRE + b"x",
        WIRE[:12] + b"\xc0\x0c\0\x01\0\x01",
        WIRE[:12] + b"\x80a\0\0\x01\0\x01",
        WIRE[:12] + b"\x3f" + b"a" * 63 + b"\0\x01",
        WIRE[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\x01\0\x01",
        counted(WIRE, 1, 0, 0, 2) + OPT + OPT,
        counted(WIRE, 1, 0, 0, 1) + b"\x01a" + OPT,
        counted(WIRE, 1, 0, 0, 1) + OPT[:-1],
        counted(WIRE, 1, 0, 0, 1) + OPT[:-2] + b"\0\x05",
    ],
)
def test_what_cannot_be_read_is_a_format_error(packet: bytes) -> None:
    assert junk(packet) == ("dns_junk_malformed", "FORMERR")


def test_a_pointer_back_into_the_header_is_a_name_as_good_as_any() -> None:
    packet = b"\x01a\0\0\0\x01\0\0\0\0\0\0" + b"\xc0\x00\0\x01\0\x01"
    assert query(packet).spelled == b"\x01a\0"


def test_a_later_version_of_edns_is_told_ours() -> None:
    packet = counted(WIRE, 1, 0, 0, 1) + b"\0\0\x29\x04\xd0\0\x01\0\0\0\0"
    assert junk(packet) == ("dns_junk_edns_version", "BADVERS")


def test_a_refusal_keeps_what_the_client_must_find_again() -> None:
    found = read(counted(WIRE, 0, 0, 0, 0), tcp=False)
    assert isinstance(found, UnreadableQuery)
    assert found.reply is not None
    reply = dns.message.from_wire(found.reply)
    assert (reply.id, bool(reply.flags & dns.flags.RD)) == (QUERY.id, True)
