"""The responder: answers packets, in most cases with a copy of an earlier answer.

Theory of operation. A client that polls sends the same bytes each time, except for the id in the first two. So an
answer is kept by the query's other bytes, and a query that is recognised is not even read: the cost is a look into a
dictionary, and one at the index of the service. A query that is not recognised is read, and then its question may be:
another spelling (0x20), a client that adds a cookie. Only then is the view looked at and the answer put together.

What is kept stands as long as the index of every service that was looked at, and the directory's epoch. An answer with
several instances is kept in several orders, handed out in turn; now and then one is drawn anew.

Only answers about existing names are kept, so queries for other names cannot fill the cache.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Final

import attrs
import dns.rcode
import trio

from gossipreg.counters import Count
from gossipreg.errors import NodeClosed
from gossipreg.frontends.dns import limits
from gossipreg.frontends.dns.answers import encode, respelled
from gossipreg.frontends.dns.queries import Question, UnreadableQuery, is_internet, read
from gossipreg.frontends.dns.zone import FAILED, Zone, ZoneReply
from gossipreg.frontends.serving.node_api import fetch_each
from gossipreg.runtime.supervision import count_bug

log = logging.getLogger(__name__)

#: From one lot to the next. Of all steps, that of the golden ratio leaves any number of lots in a row spread most
#: evenly, so that the few orders that are kept share the first place out as the weights say, as nearly as so few can.
_GOLDEN: Final = (math.sqrt(5) - 1) / 2

_REFUSED = ZoneReply(dns.rcode.REFUSED, is_kept=False)


@attrs.define(eq=False, repr=False)
class CachedAnswers:
    """The answers to one question: the same records in different orders."""

    question: Question
    lot: float  # from 0 up to 1: decides which instance comes first in the next order
    orders: list[bytes] = attrs.field(factory=list)
    read: tuple[tuple[str, int], ...] = ()
    epoch: int = 0
    has_orders: bool = False
    turn: int = 0


@attrs.define(eq=False, repr=False)
class DnsResponder:
    """Answers packets. ``counters`` are of queries, by what became of them."""

    zone: Zone
    counters: Counter[str] = attrs.field(factory=Counter)
    awaited: tuple[tuple[str, str], ...] = attrs.field(init=False, default=())  # by the last answer: see `ZoneReply`
    _recognised: dict[bytes, CachedAnswers] = attrs.field(init=False, factory=dict)
    _kept: dict[Question, CachedAnswers] = attrs.field(init=False, factory=dict)
    _bytes: int = attrs.field(init=False, default=0)

    def answer(self, packet: bytes, *, tcp: bool = False) -> bytes | None:
        """The answer to one packet; None for one that deserves none. Raises nothing.

        If ``awaited`` is not empty then, it says that nothing is known: see `answer_in_time`.
        """
        self.awaited = ()
        try:
            if not tcp:
                entry = self._recognised.get(packet[2:])
                if entry is not None:
                    return packet[:2] + self._take(entry)
            return self._read(packet, tcp=tcp)
        except Exception as error:
            self.counters[Count.DNS_MISTAKES] += 1
            if count_bug(self.counters, error):
                log.exception("a DNS query could not be answered, because of a bug: %s", packet.hex())
            return None

    async def answer_in_time(self, packet: bytes, *, tcp: bool = False) -> bytes | None:
        """The same, once something is known of the region that is asked about, or after `FIRST_ANSWER_SECONDS`."""
        answer = self.answer(packet, tcp=tcp)
        if not self.awaited:
            await trio.lowlevel.checkpoint()
            return answer
        ends = trio.current_time() + limits.FIRST_ANSWER_SECONDS
        asked, missing = set[tuple[str, str]](), set(self.awaited)
        while missing:  # what was learned may be that another service is meant
            patience = ends - trio.current_time()
            with trio.move_on_after(patience):
                await fetch_each(self.zone.node, sorted(missing), patience)
            asked |= missing
            answer = self.answer(packet, tcp=tcp)  # of several regions, one may have told what it has
            missing = set(self.awaited) - asked
        return answer

    def _read(self, packet: bytes, *, tcp: bool) -> bytes | None:
        query = read(packet, tcp=tcp)
        if isinstance(query, UnreadableQuery):
            self.counters[query.reason] += 1
            return query.reply
        question = query.question
        entry = self._kept.get(question) or CachedAnswers(question, self.zone.rng.random())
        answer = self._take(entry)
        if query.is_plain and not tcp and question in self._kept:
            if len(self._recognised) >= limits.RECOGNISED_MAX:
                self._recognised.clear()
            self._recognised[packet[2:]] = entry
        return packet[:2] + (answer if query.is_plain else respelled(answer, query.spelled))

    def _take(self, entry: CachedAnswers) -> bytes:
        """The next of the entry's answers, as the node sees it now."""
        self.counters[Count.DNS_ANSWERS] += 1
        if not self._stands(entry):
            self._forget(entry)
            return self._draw(entry)
        if not entry.has_orders:
            return entry.orders[0]
        entry.turn += 1
        if len(entry.orders) < limits.ORDERS or entry.turn % limits.ANSWERS_PER_DRAW == 0:
            return self._draw(entry)
        return entry.orders[entry.turn % limits.ORDERS]

    def _stands(self, entry: CachedAnswers) -> bool:
        if not entry.orders or entry.epoch != self.zone.directory.epoch or self.zone.directory.is_closed:
            return False
        index = self.zone.node.index
        for service, then in entry.read:  # noqa: SIM110 -- `all` would make a generator for every answer
            if index(service) != then:
                return False
        return True

    def _draw(self, entry: CachedAnswers) -> bytes:
        """Put an answer together, and keep it if the name exists."""
        question = entry.question
        reply = self._reply(question, entry.lot)
        entry.lot = (entry.lot + _GOLDEN) % 1.0
        answer = encode(question, reply, self.zone.ttl)
        self.awaited = reply.awaited
        if not reply.is_kept:
            return answer
        entry.read, entry.epoch, entry.has_orders = reply.read, self.zone.directory.epoch, reply.has_orders
        self._keep(entry, answer)
        return answer

    def _reply(self, question: Question, lot: float) -> ZoneReply:
        if self.zone.directory.is_closed:
            return FAILED
        if not is_internet(question):
            return _REFUSED
        try:
            return self.zone.reply(question.name, question.type_, lot)
        except NodeClosed:  # which the directory is told later
            return FAILED

    def _keep(self, entry: CachedAnswers, answer: bytes) -> None:
        if self._bytes + len(answer) > limits.CACHE_BYTES or len(self._kept) >= limits.QUESTIONS_MAX:
            self._empty()
        self._kept[entry.question] = entry
        if len(entry.orders) < limits.ORDERS:
            entry.orders.append(answer)
        else:
            place = entry.turn // limits.ANSWERS_PER_DRAW % limits.ORDERS
            self._bytes -= len(entry.orders[place])
            entry.orders[place] = answer
        self._bytes += len(answer)

    def _forget(self, entry: CachedAnswers) -> None:
        """Drop answers that do not stand any more. The question stays: it will be asked again."""
        self._bytes -= sum(map(len, entry.orders))
        entry.orders.clear()

    def _empty(self) -> None:
        """Forget everything: simpler than weighing what to keep, and what is asked for often is back at once."""
        for entry in self._kept.values():
            entry.orders.clear()
        self._kept.clear()
        self._recognised.clear()
        self._bytes = 0
