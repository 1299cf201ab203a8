"""The broadcaster: puts what is new into the broadcast queue, with the tree that it goes down."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import attrs

from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue, Topic
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.members import Members


@attrs.define(eq=False, repr=False)
class Broadcaster:
    """Decides how each message is broadcast: down the tree of its origin, or to members at random."""

    settings: EngineSettings
    members: Members
    queue: BroadcastQueue
    root: Callable[[str], str] | None = None  # the root of the tree of each origin, where it may be another member

    @property
    def has_receipts(self) -> bool:
        """Whether what goes down a tree is acknowledged, and table digests follow."""
        return self.settings.gossip_receipts and self.settings.gossip_tree

    def broadcast(
        self, topic: Topic, about: Hashable, data: bytes, now: float, *, origin: str, received_from: str | None = None
    ) -> None:
        """Broadcast a message: down its origin's tree if it came from our parent there, else at random."""
        if self.root is not None:
            origin = self.root(origin)
        if origin == self.members.own_name:
            self.queue.enqueue_own(topic, about, data, now, origin=origin)
        elif self.has_receipts:
            # Each node that has it sends it to its own children, which acknowledge it. A message that came over a
            # stream was missed by more nodes than this one.
            is_on_tree = received_from is not None and self.members.has_seat(origin)
            self.queue.enqueue(topic, about, data, now, origin=origin if is_on_tree else None)
        else:
            is_on_tree = self.members.is_parent(received_from, origin, self.settings.gossip_fanout)
            self.queue.enqueue(topic, about, data, now, origin=origin if is_on_tree else None)

    def note_duplicate(self, topic: Topic, about: Hashable, now: float) -> None:
        """Count a broadcast of a peer that this node already holds."""
        self.queue.note_duplicate(topic, about, self.members.present_count, now)
