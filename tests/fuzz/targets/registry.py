"""Targets of packed records: instances, rules, and sealed credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.errors import CredentialsUnavailable, InvalidInstance, InvalidPolicy
from gossipreg.frontends.http.policies import parse
from gossipreg.frontends.serving.response import HttpError
from gossipreg.model import Health, Instance
from gossipreg.policy import Maintenance, Rule, Split, WeightOverride, check_rule
from gossipreg.protocol.registry.credentials import CredentialKeyring, _unpacked, packed
from gossipreg.protocol.registry.payload import BadPayload, pack_instance, unpack_instance
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule, unpack_rule
from tests.fuzz.target import Target, check_error_text, outcome

_KEY: Final = bytes(range(32))


def _instance(**fields: Any) -> Instance:
    return Instance(**{"id": "i", "service": "orders", "host": "10.0.0.1", "port": 80, "owner": "b", **fields})


# Records


def _records(data: bytes) -> str:
    try:
        instance = unpack_instance(data, id="i", owner="b")
    except BadPayload as bad:
        return f"bad: {str(bad)[:16]}"
    again = unpack_instance(pack_instance(instance), id="i", owner="b")
    reason = "" if instance.health is Health.PASSING else instance.reason  # there is none to pack then
    assert again == attrs.evolve(instance, reason=reason), "an unpacked instance packs to equal bytes"
    return f"{instance.health} {bool(instance.tags)} {bool(instance.meta)} {instance.role} {bool(instance.sealed)}"


def _record_seeds() -> Iterator[bytes]:
    yield pack_instance(_instance())
    yield pack_instance(_instance(tags=("v1", "v2"), meta={"a": "b"}, weight=3, zone="north", role="primary", term=4))
    yield pack_instance(_instance(health=Health.MAINTENANCE, reason="gone fishing"))
    yield pack_instance(_instance(sealed=bytes(40)))
    yield msgpack.packb({**msgpack.unpackb(pack_instance(_instance())), "later": [1], "health": "unheard-of"})


# Policies


def _policies(data: bytes) -> str:
    """First byte: a rule as a peer packs it, or as a client writes it."""
    kind, data = data[:1], data[1:]
    return _written(data) if kind == b"j" else _packed(data)


def _packed(data: bytes) -> str:
    key, _, payload = data.partition(b"\0")
    key_text = key.decode("latin-1")
    try:
        rule = unpack_rule(payload, key_text)
    except BadPayload as bad:
        assert PolicyVersion(key_text, 1, 0, "b", payload).policy is None, (
            "an unreadable rule is kept, and has no effect"
        )
        return f"bad: {str(bad)[:16]}"
    assert unpack_rule(pack_rule(rule), rule.key) == rule, "an unpacked rule packs to equal bytes"
    assert rule.key == key_text
    rule.is_about(_instance())
    return str(rule.kind)


def _written(data: bytes) -> str:
    try:
        rule = parse(data)
        check_rule(rule)
        payload = pack_rule(rule)
    except (HttpError, InvalidPolicy) as error:
        check_error_text(error)
        return outcome(error)
    assert len(payload) <= limits.POLICY_BYTES_MAX
    assert unpack_rule(payload, rule.key) == rule, "every node can read what a client may set"
    return f"set {rule.kind}"


def _rules() -> Iterator[Rule]:
    yield Split("orders", {"v1": 90, "v2": 10})
    yield Split("orders", {"north": 1}, "zone")
    yield WeightOverride("orders", "orders-1", 5)
    yield WeightOverride("orders", "orders-1", 5, "b")
    yield Maintenance("orders", "orders-1", "why")


def _policy_seeds() -> Iterator[bytes]:
    for rule in _rules():
        yield b"p" + rule.key.encode() + b"\0" + pack_rule(rule)
    yield b'j{"service":"orders","split":{"v1":90,"v2":10},"by":"tag"}'
    yield b'j{"service":"orders","instance":"orders-1","weight":5,"owner":"b"}'
    yield b'j{"service":"orders","instance":"orders-1","maintenance":"why"}'


# Credentials


def _credentials(data: bytes) -> str:
    """First byte: sealed bytes unchanged, packed and then sealed by a key holder, or as a client writes them."""
    kind, data = data[:1], data[1:]
    ring = CredentialKeyring("fuzz", (_KEY,))
    if kind == b"j":
        return _sealed(ring, data)
    if kind == b"p":
        unpacked = _unpacked(data)
        return "other" if unpacked is None else f"unpacked {min(len(unpacked), 3)}"
    try:
        ring.open(_instance(sealed=data))
    except CredentialsUnavailable as error:
        return str(error)[-12:]
    return "opened"


def _sealed(ring: CredentialKeyring, data: bytes) -> str:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return "not JSON"
    try:
        packed(value)
        sealed = ring.seal(value, _instance(), bytes(12))
    except InvalidInstance as error:
        check_error_text(error)
        return outcome(error)
    assert len(sealed) <= limits.SEALED_BYTES_MAX
    if not sealed:
        return "none"
    assert ring.open(_instance(sealed=sealed)) == dict(sorted(value.items())), "sealed credentials open to equal values"
    return "sealed"


def _credential_seeds() -> Iterator[bytes]:
    sealed = CredentialKeyring("fuzz", (_KEY,)).seal({"user": "u", "password": "p"}, _instance(), bytes(12))
    yield b"s" + sealed
    yield b"s" + sealed[:40]
    yield b"p" + packed({"user": "u", "password": "p"})
    yield b'j{"user":"u","password":"p"}'
    yield b"j{}"


_WORDS: Final = (
    b"\xa7service",
    b"\xa4host",
    b"\xa4port",
    b"\xa4tags",
    b"\xa4meta",
    b"\xa6health",
    b"\xa4term",
    b"\xc4\x20",
)

TARGETS: Final = (
    Target(
        "records",
        "a record is read or BadPayload; an unpacked instance packs to equal bytes",
        _records,
        _record_seeds,
        _WORDS,
    ),
    Target(
        "policies",
        "a rule is read, or refused by BadPayload, Refusal, InvalidPolicy; what may be set can be read",
        _policies,
        _policy_seeds,
        (b'"split"', b'"weight"', b'"maintenance"', b'"owner"', b'"by"', b'"zone"'),
    ),
    Target(
        "credentials",
        "credentials open as they were sealed, or CredentialsUnavailable",
        _credentials,
        _credential_seeds,
    ),
)
