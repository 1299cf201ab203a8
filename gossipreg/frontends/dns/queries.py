"""Queries: reads a packet as one question, or as an unreadable query of some kind."""

from __future__ import annotations

import struct

import dns.exception
import dns.flags
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.wire

from gossipreg.counters import Count
from gossipreg.frontends.dns import limits
from gossipreg.values import frozen

_HEADER = struct.Struct("!HHHHHH")
_CLASSES = (dns.rdataclass.IN, dns.rdataclass.ANY)


@frozen
class Question:
    """What is asked, and all else that the answer's bytes depend on, but for its id and the spelling of the name."""

    name: dns.name.Name  # in lower case
    type_: dns.rdatatype.RdataType
    class_: dns.rdataclass.RdataClass
    wants_recursion: bool
    edns: bool
    size: int  # most bytes of an answer


@frozen
class DnsQuery:
    """A packet that can be answered. ``spelled`` is the name's wire form in the client's mixture of cases."""

    question: Question
    spelled: bytes
    is_plain: bool  # another packet of the same bytes, but for its id, has the same answer


@frozen
class UnreadableQuery:
    """A packet that holds no question to answer: the counter it belongs to, and the error response, if it gets one."""

    reason: Count
    reply: bytes | None = None


def read(packet: bytes, *, tcp: bool) -> DnsQuery | UnreadableQuery:
    """Read a packet, whatever it holds. Raises nothing."""
    if len(packet) < _HEADER.size or len(packet) > limits.QUERY_BYTES_MAX:
        return UnreadableQuery(Count.DNS_JUNK_SIZE)
    _, flags, *counts = _HEADER.unpack_from(packet)
    if flags & dns.flags.QR:
        return UnreadableQuery(Count.DNS_JUNK_NOT_A_QUERY)  # answering answers could go on for ever
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        return UnreadableQuery(Count.DNS_JUNK_OPCODE, _refusal(packet, dns.rcode.NOTIMP))
    try:
        return _read(packet, flags, counts, tcp=tcp)
    except dns.exception.DNSException:
        return UnreadableQuery(Count.DNS_JUNK_MALFORMED, _refusal(packet, dns.rcode.FORMERR))


def _read(packet: bytes, flags: int, counts: list[int], *, tcp: bool) -> DnsQuery | UnreadableQuery:
    questions, answers, authorities, additional = counts
    if (questions, answers, authorities) != (1, 0, 0):
        raise dns.exception.FormError
    parser = dns.wire.Parser(packet, _HEADER.size)
    spelled = dns.name.from_wire_parser(parser)
    type_, class_ = parser.get_struct("!HH")
    edns = _read_edns(parser, additional)
    name = spelled.canonicalize()
    wire = spelled.to_wire()
    assert wire is not None
    if edns is not None and edns.version:
        asked = wire + struct.pack("!HH", type_, class_)
        return UnreadableQuery(Count.DNS_JUNK_EDNS_VERSION, _refusal(packet, dns.rcode.BADVERS, asked))
    question = Question(
        name,
        dns.rdatatype.RdataType.make(type_),
        dns.rdataclass.RdataClass.make(class_),
        wants_recursion=bool(flags & dns.flags.RD),
        edns=edns is not None,
        size=limits.TCP_BYTES_MAX if tcp else _udp_size(edns),
    )
    is_spelled_low = wire == name.to_wire()
    return DnsQuery(question, wire, is_plain=is_spelled_low and (edns is None or not edns.has_options))


@frozen
class _Edns:
    payload: int
    version: int
    has_options: bool


def _read_edns(parser: dns.wire.Parser, records: int) -> _Edns | None:
    """The one OPT record among the last records, which are all that may be left. Others are skipped."""
    found = None
    for _ in range(records):
        owner = dns.name.from_wire_parser(parser)
        type_, class_, ttl, length = parser.get_struct("!HHIH")
        parser.get_bytes(length)
        if type_ == dns.rdatatype.OPT:
            if found is not None or owner != dns.name.root:
                raise dns.exception.FormError
            found = _Edns(payload=class_, version=ttl >> 16 & 0xFF, has_options=length > 0)
    if parser.remaining():
        raise dns.exception.FormError
    return found


def _udp_size(edns: _Edns | None) -> int:
    if edns is None:
        return limits.UDP_BYTES_PLAIN
    return min(max(edns.payload, limits.UDP_BYTES_PLAIN), limits.UDP_BYTES_MAX)


def is_internet(question: Question) -> bool:
    """Whether the question is about the class of records that we have."""
    return question.class_ in _CLASSES


def _refusal(packet: bytes, rcode: dns.rcode.Rcode, asked: bytes = b"") -> bytes:
    """A bare header with the question ``asked`` if it is known, and for a code that does not fit, an OPT record.

    Resolvers take an answer without their question for a forged one.
    """
    id_, flags, *_ = _HEADER.unpack_from(packet)
    kept = flags & (0x7800 | dns.flags.RD)  # the opcode goes back as it came
    low, high = rcode & 0xF, rcode >> 4
    opt = b"" if not high else struct.pack("!BHHBBHH", 0, dns.rdatatype.OPT, limits.QUERY_BYTES_MAX, high, 0, 0, 0)
    return _HEADER.pack(id_, dns.flags.QR | kept | low, 1 if asked else 0, 0, 0, 1 if opt else 0) + asked + opt
