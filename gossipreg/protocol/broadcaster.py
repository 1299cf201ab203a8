"""The broadcaster: enqueues each new message for broadcast, with the tree that it goes down."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import attrs

from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue, Topic
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.members import Members


@attrs.define(eq=False, repr=False)
class Broadcaster:
    """Decides how each message is broadcast: down the tree of its origin, or to members at random.

    ``root`` maps an origin to the root of its tree. None: each origin is the root of its own tree. In a region of cells
    the root of a member of another cell is this cell's first relay to that one.
    """

    settings: EngineSettings
    members: Members
    queue: BroadcastQueue
    root: Callable[[str], str] | None = None

    @property
    def has_receipts(self) -> bool:
        """Whether children acknowledge what they receive down a tree, and table digests (lazy push) mend losses."""
        return self.settings.gossip_receipts and self.settings.gossip_tree

    def broadcast(
        self, topic: Topic, about: Hashable, data: bytes, now: float, *, origin: str, received_from: str | None = None
    ) -> None:
        """Broadcast a message that is new here, down the tree of ``origin`` or to members at random.

        A message of this node's own goes down its tree. So does one that a peer sent in a packet, ``received_from``:
        with receipts, from any peer while the origin is present; without, only from this node's parent in the tree.
        """
        if self.root is not None:
            origin = self.root(origin)
        if origin == self.members.own_name:
            self.queue.enqueue_own(topic, about, data, now, origin=origin)
        elif self.has_receipts:
            # Each node that receives it in a packet sends it on to its own children, which acknowledge it. A message
            # that came over a stream (``received_from`` is None) may be missing anywhere, so it goes out at random.
            is_on_tree = received_from is not None and self.members.has_seat(origin)
            self.queue.enqueue(topic, about, data, now, origin=origin if is_on_tree else None)
        else:
            is_on_tree = self.members.is_parent(received_from, origin, self.settings.gossip_fanout)
            self.queue.enqueue(topic, about, data, now, origin=origin if is_on_tree else None)

    def note_duplicate(self, topic: Topic, about: Hashable, now: float) -> None:
        """Count a message that a peer has broadcast although this node already had it: it is then sent less often."""
        self.queue.note_duplicate(topic, about, self.members.present_count, now)
