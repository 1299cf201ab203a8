"""Policies: the latest version of each, also where that removes it (a map of last-writer-wins registers).

Theory of operation (docs/decisions/0014). Any node may write. Of two versions of one key the one with the later stamp
counts, of equal stamps (two writers under one name) the greater digest; so versions merge in any order to the same
result. A removal is a version like any other and is kept as a tombstone, or an old rule would come back from a node
that was away: as many as `limits.POLICIES_REMOVED_MAX`. Versions that cannot be read here, as those of a later release
may be, are kept apart, so that they take no room from others. Which ones are kept follows from their content:
`RankedVersions`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.errors import InvalidPolicy
from gossipreg.policy import KINDS, Maintenance, Policy, Rule, Split, UnreadablePolicy, WeightOverride
from gossipreg.protocol.registry.clock import Stamp
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.ranked_versions import RankedVersions, is_ahead

_FIELDS: Final = {Split: ("shares", "by"), WeightOverride: ("instance", "weight"), Maintenance: ("instance", "reason")}


#: A wall clock that no stamp is ahead of.
_ANY_TIME: Final = 2**53


@attrs.frozen
class PolicyVersion:
    """One version of the policy of one key: a packed rule or, without payload, its removal."""

    key: str
    ms: int
    counter: int
    writer: str
    payload: bytes | None

    @property
    def stamp(self) -> Stamp:
        """When it was written, and by which member."""
        return Stamp(self.ms, self.counter, self.writer)

    @cached_property
    def digest(self) -> int:
        """64 bits that stand for this version in a fingerprint."""
        head = f"{self.key}\0{self.ms}\0{self.counter}\0{self.writer}\0{self.payload is None}\0".encode()
        return int.from_bytes(hashlib.blake2b(head + (self.payload or b""), digest_size=8, person=b"policy").digest())

    @cached_property
    def rule(self) -> Rule | None:
        """The rule; None for a removal, and for what only a later release understands, or none does.

        Such a version is kept and broadcast all the same: were it refused, nodes that hold it and nodes that refuse it
        would compare their states for ever.
        """
        if self.payload is None:
            return None
        try:
            return unpack_rule(self.payload, self.key)
        except BadPayload:
            return None

    @property
    def is_unreadable(self) -> bool:
        """Whether it sets something that this release does not understand, or that none would."""
        return self.payload is not None and self.rule is None

    @property
    def policy(self) -> Policy | None:
        """The rule with its writer and time."""
        return None if self.rule is None else Policy(self.rule, self.writer, self.ms / 1000)

    @property
    def rank(self) -> tuple[int, int, str, int]:
        """Of two versions of one key, that of the higher rank counts."""
        return self.ms, self.counter, self.writer, self.digest


def pack_rule(rule: Rule) -> bytes:
    """A rule as its writer states it. Raises `InvalidPolicy` if it is too large to travel."""
    packed: bytes = msgpack.packb({"kind": rule.kind, "service": rule.service, **rule.stated()})
    if len(packed) > limits.POLICY_BYTES_MAX:
        raise InvalidPolicy(
            None,
            f"policy {rule.key:.80}: it takes {len(packed)} bytes, {limits.POLICY_BYTES_MAX} are allowed: name fewer "
            "shares, or shorter ones",
        )
    return packed


def unpack_rule(payload: bytes, key: str) -> Rule:
    """The rule that was packed for ``key``. Raises `BadPayload` for anything else, whatever the bytes."""
    try:
        stated = msgpack.unpackb(payload, raw=False, strict_map_key=True, max_map_len=limits.SPLIT_SHARES_MAX)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadPayload(f"not msgpack: {error}") from None
    if not isinstance(stated, dict) or not isinstance(stated.get("kind"), str):
        raise BadPayload("not a rule")
    kind = KINDS.get(stated["kind"])
    if kind is None:
        raise BadPayload("a kind that is not known here")
    rule = _rule(kind, stated)
    if rule.key != key:
        raise BadPayload("a rule about something else")
    return rule


def _rule(kind: type[Rule], stated: dict[str, Any]) -> Rule:
    fields: dict[str, Any] = {name: stated.get(name) for name in ("service", *_FIELDS[kind])}
    if kind is not Split and "owner" in stated:
        fields["owner"] = stated["owner"]
    try:
        rule = kind(**fields)
        rule.check()
    except (InvalidPolicy, TypeError, ValueError) as error:
        raise BadPayload(str(error)) from None
    return rule


@attrs.define(eq=False, repr=False)
class Policies:
    """The latest version of every key."""

    _versions: dict[str, PolicyVersion] = attrs.field(factory=dict)
    _by_service: dict[str, dict[str, Rule]] = attrs.field(factory=dict)  # service -> key -> rule
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
        """The policies, sorted by key."""
        return tuple(version.policy for version in self if version.policy is not None)

    def of(self, service: str) -> dict[str, Rule]:
        """The rules about a service, by key. Not to be changed."""
        return self._by_service.get(service, {})

    @property
    def unreadable(self) -> tuple[UnreadablePolicy, ...]:
        """The versions that nodes of another release obey, or none; sorted by key."""
        versions = sorted(
            (version for version in self._versions.copy().values() if version.is_unreadable), key=lambda each: each.key
        )
        return tuple(UnreadablePolicy(version.key, version.writer, version.ms / 1000) for version in versions)

    def __len__(self) -> int:
        """How many are in force."""
        return len(self._versions) - len(self._removed) - len(self._unreadable)

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
        kept = self._kept_apart(version)
        if kept is None:
            return is_known or len(self) < 2 * limits.POLICIES_MAX
        return kept[0].accepts(version, *kept[1], wall) or (is_known and is_ahead(version, wall))

    def _kept_apart(self, version: PolicyVersion) -> tuple[RankedVersions, tuple[int, int]] | None:
        """Where versions like ``version`` are kept, with how many in all and of one writer; None for rules in force."""
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
        if rule is not None:
            self._by_service.setdefault(rule.service, {})[rule.key] = rule
        kept = self._kept_apart(version)
        pushed_out = None if kept is None else kept[0].add(version, *kept[1], wall)
        if pushed_out is not None:
            self._drop(pushed_out)
            gone.append(pushed_out)
        return gone

    def _drop(self, version: PolicyVersion) -> None:
        del self._versions[version.key]
        kept = self._kept_apart(version)
        if kept is not None:
            kept[0].discard(version)
        if version.rule is not None:
            rules = self._by_service[version.rule.service]
            del rules[version.key]
            if not rules:
                del self._by_service[version.rule.service]
