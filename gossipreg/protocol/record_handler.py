"""The record handler: merges the records, policies and terms that peers send, and fetches large records."""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outputs import PoliciesChanged, PolicyFromFuture
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Announcement, Record, TableDigest
from gossipreg.protocol.registry.table import Freshness
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.state import ClusterState


@attrs.define(eq=False, repr=False)
class RecordHandler:
    """Handles messages about instances, policies and terms."""

    local_member: LocalMember
    state: ClusterState
    streams: PeerStreams

    def handle(self, said: Record | TableDigest | Announcement, context: MessageContext, now: float) -> None:
        """Handle a record, the announcement of a large one, or a digest of an owner's whole table."""
        if isinstance(said, Announcement):
            self._handle_announcement(said, context, now)
        elif self.local_member.handle_shared_generation(said, now):
            pass
        elif isinstance(said, TableDigest):
            self.state.apply_digest(said, now)
        else:
            self._handle_record(said, context, now)

    def _handle_record(self, record: Record, context: MessageContext, now: float) -> None:
        identity = self.local_member.identity
        freshness = self.state.classify(record.owner, record.generation, record.id, record.version)
        if freshness is Freshness.NEW:
            spread = context.admit_forward(announced=identity.announced)
            if self.state.take(record, now, spread=spread, received_from=context.name):
                self.streams.sessions.got((record.owner, record.id))
        elif freshness is Freshness.OBSOLETE and context.over_stream:
            if (
                record.owner != identity.name or identity.announced
            ):  # else it may be of another node of our name, and current
                context.stale.setdefault(record.owner, []).append(record.id)
        elif freshness is Freshness.KNOWN and not context.over_stream:
            self._note_duplicate(record, now)
        elif freshness is Freshness.OVER_LIMIT:
            self.state.counters[Count.RECORDS_OVER_OWNER_LIMIT] += 1

    def _note_duplicate(self, said: Record | Announcement, now: float) -> None:
        table = self.state.registry.table(said.owner)
        held = None if table is None else table.get(said.id)
        if held is not None and held.version == said.version:
            self.state.note_duplicate(Topic.INSTANCES, (said.owner, said.id), now)

    def handle_policy(self, version: PolicyVersion, context: MessageContext, now: float) -> None:
        """Handle a version of a policy."""
        if self.state.policies.outranks(version):
            spread = context.admit_forward(announced=self.local_member.identity.announced)
            keys = self.state.handle_policy(version, now, spread=spread, received_from=context.name)
            if keys is None:
                ahead = version.ms / 1000 - self.state.clock.wall(now) / 1000
                self.streams.outbox.put(PolicyFromFuture(version.key, version.writer, ahead, restamped=False))
            elif keys:
                self.streams.outbox.put(PoliciesChanged(keys))
        elif not context.over_stream and version == self.state.policies.get(version.key):
            self.state.note_duplicate(Topic.POLICIES, version.key, now)

    def handle_term_register(self, said: TermRegister, context: MessageContext, now: float) -> None:
        """Handle the term register of a service."""
        if said == self.state.terms.get(said.service):
            if not context.over_stream:
                self.state.note_duplicate(Topic.TERMS, said.service, now)
        else:
            spread = context.admit_forward(announced=self.local_member.identity.announced)
            if self.state.handle_term_register(said, now, spread=spread) is None:
                ahead = said.ms / 1000 - self.state.clock.wall(now) / 1000
                self.streams.outbox.put(PolicyFromFuture(f"role {said.service}", said.writer, ahead, restamped=False))

    def _handle_announcement(self, said: Announcement, context: MessageContext, now: float) -> None:
        if said.size > limits.RECORD_BYTES_MAX or context.member is None:
            return
        freshness = self.state.classify(said.owner, said.generation, said.id, said.version)
        if freshness is Freshness.KNOWN:
            self._note_duplicate(said, now)
        if freshness is Freshness.NEW and self.state.registry.is_full(said.size):
            self.state.counters[Count.RECORDS_OVER_TOTAL_LIMIT] += 1
        elif freshness is Freshness.NEW:
            key = (said.owner, said.id)
            if self.streams.sessions.want(key, said.generation, said.version, context.member.address):
                self.streams.fetch(key)
