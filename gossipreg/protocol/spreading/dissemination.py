"""Knows which fresh rumors are still to be spread, when, and how to share the room in a packet fairly.

Theory of operation (design §4.3). A rumor is not sent on a fixed tick but when it is born or learned: at once (well,
after a couple of ms, so that others may share the packet), then again after gaps that double. Each time it goes to
a few members drawn at random, and whoever learns it does the same. So news crosses the cluster in about log(n) hops
of a few ms, the later rounds are there for packets that were lost, and when nothing is new nothing is sent. Rumors
also ride on probes and acks that go out anyway.

Rounds of several rumors would soon go their separate ways, a packet each. So a packet that goes out takes along what
has waited for most of its gap: the rounds of a burst fall in step again.

Two kinds of rumor (who is here, what they offer) take turns in each packet, least told first and newest among those,
so that a storm of one cannot starve the other, nor repeats what has not been said at all. What a full queue has to
drop is left to reconciliation.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections.abc import Hashable
from itertools import islice

import attrs

from gossipreg import limits
from gossipreg.config import Settings

#: How many of the newest rumors are looked at to fill one packet; a packet holds about twenty.
_RIDERS_CONSIDERED = 64

#: The share of its gap that a rumor need not wait if a packet goes out anyway.
_NEARLY = 0.45

#: For how many probe intervals a rumor may wait for rides after its last round.
_RIDE_PERIODS = 10


class Topic(enum.IntEnum):
    """What a rumor is about; each topic has its fair share of every packet."""

    MEMBERSHIP = 0
    INSTANCES = 1


Key = tuple[Topic, Hashable]


@attrs.define
class _Item:
    key: Key
    data: bytes
    serial: int
    due: float
    born: float
    round: int = 0
    rides: int = 0


@attrs.define
class Dissemination:
    """The rumors being spread, at most one about a thing: a newer one takes the older one's place."""

    settings: Settings
    _items: dict[Key, _Item] = attrs.field(factory=dict)
    _agenda: list[tuple[float, int, Key]] = attrs.field(factory=list)  # heap of (due, serial, key); stale ones skipped
    _serial: int = 0
    dropped: int = 0  # rumors pushed out of a full queue

    def __len__(self) -> int:
        return len(self._items)

    @property
    def deadline(self) -> float:
        """When the next round is due (seconds), or infinity."""
        while self._agenda:
            due, serial, key = self._agenda[0]
            item = self._items.get(key)
            if item is not None and item.serial == serial and item.due == due:
                return due
            heapq.heappop(self._agenda)
        return math.inf

    def add(self, topic: Topic, about: Hashable, data: bytes, now: float) -> None:
        """Spread ``data``, the packed rumor, from now on."""
        key = (topic, about)
        self._items.pop(key, None)  # re-inserted at the end: insertion order is age
        if len(self._items) >= limits.RUMOR_QUEUE_MAX:
            del self._items[next(iter(self._items))]
            self.dropped += 1
        self._serial += 1
        item = _Item(key, data, self._serial, now + self.settings.gossip_coalesce, now)
        self._items[key] = item
        heapq.heappush(self._agenda, (item.due, item.serial, key))

    def rounds(self, members: int) -> int:
        """How many rounds a rumor gets in a cluster of ``members``: enough for log2 n hops and some losses."""
        return min(self.settings.gossip_rounds, 3 + math.ceil(math.log2(max(2, members))))

    def flush(self, room: int, members: int, now: float) -> list[list[bytes]]:
        """The packets' worth of rumors due now, each of at most ``room`` bytes; all go to the same few members."""
        if self.deadline > now:
            return []
        due = self._take_due(now + self.settings.gossip_coalesce)  # what is due in a moment shares the packet
        packets: list[list[bytes]] = [[]]
        left = room
        waiting: list[_Item] = []
        for item in _taking_turns(due):
            assert len(item.data) <= room, "what is too large for a packet is announced, not gossiped"
            if len(item.data) > left and len(packets) < limits.FLUSH_PACKETS_MAX:
                packets.append([])
                left = room
            if len(item.data) > left:
                waiting.append(item)
                continue
            packets[-1].append(item.data)
            left -= len(item.data)
            self._next_round(item, members, now)
        for item in waiting:
            self._schedule(item, now + self.settings.gossip_gap)
        for item in self._nearly_due(now):
            if len(item.data) <= left:
                packets[-1].append(item.data)
                left -= len(item.data)
                self._next_round(item, members, now)
        return packets

    def _nearly_due(self, now: float) -> list[_Item]:
        """Rumors that have waited for most of their gap: they go along where there is room, and save a packet."""
        newest = islice(reversed(self._items.values()), _RIDERS_CONSIDERED)
        return _taking_turns([item for item in newest if item.round and item.due - now <= _NEARLY * self._gap(item)])

    def _gap(self, item: _Item) -> float:
        """The time between the last round of ``item`` and its next (seconds)."""
        return self.settings.gossip_gap * self.settings.gossip_growth ** (item.round - 1)

    def _take_due(self, now: float) -> list[_Item]:
        due: list[_Item] = []
        while self.deadline <= now:
            _, _, key = heapq.heappop(self._agenda)
            due.append(self._items[key])
        return due

    def _next_round(self, item: _Item, members: int, now: float) -> None:
        item.round += 1
        if item.round < self.rounds(members):
            self._schedule(item, now + self._gap(item))
            return
        item.due = math.inf
        if item.rides >= self.settings.piggyback_rounds:
            del self._items[item.key]

    def _schedule(self, item: _Item, due: float) -> None:
        item.due = due
        heapq.heappush(self._agenda, (due, item.serial, item.key))

    def ride(self, room: int, now: float) -> list[bytes]:
        """Rumors that fit into ``room`` bytes of a packet that goes out anyway, drawn from the newest."""
        if not self._items:
            return []
        self._expire(now)
        riders: list[bytes] = []
        for item in _taking_turns(list(islice(reversed(self._items.values()), _RIDERS_CONSIDERED))):
            if item.rides < self.settings.piggyback_rounds and len(item.data) <= room:
                riders.append(item.data)
                room -= len(item.data)
                item.rides += 1
                if item.rides == self.settings.piggyback_rounds and item.due == math.inf:
                    del self._items[item.key]
        return riders

    def _expire(self, now: float) -> None:
        """Drop the oldest rumors that have had their rounds and found no ride for long enough."""
        oldest = now - _RIDE_PERIODS * self.settings.probe_interval
        while self._items:
            item = next(iter(self._items.values()))
            if item.due < math.inf or item.born > oldest:
                return
            del self._items[item.key]


def _told_and_age(item: _Item) -> tuple[int, int]:
    return item.round + item.rides, -item.serial


def _taking_turns(items: list[_Item]) -> list[_Item]:
    """``items`` least told first, then newest, one topic after the other for as long as both have some."""
    if len(items) < 2:
        return items
    by_topic: dict[Topic, list[_Item]] = {}
    for item in sorted(items, key=_told_and_age):
        by_topic.setdefault(item.key[0], []).append(item)
    queues = [by_topic[topic] for topic in sorted(by_topic)]
    mixed: list[_Item] = []
    for turn in range(max(map(len, queues), default=0)):
        mixed += (queue[turn] for queue in queues if turn < len(queue))
    return mixed
