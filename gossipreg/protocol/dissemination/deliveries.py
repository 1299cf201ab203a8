"""Deliveries: packets that went down a broadcast tree and wait for the receipt of their receiver.

Theory of operation (docs/decisions/0062). A packet whose receipt does not come in time is sent again: some members are
slow, some packets and some receipts are lost. With the second repetition the receiver's own children get the messages,
too, for it may have died with its subtree uninformed (as Plumtree grafts around a silent node: Leitão, Pereira,
Rodrigues, SRDS 2007). When all repetitions were in vain the messages are gossiped at random: the peer may be gone, or
of a version without receipts, and its neighbours in the tree may see other members than this node does.

A receipt that comes after its packet was sent again tells that the packet was late and not lost, as in the Eifel
detection (RFC 3522): numbers make that certain. Else a host that is short of CPU would look like a lossy network, and
each repetition would make it shorter still (docs/decisions/0066).

A message is delivered when every packet that it is in has its receipt.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter

import attrs

from gossipreg import limits
from gossipreg.protocol.dissemination.broadcast_queue import TreeMessage
from gossipreg.protocol.dissemination.receipt_times import ReceiptTimes
from gossipreg.protocol.membership.round_trips import RoundTrips

#: How often a packet is sent to a child, and to a child's child. At 30 % loss a packet is lost six times in a row with
#: probability 0.0007.
TRIES = 6
TRIES_BELOW = 2

#: The repetition with which the messages also go to the receiver's children.
_GOES_BELOW = 2

#: How many times as long each wait for a receipt is as the one before, from the second repetition on.
_GROWTH = 2

#: Packets without a receipt after which a peer that never gave one counts as not giving any.
_SILENT_AFTER = 8

#: The weight of the latest packet in the share of those without a receipt in time.
_LOSS_WEIGHT = 1 / 8

#: From which share on the network counts as lossy, and as one where no receipt is waited for. At 10 % loss in both
#: directions it is 0.19, at 30 % it is 0.51.
_LOSSY = 0.04
_VERY_LOSSY = 0.3

#: Receipts that come too late for everything but to be measured are expected of so many packets.
_LATE_MAX = 256


@attrs.define(eq=False, repr=False)
class Delivery:
    """Messages for one member."""

    run_id: int
    name: str
    messages: tuple[TreeMessage, ...]
    is_child: bool
    tries: int = 0
    numbers: list[int] = attrs.field(factory=list)  # of its packets so far

    @property
    def goes_below(self) -> bool:
        """Whether the member's children are to be sent the messages, too."""
        return self.is_child and self.tries == _GOES_BELOW


@attrs.define(eq=False, repr=False)
class Deliveries:
    """The deliveries under way of one node."""

    times: ReceiptTimes
    trips: RoundTrips
    _number: int = 0
    _under_way: dict[int, Delivery] = attrs.field(factory=dict)  # number of any of its packets -> delivery
    _sent: dict[int, tuple[int, float]] = attrs.field(factory=dict)  # number -> run id, when it was sent (seconds)
    _overdue: set[int] = attrs.field(factory=set)  # those of them whose receipt did not come in time
    _open: Counter[int] = attrs.field(factory=Counter)  # serial of a message -> its deliveries under way
    _unanswered: Counter[int] = attrs.field(factory=Counter)  # run id -> packets in a row without a receipt
    _lost: float = 0.0  # the share of packets without a receipt in time, the latest counting most
    _speaks: dict[int, None] = attrs.field(factory=dict)  # run ids that gave a receipt
    _agenda: list[tuple[float, int]] = attrs.field(factory=list)  # heap of (due, number); stale ones are skipped

    def __len__(self) -> int:
        return len(self._under_way)

    def is_silent(self, run_id: int) -> bool:
        """Whether that run of a member is known to give no receipts."""
        return run_id not in self._speaks and self._unanswered[run_id] >= _SILENT_AFTER

    @property
    def deadline(self) -> float:
        """When the next delivery is overdue (seconds), or infinity."""
        while self._agenda:
            due, number = self._agenda[0]
            delivery = self._under_way.get(number)
            if delivery is not None and delivery.numbers[-1] == number:
                return due
            heapq.heappop(self._agenda)
        return math.inf

    @property
    def is_lossy(self) -> bool:
        """Whether more packets or receipts are lost than now and then."""
        return self._lost >= _LOSSY

    @property
    def has_room(self) -> bool:
        """Whether another delivery may begin."""
        return len(self._under_way) < limits.DELIVERIES_MAX

    def begin(self, delivery: Delivery) -> None:
        """Count a new delivery; `send` gives the numbers of its packets."""
        self._open.update(message.serial for message in delivery.messages)

    def send(self, delivery: Delivery, now: float) -> int:
        """The delivery's messages are sent now; returns the number of the packet."""
        self._number = self._number + 1 if self._number < 0xFFFF_FFFF else 1
        self._under_way[self._number] = delivery
        self._sent[self._number] = delivery.run_id, now
        while len(self._sent) > limits.DELIVERIES_MAX + _LATE_MAX:
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self._overdue.discard(oldest)
        delivery.numbers.append(self._number)
        timeout = self.times.least if self._lost >= _VERY_LOSSY else self.times.timeout(self.trips.typical())
        wait = timeout * _GROWTH ** max(0, delivery.tries - 1)
        heapq.heappush(self._agenda, (now + wait, self._number))
        delivery.tries += 1
        return self._number

    def received(self, run_id: int, numbers: tuple[int, ...], now: float) -> list[TreeMessage]:
        """That run of a member has received the packets; returns the messages that are thereby delivered."""
        delivered: list[TreeMessage] = []
        for number in numbers:
            to, sent = self._sent.get(number, (0, 0.0))
            if to != run_id:
                continue
            del self._sent[number]
            self.times.measured(now - sent)
            self._speaks[run_id] = None
            del self._unanswered[run_id]
            if number in self._overdue:  # the receipt was late, and nothing was lost
                self._overdue.remove(number)
                self._lost = max(0.0, (self._lost - _LOSS_WEIGHT) / (1 - _LOSS_WEIGHT))
            delivery = self._under_way.get(number)
            if delivery is not None:
                self._lost *= 1 - _LOSS_WEIGHT
                delivered += self._end(delivery)
        return delivered

    def take_overdue(self, now: float) -> list[Delivery]:
        """The deliveries whose receipt did not come in time: each is to be sent again, or given up."""
        overdue: list[Delivery] = []
        while self.deadline <= now:
            number = heapq.heappop(self._agenda)[1]
            delivery = self._under_way[number]
            if number in self._sent:
                self._overdue.add(number)
            self._unanswered[delivery.run_id] += 1
            self._lost += _LOSS_WEIGHT * (1 - self._lost)
            overdue.append(delivery)
        return overdue

    def may_repeat(self, delivery: Delivery) -> bool:
        """Whether the delivery may be sent once more."""
        most = TRIES if delivery.is_child else TRIES_BELOW
        return delivery.tries < most and not self.is_silent(delivery.run_id)

    def narrow(self, delivery: Delivery, messages: tuple[TreeMessage, ...]) -> None:
        """Only ``messages`` of those of the delivery are still to be delivered."""
        for message in delivery.messages:
            if message not in messages:
                self._close(message)
        delivery.messages = messages

    def give_up(self, delivery: Delivery) -> None:
        """The delivery ends without a receipt."""
        self._end(delivery)

    def _end(self, delivery: Delivery) -> list[TreeMessage]:
        """End a delivery; returns its messages that no other one delivers."""
        for number in delivery.numbers:
            self._under_way.pop(number, None)
        return [message for message in delivery.messages if self._close(message)]

    def _close(self, message: TreeMessage) -> bool:
        """One delivery of ``message`` less; returns whether it was the last."""
        self._open[message.serial] -= 1
        if self._open[message.serial] > 0:
            return False
        del self._open[message.serial]
        return True

    def keep(self, run_ids: frozenset[int]) -> None:
        """Forget what is known of other runs than these."""
        self._speaks = {run_id: None for run_id in self._speaks if run_id in run_ids}
        self._unanswered = Counter({run_id: count for run_id, count in self._unanswered.items() if run_id in run_ids})
