"""Encoding: how a reply becomes bytes, and what is left out when it is too long."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import dns.exception
import dns.flags
import dns.rcode
import dns.renderer
import dns.rrset
from dns.rdtypes.ANY.SOA import SOA

from gossipreg.frontends.dns import limits
from gossipreg.frontends.dns.queries import Question
from gossipreg.frontends.dns.record_pools import WireRecord
from gossipreg.frontends.dns.zone import Named, ZoneReply

_ID_BYTES = 2
_HEADER_BYTES = 12
_HEADER = struct.Struct("!HHHHH")  # without the id
_TYPE_AND_CLASS = struct.Struct("!HH")
_OPT = struct.Struct("!BHHIH")
_OPT_BYTES = _OPT.size

_NOT_OURS = (dns.rcode.REFUSED, dns.rcode.SERVFAIL)


def encode(question: Question, reply: ZoneReply, ttl: int) -> bytes:
    """The answer without its id, the name in lower case.

    Answers that do not fit are left out and the truncation is said, so that the client asks again over TCP. Of the
    additional records as many are given as fit, without a word (RFC 2181 §9): they can be asked for by name.
    """
    flags = dns.flags.QR | (dns.flags.RD if question.wants_recursion else 0) | reply.rcode
    if reply.rcode not in _NOT_OURS:
        flags |= dns.flags.AA
    if reply.pieces is not None:
        return _assembled(question, reply.pieces, flags)
    renderer = dns.renderer.Renderer(id=0, flags=flags, max_size=question.size)
    renderer.add_question(question.name, question.type_, question.class_)
    if question.edns:
        renderer.reserve(_OPT_BYTES)
    for section, records in ((dns.renderer.ANSWER, reply.answers), (dns.renderer.AUTHORITY, reply.authority)):
        if not _add_all(renderer, section, records, ttl):
            renderer.flags |= dns.flags.TC
            break
    else:
        _add_all(renderer, dns.renderer.ADDITIONAL, reply.additional, ttl)
    if question.edns:
        renderer.release_reserved()
        renderer.add_edns(0, 0, limits.QUERY_BYTES_MAX)
    renderer.write_header()
    return bytes(renderer.get_wire()[_ID_BYTES:])


def _assembled(question: Question, pieces: Iterator[WireRecord], flags: int) -> bytes:
    """An answer put together from pieces, of which no more are drawn than fit."""
    wire = question.name.to_wire()
    assert wire is not None
    asked = wire + _TYPE_AND_CLASS.pack(question.type_, question.class_)
    opt = _OPT.pack(0, dns.rdatatype.OPT, limits.QUERY_BYTES_MAX, 0, 0) if question.edns else b""
    bytes_left = question.size - _HEADER_BYTES - len(asked) - len(opt)
    answers, additional = list[bytes](), dict[bytes, None]()
    for piece in pieces:
        if len(piece.answer) > bytes_left or len(answers) == limits.ANSWER_RECORDS_MAX:
            flags |= dns.flags.TC
            additional.clear()
            break
        answers.append(piece.answer)
        bytes_left -= len(piece.answer)
        additional[piece.additional] = None
    fitting = list[bytes]()
    for record in additional:
        if len(record) > bytes_left:
            break
        if record:
            fitting.append(record)
            bytes_left -= len(record)
    header = _HEADER.pack(flags, 1, len(answers), 0, len(fitting) + bool(opt))
    return b"".join((header, asked, *answers, *fitting, opt))


def respelled(answer: bytes, spelled: bytes) -> bytes:
    """The answer with the name as the client spelled it; later names that point back at it follow."""
    start = _HEADER_BYTES - _ID_BYTES
    return b"".join((answer[:start], spelled, answer[start + len(spelled) :]))


def _add_all(renderer: dns.renderer.Renderer, section: int, records: tuple[Named, ...], ttl: int) -> bool:
    """Add records one by one, in their order; whether all fitted."""
    try:
        for name, record in records:
            lasts = min(ttl, record.minimum) if isinstance(record, SOA) else ttl
            renderer.add_rrset(section, dns.rrset.from_rdata(name, lasts, record))
    except dns.exception.TooBig:
        return False
    return True
