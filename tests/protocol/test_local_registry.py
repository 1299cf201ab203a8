"""This node's own instances: published from a packed payload; an error about an unknown id names the owners."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.registry import Registry
from tests.protocol.delivering import deliver
from tests.protocol.making import BORN, engine, instance, introduce, update


def test_an_instance_that_its_caller_has_packed_is_published_with_those_bytes() -> None:
    node = engine()
    payload = pack_instance(instance())
    node.register(instance(), 1.0, payload)
    table = node.state.registry.table("a")
    assert table is not None
    assert [record.payload for record in table] == [payload]
    assert len(node.local_registry) == 1


def test_an_id_that_no_member_owns_is_unknown() -> None:
    assert str(engine().local_registry.unknown_instance("x")) == "this node owns no instance 'x', and no member does"


def test_an_id_that_other_members_own_is_unknown_here_and_they_are_named() -> None:
    here, others = engine(), (update("b", port=7001), update("c", port=7002))
    introduce(here, *others)
    for other in others:
        record, _ = Registry(other.name).offer(instance("x"), BORN, pack_instance(instance("x")))
        deliver(here, other, record)
    assert str(here.local_registry.unknown_instance("x")) == (
        "this node owns no instance 'x': ask its owner, b at 10.0.0.1:7001, c at 10.0.0.1:7002"
    )


def test_a_service_without_a_term_takes_none_of_the_room_for_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TERMS_MAX", 1)
    together = [instance("w-1", service="web"), instance("pg-1", service="pg", term=1)]
    node = engine()
    node.register_many([(each, pack_instance(each)) for each in together], 1.0)
    assert len(node.local_registry) == 2
