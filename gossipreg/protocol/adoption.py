"""Adoption: a node without identity takes one up while it runs, and drops what it holds that proves wrong.

Without identity, proofs are carried along and not looked at, so those that are held may be anything. They are verified
when the node begins to look at them; what is wrong would not have been taken, and is dropped. What is right among it
comes again when states are compared. What has no proof stays, as with ``prefer``.

A statement takes 0.1 ms to verify, and a node holds many: `review` can be run ahead in slices. What it has found right
is remembered, so that only what has come since is verified when the node adopts its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import attrs

from gossipreg.protocol.expulsion import Expulsion
from gossipreg.protocol.identity.authenticator import Authenticator
from gossipreg.protocol.identity.refusals import StatementRefusal
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import PoliciesChanged
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.terms import TermProofs
from gossipreg.protocol.state import ClusterState


@attrs.define(eq=False, repr=False)
class Adoption:
    """What of the state of a node counts once it verifies what is signed."""

    state: ClusterState
    expulsion: Expulsion
    #: Records and digests that were found right: by the proof of their owner, on which alone that depends while it
    #: counts, and by what tells one from all others.
    _right: dict[tuple[object, ...], Record | TableDigest] = attrs.field(factory=dict)

    def drop_wrong(self, now: float) -> None:
        """Verify all that is held, by this node's own authenticator, and drop what is wrong."""
        for drop in list(self.review(self.state.authenticator, now)):
            if drop is not None:
                self.state.begin_change()
                drop()
        self._right.clear()

    def review(self, by: Authenticator, now: float) -> Iterator[Callable[[], None] | None]:
        """Verify what is held, one statement at each step; yields what drops it, if it does not count for ``by``."""
        wall = self.state.clock.wall(now) / 1000
        for version in self.state.policies.revocations:
            is_wrong = by.certificates.check_revocation(version.revocation) is not None
            yield partial(self._drop_policy, version) if is_wrong else None
        for version in [each for each in self.state.policies if each.proof]:
            yield partial(self._drop_policy, version) if by.check_policy(version) is not None else None
        others = [each for each in self.state.members.snapshot() if each.name != self.state.members.own_name]
        for member in [each for each in others if each.proof]:
            is_wrong = isinstance(by.check_update(member, None, wall), StatementRefusal)
            yield partial(self.expulsion.drop, member) if is_wrong else None
            if not is_wrong:
                yield from self._review_table(member, by)
        for register in list(self.state.terms):
            is_wrong = by.check_terms(register, None, wall) is not None
            unproven = attrs.evolve(register, proofs=TermProofs())
            yield partial(self.state.terms.attest, unproven) if is_wrong else None

    def _review_table(self, owner: MemberUpdate, by: Authenticator) -> Iterator[Callable[[], None] | None]:
        table = self.state.registry.table(owner.name)
        if table is None:
            return
        held: list[Record | TableDigest] = [table.latest_digest, table.compacted_digest, *table.after(0, ())]
        for said in held:
            key = (owner.proof, id(said)) if isinstance(said, Record) else (owner.proof, said, said.proof)
            if key in self._right:
                continue
            refusal = by.check_record(said, owner) if isinstance(said, Record) else by.check_digest(said, owner)
            if refusal is not None:
                yield partial(self.state.drop_table, owner.name)
                return
            self._right[key] = said  # which keeps its id from being another's
            yield None

    def _drop_policy(self, version: PolicyVersion) -> None:
        self.state.policy_state.drop(version)
        self.expulsion.streams.outbox.put(PoliciesChanged((version.key,)))
