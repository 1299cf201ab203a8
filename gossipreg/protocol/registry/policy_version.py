"""Policy version: one version of the policy of one key, with its rule as packed by its writer.

The same table holds what is stated about the cluster's keys and about its tokens (see `key_statements` and
`token_statements`), and revocations of certificates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.errors import InvalidCertificate, InvalidPolicy
from gossipreg.policy import KINDS, Maintenance, Policy, Rule, Split, WeightOverride
from gossipreg.prepared_query import PreparedQuery
from gossipreg.protocol.registry.clock import Stamp
from gossipreg.protocol.registry.key_statements import Statement, is_about_keys, unpack_statement
from gossipreg.protocol.registry.payload import BadPayload, contained
from gossipreg.protocol.registry.token_statements import TokenStatement, is_about_tokens, unpack_token
from gossipreg.revocation import Revocation
from gossipreg.values import frozen

#: The fields that a packed rule always states, beside its service; and those that it may state.
_FIELDS: Final[Mapping[type[Rule], tuple[str, ...]]] = {
    Split: ("shares", "by"),
    WeightOverride: ("instance", "weight"),
    Maintenance: ("instance", "reason"),
    PreparedQuery: ("id",),
}
_OPTIONAL: Final[Mapping[type[Rule], frozenset[str]]] = {
    Split: frozenset(),
    WeightOverride: frozenset({"owner"}),
    Maintenance: frozenset({"owner"}),
    PreparedQuery: frozenset(each.name for each in attrs.fields(PreparedQuery)),
}

#: What the keys of all revocations begin with; the serial number of the certificate follows, and the beginning of its
#: holder's public key: two certificates may have one number.
_REVOCATION_PREFIX: Final = "revoked-certificate:"
_HOLDER_BYTES: Final = 16


def _size_of(payload: bytes | None) -> str:
    return "None" if payload is None else f"<{len(payload)} bytes>"


@frozen
class PolicyVersion:
    """One version of the policy of one key: a packed rule or, without payload, its removal."""

    key: str
    ms: int
    counter: int
    writer: str
    payload: bytes | None = attrs.field(repr=_size_of)  # it may hold a key
    #: The writer's signature, and its certificate; empty without identity.
    proof: bytes = attrs.field(default=b"", eq=False, repr=False)

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

    @cached_property
    def statement(self) -> Statement | None:
        """What it states about a key of the cluster, if it is about one."""
        if self.payload is None or not is_about_keys(self.key):
            return None
        try:
            return unpack_statement(self.payload, self.key)
        except BadPayload:
            return None

    @cached_property
    def token(self) -> TokenStatement | None:
        """What it states about a token of the cluster, if it is about one."""
        if self.payload is None or not is_about_tokens(self.key):
            return None
        try:
            return unpack_token(self.payload, self.key)
        except BadPayload:
            return None

    @cached_property
    def revocation(self) -> Revocation | None:
        """The revocation of a certificate that it states, if it is about one."""
        if self.payload is None or not is_about_revocation(self.key):
            return None
        try:
            revocation = Revocation.read(self.payload)
        except InvalidCertificate:
            return None
        return revocation if revocation_version(revocation) == self else None

    @property
    def is_unreadable(self) -> bool:
        """Whether it sets something that this release does not understand, or that none would."""
        if self.payload is None or self.rule is not None:
            return False
        return self.statement is None and self.token is None and self.revocation is None

    @property
    def policy(self) -> Policy | None:
        """The rule with its writer and time."""
        return None if self.rule is None else Policy(self.rule, self.writer, self.ms / 1000)

    @property
    def rank(self) -> tuple[int, int, str, int]:
        """Of two versions of one key, that of the higher rank counts."""
        return self.ms, self.counter, self.writer, self.digest


def is_about_revocation(key: str) -> bool:
    """Whether ``key`` is that of a revocation."""
    return key.startswith(_REVOCATION_PREFIX)


def revocation_version(revocation: Revocation) -> PolicyVersion:
    """The version that states a revocation: the same one, whichever node publishes it."""
    holder = f":{revocation.holder[:_HOLDER_BYTES].hex()}" if revocation.holder else ""
    key, writer = f"{_REVOCATION_PREFIX}{revocation.serial_text}{holder}", f"ca-{revocation.authority}"
    return PolicyVersion(key, revocation.at * 1000, 0, writer, revocation.data)


def pack_rule(rule: Rule) -> bytes:
    """A rule as its writer states it. Raises `InvalidPolicy` if it is too large to travel, or could not be read."""
    packed: bytes = msgpack.packb({"kind": rule.kind, "service": rule.service, **rule.stated()})
    if len(packed) > limits.POLICY_BYTES_MAX:
        raise InvalidPolicy(
            None,
            f"policy {rule.key:.80}: it takes {len(packed)} bytes, {limits.POLICY_BYTES_MAX} are allowed: name fewer "
            "things, or shorter ones",
        )
    try:
        is_same = unpack_rule(packed, rule.key) == rule
    except BadPayload:
        is_same = False
    if not is_same:  # no node would obey it, its writer neither
        raise InvalidPolicy(None, f"policy {rule.key:.80}: it would not be read as it is written")
    return packed


@contained
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
    fields |= {name: stated[name] for name in _OPTIONAL[kind] & stated.keys()}
    try:
        rule = kind(**fields)
        rule.check()
    except (InvalidPolicy, TypeError, ValueError) as error:
        raise BadPayload(str(error)) from None
    return rule
