"""A registrar's changes that are cancelled, or that another change overtakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from gossipreg import Health, Node, open_node
from gossipreg.runtime.state_store import AsyncStateStore
from tests.runtime.nodes import config


async def test_a_deregistration_that_is_cancelled_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = AsyncStateStore.drop

    async def drop_slowly(writer: AsyncStateStore, instance_id: str, *, term: tuple[str, bytes] | None = None) -> None:
        await trio.sleep_forever()

    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80, id="a")
        monkeypatch.setattr(AsyncStateStore, "drop", drop_slowly)
        with trio.move_on_after(0.01):
            await node.deregister("a")
        monkeypatch.setattr(AsyncStateStore, "drop", drop)
        assert node.lookup("orders") == ()
        assert node.own("a") is None
        assert "a" not in registered(node)
        await node.register("orders", port=80, id="a")
        assert [each.id for each in node.lookup("orders")] == ["a"]


async def test_what_was_registered_otherwise_meanwhile_is_not_withdrawn_with_its_file() -> None:
    async with open_node(config("ann")) as node:
        await node.register("orders", port=80, id="a")
        await node._lifecycle.registrar._undefine("a")
        assert [each.id for each in node.lookup("orders")] == ["a"]


async def test_an_instance_whose_check_has_recovered_meanwhile_is_not_withdrawn() -> None:
    async with open_node(config("ann")) as node:
        await node.register("orders", port=80, id="a", checks=[{"ttl": 60.0}])
        await node.heartbeat("a")
        await node._lifecycle.registrar._withdraw("a", "ttl")
        assert [each.id for each in node.lookup("orders")] == ["a"]
        await node.heartbeat("a", health=Health.CRITICAL)
        await node._lifecycle.registrar._withdraw("a", "ttl")
        assert node.lookup("orders", healthy=False) == ()


def registered(node: Node) -> list[str]:
    """The ids that the registrar has."""
    return list(node._lifecycle.registrar.registrations)
