"""The disseminator: how the changes that one node makes or learns reach all others.

Theory of operation (docs/decisions/0018, 0062). Three mechanisms, from the quickest to the most certain. They are those
of epidemic broadcast trees (Plumtree: Leitão, Pereira, Rodrigues, SRDS 2007), with a tree that is computed instead of
learned, and with receipts:

    what                         how                                        when
    ---------------------------------------------------------------------------------------------------------
    eager push (`eager_push`)    down the tree of its origin, to each       at once; again after 10, 20, 30,
                                 child until it acknowledges                50 ... ms where no receipt comes
    gossip (`broadcast_queue`)   to a few members drawn at random, and      at once, then after gaps that
                                 piggybacked on probes and acks             double
    lazy push (`lazy_push`)      the digest of an owner's table to a        when the table was quiet for
                                 member at random, which requests what      50 ms
                                 it lacks

Records, policies and terms are pushed eagerly. Updates about members are gossiped: while members come and go they see
different trees. So is a message that a child could not be sent. Records are then pushed lazily; policies and terms have
no digest and are gossiped once more. What all of them miss is left to anti-entropy (`stream_sessions`).
"""

from __future__ import annotations

import attrs

from gossipreg.protocol.dissemination.deliveries import Deliveries
from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.eager_push import EagerPush
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.lazy_push import LazyPush
from gossipreg.protocol.membership.round_trips import RoundTrips
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.registry.records import RecordRequest
from gossipreg.protocol.state import ClusterState


@attrs.define(eq=False, repr=False)
class Disseminator:
    """The broadcasts of one node, by all three mechanisms."""

    settings: EngineSettings
    state: ClusterState
    outbox: Outbox
    eager: EagerPush
    lazy: LazyPush

    @classmethod
    def create(cls, settings: EngineSettings, state: ClusterState, outbox: Outbox, trips: RoundTrips) -> Disseminator:
        """Create a disseminator of what is queued in ``state``; ``trips``: the round trips of probes."""
        eager = EagerPush(settings, state, outbox, trips)
        return cls(settings, state, outbox, eager, LazyPush(settings, state, outbox))

    @property
    def deliveries(self) -> Deliveries:
        """What was pushed and is not acknowledged yet."""
        return self.eager.deliveries

    @property
    def deadline(self) -> float:
        """When `handle_timeout` has something to do (seconds), or infinity."""
        return min(self.state.broadcasts.deadline, self.eager.deadline, self.lazy.deadline)

    def handle_timeout(self, now: float) -> None:
        """Send what is due.

        New messages come first, so that what is nearly overdue fits into their packets; receipts come last, since most
        have gone along with other packets by then.
        """
        self._broadcast(now)
        self.eager.send_again(now)
        self._broadcast(now)  # what was just given up, and is to be gossiped at once
        self.lazy.tell_digests(now, is_lossy=self.deliveries.is_lossy)
        self.lazy.send_requests(now)
        self.eager.send_receipts(now)

    def _broadcast(self, now: float) -> None:
        members, fanout, broadcasts = self.state.members, self.settings.gossip_fanout, self.state.broadcasts
        batches = broadcasts.flush(self.outbox.room, members.present_count, now)
        self.eager.push(broadcasts.take_tree_messages(), now)
        for batch in batches:
            origin = batch.origin
            for target in members.sample(fanout) if origin is None else members.children(origin, fanout):
                self.outbox.send(target.destination, *batch.messages)

    def handle(self, message: ReceiptRequest | Receipt | RecordRequest, context: MessageContext, now: float) -> None:
        """Handle a peer's message about the delivery of others."""
        match message:
            case ReceiptRequest():
                self.eager.handle_receipt_request(message, context, now)
            case Receipt():
                self.eager.handle_receipt(message, context, now)
            case _:
                self.lazy.handle_record_request(message, context, now)

    def sweep(self) -> None:
        """Forget what is known of runs that are gone."""
        self.deliveries.keep(frozenset(member.run_id for member in self.state.members))
