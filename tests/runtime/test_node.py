"""The API of a node: register, look up, pick, watch, wait, leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from gossipreg import (
    Health,
    Instance,
    InvalidInstance,
    Node,
    NodeClosed,
    NoInstance,
    RecordTooLarge,
    ServiceCount,
    Snapshot,
    Status,
    UnknownInstance,
    open_node,
)
from tests.runtime.nodes import PATIENCE, config


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node alone in its cluster."""
    async with open_node(config("ann", zone="north", cluster="shop")) as node:
        yield node


# Registering


async def test_a_registration_needs_a_service_and_a_port_and_the_node_knows_the_rest(node: Node) -> None:
    made = await node.register("orders", port=80)
    assert made == Instance(id="orders-ann-80", service="orders", host="127.0.0.1", port=80, zone="north", owner="ann")
    assert (made.health, made.weight, made.tags, made.meta) == (Health.PASSING, 1, (), {})
    assert node.lookup("orders") == (made,)
    assert node.own("orders-ann-80") == made


async def test_an_instance_elsewhere_has_its_host_in_its_id(node: Node) -> None:
    made = await node.register("orders", port=80, host="10.0.0.9", zone="")
    assert (made.id, made.host, made.zone) == ("orders-10.0.0.9-80", "10.0.0.9", "")


async def test_registering_again_replaces(node: Node) -> None:
    await node.register("orders", port=80)
    again = await node.register("orders", port=80, weight=7)
    assert node.lookup("orders") == (again,)


async def test_an_id_that_moves_to_another_service_is_gone_from_the_first(node: Node) -> None:
    await node.register("orders", port=80, id="one")
    await node.register("stock", port=80, id="one")
    assert node.lookup("orders") == ()
    assert [each.id for each in node.lookup("stock")] == ["one"]


async def test_what_is_deregistered_is_gone_and_only_once(node: Node) -> None:
    await node.register("orders", port=80, id="one")
    await node.deregister("one")
    assert node.lookup("orders", healthy=False) == ()
    assert node.own("one") is None
    with pytest.raises(UnknownInstance, match=r"^this node owns no instance 'one', and no member does$"):
        await node.deregister("one")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"service": "no such name"}, "service"),
        ({"port": -1}, "port"),
        ({"host": "a b", "id": "one"}, "host"),
        ({"weight": -1}, "weight"),
        ({"tags": [""]}, "tags"),
        ({"meta": {"a": 1}}, "meta"),
        ({"role": "a b"}, "role"),
        ({"zone": "a b"}, "zone"),
        ({"id": "a b"}, "id"),
    ],
)
async def test_an_instance_that_cannot_be_is_refused_by_its_field(
    wrong: dict[str, Any], field: str, node: Node
) -> None:
    fields: dict[str, Any] = {"service": "orders", "port": 80} | wrong
    with pytest.raises(InvalidInstance, match=f"^{field}: "):
        await node.register(**fields)
    assert node.services() == {}


async def test_a_record_that_is_too_large_is_refused_with_both_sizes(node: Node) -> None:
    with pytest.raises(RecordTooLarge, match=r"its record has \d+ bytes, 65536 are allowed: shorten its meta or tags$"):
        await node.register("orders", port=80, meta={"one": "x" * 40_000, "two": "x" * 40_000})


# Looking up


async def test_a_lookup_can_ask_for_tag_zone_and_role(node: Node) -> None:
    north = await node.register("orders", port=1, tags=["v1"], role="primary")
    south = await node.register("orders", port=2, tags=["v1", "v2"], zone="south")
    assert node.lookup("orders", tag="v1") == (north, south)
    assert node.lookup("orders", tag="v2") == (south,)
    assert node.lookup("orders", zone="north") == (north,)
    assert node.lookup("orders", role="primary", zone="north") == (north,)
    assert node.lookup("orders", role="primary", zone="south") == ()
    assert node.lookup("stock") == ()


async def test_picks_follow_the_weights(node: Node) -> None:
    for port, weight in ((1, 3), (2, 1), (3, 0)):
        await node.register("orders", port=port, weight=weight)
    picked = Counter(node.pick("orders").port for _ in range(4_000))
    assert picked[3] == 0
    assert picked[1] / picked[2] == pytest.approx(3, rel=0.3)
    assert {node.pick("orders", zone="north").port for _ in range(200)} == {1, 2}


@pytest.mark.parametrize(
    ("offered", "asked", "sentence"),
    [
        ([], {}, "no instance of 'orders' is registered"),
        (
            [{}],
            {"zone": "south", "tag": "v2"},
            "the only healthy instance of 'orders' does not have tag=v2, zone=south",
        ),
        ([{"id": "a"}, {"id": "b"}], {"tag": "v2"}, "none of the 2 healthy instances of 'orders' has tag=v2"),
        ([{"weight": 0}], {}, "every healthy instance of 'orders' is drained (weight 0)"),
        ([{"weight": 0}], {"zone": "north"}, "every healthy instance of 'orders' is drained (weight 0)"),
    ],
)
async def test_when_nothing_can_be_picked_the_reason_is_said(
    offered: list[dict[str, Any]], asked: dict[str, Any], sentence: str, node: Node
) -> None:
    for port, more in enumerate(offered, start=1):
        await node.register("orders", port=port, **more)
    with pytest.raises(NoInstance) as refused:
        node.pick("orders", **asked)
    assert str(refused.value) == sentence


async def test_the_index_grows_with_what_a_reader_could_see_and_with_nothing_else(node: Node) -> None:
    await node.register("orders", port=80)
    first = node.index("orders")
    await node.register("stock", port=80)
    await node.register("orders", port=80)
    assert node.index("orders") == first
    await node.register("orders", port=80, weight=2)
    second = node.index("orders")
    await node.deregister("orders-ann-80")
    assert first < second < node.index("orders")


async def test_services_are_counted(node: Node) -> None:
    await node.register("orders", port=1)
    await node.register("orders", port=2)
    await node.register("stock", port=3)
    assert node.services() == {"orders": ServiceCount(2, 2), "stock": ServiceCount(1, 1)}


async def test_a_node_knows_itself(node: Node) -> None:
    await node.register("orders", port=80)
    info = node.info()
    assert (info.name, info.cluster, info.zone, info.address) == ("ann", "shop", "north", node.address)
    assert (info.members, info.services, info.instances) == ({"alive": 1, "suspect": 0, "failed": 0, "left": 0}, 1, 1)
    assert (info.reachable, info.isolated, info.draining, info.local_health) == (1.0, False, False, 0)
    [myself] = node.members()
    assert (myself.name, myself.status, myself.generation) == ("ann", Status.ALIVE, info.generation)


async def test_lookups_may_come_from_any_thread(node: Node) -> None:
    made = await node.register("orders", port=80)

    def ask() -> tuple[Any, ...]:
        return (
            node.lookup("orders"),
            node.pick("orders"),
            node.own(made.id),
            node.index("orders") > 0,
            len(node.members()),
            dict(node.services()),
        )

    assert await trio.to_thread.run_sync(ask) == ((made,), made, made, True, 1, {"orders": ServiceCount(1, 1)})


async def test_what_a_failed_member_offered_is_still_known_but_not_called() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node(config("ann")) as node, open_node(config("bob", node)) as other:
            await other.register("orders", port=80)
            [offered] = await node.wait_for("orders")
            other._lifecycle.context.close()  # it is gone without a word
            async for change in node.watch("orders"):
                if not change.instances:
                    break
            [known] = node.lookup("orders", healthy=False)
            assert (known.id, known.health) == (offered.id, Health.CRITICAL)
            with pytest.raises(NoInstance, match=r"^the only instance of 'orders' cannot serve now$"):
                node.pick("orders")
            assert node.info().members["failed"] == 1
            assert node.info().reachable == 0.0


# What it watches


async def test_waiting_ends_when_there_are_enough(node: Node, nursery: trio.Nursery) -> None:
    found: list[int] = []

    async def wait() -> None:
        found.append(len(await node.wait_for("orders", at_least=2)))

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    await node.register("orders", port=1)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert found == []
    await node.register("orders", port=2)
    with trio.fail_after(PATIENCE):
        await node.wait_for("orders", at_least=2)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert found == [2]


async def test_events_tell_of_members_and_instances() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node(config("ann")) as node:
            events = node.events()
            assert await anext(events) == (Snapshot(node.members(), ()),)
            async with open_node(config("bob", node)) as other:
                await other.register("orders", port=80)
                await node.wait_for("orders")
            kinds = [event.kind for event in await anext(events) if not isinstance(event, Snapshot)]
            assert kinds[0] == "left"


async def test_who_waits_learns_that_the_node_has_closed(nursery: trio.Nursery) -> None:
    refused: list[str] = []

    async def wait(node: Node) -> None:
        with pytest.raises(NodeClosed) as closed:
            await node.wait_for("orders")
        refused.append(str(closed.value))

    async with open_node(config("ann")) as node:
        nursery.start_soon(wait, node)
        await trio.testing.wait_all_tasks_blocked()
    await trio.testing.wait_all_tasks_blocked()
    assert refused == ["node 'ann' closed while waiting for 'orders'"]


# How it ends


async def test_a_node_that_drains_gets_no_new_work_from_any_node_until_it_undrains() -> None:
    async def weights(node: Node, wanted: int) -> None:
        async for change in node.watch("orders"):
            if [instance.weight for instance in change.instances] == [wanted]:
                return

    with trio.fail_after(PATIENCE):
        async with open_node(config("ann")) as node, open_node(config("bob", node)) as other:
            await other.register("orders", port=80, weight=3)
            await weights(node, 3)
            await other.drain()
            await other.drain()
            await weights(node, 0)
            assert other.info().draining
            await other.undrain()
            await other.undrain()
            await weights(node, 3)
            assert not other.info().draining
            await other.leave()
            with pytest.raises(NodeClosed):
                await other.undrain()


async def test_leaving_twice_or_from_two_places_is_leaving_once() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node(config("ann")) as node, open_node(config("bob", node)) as other:
            await other.register("orders", port=80)
            await node.wait_for("orders")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other.leave)
                nursery.start_soon(other.leave)
            await other.leave()
            assert {member.name: member.status for member in node.members()}["bob"] is Status.LEFT


async def test_a_closed_node_can_be_read_but_not_used(node: Node) -> None:
    made = await node.register("orders", port=80)
    await node.leave()
    for attempt in (node.register("orders", port=81), node.deregister(made.id)):
        with pytest.raises(NodeClosed, match=r"^node 'ann' is closed: open a new one$"):
            await attempt
    with pytest.raises(NodeClosed):
        node.watch("orders")
    with pytest.raises(NodeClosed):
        node.events()
    assert node.name == "ann"
    await node.wait_closed()
