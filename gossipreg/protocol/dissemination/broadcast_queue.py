"""The broadcast queue: which messages are still to be sent, when, and how they share the room in a packet fairly.

Theory of operation (design §4.3; docs/decisions/0018; cf. memberlist's TransmitLimitedQueue). A message is not sent on
a fixed tick but when it is created or received: at once (after a couple of ms, so that others may share the packet:
`batching_window`), then again after gaps that double. The first transmission goes down a tree that needs no agreement,
since all nodes know the same members: each gets the message once, in log3(n) hops. The later transmissions go to a few
members drawn at random, for lost packets and for subtrees that were missed. A node that keeps receiving duplicates of
a message sends it less often. What goes down a tree is acknowledged (`deliveries`) and transmitted to others only where
it could not be delivered: Plumtree's eager push, made reliable (docs/decisions/0062). Other messages are also
piggybacked on probes and acks. When nothing is new nothing is sent. One child that could not be reached does not end
the deliveries to the others: the message is then transmitted at random beside them.

Transmissions of several messages would soon drift apart, a packet each. So a packet that goes out takes along what has
waited for most of its gap: the transmissions of a burst stay together.

Four topics (members, instances, policies, terms) take turns in each packet, least sent first and newest among those.
So a storm of one cannot starve the others, and repetitions cannot starve what has not been sent at all. What a full
queue has to drop is left to reconciliation.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections.abc import Hashable
from itertools import islice

import attrs

from gossipreg import limits
from gossipreg.protocol.dissemination.batching_window import BatchingWindow
from gossipreg.protocol.dissemination.receipts import RECEIPT_REQUEST_BYTES
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.values import frozen

#: How many of the newest messages are considered for one packet; a packet holds about twenty.
_PIGGYBACK_CANDIDATES = 64

#: The share of its gap that a message need not wait if a packet goes out anyway.
_NEARLY = 0.45

#: Trees that one flush may use. When many send at once, as at a mass start, packets shared by all of it are cheaper.
_TREES_MAX = 2

#: For how many probe intervals a message may wait to be piggybacked after its last transmission.
_PIGGYBACK_PERIODS = 10


class Topic(enum.IntEnum):
    """What a message is about; each topic has its fair share of every packet."""

    MEMBERSHIP = 0
    INSTANCES = 1
    POLICIES = 2
    TERMS = 3
    HEADS = 4  # of other cells


#: Topics of which a message is sent once to those that acknowledge it: what follows makes up for a loss.
_ONCE = (Topic.INSTANCES, Topic.HEADS)

Key = tuple[Topic, Hashable]


@frozen
class Batch:
    """Messages that share a packet: for this node's children in the tree of ``origin``, or for a few at random."""

    origin: str | None
    messages: list[bytes]


@frozen
class TreeMessage:
    """A message that goes down the tree of ``origin`` and is acknowledged; ``serial`` tells it from its successors."""

    key: Key
    serial: int
    origin: str
    data: bytes


@attrs.define(eq=False, repr=False)
class _Item:
    key: Key
    data: bytes
    serial: int
    due: float
    born: float
    origin: str | None
    transmissions: int = 0
    piggybacks: int = 0
    by_tree: bool = False  # whether its first transmission went down a tree
    awaits_receipts: bool = False  # whether deliveries down its tree are open
    is_gossiped: bool = True  # whether it goes to members at random, and along with probes and acks
    last_transmission: bool = False  # whether its next transmission is the last one
    duplicates: int = 0  # duplicates received since a transmission was last skipped for them


@attrs.define(eq=False, repr=False)
class BroadcastQueue:
    """The messages being broadcast, at most one about a subject: a newer one replaces the older one."""

    settings: EngineSettings
    _items: dict[Key, _Item] = attrs.field(factory=dict)
    _agenda: list[tuple[float, int, Key]] = attrs.field(factory=list)  # heap of (due, serial, key); stale ones skipped
    _window: BatchingWindow = attrs.field(init=False)
    _down_trees: list[TreeMessage] = attrs.field(factory=list)
    #: By origin: messages that were due to go down its tree and had no room, the next one last. Not on the agenda.
    _waiting: dict[str, list[_Item]] = attrs.field(factory=dict)
    _waiting_until: float = math.inf
    _serial: int = 0
    dropped: int = 0  # messages evicted from a full queue

    def __attrs_post_init__(self) -> None:
        self._window = BatchingWindow(self.settings.gossip_coalesce, self.settings.gossip_coalesce_max)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def deadline(self) -> float:
        """When the next transmission is due (seconds), or infinity."""
        return min(self._next_due(), self._waiting_until)

    def _next_due(self) -> float:
        while self._agenda:
            due, serial, key = self._agenda[0]
            item = self._items.get(key)
            if item is not None and item.serial == serial and item.due == due:
                return due
            heapq.heappop(self._agenda)
        return math.inf

    def enqueue_own(self, topic: Topic, about: Hashable, data: bytes, now: float, *, origin: str) -> None:
        """Broadcast ``data``, a packed message that this node originates: in one batch with more, if more come."""
        self.enqueue(topic, about, data, now, origin=origin, wait=self._window.send_at(now) - now)

    def enqueue(
        self, topic: Topic, about: Hashable, data: bytes, now: float, *, origin: str | None = None, wait: float = 0.0
    ) -> None:
        """Broadcast ``data``, a packed message, in ``wait`` seconds; ``origin`` is the member that first sent it."""
        key = (topic, about)
        self._items.pop(key, None)  # re-inserted at the end: insertion order is age
        if len(self._items) >= limits.BROADCAST_QUEUE_MAX:
            del self._items[next(iter(self._items))]
            self.dropped += 1
        self._serial += 1
        item = _Item(key, data, self._serial, now + wait, now, origin)
        self._items[key] = item
        heapq.heappush(self._agenda, (item.due, item.serial, key))

    def transmit_limit(self, members: int) -> int:
        """How often a message is sent in a cluster of ``members``: enough for log2 n hops and some losses."""
        return min(self.settings.gossip_transmissions, 3 + math.ceil(math.log2(max(2, members))))

    def note_duplicate(self, topic: Topic, about: Hashable, members: int, now: float) -> None:
        """A duplicate was received: after every `gossip_duplicates` of them one transmission is skipped."""
        item = self._items.get((topic, about))
        if item is None or item.due == math.inf or not item.transmissions or not self.settings.gossip_duplicates:
            return
        item.duplicates += 1
        if item.duplicates >= self.settings.gossip_duplicates:
            item.duplicates = 0
            self._transmitted(item, members, now)

    def take_tree_messages(self) -> list[TreeMessage]:
        """The messages that `flush` found due to go down their trees, and to be acknowledged."""
        taken, self._down_trees = self._down_trees, []
        return taken

    def is_current(self, message: TreeMessage) -> bool:
        """Whether ``message`` is still to be delivered: no newer one has taken its place."""
        item = self._items.get(message.key)
        return item is not None and item.serial == message.serial and item.awaits_receipts

    def gossip(self, message: TreeMessage, now: float) -> None:
        """One child could not be reached: transmit ``message`` to members at random, beside its other deliveries."""
        item = self._items.get(message.key)
        if item is not None and self.is_current(message) and not item.is_gossiped:
            item.is_gossiped = True
            self._schedule(item, now)

    def deliveries_ended(self, message: TreeMessage, now: float) -> None:
        """No delivery of ``message`` is open any more.

        A record that all children have is done with, since digests of its table follow; so is a head, since a later one
        follows. What has no digest is sent once more. What is gossiped, since a child could not be reached, goes on
        being so.
        """
        if not self.is_current(message):
            return
        item = self._items[message.key]
        item.awaits_receipts = False
        if item.is_gossiped:
            self._drop_if_spent(item)
        elif item.key[0] in _ONCE:
            del self._items[message.key]
        else:
            item.is_gossiped = item.last_transmission = True
            self._schedule(item, now + self.settings.gossip_tree_gap)

    def _drop_if_spent(self, item: _Item) -> None:
        is_spent = item.due == math.inf and item.piggybacks >= self.settings.piggyback_transmissions
        if is_spent and not item.awaits_receipts:
            del self._items[item.key]

    def flush(self, room: int, members: int, now: float) -> list[Batch]:
        """The packets of messages due now, each of at most ``room`` bytes."""
        if self.deadline > now:
            return []
        self._window.sent(now)
        due = self._take_due(now + self.settings.gossip_coalesce)  # what is due in a moment shares the packet
        due = self._send_down_trees(due, room, now)
        batches: list[Batch] = []
        for origin, items in self._by_tree(due).items():
            batches += self._packed(origin, items, room, members, now)
        if batches and batches[-1].origin is None:
            self._top_up(batches[-1], room, members, now)
        return batches

    def _goes_down_tree(self, item: _Item) -> bool:
        """Whether ``item`` is still to go down a tree, and to be acknowledged."""
        has_receipts = self.settings.gossip_receipts and self.settings.gossip_tree
        return has_receipts and item.origin is not None and not item.transmissions

    def _send_down_trees(self, due: list[_Item], room: int, now: float) -> list[_Item]:
        """Have what is due for the first time go down its tree, as far as there is room; returns the rest."""
        left: dict[str, int] = {}
        rest: list[_Item] = []
        waiting: dict[str, list[_Item]] = {}
        for item in _interleaved(due):
            if item.origin is None or not self._goes_down_tree(item):
                rest.append(item)
            elif not self._send_down_tree(item, item.origin, left, room):
                waiting.setdefault(item.origin, []).append(item)
        if now + self.settings.gossip_coalesce >= self._waiting_until:
            self._waiting_until = math.inf
            for origin, items in self._waiting.items():
                while items and self._send_down_tree(items[-1], origin, left, room):
                    items.pop()
        for origin, items in waiting.items():
            self._waiting.setdefault(origin, []).extend(reversed(items))
        self._waiting = {origin: items for origin, items in self._waiting.items() if items}
        if self._waiting:
            self._waiting_until = min(self._waiting_until, now + self.settings.gossip_gap)
        return rest

    def _send_down_tree(self, item: _Item, origin: str, left: dict[str, int], room: int) -> bool:
        """Have ``item`` go down its tree, if there is room ``left`` for that tree; returns whether it is done with."""
        if self._items.get(item.key) is not item or item.transmissions:
            return True  # a newer one took its place while it waited
        if len(item.data) > room - RECEIPT_REQUEST_BYTES:
            self._drop(item)
            return True
        left[origin] = left.get(origin, limits.FLUSH_PACKETS_MAX * room) - len(item.data)
        if left[origin] < 0:
            return False
        item.transmissions, item.by_tree, item.due = 1, True, math.inf
        item.awaits_receipts, item.is_gossiped = True, False
        self._down_trees.append(TreeMessage(item.key, item.serial, origin, item.data))
        return True

    def _by_tree(self, due: list[_Item]) -> dict[str | None, list[_Item]]:
        """What is due, by its tree; last what goes to members at random."""
        fresh = dict.fromkeys(item.origin for item in due if not item.transmissions and item.origin is not None)
        trees: dict[str | None, list[_Item]] = {}
        if self.settings.gossip_tree and len(fresh) <= _TREES_MAX:
            trees.update((origin, []) for origin in fresh)
        at_random: list[_Item] = []
        for item in due:
            (at_random if item.transmissions else trees.get(item.origin, at_random)).append(item)
        return trees | ({None: at_random} if at_random else {})

    def _packed(self, origin: str | None, items: list[_Item], room: int, members: int, now: float) -> list[Batch]:
        batches = [Batch(origin, [])]
        left = room
        for item in _interleaved(items):
            if len(item.data) > room:
                self._drop(item)
                continue
            if len(item.data) > left and len(batches) < limits.FLUSH_PACKETS_MAX:
                batches.append(Batch(origin, []))
                left = room
            if len(item.data) > left:
                self._schedule(item, now + self.settings.gossip_gap)
                continue
            batches[-1].messages.append(item.data)
            left -= len(item.data)
            item.by_tree = item.by_tree or origin is not None
            self._transmitted(item, members, now)
        return batches

    def _drop(self, item: _Item) -> None:
        """Drop what was queued before it was found that packets of its size are lost."""
        del self._items[item.key]
        self.dropped += 1

    def _top_up(self, batch: Batch, room: int, members: int, now: float) -> None:
        left = room - sum(map(len, batch.messages))
        for item in self._nearly_due(now):
            if len(item.data) <= left:
                batch.messages.append(item.data)
                left -= len(item.data)
                self._transmitted(item, members, now)

    def _nearly_due(self, now: float) -> list[_Item]:
        """Messages that have waited for most of their gap: they go along where there is room, and save a packet."""
        newest = islice(reversed(self._items.values()), _PIGGYBACK_CANDIDATES)
        return _interleaved(
            [
                item
                for item in newest
                if item.transmissions and item.is_gossiped and item.due - now <= _NEARLY * self._gap(item)
            ]
        )

    def _gap(self, item: _Item) -> float:
        """The time between the last transmission of ``item`` and its next (seconds)."""
        if item.by_tree and item.transmissions == 1:
            return self.settings.gossip_tree_gap
        return self.settings.gossip_gap_after(item.transmissions)

    def _take_due(self, now: float) -> list[_Item]:
        due: list[_Item] = []
        while self._next_due() <= now:
            _, _, key = heapq.heappop(self._agenda)
            item = self._items[key]
            item.due = -math.inf  # it may be on the agenda twice, having been put off to the very same moment
            due.append(item)
        return due

    def _transmitted(self, item: _Item, members: int, now: float) -> None:
        item.transmissions += 1
        if item.transmissions < self.transmit_limit(members) and not item.last_transmission:
            self._schedule(item, now + self._gap(item))
            return
        item.due = math.inf
        self._drop_if_spent(item)

    def _schedule(self, item: _Item, due: float) -> None:
        item.due = due
        heapq.heappush(self._agenda, (due, item.serial, item.key))

    def piggyback(self, room: int, now: float) -> list[bytes]:
        """Messages that fit into ``room`` bytes of a packet that goes out anyway, drawn from the newest."""
        if not self._items:
            return []
        self._expire(now)
        piggybacked: list[bytes] = []
        for item in _interleaved(list(islice(reversed(self._items.values()), _PIGGYBACK_CANDIDATES))):
            if not item.is_gossiped or self._goes_down_tree(item):
                continue
            if item.piggybacks < self.settings.piggyback_transmissions and len(item.data) <= room:
                piggybacked.append(item.data)
                room -= len(item.data)
                item.piggybacks += 1
                self._drop_if_spent(item)
        return piggybacked

    def _expire(self, now: float) -> None:
        """Drop the oldest messages that have had their transmissions and were not piggybacked for long enough."""
        oldest = now - _PIGGYBACK_PERIODS * self.settings.probe_interval
        while self._items:
            item = next(iter(self._items.values()))
            if item.due < math.inf or item.awaits_receipts or item.born > oldest:
                return
            del self._items[item.key]


def _sent_and_age(item: _Item) -> tuple[int, int]:
    return item.transmissions + item.piggybacks, -item.serial


def _interleaved(items: list[_Item]) -> list[_Item]:
    """``items`` least sent first, then newest, one topic after the other for as long as both have some."""
    if len(items) < 2:
        return items
    by_topic: dict[Topic, list[_Item]] = {}
    for item in sorted(items, key=_sent_and_age):
        by_topic.setdefault(item.key[0], []).append(item)
    queues = [by_topic[topic] for topic in sorted(by_topic)]
    mixed: list[_Item] = []
    for turn in range(max(map(len, queues), default=0)):
        mixed += (queue[turn] for queue in queues if turn < len(queue))
    return mixed
