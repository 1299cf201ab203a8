"""Records of an owner, and the digests by which they are compared."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.model import Health
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.records import Record, TableDigest, record_digest
from gossipreg.protocol.registry.registry import Registry
from tests.protocol.making import BORN, history, instance


def test_every_part_of_a_record_is_in_its_digest() -> None:
    [record] = history([("x", 1)]).said
    assert record.payload is not None
    others = [
        attrs.evolve(record, owner="c"),
        attrs.evolve(record, generation=BORN + 1),
        attrs.evolve(record, id="y"),
        attrs.evolve(record, version=2),
        attrs.evolve(record, payload=record.payload + b"!"),
    ]
    assert len({record.digest, *(other.digest for other in others)}) == 6
    assert record.digest == record_digest("b", BORN, "x", 1, record.payload)


def test_the_digest_in_a_record_is_the_same_claim_from_any_peer() -> None:
    [record] = history([("x", 1)]).said
    assert attrs.evolve(record, table_xor=7).digest == record.digest


def test_a_digest_stands_for_the_version_heard_of() -> None:
    head = TableDigest("b", BORN, 3, 99)
    assert head.digest == attrs.evolve(head, gone=("x",)).digest
    assert len({head.digest, attrs.evolve(head, version=4).digest, attrs.evolve(head, owner="c").digest}) == 3


def test_a_record_offers_an_instance_of_its_owner() -> None:
    [record] = history([("x", 3)]).said
    assert record.instance == instance("x", weight=3, owner="b")


def test_a_removal_offers_nothing_and_is_in_no_fingerprint() -> None:
    removal = history([("x", 1), ("x", None)]).said[1]
    with pytest.raises(AssertionError, match="has no instance"):
        _ = removal.instance
    with pytest.raises(AssertionError, match="fingerprint"):
        _ = removal.digest


def test_junk_in_a_record_is_found_when_it_is_read() -> None:
    with pytest.raises(BadPayload):
        _ = Record("b", BORN, 1, "x", 0, b"\xc1").instance


def test_an_instance_is_known_without_reading_it_only_if_reading_would_give_the_same() -> None:
    offered = instance("x")
    record, _ = Registry("b").offer(offered, BORN)
    owned = attrs.evolve(offered, owner="b")
    for other in (attrs.evolve(owned, stale=True), offered, attrs.evolve(owned, reason="it passes")):
        fresh = attrs.evolve(record)
        fresh.know(other)
        assert fresh.instance is not other
        assert fresh.instance == owned
    for same in (owned, attrs.evolve(owned, health=Health.CRITICAL, reason="it fails")):
        fresh = attrs.evolve(record)
        fresh.know(same)
        assert fresh.instance is same
