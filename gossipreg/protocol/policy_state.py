"""The policy state: applies, restores, stamps and drops policy versions, and broadcasts what is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from gossipreg.counters import Count
from gossipreg.protocol.anti_entropy.fingerprint import Entry
from gossipreg.protocol.broadcaster import Broadcaster
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.identity.authenticator import Authenticator
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.policy_version import PolicyVersion, is_about_revocation
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.wire.messages import pack


@attrs.define(eq=False, repr=False)
class PolicyState:
    """The policy versions of one node, and what follows from a change of one."""

    own_name: str
    versions: Policies
    registry: Registry
    count: Callable[[Entry | None, Entry | None], None]  # enters what came, went or was replaced in the fingerprints
    broadcaster: Broadcaster
    clock: Clock
    counters: Counter[str]
    authenticator: Authenticator
    begin_change: Callable[[], None]  # see `ClusterState`

    def handle(
        self, version: PolicyVersion, now: float, *, spread: bool, received_from: str | None = None
    ) -> tuple[str, ...] | None:
        """Apply a policy version that outranks the held one; returns the keys whose latest version changed.

        None when it is refused for its stamp.
        """
        assert self.versions.outranks(version), "only a version that outranks the held one is applied"
        if not self.versions.has_room(version, self.clock.wall(now)):
            self.counters[Count.POLICIES_OVER_LIMIT] += 1
            return ()
        self.begin_change()
        if not self.clock.observe(version.stamp, now):
            self.counters[Count.POLICIES_FROM_THE_FUTURE] += 1
            return None
        keys = self._apply(version, now)
        if spread:
            self.broadcaster.broadcast(
                Topic.POLICIES, version.key, pack(version), now, origin=version.writer, received_from=received_from
            )
        return keys

    def restore(self, version: PolicyVersion, now: float) -> None:
        """Apply a version that was stored on disk. One that is stamped too far ahead counts until it is restamped."""
        believed = self._restored(version)
        if believed is not None and self.versions.is_news(believed, self.clock.wall(now)):
            version = believed
            if not self.clock.observe(version.stamp, now):
                self.clock.note_future_stamps()
            self._apply(version, now)

    def _restored(self, version: PolicyVersion) -> PolicyVersion | None:
        """A version from the disk, if it would be believed of a peer; this node's own is signed again."""
        if not self.authenticator.is_on:
            return version
        if is_about_revocation(version.key):
            refused = self.authenticator.certificates.check_revocation(version.revocation) is not None
            return None if refused else version
        if not version.proof and version.writer == self.own_name:
            version = self.authenticator.sign_policy(version)
        return version if self.authenticator.check_policy(version) is None else None

    def restamp(self, now: float) -> list[tuple[PolicyVersion, tuple[str, ...]]]:
        """Publish again, with a stamp of now, the versions so far in the future that other nodes refuse them.

        Returns each such version with the keys whose latest version changed.
        """
        far = [version for version in self.versions if self.clock.is_too_far(version.ms, now)]
        self.clock.forget_future_stamps()
        restamped = []
        for version in far:
            anew = self.new_version(version.key, version.payload, now)
            restamped.append((version, self._apply(anew, now)))
            self.broadcaster.broadcast(
                Topic.POLICIES, anew.key, pack(anew), now, origin=anew.writer, received_from=None
            )
        return restamped

    def new_version(self, key: str, payload: bytes | None, now: float) -> PolicyVersion:
        """A version of ``key`` later than any seen; it takes effect with `publish`."""
        stamp = self.clock.stamp(now)
        return self.authenticator.sign_policy(PolicyVersion(key, stamp.ms, stamp.counter, stamp.writer, payload))

    def publish(self, version: PolicyVersion, now: float) -> tuple[str, ...]:
        """Apply and spread a version of our own, unless a later one is known; returns keys as `handle`.

        A revocation was stamped by its authority, whose clock may be ahead of this node's: what is issued here from now
        on is later than that, too.
        """
        if not self.versions.is_news(version, self.clock.wall(now)):
            return ()
        self.clock.observe(version.stamp, now)
        keys = self._apply(version, now)
        self.broadcaster.broadcast(
            Topic.POLICIES, version.key, pack(version), now, origin=version.writer, received_from=None
        )
        return keys

    def _apply(self, version: PolicyVersion, now: float) -> tuple[str, ...]:
        before = self.versions.get(version.key)
        gone = self.versions.take(version, self.clock.wall(now))
        for each in gone:
            self.count(each, None)
        self.count(None, version)
        for rule in (version.rule, None if before is None else before.rule):
            if rule is not None:
                self.registry.touch_rule(rule)
        return tuple(dict.fromkeys((version.key, *(each.key for each in gone))))

    def drop(self, version: PolicyVersion) -> None:
        """Drop a version that counts no more, and is broadcast by no member."""
        self.versions.discard(version)
        self.count(version, None)
        if version.rule is not None:
            self.registry.touch_rule(version.rule)
