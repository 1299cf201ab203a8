"""Lazy push: tells members the digests of changed tables, and sends or requests the records that one side lacks.

It fills what eager push has missed, as the lazy push and the grafts of Plumtree do (Leitão, Pereira, Rodrigues, SRDS
2007), with one digest of a table in place of one announcement a message. Which digests are due, and which tables are to
be requested, is decided by `digest_rounds` and `record_requests` in `gossipreg.protocol.dissemination`.

    a node that holds more                      a node that holds less
    ------------------------------------------------------------------
    table digest ------------------------------>  not held whole?
    what is lacking  <-------------------------- record request: the versions held
    records, ids deleted since ---------------->  held whole

A node that holds more than a digest says answers with its own digest, and so takes the left side. One request, or one
packet of digests, may cost many packets of answers. So both kinds of answers have a budget; what exceeds it is left to
the next round, or to anti-entropy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.protocol.dissemination.answer_budget import AnswerBudget, fill_packets
from gossipreg.protocol.dissemination.record_requests import RecordRequests, WantedTable
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import Destination
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.registry.records import RecordRequest, TableDigest
from gossipreg.protocol.registry.registry import announcement, is_inline
from gossipreg.protocol.registry.table import Table
from gossipreg.protocol.state import DIGEST_BYTES_MAX, ClusterState
from gossipreg.protocol.wire.messages import pack

#: Bytes that deleted ids add to a digest at the most, beside the ids: a head for each, and the head of a long list.
_ID_HEAD_BYTES = 3
_LIST_HEAD_BYTES = 2

#: How often a digest goes to a member in a packet of its own: where packets are lost, and where they are not.
_ROUNDS_WITH_LOSS = 3
_ROUNDS = 1


@attrs.define(eq=False, repr=False)
class LazyPush:
    """The digests, requests and answers of one node."""

    settings: EngineSettings
    state: ClusterState
    outbox: Outbox
    requests: RecordRequests = attrs.field(init=False)
    _record_budget: AnswerBudget = attrs.field(init=False)  # packets that answer requests: records
    _digest_budget: AnswerBudget = attrs.field(init=False)  # packets that answer digests: requests, and later digests

    def __attrs_post_init__(self) -> None:
        self.requests = RecordRequests(self.settings.gossip_tree_gap)
        self._record_budget = AnswerBudget(limits.ANSWER_PACKETS_PER_SECOND_MAX)
        self._digest_budget = AnswerBudget(limits.DIGEST_ANSWERS_PER_SECOND_MAX)

    @property
    def deadline(self) -> float:
        """When `tell_digests` or `send_requests` has something to do (seconds), or infinity."""
        return min(self.state.digests.deadline, self.requests.deadline)

    # Digests

    def tell_digests(self, now: float, *, is_lossy: bool) -> None:
        """Tell a member at random the digests that are due, and request the tables that are not complete here."""
        owners = self.state.digests.take_due(now, rounds=_ROUNDS_WITH_LOSS if is_lossy else _ROUNDS)
        for owner in owners:
            table = self.state.registry.table(owner)
            if table is None or table.is_complete or self.state.is_barred(table):
                continue
            # A later record has shown a gap in the versions, so there is no need to wait for a digest.
            self.requests.want(owner, None, now, wait=0.0)
        digests = [digest for digest in map(self.state.told_digest, owners) if digest is not None]
        if not digests:
            return
        for target in self.state.members.sample(1):
            rest = iter(digests)
            while packet := list(islice(rest, max(1, self.outbox.room // DIGEST_BYTES_MAX))):
                self.outbox.send(target.destination, *packet)

    def handle_digest(self, digest: TableDigest, context: MessageContext, now: float) -> None:
        """A peer holds this version of a table: request what is lacking here, or tell it that it lacks something."""
        if context.member is None or not self.state.broadcaster.has_receipts:
            return
        is_fresh = self.state.digests.is_fresh(digest.owner)
        # The table has just changed: what it lacks is most likely still on its way down the tree.
        wait = self.settings.gossip_tree_gap if is_fresh else 0.0
        if self._says_more(digest):
            to = context.member.destination
            self.requests.want_told(digest.owner, digest.generation, digest.version, to, now, wait=wait)
            return
        table = self.state.registry.table(digest.owner)
        if table is None or table.generation != digest.generation or self.state.is_barred(table):
            return
        if not table.is_complete:
            self.requests.want(digest.owner, context.member.destination, now, wait=wait)
        elif table.latest_digest.version > digest.version:
            if not is_fresh:
                context.later_digests[digest.owner] = pack(table.latest_digest.unproven)
        else:
            self.requests.got(digest.owner)

    def _says_more(self, digest: TableDigest) -> bool:
        """Whether a digest, as the word of its sender, says that this one holds what is lacking here."""
        if not self.state.is_word(digest) or self.state.is_barred(digest):
            return False
        owner = self.state.find(digest.owner)  # not this node itself: it knows its own table best
        return owner is not None and owner.generation == digest.generation and self.state.would_change(digest)

    def answer_digests(self, context: MessageContext, now: float) -> None:
        """Answer the digests of a packet: tell the sender of the tables of which this node holds more."""
        if context.later_digests:
            assert context.member is not None, "only a member's digests are answered"
            self._send_on_budget(iter(context.later_digests.values()), context.member.destination, now)

    def _send_on_budget(self, messages: Iterator[bytes], to: Destination, now: float) -> int:
        """Send these answers to digests as far as their budget goes; returns how many were sent."""
        packets, is_all = fill_packets(messages, self.outbox.room, self._digest_budget.left(now))
        self._digest_budget.spend(len(packets))
        self.state.counters[Count.REQUESTS_OVER_BUDGET] += not is_all
        for packet in packets:
            self.outbox.send(to, *packet)
        return sum(map(len, packets))

    # Requests

    def send_requests(self, now: float) -> None:
        """Request the tables that are due, each of the member that holds it whole or, if that is not known, of any."""
        lacking: dict[Destination, list[RecordRequest]] = {}
        for wanted in self.requests.take_due(now):
            request = self._request(wanted)
            if request is None:
                self.requests.got(wanted.owner)
                continue
            source = wanted.source
            for to in [member.destination for member in self.state.members.sample(1)] if source is None else [source]:
                lacking.setdefault(to, []).append(request)
        for to, asked in lacking.items():
            requests = map(pack, asked)
            self.state.counters[Count.RECORDS_REQUESTED] += self._send_on_budget(requests, to, now)

    def _request(self, wanted: WantedTable) -> RecordRequest | None:
        """The request for what is lacking of a table; None if nothing is, or it is not wanted any more."""
        table = self.state.registry.table(wanted.owner)
        if wanted.version and (table is None or table.generation < wanted.generation):
            return RecordRequest(wanted.owner, wanted.generation, 0, ())
        if table is None or self.state.is_barred(table):
            return None
        says_more = table.generation == wanted.generation and table.latest_digest.version < wanted.version
        if table.is_complete and not says_more:
            return None
        return RecordRequest(table.owner, table.generation, table.compacted_below, table.ranges())

    def handle_record_request(self, request: RecordRequest, context: MessageContext, now: float) -> None:
        """Send a peer what it lacks of a table, as far as a few packets hold it; one table once for each packet."""
        table = self.state.registry.table(request.owner)
        if context.member is None or table is None or table.generation != request.generation:
            return
        left = self._record_budget.left(now)
        if not left or request.owner in context.answered:
            self.state.counters[Count.REQUESTS_OVER_BUDGET] += 1
            return
        context.answered.add(request.owner)
        most = min(limits.ANSWER_PACKETS_MAX, left)
        packets, is_all = fill_packets(self._lacking(table, request), self.outbox.room, most)
        self._record_budget.spend(max(1, len(packets)))  # finding that nothing is lacking has a cost, too
        self.state.counters[Count.REQUESTS_ANSWERED] += len(packets)
        self.state.counters[Count.REQUESTS_OVER_BUDGET] += not is_all
        for packet in packets:
            self.outbox.send(context.member.destination, *packet)

    def _lacking(self, table: Table, request: RecordRequest) -> Iterator[bytes]:
        """The messages that a peer with this request lacks; each is made when it is taken."""
        room = self.outbox.room
        digest = table.digest_after(request.version)
        if digest is not None:
            longest = max((len(id_.encode()) for id_ in digest.gone), default=0) + _ID_HEAD_BYTES
            count = max(1, (room - self.state.digest_bytes - _LIST_HEAD_BYTES) // longest)
            for start in range(0, max(1, len(digest.gone)), count):
                yield pack(attrs.evolve(digest, gone=digest.gone[start : start + count]))
        for record in table.after(request.version, request.have):
            data = pack(record if is_inline(record) else announcement(record))
            yield data if len(data) <= room else pack(announcement(record))
