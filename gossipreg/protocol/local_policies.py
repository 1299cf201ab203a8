"""Local policies: the policies and term resets that this node's user requests, as versions to be published.

A caller stores a version first, if it has a disk, and publishes it then.
"""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.errors import (
    InvalidCertificate,
    InvalidPolicy,
    NotAllowed,
    NotJoined,
    TooManyTokens,
    UnknownPolicy,
    UnknownTerm,
    UnknownToken,
)
from gossipreg.policy import Rule
from gossipreg.prepared_query import PreparedQuery
from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.registry.key_statements import Statement, pack_statement
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, revocation_version
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.registry.token_statements import TokenStatement, pack_token, token_key
from gossipreg.protocol.state import ClusterState
from gossipreg.revocation import Revocation
from gossipreg.tokens import ClusterToken


@attrs.define(eq=False, repr=False)
class LocalPolicies:
    """What this node's user may set for the whole cluster.

    Every version raises `NodeClosed` once the node has left, and `ClockWrong` if its clock is off.
    """

    identity: Identity
    state: ClusterState
    clocks: ClockWatch

    def version_of(self, rule: Rule, now: float) -> PolicyVersion:
        """The version that sets ``rule``. Raises `InvalidPolicy`."""
        self.identity.check_open()
        rule.check()
        self._check_may("policies", f"policy {rule.key}")
        policies = self.state.policies
        is_new = policies.rule(rule.key) is None
        if is_new and isinstance(rule, PreparedQuery) and policies.query_count >= limits.PREPARED_QUERIES_MAX:
            raise InvalidPolicy(
                None,
                f"{policies.query_count} prepared queries are defined, as many as are allowed: remove some, see "
                "`gossipreg policy list`",
            )
        if is_new and len(policies) >= limits.POLICIES_MAX:
            raise InvalidPolicy(
                None,
                f"policy {rule.key}: {len(policies)} are in force, as many as are allowed: remove some, see "
                "`gossipreg policy list`",
            )
        return self.clocks.new_policy_version(rule.key, pack_rule(rule), now)

    def removal_of(self, key: str, now: float) -> PolicyVersion:
        """The version that removes the policy of that key. Raises `UnknownPolicy`."""
        self.identity.check_open()
        version = self.state.policies.get(key)
        is_policy = version is not None and version.payload is not None
        if version is None or not is_policy or version.statement is not None or version.token is not None:
            raise UnknownPolicy(f"no policy {key!r:.80} is in force: see `gossipreg policy list`")
        self._check_may("policies", f"policy {key}")
        return self.clocks.new_policy_version(key, None, now)

    def statement_of(self, statement: Statement, now: float) -> PolicyVersion:
        """The version that states something about a key of the cluster. Raises `NotJoined`."""
        self.identity.check_open()
        self._check_joined("change the keys")
        self._check_may("keys", "the keys of the gossip")
        return self.clocks.new_policy_version(statement.about, pack_statement(statement), now)

    def token_version_of(self, token: ClusterToken, now: float) -> PolicyVersion:
        """The version that creates ``token``, or replaces that of its name. Raises `InvalidToken`, `TooManyTokens`."""
        self.identity.check_open()
        self._check_may("tokens", f"token {token.name}")
        statement = TokenStatement.of(token)
        known = self.state.policies.tokens
        if len(known) >= limits.CLUSTER_TOKENS_MAX and all(each.name != token.name for each in known):
            raise TooManyTokens(
                f"{len(known)} tokens are known, as many as are allowed: revoke some, see `gossipreg tokens list`"
            )
        return self.clocks.new_policy_version(statement.about, pack_token(statement), now)

    def token_removal_of(self, name: str, now: float) -> PolicyVersion:
        """The version that revokes the token of that name. Raises `UnknownToken`."""
        self.identity.check_open()
        self._check_may("tokens", f"token {name:.80}")
        key = token_key(name)
        version = self.state.policies.get(key)
        if version is None or version.payload is None:
            raise UnknownToken(f"the cluster knows no token {name!r:.80}: see `gossipreg tokens list`")
        return self.clocks.new_policy_version(key, None, now)

    def revocation_of(self, revocation: Revocation) -> PolicyVersion:
        """The version that has every member expel the holder of a certificate.

        Raises `InvalidCertificate` for a revocation that none of this node's authorities has signed.
        """
        self.identity.check_open()
        refusal = self.state.authenticator.certificates.check_revocation(revocation)
        if refusal is not None:
            raise InvalidCertificate(f"the revocation of {revocation.serial_text} is not taken: {refusal.why}")
        return revocation_version(revocation)

    def _check_may(self, grant: str, what: str) -> None:
        """Raise `NotAllowed` if this node's certificate does not allow it: the other members would refuse it."""
        if self.state.authenticator.lacks(grant):
            raise NotAllowed(
                f"{what}: this node's certificate does not allow it: ask an agent whose certificate was signed with "
                f"--allow {grant}"
            )

    def next_term(self, service: str) -> int:
        """One more than the highest term known of ``service``. Raises `NotJoined`.

        A node that was given seeds and has reached none of them knows only its own terms, so it gives none.
        """
        self._check_joined(f"give the next term of {service!r}")
        return self.state.terms.seen(service) + 1

    def reset_of(self, service: str, now: float) -> TermRegister:
        """The register that resets the terms of ``service``. Raises `UnknownTerm`, `NotJoined`."""
        self.identity.check_open()
        self._check_joined(f"reset the term of {service!r}")
        self._check_may("policies", f"the term of {service!r:.80}")
        if self.state.terms.get(service) is None:
            raise UnknownTerm(f"no term of a service {service!r:.80} is known: see `gossipreg role list`")
        return self.clocks.new_reset(service, now)

    def _check_joined(self, what: str) -> None:
        if not self.identity.announced:
            raise NotJoined(
                f"node {self.identity.name!r} cannot {what}: it has reached no member yet, so it does not know which "
                "there were: wait until it has joined"
            )
