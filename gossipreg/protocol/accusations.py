"""Accusations: which members accuse another, as far as their signatures, or the packets they come in, prove it.

Theory of operation (docs/decisions/0082). An accuser signs that it suspects a run of a member at an incarnation, and
its signature goes with the update. With identity required, an accusation counts as made by the member that has signed
it, or else by the member that has sent it. So only members can accuse, and each only in its own name. Accusers with one
certificate are one accuser. A failure takes two accusers, where there are as many that could accuse.
"""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.state import ClusterState

#: Members with different keys that have to accuse a member for it to be failed.
ACCUSERS: int = 2


@attrs.define(eq=False, repr=False)
class Accusations:
    """The signed accusations of the suspects at one node."""

    identity: Identity
    state: ClusterState
    detector: Detector
    _signed: dict[tuple[str, bool], MemberUpdate] = attrs.field(factory=dict)  # by suspect, and whether it refused

    @property
    def are_required(self) -> bool:
        """Whether an accusation counts only as far as members are known to make it."""
        return self.state.authenticator.mode is IdentityMode.REQUIRE

    @property
    def wanted(self) -> int:
        """How many members have to accuse another for it to be failed: two, or in a pair the other one."""
        return min(ACCUSERS, self.state.members.present_count - 1)

    def by_run_id(self, run_id: int) -> MemberUpdate | None:
        """What is held of the run ``run_id``, which may be this node's."""
        return self.state.own if run_id == self.identity.run_id else self.state.members.by_run_id(run_id)

    def proven(self, update: MemberUpdate, context: MessageContext) -> MemberUpdate | None:
        """An ``update`` to suspect or failed with an accuser that is known to be one; None if there is none.

        A failure by one member alone is a suspicion.
        """
        found = self.state.authenticator.accusers_of(update, self.by_run_id)
        accusers = {run_id: public for public, (run_id, _) in found.items()}
        if context.member is not None:
            certificate = self.state.authenticator.certificates.of_member(context.member)
            if certificate is not None:  # else it was revoked by a message of the same packet
                accusers[context.sender] = certificate.public
        if not accusers:
            return None
        accuser = update.accuser if update.accuser in accusers else next(iter(accusers))
        proven = attrs.evolve(update, accuser=accuser, witnesses=tuple(found.values()))
        if update.status is Status.FAILED and len(set(accusers.values())) < self.wanted:
            return attrs.evolve(proven, status=Status.SUSPECT)
        return proven

    def is_repeated(self, update: MemberUpdate) -> bool:
        """Whether the accuser in ``update``, or another with its certificate, is counted already."""
        known = self.detector.accusers(update.name)
        if update.accuser in known or not self.are_required:
            return update.accuser in known
        public = self._public_of(update.accuser)
        return any(self._public_of(each) == public for each in known)

    def _public_of(self, run_id: int) -> bytes | None:
        member = self.by_run_id(run_id)
        certificate = None if member is None else self.state.authenticator.certificates.of_member(member)
        return None if certificate is None else certificate.public

    def signed(self, update: MemberUpdate) -> MemberUpdate:
        """``update``, by which this node accuses another, with its signature."""
        return self.state.authenticator.sign_verdict(update, self.identity.run_id)

    def note(self, update: MemberUpdate) -> MemberUpdate:
        """Remember the signatures of an accusation; ``update`` with all that are of its kind."""
        key = (update.name, update.refused)
        found = attrs.evolve(update, witnesses=self._together(update, self._signed.get(key)))
        self._signed[key] = found
        return found

    def with_signatures(self, failure: MemberUpdate) -> MemberUpdate:
        """A ``failure`` that this node declares, with the signatures that are known, and its own if there is room."""
        known = self._signed.get((failure.name, failure.refused))
        if failure.refused:
            return attrs.evolve(failure, witnesses=self._together(failure, known))
        own = self.signed(failure)
        for is_refusal in (False, True):
            own = attrs.evolve(own, witnesses=self._together(own, self._signed.get((failure.name, is_refusal))))
        return own

    @staticmethod
    def _together(update: MemberUpdate, known: MemberUpdate | None) -> tuple[tuple[int, bytes], ...]:
        before = known.witnesses if known is not None and known.rank[:2] == update.rank[:2] else ()
        first, then = (update.witnesses, before) if update.status is Status.FAILED else (before, update.witnesses)
        return tuple(dict((*first, *then)).items())[: limits.WITNESSES_MAX]

    def forget(self, name: str) -> None:
        """Drop the accusations of a member that is not suspected any more."""
        self._signed.pop((name, False), None)
        self._signed.pop((name, True), None)
