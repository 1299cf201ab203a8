"""An instance is packed once and unpacked by every node; the only error is `BadPayload`."""

from __future__ import annotations

from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.hosts import flaw
from gossipreg.model import Health, Instance
from gossipreg.protocol.registry.payload import BadPayload, pack_instance, unpack_instance
from tests.protocol.making import instance, law

names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"), max_size=20)

instances = st.builds(
    Instance,
    id=st.from_regex(r"[!-~]{1,20}", fullmatch=True),
    service=names,
    host=names.filter(lambda name: flaw(name) is None) | st.just("::1"),
    port=st.integers(0, 65_535),
    tags=st.lists(texts.filter(bool), max_size=4).map(tuple),
    meta=st.dictionaries(texts.filter(bool), texts, max_size=4),
    weight=st.integers(0, limits.WEIGHT_MAX),
    role=st.one_of(st.none(), names),
    zone=st.one_of(st.just(""), names),
)

anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), texts, st.binary(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


def read(payload: bytes) -> Instance | None:
    """The instance, or None if it is none; whatever else happens fails the test."""
    try:
        return unpack_instance(payload, id="x", owner="b")
    except BadPayload:
        return None


def offer(**changed: object) -> dict[str, Any]:
    fields: dict[str, Any] = msgpack.unpackb(pack_instance(instance("x")))
    return {**fields, **changed}


@law
@given(instances)
def test_what_was_packed_is_read_back(one: Instance) -> None:
    one.check()
    read_back = unpack_instance(pack_instance(one), id=one.id, owner="b")
    assert read_back == instance(**{f: getattr(one, f) for f in offer()}, id_=one.id, owner="b")


def test_sealed_credentials_and_a_term_travel_along() -> None:
    one = instance("x", owner="b", sealed=b"sealed", term=7, role="primary")
    assert unpack_instance(pack_instance(one), id="x", owner="b") == one


@law
@given(st.binary(max_size=200))
def test_any_bytes_are_an_instance_or_none(payload: bytes) -> None:
    read(payload)


@law
@given(instances, st.data())
def test_a_real_payload_with_some_bytes_changed_is_an_instance_or_none(one: Instance, data: st.DataObject) -> None:
    changed = bytearray(pack_instance(one))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    found = read(bytes(changed))
    if found is not None:
        found.check()


@law
@given(st.sampled_from(sorted(offer())), anything)
def test_an_offer_with_any_field_replaced_by_anything_is_an_instance_or_none(field: str, value: object) -> None:
    found = read(msgpack.packb(offer(**{field: value})))
    if found is not None:
        found.check()


@law
@given(st.dictionaries(texts.map(lambda text: f"later-{text}"), anything, max_size=3))
def test_fields_that_a_later_version_adds_are_skipped(later: dict[str, Any]) -> None:
    assert read(msgpack.packb({**later, **offer()})) == instance("x", owner="b")


@pytest.mark.parametrize(
    "field",
    [
        *("host", "service", "port", "weight", "role", "zone", "tags", "meta"),
        *("reason", "term", "sealed", "portless"),
    ],
)
@pytest.mark.parametrize("depth", [1, 10, 500, 970, 1000, 1020, 5000])
def test_an_offer_nested_however_deep_is_none(field: str, depth: int) -> None:
    fields = offer()
    fields.pop(field, None)
    packed = bytearray(msgpack.packb(fields))
    packed[0] += 1  # a map with one more entry
    deep = b"\x91" * depth + b"\xc0"
    value = b"\x81\xa1k" + deep if field == "meta" else deep
    assert read(bytes(packed) + msgpack.packb(field) + value) is None


@pytest.mark.parametrize("depth", [1, 500, 900, 960, 970, 980, 1000, 1020, 5000])
def test_a_health_nested_however_deep_ends_no_reader(depth: int) -> None:
    packed = bytearray(msgpack.packb(offer()))
    packed[0] += 1  # a map with one more entry
    found = read(bytes(packed) + msgpack.packb("health") + b"\x91" * depth + b"\xc0")
    assert found is None or found.health is Health.CRITICAL


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"service": "orders"},
        offer(tags="blue"),
        offer(tags=["t"] * (limits.TAGS_MAX + 1)),
        offer(meta=[]),
        offer(meta={str(n): "" for n in range(limits.META_ENTRIES_MAX + 1)}),
        offer(meta={b"k": "v"}),
        offer(weight=True),
        offer(port=-1),
        offer(service=""),
    ],
)
def test_what_is_out_of_its_type_or_bounds_is_none(value: object) -> None:
    assert read(msgpack.packb(value)) is None


@law
@given(instances, st.sampled_from(list(Health)), texts)
def test_health_and_why_travel_with_an_instance(one: Instance, health: Health, reason: str) -> None:
    told = attrs.evolve(one, health=health, reason=reason)
    read_back = unpack_instance(pack_instance(told), id=one.id, owner="b")
    assert (read_back.health, read_back.reason) == (health, "" if health is Health.PASSING else reason)


def test_an_instance_that_passes_is_packed_as_it_was_before_there_were_checks() -> None:
    assert set(offer()) == {"service", "host", "port", "tags", "meta", "weight", "role", "zone"}


@pytest.mark.parametrize("health", ["on fire", 3, None, [], {}])
def test_a_health_that_only_a_later_version_knows_is_not_called(health: object) -> None:
    one = read(msgpack.packb(offer(health=health)))
    assert one is not None
    assert one.health is Health.CRITICAL


@pytest.mark.parametrize("reason", [3, None, ["x"], "x" * (limits.REASON_CHARS_MAX + 1)])
def test_a_reason_that_is_none_is_junk(reason: object) -> None:
    assert read(msgpack.packb(offer(health="critical", reason=reason))) is None


def test_a_node_that_knows_no_instances_without_a_port_sees_one_drained() -> None:
    """It refuses port 0, and the record with it; so what it reads is a port that it is not to call."""
    worker = attrs.evolve(instance("x"), port=0, weight=7)
    packed = msgpack.unpackb(pack_instance(worker))
    assert (packed["port"], packed["weight"]) == (1, 0)
    assert (read(pack_instance(worker)) or worker).weight == 7


@pytest.mark.parametrize("weight", [-1, "7", None, [7], {}, True, limits.WEIGHT_MAX + 1])
def test_a_weight_without_a_port_is_checked_as_any(weight: object) -> None:
    assert read(msgpack.packb(offer(portless=weight))) is None
