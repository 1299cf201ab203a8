"""This node's own instances: published from a packed payload; an error about an unknown id names the owners."""

from __future__ import annotations

from gossipreg.protocol.registry.payload import pack_instance
from tests.protocol.making import engine, instance


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
