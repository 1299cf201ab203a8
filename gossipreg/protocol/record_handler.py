"""The record handler: merges the records, policies and terms that peers send, and fetches large records."""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.expulsion import Expulsion
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outputs import PoliciesChanged, PolicyFromFuture
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.registry.policy_version import PolicyVersion, is_about_revocation
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
    expulsion: Expulsion

    def handle(self, said: Record | TableDigest | Announcement, context: MessageContext, now: float) -> None:
        """Handle a record, the announcement of a large one, or a digest of an owner's whole table."""
        if isinstance(said, Announcement):
            self._handle_announcement(said, context, now)
        elif self._is_of_other_run(said, context, now):
            pass
        elif isinstance(said, TableDigest):
            if context.over_stream or not self.state.is_word(said):
                self._handle_digest(said, context, now)
        else:
            self._handle_record(said, context, now)

    def _handle_digest(self, digest: TableDigest, context: MessageContext, now: float) -> None:
        if self.state.would_change(digest) and self._is_believed(digest, context):
            self.state.apply_digest(digest, now)

    def _is_of_other_run(self, said: Record | TableDigest, context: MessageContext, now: float) -> bool:
        """Whether ``said`` bears our name and generation but is not ours; if believed, ours becomes later."""
        if self.state.is_foreign(said) and not self._is_believed(said, context):
            return True
        return self.local_member.handle_shared_generation(said, now)

    def _handle_record(self, record: Record, context: MessageContext, now: float) -> None:
        identity = self.local_member.identity
        freshness = self.state.classify(record.owner, record.generation, record.id, record.version)
        if freshness is Freshness.NEW and self._is_believed(record, context):
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

    def _is_believed(self, said: Record | TableDigest, context: MessageContext) -> bool:
        """Whether the owner has stated it, as far as identity is asked for."""
        authenticator = self.state.authenticator
        if not authenticator.is_on:
            return True
        owner = self.state.owner_of(said)
        if owner is not None and owner.generation != said.generation:
            return True  # of a run that is not held: it will not be taken
        if owner is None and authenticator.mode is IdentityMode.REQUIRE:
            return False  # it came before its owner's update: digests follow
        if isinstance(said, Record):
            refusal = authenticator.check_record(said, owner, is_barred=self.state.is_barred(said))
        else:
            refusal = authenticator.check_digest(said, owner)
        if refusal is None:
            return True
        if refusal.is_excess:
            self.state.bar(said.owner, said.generation)
        self.expulsion.refuse(f"a record of {said.owner}", refusal, context)
        return False

    def _note_duplicate(self, said: Record | Announcement, now: float) -> None:
        table = self.state.registry.table(said.owner)
        held = None if table is None else table.get(said.id)
        if held is not None and held.version == said.version:
            self.state.broadcaster.note_duplicate(Topic.INSTANCES, (said.owner, said.id), now)

    def handle_policy(self, version: PolicyVersion, context: MessageContext, now: float) -> None:
        """Handle a version of a policy."""
        if self.state.policies.outranks(version):
            if not self._may_set(version, context):
                return
            spread = context.admit_forward(announced=self.local_member.identity.announced)
            keys = self.state.policy_state.handle(version, now, spread=spread, received_from=context.name)
            if keys is None:
                ahead = version.ms / 1000 - self.state.clock.wall(now) / 1000
                self.streams.outbox.put(PolicyFromFuture(version.key, version.writer, ahead, restamped=False))
            elif keys:
                self.streams.outbox.put(PoliciesChanged(keys))
                if version.revocation is not None:
                    self.expulsion.expel(now)
        elif not context.over_stream and version == self.state.policies.get(version.key):
            self.state.broadcaster.note_duplicate(Topic.POLICIES, version.key, now)

    def _may_set(self, version: PolicyVersion, context: MessageContext) -> bool:
        """Whether the writer of a policy version may write it, as far as identity is asked for."""
        authenticator = self.state.authenticator
        if not authenticator.is_on:
            return True
        if is_about_revocation(version.key):
            refusal = authenticator.certificates.check_revocation(version.revocation)
        else:
            refusal = authenticator.check_policy(version)
        if refusal is not None:
            self.expulsion.refuse(f"policy {version.key} of {version.writer}", refusal, context)
        return refusal is None

    def handle_term_register(self, said: TermRegister, context: MessageContext, now: float) -> None:
        """Handle the term register of a service."""
        if said == self.state.terms.get(said.service):
            self.state.term_state.attest(said, now)
            if not context.over_stream:
                self.state.broadcaster.note_duplicate(Topic.TERMS, said.service, now)
        elif self._may_state(said, context, now):
            spread = context.admit_forward(announced=self.local_member.identity.announced)
            if not self.state.term_state.handle(said, now, spread=spread):
                ahead = said.ms / 1000 - self.state.clock.wall(now) / 1000
                self.streams.outbox.put(PolicyFromFuture(f"role {said.service}", said.writer, ahead, restamped=False))

    def _may_state(self, said: TermRegister, context: MessageContext, now: float) -> bool:
        """Whether those that have stated the terms of a register may, as far as identity is asked for."""
        wall = self.state.clock.wall(now) / 1000
        refusal = self.state.authenticator.check_terms(said, self.state.terms.get(said.service), wall)
        if refusal is not None:
            self.expulsion.refuse(f"the terms of {said.service}", refusal, context)
        return refusal is None

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
            self.state.begin_change()
            if self.streams.sessions.want(key, said.generation, said.version, context.member.destination):
                self.streams.fetch(key)
