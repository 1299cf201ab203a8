"""Mutations of dissemination: transmissions, the broadcast tree and the queue."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg import limits
from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue, TreeMessage
from gossipreg.protocol.dissemination.deliveries import Deliveries, Delivery
from gossipreg.protocol.dissemination.digest_rounds import DigestRounds
from gossipreg.protocol.membership.probe import Ping, Send
from gossipreg.protocol.membership.ring import Ring
from gossipreg.protocol.membership_handler import MembershipHandler
from tests.sim.mutations.mutation import mutation
from tests.sim.mutations.scenarios import DEATH, DISSEMINATION, LOSSY_DISSEMINATION


@mutation(DEATH, "MessageStorm", "IdleLoad")
def an_update_is_gossiped_without_end(patch: pytest.MonkeyPatch) -> None:
    original = BroadcastQueue._transmitted

    def transmitted(self: BroadcastQueue, item: Any, members: int, now: float) -> None:
        item.transmissions = min(item.transmissions, 3)
        original(self, item, members, now)

    patch.setattr(BroadcastQueue, "_transmitted", transmitted)


@mutation(DISSEMINATION, "DisseminationTime")
def the_last_child_in_the_tree_is_skipped(patch: pytest.MonkeyPatch) -> None:
    def children(self: Ring, name: str, root: str, fanout: int) -> list[str]:
        rank = self._rank(name, root)
        children = range(fanout * rank + 1, min(fanout * rank + fanout, len(self)))
        return [self._at(child, root) for child in children]

    patch.setattr(Ring, "children", children)


@mutation(DISSEMINATION, "DisseminationTime", seeds=6)
def the_tree_has_a_wrong_root_and_a_duplicate_counts_twice(patch: pytest.MonkeyPatch) -> None:
    def children(self: Ring, name: str, root: str, fanout: int) -> list[str]:
        rank = self._rank(name, root)
        children = range(fanout * rank + 1, min(fanout * rank + fanout + 1, len(self)))
        return [self._at(child, name) for child in children]

    original = BroadcastQueue.note_duplicate

    def note_duplicate(self: BroadcastQueue, topic: Any, about: Any, members: int, now: float) -> None:
        original(self, topic, about, members, now)
        original(self, topic, about, members, now)

    patch.setattr(Ring, "children", children)
    patch.setattr(BroadcastQueue, "note_duplicate", note_duplicate)


@mutation(DISSEMINATION, "Bounds")
def a_full_broadcast_queue_drops_nothing(patch: pytest.MonkeyPatch) -> None:
    original = BroadcastQueue.enqueue

    def enqueue(self: BroadcastQueue, *what: Any, **how: Any) -> None:
        most, limits.BROADCAST_QUEUE_MAX = limits.BROADCAST_QUEUE_MAX, 1 << 30  # type: ignore[misc]
        original(self, *what, **how)
        limits.BROADCAST_QUEUE_MAX = most  # type: ignore[misc]

    patch.setattr(limits, "BROADCAST_QUEUE_MAX", 8)  # so that a run of some seconds fills it
    patch.setattr(BroadcastQueue, "enqueue", enqueue)


@mutation(DEATH, "IdleLoad")
def each_ping_is_sent_twice(patch: pytest.MonkeyPatch) -> None:
    original = MembershipHandler._send

    def say(self: MembershipHandler, finding: Send, now: float) -> None:
        original(self, finding, now)
        if isinstance(finding.message, Ping):
            original(self, finding, now)

    patch.setattr(MembershipHandler, "_send", say)


@mutation(LOSSY_DISSEMINATION, "DisseminationTime")
def a_packet_without_a_receipt_counts_as_delivered_and_no_digest_follows(patch: pytest.MonkeyPatch) -> None:
    def may_send_again(self: Deliveries, delivery: Delivery) -> bool:
        return False

    def gossip(self: BroadcastQueue, message: TreeMessage, now: float) -> None:
        pass

    patch.setattr(Deliveries, "may_send_again", may_send_again)
    patch.setattr(BroadcastQueue, "gossip", gossip)
    patch.setattr(DigestRounds, "changed", lambda self, owner, now: None)
