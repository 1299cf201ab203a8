"""Deliveries: the messages that went down broadcast trees and that a child has not acknowledged yet.

Theory of operation (docs/decisions/0062). A node pushes a message to its children in the tree at once (eager push:
Plumtree, Leitão, Pereira, Rodrigues, SRDS 2007). Each pair of a child and a message is a *delivery* with a timer of its
own, so a child that is slow, silent or of an old version holds up no other.

Packets and messages are numbered apart, as in QUIC (RFC 9002 §3). A packet has a number that is used once. What is sent
again is the message, in another packet that may hold other messages as well. A receipt of any packet that a message was
in ends its delivery.

    begin -> send --- no receipt in time --> send again (up to `TRIES` in all) --> failed
                  |                                    |
                  +-- receipt: over                    +-- with the third: graft, the child's children get it as well

The child may have died with its subtree uninformed, so its children are adopted (Plumtree's graft, by the parent). A
child that gives no receipts at all is *silent*: its children are adopted at once, and it is sent each message fewer
times.

A receipt of the first packet that comes after its message was sent again shows that the packet was late and not lost,
as in the Eifel detection (RFC 3522); the numbers of packets make that certain. Otherwise a host that is short of CPU
would look like a lossy network, and the repetitions would take even more of its CPU (docs/decisions/0066).

A message is delivered when none of its deliveries is open any more.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from itertools import islice

import attrs

from gossipreg import limits
from gossipreg.protocol.dissemination.broadcast_queue import TreeMessage
from gossipreg.protocol.dissemination.receipt_times import ReceiptTimes
from gossipreg.protocol.membership.round_trips import RoundTrips
from gossipreg.values import frozen

#: How often a message is sent to a child, to one that is silent, and to an adopted one. At 30 % loss a packet is lost
#: seven times in a row with probability 0.0002.
TRIES = 7
SILENT_TRIES = 3
ADOPTED_TRIES = 2

#: After so many tries in vain the child's children are adopted, with the next try, and packets are sent twice: a third
#: wait is worth more than a packet (QUIC's probes after a timeout, RFC 9002 §6.2.4). At 10 % loss that is one packet
#: in a hundred.
_GRAFT_AFTER = 2
_TWICE_AFTER = 2

#: How often a message is sent to a child at the most, in tries and second copies.
SENDS_MAX = TRIES + TRIES - _TWICE_AFTER

#: The first waits for a receipt are equally long, since most packets are lost by chance; each later one is twice as
#: long as the one before, since the child or the network may be overloaded.
_EQUAL_WAITS = 3
_GROWTH = 2

#: The share of its wait that a message need not wait if a packet goes to the child anyway.
_NEARLY = 0.3

#: How many of a member's oldest deliveries are considered for one packet, which holds a few dozen: in a burst there are
#: thousands.
_NEARLY_CANDIDATES = 128

#: Packets in a row without a receipt after which a peer is silent: if it never gave one, and if it did.
_SILENT_AFTER = 8
_SILENT_AFTER_RECEIPTS = 24

#: The weight of the latest packet in the share of those without a receipt in time.
_LOSS_WEIGHT = 1 / 8

#: From which share on the network counts as lossy, and as one where no receipt is waited for. At 10 % loss in both
#: directions it is 0.19, at 30 % it is 0.51.
_LOSSY = 0.04
_VERY_LOSSY = 0.3

#: So many packets are remembered after they were given up, to measure the time of receipts that come too late.
_LATE_MAX = 256


@attrs.define(eq=False, repr=False)
class Delivery:
    """One message on its way to one member. Times are in seconds."""

    message: TreeMessage
    run_id: int
    name: str
    is_adopted: bool = False  # whether the member is the child of a child
    tries: int = 0
    number: int = 0  # of the packet that it was sent in last
    wait: float = 0.0  # for the receipt of that packet
    due: float = math.inf  # when that wait is over


@frozen
class _Packet:
    run_id: int
    sent: float  # seconds
    serials: tuple[int, ...]  # of its messages
    is_first: bool  # whether one of them had not been sent before


@attrs.define(eq=False, repr=False)
class Deliveries:
    """The open deliveries of one node, and what it has learned about its peers' receipts."""

    times: ReceiptTimes
    trips: RoundTrips
    _number: int = 0
    _open: dict[int, dict[int, Delivery]] = attrs.field(factory=dict)  # run id -> serial of a message -> delivery
    _count: int = 0  # of the open deliveries
    _of_message: Counter[int] = attrs.field(factory=Counter)  # serial of a message -> its open deliveries
    _packets: dict[int, _Packet] = attrs.field(factory=dict)  # those without a receipt, by number
    _overdue: set[int] = attrs.field(factory=set)  # numbers of those of them that were counted as lost
    _agenda: list[tuple[float, int, int]] = attrs.field(factory=list)  # heap of (due, run id, serial); stale ones too
    _unanswered: Counter[int] = attrs.field(factory=Counter)  # run id -> packets in a row without a receipt
    _acknowledges: dict[int, None] = attrs.field(factory=dict)  # run ids that gave a receipt
    _lost: float = 0.0  # the share of first packets without a receipt in time, the latest counting most

    def __len__(self) -> int:
        return self._count

    @property
    def has_room(self) -> bool:
        """Whether another delivery may begin."""
        return self._count < limits.DELIVERIES_MAX

    @property
    def deadline(self) -> float:
        """When the next delivery is overdue (seconds), or infinity."""
        while self._agenda:
            due, run_id, serial = self._agenda[0]
            delivery = self._open.get(run_id, {}).get(serial)
            if delivery is not None and delivery.due == due:
                return due
            heapq.heappop(self._agenda)
        return math.inf

    # The course of a delivery

    def begin(self, message: TreeMessage, run_id: int, name: str, *, is_adopted: bool = False) -> Delivery | None:
        """Begin to deliver ``message`` to a run of the member ``name``; None if that is under way already."""
        to_member = self._open.setdefault(run_id, {})
        if message.serial in to_member:
            return None
        delivery = to_member[message.serial] = Delivery(message, run_id, name, is_adopted)
        self._count += 1
        self._of_message[message.serial] += 1
        return delivery

    def send(self, packet: list[Delivery], now: float) -> int:
        """The messages of these deliveries, all to one member, are sent in one packet; returns its number."""
        self._number = self._number + 1 if self._number < 0xFFFF_FFFF else 1
        is_first = any(not delivery.tries for delivery in packet)
        serials = tuple(delivery.message.serial for delivery in packet)
        self._packets[self._number] = _Packet(packet[0].run_id, now, serials, is_first)
        while len(self._packets) > limits.DELIVERIES_MAX + _LATE_MAX:
            oldest = next(iter(self._packets))
            del self._packets[oldest]
            self._overdue.discard(oldest)
        timeout = self.times.least if self._lost >= _VERY_LOSSY else self.times.timeout(self.trips.typical())
        for delivery in packet:
            delivery.tries += 1
            delivery.number = self._number
            delivery.wait = timeout * _GROWTH ** max(0, delivery.tries - _EQUAL_WAITS)
            delivery.due = now + delivery.wait
            heapq.heappush(self._agenda, (delivery.due, delivery.run_id, delivery.message.serial))
        return self._number

    def copies(self, packet: list[Delivery]) -> int:
        """How many copies of a packet are sent, with these deliveries, before `send` counts it."""
        is_late = any(delivery.tries >= _TWICE_AFTER for delivery in packet)
        return 2 if is_late and not self.is_silent(packet[0].run_id) else 1

    def nearly_due(self, run_id: int, now: float) -> list[Delivery]:
        """The deliveries to that run that may go along with a packet to it, those that began first ahead."""
        oldest = islice(self._open.get(run_id, {}).values(), _NEARLY_CANDIDATES)
        return [each for each in oldest if each.due - now <= _NEARLY * each.wait]

    def received(self, run_id: int, numbers: tuple[int, ...], now: float) -> list[TreeMessage]:
        """That run of a member has received the packets; returns the messages that are thereby delivered."""
        delivered: list[TreeMessage] = []
        for number in numbers:
            packet = self._packets.get(number)
            if packet is None or packet.run_id != run_id:  # forgotten by now, or sent to another: a peer's invention
                continue
            del self._packets[number]
            self.times.measured(now - packet.sent)
            self._acknowledges[run_id] = None
            del self._unanswered[run_id]
            ended = [each for each in map(self._open.get(run_id, {}).get, packet.serials) if each is not None]
            is_late = number in self._overdue
            if is_late:  # nothing was lost: take back what `take_overdue` has added
                self._overdue.remove(number)
                self._lost = max(0.0, (self._lost - _LOSS_WEIGHT) / (1 - _LOSS_WEIGHT))
            if is_late or (packet.is_first and any(each.number == number for each in ended)):
                self._lost *= 1 - _LOSS_WEIGHT
            delivered += [each.message for each in ended if self.end(each)]
        return delivered

    def take_overdue(self, now: float) -> list[list[Delivery]]:
        """The deliveries whose receipt did not come in time, by member: each is to be sent again, or ended."""
        overdue: dict[int, list[Delivery]] = {}
        while self.deadline <= now:
            _, run_id, serial = heapq.heappop(self._agenda)
            delivery = self._open[run_id][serial]
            delivery.due = -math.inf
            overdue.setdefault(run_id, []).append(delivery)
        for run_id, late in overdue.items():
            self._unanswered[run_id] += len({each.number for each in late})
            for number in sorted({each.number for each in late if each.tries == 1}):
                self._lost += _LOSS_WEIGHT * (1 - self._lost)
                if number in self._packets:
                    self._overdue.add(number)
        return list(overdue.values())

    def may_send_again(self, delivery: Delivery) -> bool:
        """Whether the message may be sent to the member once more."""
        if delivery.is_adopted:
            return delivery.tries < ADOPTED_TRIES
        return delivery.tries < (SILENT_TRIES if self.is_silent(delivery.run_id) else TRIES)

    def wants_graft(self, delivery: Delivery) -> bool:
        """Whether the member's children are to be adopted with the next packet."""
        if delivery.is_adopted:
            return False
        return delivery.tries == (0 if self.is_silent(delivery.run_id) else _GRAFT_AFTER)

    def end(self, delivery: Delivery) -> bool:
        """End a delivery, with a receipt or without; returns whether it was the last one of its message."""
        serial = delivery.message.serial
        to_member = self._open[delivery.run_id]
        del to_member[serial]
        if not to_member:
            del self._open[delivery.run_id]
        self._count -= 1
        self._of_message[serial] -= 1
        if self._of_message[serial] > 0:
            return False
        del self._of_message[serial]
        return True

    def is_open(self, message: TreeMessage) -> bool:
        """Whether any delivery of ``message`` is open."""
        return message.serial in self._of_message

    # What the receipts show

    def is_silent(self, run_id: int) -> bool:
        """Whether that run of a member has given no receipts of late: of an old version, dead, or cut off."""
        after = _SILENT_AFTER_RECEIPTS if run_id in self._acknowledges else _SILENT_AFTER
        return self._unanswered[run_id] >= after

    @property
    def is_lossy(self) -> bool:
        """Whether more packets or receipts are lost than now and then."""
        return self._lost >= _LOSSY

    def keep(self, run_ids: frozenset[int]) -> None:
        """Forget what is known of other runs than these."""
        self._acknowledges = {run_id: None for run_id in self._acknowledges if run_id in run_ids}
        self._unanswered = Counter({run_id: count for run_id, count in self._unanswered.items() if run_id in run_ids})
