"""Pools: the instances that one name stands for, drawn by weight and written as records no further than they fit.

Theory of operation. A service may have thousands of instances, of which an answer holds two dozen. So an answer is
drawn lazily: each next record costs the same however many there are, and the caller stops when the packet is full. What
all answers share is found out once for each change of the service: which instances can serve, and their weights laid
side by side. The bytes of a record are written when it is first drawn, and kept while its instance is the same. The
owner's name is always the question's, so its bytes are a pointer to the question (RFC 1035 §4.1.4).

A draw without replacement, one by one: draw with the odds of the weights, and again while that one was drawn already.
When less than half of the weight is left that would take ever longer, so the rest is sorted by exponential waiting
times (Efraimidis and Spirakis, "Weighted random sampling with a reservoir"), which gives the same odds.
"""

from __future__ import annotations

import struct
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Final

import attrs
import dns.name
import dns.rdataclass
import dns.rdatatype

from gossipreg.frontends.dns import records
from gossipreg.frontends.dns.names import target_wire
from gossipreg.model import Instance
from gossipreg.values import frozen

_A, _AAAA, _CNAME = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME
_SRV, _TXT = dns.rdatatype.SRV, dns.rdatatype.TXT

#: Types of record that an instance can have.
TYPES: Final = (_A, _AAAA, _CNAME, _SRV, _TXT)

#: The question's name, which begins after the header's 12 bytes.
_OWNER: Final = b"\xc0\x0c"

_FIXED: Final = struct.Struct("!HHIH")
_SERVER: Final = struct.Struct("!HHH")


@frozen
class WireRecord:
    """One record in its wire form, and the record of its target's address, if one goes with it.

    Of pieces with the same ``key`` an answer has one: several instances may be at one address.
    """

    key: bytes
    answer: bytes
    additional: bytes = b""


#: By the identity of an instance, which is held so that no other gets it: the instance and its record.
WrittenRecords = dict[int, tuple[Instance, WireRecord | None]]

#: By type: the records, and what wrote them.
WrittenByType = dict[dns.rdatatype.RdataType, "tuple[RecordWriter, WrittenRecords]"]


@attrs.define(eq=False, repr=False)
class TypedRecords:
    """The instances that have a record of one type, and the records that were written so far."""

    type_: dns.rdatatype.RdataType
    instances: Sequence[Instance]
    most: int | None  # records that an answer may have
    _writer: RecordWriter
    _written: WrittenRecords
    _ends: list[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ends = list(accumulate([instance.weight for instance in self.instances]))

    def draw(self, rng: Random, lot: float) -> Iterator[WireRecord]:
        """Records in an order drawn by weight; ``lot``, from 0 up to 1, decides which instance comes first."""
        seen: set[bytes] = set()
        for number in order(self._ends, rng, lot):
            piece = self._piece(number)
            if piece is not None and piece.key not in seen:
                seen.add(piece.key)
                yield piece
                if len(seen) == self.most:
                    return

    def _piece(self, number: int) -> WireRecord | None:
        instance = self.instances[number]
        kept = self._written.get(id(instance))
        if kept is None:
            kept = self._written[id(instance)] = (instance, self._writer.piece(self.type_, instance))
        return kept[1]


@attrs.define(eq=False, repr=False)
class RecordPool:
    """What one name stands for, as of the indexes in ``read`` of the services that were looked at."""

    read: tuple[tuple[str, int], ...]
    able: Sequence[Instance]
    domain: dns.name.Name
    scaled: bool
    ttl: int
    exists: bool = True  # whether the service is offered at all, by an instance that can serve or not
    written: WrittenByType = attrs.field(factory=dict)  # also of the same name's pools before the last changes
    _sides: dict[dns.rdatatype.RdataType, TypedRecords] = attrs.field(init=False, factory=dict)
    _families: list[dns.rdatatype.RdataType | None] | None = attrs.field(init=False, default=None)

    @property
    def size(self) -> int:
        """What it counts for where pools are bounded."""
        return 1 + len(self.able)

    def side(self, type_: dns.rdatatype.RdataType) -> TypedRecords | None:
        """The instances that have a record which answers a question for ``type_``; None where there can be none."""
        if type_ not in TYPES:
            return None
        if type_ not in self._sides:
            self._sides[type_] = self._made(type_)
        return self._sides[type_]

    def _made(self, type_: dns.rdatatype.RdataType) -> TypedRecords:
        able, most = self.able, None
        if type_ in (_A, _AAAA, _CNAME):
            if self._families is None:
                self._families = [_family(instance.host) for instance in able]
            if any(self._families):
                able = [each for each, family in zip(able, self._families, strict=True) if family is type_]
            else:  # all are names: one alias, whatever is asked for
                type_, most = _CNAME, 1
        elif type_ is _SRV:
            able = [each for each in able if each.port]  # one without a port, as Consul has them, is only a host
        writer = RecordWriter(self.domain, self.ttl, records.factor(able) if self.scaled else 1)
        return TypedRecords(type_, able, most, writer, self._written_by(writer, type_, len(able)))

    def _written_by(self, writer: RecordWriter, type_: dns.rdatatype.RdataType, count: int) -> WrittenRecords:
        """The records that such a writer wrote before the last change, unless most are of what is there no more."""
        then, written = self.written.get(type_, (None, {}))
        if then != writer or len(written) > 2 * count:
            written = {}
        self.written[type_] = (writer, written)
        return written


@frozen
class RecordWriter:
    """How records are written below ``domain``, with weights times ``factor``; ``ttl`` is in seconds."""

    domain: dns.name.Name
    ttl: int
    factor: float

    def piece(self, type_: dns.rdatatype.RdataType, instance: Instance) -> WireRecord | None:
        """The record of one instance; None if DNS cannot express it."""
        if type_ is _SRV:
            return self._server(instance)
        if type_ is _TXT:
            wire = records.text(instance).to_wire()
            assert wire is not None
        elif type_ is _CNAME:
            name = records.named(instance.host)
            if name is None:
                return None
            wire = name.to_wire()
            assert wire is not None
        else:
            ip = records.ip_of(instance.host)
            if ip is None:
                return None
            wire = ip.packed
        key = wire if type_ is not _TXT else f"{instance.owner}\0{instance.id}".encode()
        return WireRecord(key, self._record(_OWNER, type_, wire))

    def _server(self, instance: Instance) -> WireRecord | None:
        if not instance.is_callable:
            return None
        ip = records.ip_of(instance.host)
        additional = b""
        if ip is not None:
            target = target_wire(ip, instance.port, self.domain)
            additional = self._record(target, _A if ip.version == 4 else _AAAA, ip.packed)
        else:
            name = records.named(instance.host)
            wire = None if name is None else name.to_wire()
            if wire is None:
                return None
            target = wire
        at = _SERVER.pack(1, max(1, int(instance.weight * self.factor)), instance.port) + target
        return WireRecord(at[4:], self._record(_OWNER, _SRV, at), additional)

    def _record(self, owner: bytes, type_: dns.rdatatype.RdataType, data: bytes) -> bytes:
        return owner + _FIXED.pack(type_, dns.rdataclass.IN, self.ttl, len(data)) + data


def order(ends: Sequence[int], rng: Random, lot: float) -> Iterator[int]:
    """Numbers from 0 in an order drawn by weight: each comes before the others with the odds of its weight.

    ``ends`` are the sums of the weights up to each. The first, which is the one that most clients call, is the one on
    whose weight ``lot``, from 0 up to 1, falls when all are laid side by side: so lots that are spread evenly share the
    first place out by weight.
    """
    if not ends:
        return
    total, last = ends[-1], len(ends) - 1
    number = bisect(ends, lot * total, hi=last)
    drawn, left = set[int](), total
    while True:
        if number not in drawn:
            drawn.add(number)
            left -= _weight(ends, number)
            yield number
        if 2 * left <= total:
            break
        number = bisect(ends, rng.random() * total, hi=last)
    rest = [number for number in range(len(ends)) if number not in drawn]
    yield from sorted(rest, key=lambda number: rng.expovariate(_weight(ends, number)))


def _weight(ends: Sequence[int], number: int) -> int:
    return ends[number] - (ends[number - 1] if number else 0)


def _family(host: str) -> dns.rdatatype.RdataType | None:
    """The type of the record of ``host``'s address, told from its form; None for what is a name."""
    if ":" in host:
        return _AAAA
    return _A if host.replace(".", "").isdigit() else None
