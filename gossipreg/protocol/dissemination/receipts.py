"""Receipts: how a node acknowledges the packets that come down a broadcast tree.

A packet down a tree carries a `ReceiptRequest` with a number of the sender's choice, and the receiver answers with a
`Receipt` of that number. A receipt stands for the packet, not for its messages: it costs 16 bytes whatever was in the
packet, and the time it took is known without doubt, however often the messages were sent (cf. Karn and Partridge,
SIGCOMM 1987). It says that the packet was handled, so that the receiver's children are its own affair from then on.

A receipt goes out at once, on a packet to the same peer where there is one. While packets of one peer follow each
other closely their receipts share a packet: one every half `gossip_gap`.
"""

from __future__ import annotations

import math

import attrs

from gossipreg import limits
from gossipreg.protocol.membership.member_update import Destination
from gossipreg.values import frozen

#: Bytes of the largest packed `ReceiptRequest`: the head of a list, a kind, 32 bits with their head.
RECEIPT_REQUEST_BYTES = 7


@frozen
class ReceiptRequest:
    """Asks the receiver for a `Receipt` of the packet that this message is in."""

    number: int


@frozen
class Receipt:
    """The packets with these numbers have arrived."""

    numbers: tuple[int, ...]


@attrs.define(eq=False, repr=False)
class OwedReceipts:
    """The receipts that this node owes to peers. ``gap`` is the least time between two to one (seconds)."""

    gap: float
    _numbers: dict[Destination, list[int]] = attrs.field(factory=dict)
    _due: dict[Destination, float] = attrs.field(factory=dict)  # when those are to be sent (seconds)
    _sent: dict[Destination, float] = attrs.field(factory=dict)  # when a receipt was last sent there (seconds)

    @property
    def deadline(self) -> float:
        """When the next receipt is due (seconds), or infinity."""
        return min(self._due.values(), default=math.inf)

    def owe(self, to: Destination, number: int, now: float) -> None:
        """The packet ``number`` of the peer at ``to`` has arrived."""
        numbers = self._numbers.setdefault(to, [])
        if len(numbers) < limits.RECEIPT_NUMBERS_MAX:
            numbers.append(number)
        if len(numbers) >= limits.RECEIPT_NUMBERS_MAX:
            self._due[to] = now
        else:
            self._due.setdefault(to, max(now, self._sent.get(to, -math.inf) + self.gap))

    def take(self, to: Destination, now: float) -> Receipt | None:
        """What is owed to the peer at ``to``, due or not, for a packet that goes there."""
        numbers = self._numbers.pop(to, None)
        if numbers is None:
            return None
        del self._due[to]
        if len(self._sent) >= limits.TOLD_MAX:
            self._sent.clear()
        self._sent[to] = now
        return Receipt(tuple(numbers))

    def due(self, now: float) -> list[Destination]:
        """The peers whose receipts are due."""
        return [to for to, due in self._due.items() if due <= now]
