"""Expulsion: statements that are refused are counted and named, and members whose certificate ended are dropped."""

from __future__ import annotations

import attrs

from gossipreg.counters import Count
from gossipreg.protocol.identity.refusals import StatementRefusal
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.outputs import MemberChanged, MemberExpelled, PoliciesChanged, StatementRefused
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.state import ClusterState


@attrs.define(eq=False, repr=False)
class Expulsion:
    """The consequences of statements that do not count, or do not count any more."""

    state: ClusterState
    detector: Detector
    streams: PeerStreams

    def refuse(self, what: str, refusal: StatementRefusal, context: MessageContext) -> None:
        """Count and report a peer's statement that is not believed, unless it could not be verified yet."""
        if self.state.authenticator.verifier.is_over:
            return
        if refusal.unsigned:
            self.state.counters[Count.STATEMENTS_UNSIGNED] += 1
        elif not refusal.is_lie:
            self.state.counters[Count.STATEMENTS_ENDED] += 1
        else:
            self.state.counters[Count.STATEMENTS_REFUSED] += 1
        if refusal.is_lie:
            sender = None if context.member is None else context.member.name
            self.streams.outbox.put(StatementRefused(what, refusal.why, sender, context.source))

    def impersonated(self, name: str, context: MessageContext) -> None:
        """Count a packet or frame under the run id of the member ``name`` that it has not made, and tell its source."""
        self.state.counters[Count.PACKETS_FORGED_AS_MEMBERS] += 1
        why = f"it bears the run id of {name}, and has not its proof"
        self.streams.outbox.put(StatementRefused("a packet", why, None, context.source))

    def expel(self, now: float) -> None:
        """Drop the members, with their records, and the policies whose certificates count no more."""
        authenticator = self.state.authenticator
        if not authenticator.is_on:
            return
        wall = self.state.clock.wall(now) / 1000
        for member in self.state.members.snapshot():
            is_own = member.name == self.state.members.own_name
            if member.proof and not is_own and authenticator.certificates.has_ended(member.proof, wall):
                self.drop(member)
        ended = [
            version
            for version in self.state.policies
            if version.proof and authenticator.certificates.has_ended(version.proof, version.ms / 1000)
        ]
        for version in ended:
            self.state.policy_state.drop(version)
        self.state.term_state.vouch(now)
        if ended:
            self.streams.outbox.put(PoliciesChanged(tuple(version.key for version in ended)))

    def drop_unsigned(self) -> None:
        """Drop the unsigned statements of others: members with their records, and policies, removals included."""
        for member in self.state.members.snapshot():
            if not member.proof and member.name != self.state.members.own_name:
                self.drop(member)
        for version in [each for each in self.state.policies if not (each.proof or each.revocation)]:
            self.state.policy_state.drop(version)

    def drop(self, member: MemberUpdate) -> None:
        """Drop a member with its records, and end its streams."""
        self.state.begin_change()
        self.detector.end_suspicion(member.name)
        self.state.counters[Count.MEMBERS_EXPELLED] += 1
        self.streams.outbox.put(MemberExpelled(member))
        self.streams.outbox.put(MemberChanged(self.state.forget(member.name), None))
        for stream in self.streams.sessions.of_peer(member.run_id, member.address):
            self.streams.close(stream)
