"""Policies: the latest version of each, also where that removes it (a map of last-writer-wins registers).

Theory of operation (docs/decisions/0014). Any node may write. Of two versions of one key the one with the later stamp
counts, of equal stamps (two writers under one name) the greater digest; so versions merge in any order to the same
result. A removal is a version like any other and is kept as a tombstone, or an old rule would come back from a node
that was away: as many as `limits.POLICIES_REMOVED_MAX`. Versions that cannot be read here, as those of a later release
may be, are kept apart, so that they take no room from others; so are statements about keys and tokens, and revocations.
Which ones are kept follows from their content: `RankedVersions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.policy import Policy, Rule, UnreadablePolicy
from gossipreg.prepared_query import PreparedQuery
from gossipreg.protocol.registry.key_statements import Statement
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.ranked_versions import RankedVersions, is_ahead
from gossipreg.tokens import ClusterToken

#: A wall clock that no stamp is ahead of.
_ANY_TIME: Final = 2**53


@attrs.define(eq=False, repr=False)
class Policies:
    """The latest version of every key."""

    _versions: dict[str, PolicyVersion] = attrs.field(factory=dict)
    _by_service: dict[str, dict[str, Rule]] = attrs.field(factory=dict)  # service -> key -> rule
    _query_count: int = 0  # of prepared queries, which are about no instance
    _revision: int = 0  # grows with each change
    _in_force: tuple[int, tuple[Policy, ...]] = (0, ())  # as of a revision
    _statements: RankedVersions = attrs.field(factory=RankedVersions)  # about keys
    _tokens: RankedVersions = attrs.field(factory=RankedVersions)  # statements about tokens
    _by_digest: dict[bytes, dict[str, PolicyVersion]] = attrs.field(factory=dict)  # of a token -> key -> version
    _revocations: RankedVersions = attrs.field(factory=RankedVersions)  # of certificates
    _removed: RankedVersions = attrs.field(factory=RankedVersions)
    _unreadable: RankedVersions = attrs.field(factory=RankedVersions)  # with a payload that is no rule to this release

    def __iter__(self) -> Iterator[PolicyVersion]:
        """Every version, removals included, sorted by key. Safe to iterate from any thread."""
        return iter([version for _, version in sorted(self._versions.copy().items())])

    def get(self, key: str) -> PolicyVersion | None:
        """The latest version of ``key``."""
        return self._versions.get(key)

    def rule(self, key: str) -> Rule | None:
        """The rule of that key, if one is in force."""
        version = self._versions.get(key)
        return None if version is None else version.rule

    @property
    def in_force(self) -> tuple[Policy, ...]:
        """The policies, sorted by key: the same tuple until they change. Any thread may read it."""
        revision, found = self._in_force
        if revision != self._revision:
            revision = self._revision  # before the table is read: what changes meanwhile has a later one
            found = tuple(version.policy for version in self if version.policy is not None)
            self._in_force = (revision, found)
        return found

    @property
    def query_count(self) -> int:
        """How many prepared queries are in force."""
        return self._query_count

    def of(self, service: str) -> dict[str, Rule]:
        """The rules about instances of a service, by key. Not to be changed."""
        return self._by_service.get(service, {})

    @property
    def unreadable(self) -> tuple[UnreadablePolicy, ...]:
        """The versions that nodes of another release obey, or none; sorted by key."""
        versions = sorted(
            (version for version in self._versions.copy().values() if version.is_unreadable), key=lambda each: each.key
        )
        return tuple(UnreadablePolicy(version.key, version.writer, version.ms / 1000) for version in versions)

    @property
    def revocations(self) -> tuple[PolicyVersion, ...]:
        """The versions that state revocations, the oldest first."""
        return tuple(self._revocations)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What is stated about the keys that seal the gossip, sorted by key."""
        versions = sorted(self._statements, key=lambda each: each.key)
        return tuple(version.statement for version in versions if version.statement is not None)

    @property
    def tokens(self) -> tuple[ClusterToken, ...]:
        """The tokens that the cluster knows, expired ones included, sorted by name."""
        return tuple(_token(version) for version in sorted(self._tokens, key=lambda each: each.key))

    def tokens_of(self, digest: bytes) -> tuple[ClusterToken, ...]:
        """The tokens with that SHA-256, sorted by name: one, or none, unless members have created it twice."""
        return tuple(_token(version) for _, version in sorted(self._by_digest.get(digest, {}).items()))

    def __len__(self) -> int:
        """How many are in force."""
        others = (self._removed, self._unreadable, self._statements, self._tokens, self._revocations)
        return len(self._versions) - sum(map(len, others))

    def is_news(self, version: PolicyVersion, wall: int = _ANY_TIME) -> bool:
        """Whether to take ``version`` at ``wall`` (ms since the epoch): it outranks what is held and has room."""
        return self.outranks(version) and self.has_room(version, wall)

    def outranks(self, version: PolicyVersion) -> bool:
        """Whether ``version`` is later than what is held of its key."""
        held = self._versions.get(version.key)
        return held is None or version.rank > held.rank

    def has_room(self, version: PolicyVersion, wall: int = _ANY_TIME) -> bool:
        """Whether there is room for ``version``. A known key can be set anew, and removed.

        There is twice the room that users are given, for those that set the last one at the same moment elsewhere.
        """
        is_known = version.key in self._versions
        pool = self._pool_of(version)
        if pool is None:
            return is_known or len(self) < 2 * limits.POLICIES_MAX
        return pool[0].accepts(version, *pool[1], wall) or (is_known and is_ahead(version, wall))

    def _pool_of(self, version: PolicyVersion) -> tuple[RankedVersions, tuple[int, int]] | None:
        """Where versions like ``version`` are kept, with how many in all and of one writer; None for rules in force."""
        if version.revocation is not None:
            return self._revocations, (limits.REVOCATIONS_MAX, limits.REVOCATIONS_MAX)
        if version.statement is not None:
            return self._statements, (limits.KEY_STATEMENTS_MAX, limits.KEY_STATEMENTS_MAX)
        if version.token is not None:
            return self._tokens, (limits.CLUSTER_TOKENS_MAX, limits.CLUSTER_TOKENS_MAX)
        if version.payload is None:
            return self._removed, (limits.POLICIES_REMOVED_MAX, limits.POLICIES_REMOVED_PER_WRITER_MAX)
        if version.is_unreadable:
            return self._unreadable, (limits.POLICIES_UNREADABLE_MAX, limits.POLICIES_UNREADABLE_MAX)
        return None

    def take(self, version: PolicyVersion, wall: int = _ANY_TIME) -> list[PolicyVersion]:
        """Take a version that is new; returns those that it replaces or evicts."""
        gone = []
        held = self._versions.get(version.key)
        if held is not None:
            self._drop(held)
            gone.append(held)
        self._versions[version.key] = version
        rule = version.rule
        if isinstance(rule, PreparedQuery):
            self._query_count += 1
        elif rule is not None:
            self._by_service.setdefault(rule.service, {})[rule.key] = rule
        if version.token is not None:
            self._by_digest.setdefault(version.token.digest, {})[version.key] = version
        pool = self._pool_of(version)
        pushed_out = None if pool is None else pool[0].add(version, *pool[1], wall)
        if pushed_out is not None:
            self._drop(pushed_out)
            gone.append(pushed_out)
        self._revision += 1  # last: another thread may read in between, and must not keep that
        return gone

    def discard(self, version: PolicyVersion) -> None:
        """Forget ``version``, which is held."""
        self._drop(version)
        self._revision += 1

    def _drop(self, version: PolicyVersion) -> None:
        del self._versions[version.key]
        pool = self._pool_of(version)
        if pool is not None:
            pool[0].discard(version)
        if isinstance(version.rule, PreparedQuery):
            self._query_count -= 1
        elif version.rule is not None:
            rules = self._by_service[version.rule.service]
            del rules[version.key]
            if not rules:
                del self._by_service[version.rule.service]
        if version.token is not None:
            versions = self._by_digest[version.token.digest]
            del versions[version.key]
            if not versions:
                del self._by_digest[version.token.digest]


def _token(version: PolicyVersion) -> ClusterToken:
    assert version.token is not None, "it is kept among statements about tokens"
    return version.token.token(version.writer, version.ms)
