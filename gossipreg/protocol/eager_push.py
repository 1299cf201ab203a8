"""Eager push: sends messages down their broadcast trees, and again to each child until it acknowledges them.

Theory of operation. Each origin of messages has a tree of its own, with the origin at its root. Unlike Plumtree's, it
is not learned from duplicates: every member computes it from the ring, as a heap with the origin first
(`Ring.children`). So a node knows its children, and theirs, without a message; members with different membership lists
see different trees.

One (child, message) pair is a delivery. When it is sent again, and given up, is decided by `Deliveries`, whose module
has the states; this module fills the packets:

    push           new messages, to the children in each origin's tree
    send_again     what has no receipt in time; after two tries the child's own children are adopted (Plumtree's graft)
    handle_receipt a child's acknowledgement of a packet, which ends the deliveries in it
    owed receipts  the same for this node's parents, on a packet that goes there anyway, or soon by themselves
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.protocol.dissemination.broadcast_queue import TreeMessage
from gossipreg.protocol.dissemination.deliveries import Deliveries, Delivery
from gossipreg.protocol.dissemination.receipt_times import ReceiptTimes
from gossipreg.protocol.dissemination.receipts import RECEIPT_REQUEST_BYTES, OwedReceipts, Receipt, ReceiptRequest
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate
from gossipreg.protocol.membership.round_trips import RoundTrips
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.wire.messages import pack

#: Bytes of a receipt's number at the most, and of the rest of the receipt.
_NUMBER_BYTES = 5
_RECEIPT_BYTES = 4


@attrs.define(eq=False, repr=False)
class EagerPush:
    """The messages that one node sends down broadcast trees, and the receipts that it owes for those of its parents."""

    settings: EngineSettings
    state: ClusterState
    outbox: Outbox
    trips: RoundTrips
    deliveries: Deliveries = attrs.field(init=False)
    owed: OwedReceipts = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        longest = max(settings.probe_timeout, settings.gossip_tree_gap)
        self.deliveries = Deliveries(ReceiptTimes(settings.gossip_gap, settings.gossip_tree_gap, longest), self.trips)
        self.owed = OwedReceipts(settings.gossip_gap / 2)

    @property
    def deadline(self) -> float:
        """When `send_again` or `send_receipts` has something to do (seconds), or infinity."""
        return min(self.deliveries.deadline, self.owed.deadline)

    # A node and its children

    def push(self, messages: Sequence[TreeMessage], now: float) -> None:
        """Send each message to this node's children in the tree of its origin; what goes to one shares packets."""
        members, fanout = self.state.members, self.settings.gossip_fanout
        origins = dict.fromkeys(message.origin for message in messages)
        children = {origin: members.children(origin, fanout) for origin in origins}
        self._begin([(child, message) for message in messages for child in children[message.origin]], now)
        for message in messages:
            self._settle(message, now)

    def _begin(
        self, pairs: Sequence[tuple[MemberUpdate, TreeMessage]], now: float, *, are_adopted: bool = False
    ) -> None:
        """Begin to deliver each message to its target; what goes to one target shares packets.

        Where there is no room to wait for one more receipt, the message is sent once and then left to gossip.
        """
        targets: dict[str, tuple[MemberUpdate, list[TreeMessage]]] = {}
        for target, message in pairs:
            targets.setdefault(target.name, (target, []))[1].append(message)
        for target, messages in targets.values():
            begun: list[Delivery] = []
            for message in messages:
                if not self.deliveries.has_room:
                    self.outbox.send(target.destination, message.data)
                    self.state.broadcasts.gossip(message, now)
                    continue
                delivery = self.deliveries.begin(message, target.run_id, target.name, is_adopted=are_adopted)
                if delivery is not None:
                    begun.append(delivery)
            self._send(begun, target, now)

    def send_again(self, now: float) -> None:
        """Send what has no receipt in time again, or give it up."""
        for overdue in self.deliveries.take_overdue(now):
            target = self.state.members.by_run_id(overdue[0].run_id)
            again: list[Delivery] = []
            for delivery in overdue:
                if not self.state.broadcasts.is_current(delivery.message):
                    self._end(delivery, now)
                elif target is None or not target.status.is_present or not self.deliveries.may_send_again(delivery):
                    self._give_up(delivery, now, has_gone=target is None or not target.status.is_present)
                else:
                    again.append(delivery)
            if target is not None:
                self._send(again, target, now)

    def _send(self, deliveries: list[Delivery], target: MemberUpdate, now: float) -> None:
        """Send these to one member, split by the size of packets that passes now, and graft where it is time."""
        if not deliveries:
            return
        packets = self._packets(deliveries)
        self._top_up(packets, target.run_id, now)
        self._graft([each for packet in packets for each in packet if self.deliveries.wants_graft(each)], now)
        for packet in packets:
            self.state.counters[Count.DELIVERIES_REPEATED] += any(delivery.tries for delivery in packet)
            copies = self.deliveries.copies(packet)
            parts = [delivery.message.data for delivery in packet]
            parts.append(pack(ReceiptRequest(self.deliveries.send(packet, now))))
            parts += self._owed_receipt(parts, target.destination, now)
            for _ in range(copies):
                self.outbox.send(target.destination, *parts)

    def _packets(self, deliveries: list[Delivery]) -> list[list[Delivery]]:
        """``deliveries`` in groups that fit a packet each, with the request for a receipt."""
        packets: list[list[Delivery]] = [[]]
        left = room = self.outbox.room - RECEIPT_REQUEST_BYTES
        for delivery in deliveries:
            size = len(delivery.message.data)
            if size > left and packets[-1]:
                packets.append([])
                left = room
            packets[-1].append(delivery)
            left -= size
        return packets

    def _top_up(self, packets: list[list[Delivery]], run_id: int, now: float) -> None:
        """Fill the last packet with what has waited long for its receipt: it is the likeliest to be lost.

        What is overdue, and in another of these packets already, has waited for longest.
        """
        last = packets[-1]
        left = self.outbox.room - RECEIPT_REQUEST_BYTES - sum(len(delivery.message.data) for delivery in last)
        for delivery in self.deliveries.nearly_due(run_id, now):
            is_wanted = self.state.broadcasts.is_current(delivery.message) and self.deliveries.may_send_again(delivery)
            if is_wanted and len(delivery.message.data) <= left and not any(delivery in packet for packet in packets):
                last.append(delivery)
                left -= len(delivery.message.data)

    def _graft(self, deliveries: list[Delivery], now: float) -> None:
        """Adopt the children of a child that does not answer: send them the messages as well."""
        members, fanout = self.state.members, self.settings.gossip_fanout
        pairs = [
            (grandchild, delivery.message)
            for delivery in deliveries
            for grandchild in members.children_of(delivery.name, delivery.message.origin, fanout)
            if grandchild.name != members.own_name
        ]
        self._begin(pairs, now, are_adopted=True)

    def _give_up(self, delivery: Delivery, now: float, *, has_gone: bool) -> None:
        """End a delivery without a receipt. The message is then gossiped to members at random, with two exceptions.

        Where the member has gone, the trees of others differ from this node's, and where it receives nothing, its
        subtree may lack the message. But an adopted child's own parent may have told it, and a silent child's children
        were adopted from the first try on.
        """
        if not delivery.is_adopted:
            self.state.counters[Count.DELIVERIES_FAILED] += 1
            if has_gone or not self.deliveries.is_silent(delivery.run_id):
                self.state.broadcasts.gossip(delivery.message, now)
        self._end(delivery, now)

    def _end(self, delivery: Delivery, now: float) -> None:
        if self.deliveries.end(delivery):
            self.state.broadcasts.deliveries_ended(delivery.message, now)

    def _settle(self, message: TreeMessage, now: float) -> None:
        """End the broadcast of a message that went to no child, or to none whose receipt is waited for."""
        if not self.deliveries.is_open(message):
            self.state.broadcasts.deliveries_ended(message, now)

    def handle_receipt(self, receipt: Receipt, context: MessageContext, now: float) -> None:
        """A child has received packets of this node."""
        for message in self.deliveries.received(context.sender, receipt.numbers, now):
            self.state.broadcasts.deliveries_ended(message, now)

    # A node and its parents

    def handle_receipt_request(self, request: ReceiptRequest, context: MessageContext, now: float) -> None:
        """A peer asks for a receipt of a packet."""
        if self.state.broadcaster.has_receipts:
            self.owed.owe(context.origin, request.number, now)

    def send_receipts(self, now: float) -> None:
        """Send the receipts that are due."""
        for to in self.owed.due(now):
            receipt = self.owed.take(to, now)
            assert receipt is not None, "it is due"
            self.outbox.send(to, pack(receipt))

    def _owed_receipt(self, parts: list[bytes], to: Destination, now: float) -> list[bytes]:
        """What is owed to the peer at ``to``, if it fits in a packet beside ``parts``."""
        left = self.outbox.room - sum(map(len, parts))
        if left < _RECEIPT_BYTES + _NUMBER_BYTES * limits.RECEIPT_NUMBERS_MAX:
            return []
        receipt = self.owed.take(to, now)
        return [] if receipt is None else [pack(receipt)]
