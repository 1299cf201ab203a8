"""The disseminator: sends broadcasts down their trees and at random, acknowledges those of peers, and fills gaps.

It joins the parts of `gossipreg.protocol.dissemination` to the members, the tables and the outbox of one node.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address
from gossipreg.protocol.dissemination.answer_budget import AnswerBudget, fill_packets
from gossipreg.protocol.dissemination.broadcast_queue import TreeMessage
from gossipreg.protocol.dissemination.deliveries import Deliveries, Delivery
from gossipreg.protocol.dissemination.receipt_times import ReceiptTimes
from gossipreg.protocol.dissemination.receipts import RECEIPT_REQUEST_BYTES, OwedReceipts, Receipt, ReceiptRequest
from gossipreg.protocol.dissemination.record_requests import RecordRequests
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.round_trips import RoundTrips
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.registry.records import RecordRequest, TableDigest
from gossipreg.protocol.registry.registry import announcement, is_inline
from gossipreg.protocol.registry.table import Table
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.wire.messages import pack

#: Bytes of a receipt's number at the most, and of the rest of the receipt.
_NUMBER_BYTES = 5
_RECEIPT_BYTES = 4

#: Bytes that deleted ids add to a digest at the most: each its head, and the list a longer one.
_ID_HEAD_BYTES = 3
_LIST_HEAD_BYTES = 2

#: How often a digest goes to a member in a packet of its own: where packets are lost, and where they are not.
_ROUNDS_WITH_LOSS = 3
_ROUNDS = 1


@attrs.define(eq=False, repr=False)
class Disseminator:
    """The broadcasts of one node, on their way."""

    settings: EngineSettings
    state: ClusterState
    outbox: Outbox
    trips: RoundTrips
    deliveries: Deliveries = attrs.field(init=False)
    owed: OwedReceipts = attrs.field(init=False)
    requests: RecordRequests = attrs.field(init=False)
    _answers: AnswerBudget = attrs.field(init=False)  # of requests
    _digest_answers: AnswerBudget = attrs.field(init=False)  # of digests: requests, and later digests

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        longest = max(settings.probe_timeout, settings.gossip_tree_gap)
        self.deliveries = Deliveries(ReceiptTimes(settings.gossip_gap, settings.gossip_tree_gap, longest), self.trips)
        self.owed = OwedReceipts(settings.gossip_gap / 2)
        self.requests = RecordRequests(settings.gossip_tree_gap)
        self._answers = AnswerBudget(limits.ANSWER_PACKETS_PER_SECOND_MAX)
        self._digest_answers = AnswerBudget(limits.DIGEST_ANSWERS_PER_SECOND_MAX)

    @property
    def deadline(self) -> float:
        """When `handle_timeout` has something to do (seconds), or infinity."""
        return min(
            self.state.broadcasts.deadline,
            self.deliveries.deadline,
            self.owed.deadline,
            self.state.digests.deadline,
            self.requests.deadline,
        )

    def handle_timeout(self, now: float) -> None:
        """Send what is due: broadcasts, repetitions, digests, requests and receipts."""
        self._repeat(now)
        self._broadcast(now)
        self._tell_digests(now)
        self._request(self.requests.take_due(now), now)
        for to in self.owed.due(now):
            receipt = self.owed.take(to, now)
            assert receipt is not None, "it is due"
            self.outbox.send(to, pack(receipt))

    # Broadcasts

    def _broadcast(self, now: float) -> None:
        members, fanout, broadcasts = self.state.members, self.settings.gossip_fanout, self.state.broadcasts
        batches = broadcasts.flush(self.outbox.room, members.present_count, now)
        self._send_down_trees(broadcasts.take_tree_messages(), now)
        for batch in batches:
            origin = batch.origin
            for target in members.sample(fanout) if origin is None else members.below_us(origin, fanout):
                self.outbox.send(target.address, *batch.messages)

    def _send_down_trees(self, messages: list[TreeMessage], now: float) -> None:
        """Send each message to this node's children in the tree of its origin."""
        members, fanout = self.state.members, self.settings.gossip_fanout
        children = {
            origin: members.below_us(origin, fanout) for origin in dict.fromkeys(each.origin for each in messages)
        }
        self._deliver([(child, each) for each in messages for child in children[each.origin]], now, is_child=True)
        for message in messages:
            if not children[message.origin]:
                self.state.broadcasts.delivered(message, now)

    def _deliver(self, pairs: list[tuple[MemberUpdate, TreeMessage]], now: float, *, is_child: bool) -> None:
        """Begin to deliver each message to its member; what goes to one member shares packets."""
        targets: dict[str, tuple[MemberUpdate, list[TreeMessage]]] = {}
        for target, message in pairs:
            targets.setdefault(target.name, (target, []))[1].append(message)
        for target, messages in targets.values():
            for packet in self._packets(messages):
                delivery = Delivery(target.run_id, target.name, tuple(packet), is_child)
                if not self.deliveries.has_room or self.deliveries.is_silent(target.run_id):
                    self.outbox.send(target.address, *(message.data for message in packet))
                    self._gossip(tuple(packet), now)
                else:
                    self.deliveries.begin(delivery)
                    self._send(delivery, target.address, now)

    def _packets(self, messages: list[TreeMessage]) -> list[list[TreeMessage]]:
        """``messages`` in groups that fit a packet each, with the request for a receipt."""
        room = self.outbox.room - RECEIPT_REQUEST_BYTES
        packets: list[list[TreeMessage]] = [[]]
        left = room
        for message in messages:
            if len(message.data) > left and packets[-1]:
                packets.append([])
                left = room
            packets[-1].append(message)
            left -= len(message.data)
        return packets

    def _send(self, delivery: Delivery, to: Address, now: float) -> None:
        parts = [message.data for message in delivery.messages]
        parts.append(pack(ReceiptRequest(self.deliveries.send(delivery, now))))
        left = self.outbox.room - sum(map(len, parts))
        if left >= _RECEIPT_BYTES + _NUMBER_BYTES * limits.RECEIPT_NUMBERS_MAX:
            receipt = self.owed.take(to, now)
            if receipt is not None:
                parts.append(pack(receipt))
        self.outbox.send(to, *parts)

    def _repeat(self, now: float) -> None:
        """Send again what has no receipt, or give it up."""
        for delivery in self.deliveries.take_overdue(now):
            messages = tuple(each for each in delivery.messages if self.state.broadcasts.is_current(each))
            self.deliveries.narrow(delivery, messages)
            target = self.state.members.by_run_id(delivery.run_id)
            is_here = target is not None and target.status.is_present
            if not messages or target is None or not is_here or not self.deliveries.may_repeat(delivery):
                self.deliveries.give_up(delivery)
                self.state.counters[Count.DELIVERIES_FAILED] += bool(messages)
                self._gossip(messages, now)
                continue
            if delivery.goes_below:
                self._send_below(delivery, now)
            self.state.counters[Count.DELIVERIES_REPEATED] += 1
            self._send(delivery, target.address, now)

    def _send_below(self, delivery: Delivery, now: float) -> None:
        """Send the messages to the children of a child that does not answer."""
        members = self.state.members
        pairs = [
            (member, message)
            for message in delivery.messages
            for member in members.below(delivery.name, message.origin, self.settings.gossip_fanout)
            if member.name != members.own_name
        ]
        self._deliver(pairs, now, is_child=False)

    def _gossip(self, messages: tuple[TreeMessage, ...], now: float) -> None:
        for message in messages:
            self.state.broadcasts.gossip(message, now)

    # Receipts

    def handle_request(self, request: ReceiptRequest, context: MessageContext, now: float) -> None:
        """A peer asks for a receipt of a packet."""
        if self.state.has_receipts:
            self.owed.owe(context.source, request.number, now)

    def handle_receipt(self, receipt: Receipt, context: MessageContext, now: float) -> None:
        """A peer has received packets of this node."""
        for message in self.deliveries.received(context.sender, receipt.numbers, now):
            self.state.broadcasts.delivered(message, now)

    # Digests and requests

    def _tell_digests(self, now: float) -> None:
        owners = self.state.digests.take_due(now, rounds=_ROUNDS_WITH_LOSS if self.deliveries.is_lossy else _ROUNDS)
        for owner in owners:
            table = self.state.registry.table(owner)
            if table is None or table.is_complete or self.state.is_barred(table):
                continue
            # Another record has told so: no digest need be waited for.
            self.requests.want(owner, None, now, wait=0.0)
        digests = [pack(digest) for digest in map(self.state.whole_digest, owners) if digest is not None]
        if not digests:
            return
        for target in self.state.members.sample(1):
            rest = iter(digests)
            while packet := list(islice(rest, max(1, self.outbox.room // self.state.digest_bytes))):
                self.outbox.send(target.address, *packet)

    def handle_digest(self, digest: TableDigest, context: MessageContext, now: float) -> None:
        """A peer holds this version of a table: request what is lacking here, or tell it that it lacks something."""
        if context.member is None or not self.state.has_receipts:
            return
        table = self.state.registry.table(digest.owner)
        if table is None or table.generation != digest.generation:
            return
        is_fresh = self.state.digests.is_fresh(digest.owner)
        if self.state.is_barred(table):
            return
        if not table.is_complete:
            wait = self.settings.gossip_tree_gap if is_fresh else 0.0
            self.requests.want(digest.owner, context.member.address, now, wait=wait)
        else:
            self.requests.got(digest.owner)
            if table.latest_digest.version > digest.version and not is_fresh:
                context.later_digests[digest.owner] = pack(table.latest_digest)

    def answer_digests(self, context: MessageContext, now: float) -> None:
        """Tell the sender of a packet all at once of what tables hold more than its digests said."""
        if context.later_digests:
            assert context.member is not None, "only a member's digests are answered"
            self._answer_digests(iter(context.later_digests.values()), context.member.address, now)

    def _answer_digests(self, messages: Iterator[bytes], to: Address, now: float) -> int:
        """Send ``messages`` as far as the budget goes; returns how many were sent."""
        packets, is_all = fill_packets(messages, self.outbox.room, self._digest_answers.left(now))
        self._digest_answers.spend(len(packets))
        self.state.counters[Count.REQUESTS_OVER_BUDGET] += not is_all
        for packet in packets:
            self.outbox.send(to, *packet)
        return sum(map(len, packets))

    def _request(self, due: list[tuple[str, Address | None]], now: float) -> None:
        """Request the tables of these owners, each at an address or, with None, of any member."""
        tables: dict[Address, list[Table]] = {}
        for owner, source in due:
            table = self.state.registry.table(owner)
            if table is None or table.is_complete or self.state.is_barred(table):
                self.requests.got(owner)
                continue
            for to in [member.address for member in self.state.members.sample(1)] if source is None else [source]:
                tables.setdefault(to, []).append(table)
        for to, lacking in tables.items():
            requests = (
                pack(RecordRequest(each.owner, each.generation, each.compacted_below, each.ranges()))
                for each in lacking
            )
            self.state.counters[Count.RECORDS_REQUESTED] += self._answer_digests(requests, to, now)

    def handle_record_request(self, request: RecordRequest, context: MessageContext, now: float) -> None:
        """Send a peer what it lacks of a table, as far as a few packets hold it; one table once for each packet."""
        table = self.state.registry.table(request.owner)
        if context.member is None or table is None or table.generation != request.generation:
            return
        left = self._answers.left(now)
        if not left or request.owner in context.answered:
            self.state.counters[Count.REQUESTS_OVER_BUDGET] += 1
            return
        context.answered.add(request.owner)
        most = min(limits.ANSWER_PACKETS_MAX, left)
        packets, is_all = fill_packets(self._lacking(table, request), self.outbox.room, most)
        self._answers.spend(max(1, len(packets)))  # to find that nothing is lacking costs, too
        self.state.counters[Count.REQUESTS_ANSWERED] += len(packets)
        self.state.counters[Count.REQUESTS_OVER_BUDGET] += not is_all
        for packet in packets:
            self.outbox.send(context.member.address, *packet)

    def _lacking(self, table: Table, request: RecordRequest) -> Iterator[bytes]:
        """What a peer with this request lacks, each message made when it is taken."""
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

    def sweep(self) -> None:
        """Forget what is known of runs that are gone."""
        self.deliveries.keep(frozenset(member.run_id for member in self.state.members))
