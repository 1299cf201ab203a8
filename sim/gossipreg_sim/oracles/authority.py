"""Oracle 22: where identity is required, no node holds a statement that its owner did not sign."""

from __future__ import annotations

from typing import ClassVar

import attrs

from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.policy_version import PolicyVersion, is_about_revocation
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.table import Table
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg_sim.identities import (
    Ledger,
    Stated,
    member_stated,
    policy_stated,
    record_stated,
    reset_stated,
    revocation_key,
    table_stated,
    term_stated,
)
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process

_Held = MemberUpdate | PolicyVersion | Record


@attrs.define
class Authority(Oracle):
    """All that a node holds of members, records, policies, terms and revocations is in the ledger of what was signed.

    A node that prefers identity is held to it for what it holds with a proof. What a node has just found right is not
    looked at again.
    """

    law: ClassVar[str] = "no node that requires identity holds what its owner did not sign"

    _ledger: Ledger = attrs.field(factory=Ledger)
    _members: dict[tuple[Process, str], MemberUpdate] = attrs.field(factory=dict)
    _policies: dict[tuple[Process, str], PolicyVersion] = attrs.field(factory=dict)
    _terms: dict[tuple[Process, str], TermRegister] = attrs.field(factory=dict)
    _tables: dict[tuple[Process, str], tuple[Table, int, int]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.cluster.identities is not None:
            self._ledger = self.cluster.identities.ledger

    def after(self, process: Process) -> None:
        """Look at what has changed in this step."""
        mode = process.engine.state.authenticator.mode
        if mode is IdentityMode.OFF:
            return
        strict = mode is IdentityMode.REQUIRE
        state = process.engine.state
        for member in state.members.snapshot():
            if self._members.get((process, member.name)) is not member:
                self._members[process, member.name] = member
                self._check(process, member, member_stated(member), strict=strict)
        for version in state.policies:
            if self._policies.get((process, version.key)) is not version:
                self._policies[process, version.key] = version
                self._check_policy(process, version, strict=strict)
        for register in state.terms:
            if self._terms.get((process, register.service)) is not register:
                self._terms[process, register.service] = register
                self._check_terms(process, register, strict=strict)
        for table in state.registry.owners:
            self._check_table(process, table, strict=strict)

    def _check_terms(self, process: Process, register: TermRegister, *, strict: bool) -> None:
        proofs = register.proofs
        if register.reset is not None and (strict or proofs.reset):
            self._compare(process, reset_stated(register))
        if register.claimed and (strict or proofs.claimed):
            self._compare(process, term_stated(register, register.claimed, claimed=True))
        if register.seen > register.claimed and (strict or proofs.seen):
            self._compare(process, term_stated(register, register.seen, claimed=False))

    def _check_table(self, process: Process, table: Table, *, strict: bool) -> None:
        digest = table.latest_digest
        seen = (table, digest.version, table.xor)
        if self._tables.get((process, table.owner)) == seen:
            return
        self._tables[process, table.owner] = seen
        for record in table:
            self._check(process, record, record_stated(record), strict=strict)
        if digest.version and (strict or digest.proof):
            stated = table_stated(digest.owner, digest.generation, digest.version, digest.table_xor)
            self._compare(process, stated)

    def _check_policy(self, process: Process, version: PolicyVersion, *, strict: bool) -> None:
        if not is_about_revocation(version.key):
            self._check(process, version, policy_stated(version), strict=strict)
            return
        revocation = version.revocation
        is_genuine = revocation is not None and revocation_key(revocation) in self._ledger.revoked
        self.check(process, is_genuine, f"holds {version.key}, which the authority did not sign")

    def _check(self, process: Process, held: _Held, stated: Stated, *, strict: bool) -> None:
        if strict or held.proof:
            self._compare(process, stated)

    def _compare(self, process: Process, stated: Stated) -> None:
        self.checks += 1
        if not self._ledger.has(stated):
            kind, owner, *rest = stated
            self.wrong(process.name, f"holds of {owner} a {kind} that {owner} did not sign: {rest!r:.200}")

    def finish(self) -> None:
        """Note if no node asked for identity."""
        if not self.checks:
            self.not_applicable("the nodes have no identity")
