"""A checked instance has the health that its owner found on every node, after a restart too."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg import (
    Check,
    CheckEvent,
    Health,
    Instance,
    InvalidInstance,
    Node,
    RecordTooLarge,
    StorageError,
    UnknownInstance,
    limits,
    open_node,
)
from gossipreg.model import NODE_SERVICE
from gossipreg.runtime.checks import dialing
from gossipreg.runtime.state_store import Rows
from gossipreg.spec import InstanceSpec
from tests.runtime.checks.targets import Target, serving
from tests.runtime.nodes import PATIENCE, config


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with open_node(config("ann")) as node:
        yield node


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with serving() as target:
        yield target


async def until(node: Node, service: str, holds: Callable[[tuple[Instance, ...]], bool]) -> tuple[Instance, ...]:
    """The service's instances, all of them, as soon as that holds."""
    change_log = node._lifecycle.context.change_log
    with trio.fail_after(PATIENCE):
        while not holds(every := node.lookup(service, healthy=False)):
            await change_log.wait(change_log.position)
    return every


def is_in(health: Health) -> Callable[[tuple[Instance, ...]], bool]:
    return lambda every: [each.health for each in every] == [health]


def quick(target: Target, **fields: Any) -> Check:
    return Check(http=target.url, **({"interval": 0.05} | fields))


async def test_a_service_that_fails_its_check_leaves_every_lookup_and_comes_back(target: Target) -> None:
    async with AsyncExitStack() as stack:
        ann = await stack.enter_async_context(open_node(config("ann")))
        bob = await stack.enter_async_context(open_node(config("bob", ann)))
        eve = await stack.enter_async_context(open_node(config("eve", ann)))
        made = await ann.register("orders", port=target.port, id="o", checks=[quick(target)])
        assert (made.health, made.reason) == (Health.CRITICAL, "http: not checked yet")
        for node in (ann, bob, eve):
            with trio.fail_after(PATIENCE):
                assert [each.id for each in await node.wait_for("orders")] == ["o"]

        failed_at = len(target.asked)
        target.status = 500
        for node in (ann, bob, eve):
            [gone] = await until(node, "orders", is_in(Health.CRITICAL))
            assert node.lookup("orders") == ()
            assert gone.reason == "http: 500 Internal Server Error"
        assert len(target.asked) > failed_at, "no node knew before the target was asked"

        target.status = 200
        for node in (ann, bob, eve):
            [back] = await until(node, "orders", is_in(Health.PASSING))
            assert back.reason == ""


async def test_a_service_that_warns_is_still_called(node: Node, target: Target) -> None:
    target.status = 429
    await node.register("orders", port=80, checks=[quick(target)])
    [one] = await until(node, "orders", is_in(Health.WARNING))
    assert node.lookup("orders") == (one,)
    assert node.pick("orders") == one


async def test_without_checks_an_instance_can_serve_for_as_long_as_its_node_lives(node: Node) -> None:
    made = await node.register("orders", port=80)
    assert made.health is Health.PASSING
    assert node.checks() == node.checks(made.id) == ()


async def test_what_a_check_says_is_not_gossiped_only_what_it_changes(node: Node, target: Target) -> None:
    await node.register("orders", port=80, id="o", checks=[quick(target)])
    await until(node, "orders", is_in(Health.PASSING))
    version = node._engine.state.registry.table("ann").latest_digest.version  # type: ignore[union-attr]
    runs = node.checks("o")[0].runs
    target.body = b"another answer"
    with trio.fail_after(PATIENCE):
        while node.checks("o")[0].runs < runs + 3:  # noqa: ASYNC110 - results that change nothing ring no bell
            await trio.sleep(0.01)
    [report] = node.checks("o")
    assert report.output == "200 OK\nanother answer"
    assert node._engine.state.registry.table("ann").latest_digest.version == version  # type: ignore[union-attr]


async def test_registering_again_does_not_take_a_passing_instance_out(node: Node, target: Target) -> None:
    check = quick(target, interval=60)
    await node.register("orders", port=80, id="o", checks=[check])
    await until(node, "orders", is_in(Health.PASSING))
    again = await node.register("orders", port=80, id="o", weight=7, checks=[check])
    assert (again.health, again.weight) == (Health.PASSING, 7)
    unchecked = await node.register("orders", port=80, id="o")
    assert (unchecked.health, node.checks("o")) == (Health.PASSING, ())


async def test_a_check_may_be_written_as_in_json(node: Node, target: Target) -> None:
    await node.register("orders", port=80, id="o", checks=[{"http": target.url, "interval": "50ms"}])
    await until(node, "orders", is_in(Health.PASSING))
    [report] = node.checks("o")
    assert report.check == quick(target)


async def test_a_check_that_cannot_be_is_refused_and_nothing_is_changed(node: Node) -> None:
    with pytest.raises(InvalidInstance, match=r"^checks\[0\]\.interval: 'often' is not a number of seconds"):
        await node.register("orders", port=80, checks=[{"tcp": "127.0.0.1:1", "interval": "often"}])
    with pytest.raises(InvalidInstance, match=r"^port: "):
        await node.register("orders", port=-1, checks=[{"tcp": "127.0.0.1:1"}])
    assert node.checks() == ()
    assert node.services() == {}


async def test_a_record_has_room_for_what_its_checks_may_find(node: Node) -> None:
    meta = {"one": "x" * (limits.RECORD_BYTES_MAX - 300)}
    await node.register("orders", port=80, meta=meta)
    with pytest.raises(RecordTooLarge, match=r"its record may have \d+ bytes when a check fails, 65536 are allowed"):
        await node.register("orders", port=80, meta=meta, checks=[Check(ttl=1)])


async def test_a_failing_check_of_the_node_drains_an_instance_whose_record_has_no_room_for_it(node: Node) -> None:
    meta = {"one": "x" * (limits.RECORD_BYTES_MAX - 120)}
    await node.register("full", port=80, meta=meta, id="a")
    await node.register("small", port=80, id="z")
    disk = InstanceSpec(service=NODE_SERVICE, id=NODE_SERVICE, port=0, checks=(Check(name="disk", ttl=60.0),))
    await node.register_spec(disk)
    await node.heartbeat(NODE_SERVICE, health=Health.CRITICAL, note="it is full " * 20)
    await until(node, "small", is_in(Health.CRITICAL))
    [full] = node.lookup("full", healthy=False)
    assert full.weight == 0
    await node.heartbeat(NODE_SERVICE)
    await until(node, "small", is_in(Health.PASSING))
    assert node.lookup("full")[0].weight == 1


async def test_commands_are_off_unless_the_program_allows_them() -> None:
    check = Check(command=["/bin/true"], timeout=20)
    async with open_node(config("ann")) as node:
        with pytest.raises(InvalidInstance, match="checks: commands are off on this node: set command_checks"):
            await node.register("orders", port=80, checks=[check])
    async with open_node(config("ann", command_checks="own")) as node:
        await node.register("orders", port=80, checks=[check])
        await until(node, "orders", is_in(Health.PASSING))


# Heartbeats


async def test_a_service_that_beats_is_passing_and_one_that_stops_is_not(node: Node) -> None:
    await node.register("orders", port=80, id="o", checks=[Check(ttl=0.1)])
    assert node.lookup("orders") == ()
    await node.heartbeat("o")
    assert [each.id for each in node.lookup("orders")] == ["o"]
    [gone] = await until(node, "orders", is_in(Health.CRITICAL))
    assert gone.reason == "ttl: no heartbeat for 0.1 s"


async def test_a_heartbeat_may_say_how_it_is(node: Node) -> None:
    await node.register("orders", port=80, id="o", checks=[Check(ttl=60), Check(ttl=60, name="disk")])
    await node.heartbeat("o", check="ttl")
    await node.heartbeat("o", check="disk", health=Health.CRITICAL, note="disk full")
    [sick] = node.lookup("orders", healthy=False)
    assert (sick.health, sick.reason) == (Health.CRITICAL, "disk: disk full")
    with pytest.raises(InvalidInstance, match="call set_maintenance"):
        await node.heartbeat("o", health=Health.MAINTENANCE)
    with pytest.raises(UnknownInstance):
        await node.heartbeat("missing")


# Maintenance


async def test_maintenance_takes_an_instance_out_with_a_reason_that_all_see() -> None:
    async with open_node(config("ann")) as ann, open_node(config("bob", ann)) as bob:
        await ann.register("orders", port=80, id="o")
        out = await ann.set_maintenance("o", "new disk")
        assert (out.health, out.reason) == (Health.MAINTENANCE, "new disk")
        [seen] = await until(bob, "orders", is_in(Health.MAINTENANCE))
        assert (seen.reason, bob.lookup("orders")) == ("new disk", ())
        assert (await ann.register("orders", port=81, id="o")).health is Health.MAINTENANCE
        assert (await ann.set_maintenance("o", None)).health is Health.PASSING
        await until(bob, "orders", is_in(Health.PASSING))


@pytest.mark.parametrize("reason", ["x" * 161, "\ud800", 3])
async def test_a_reason_that_cannot_be_is_refused(reason: Any, node: Node) -> None:
    await node.register("orders", port=80, id="o")
    with pytest.raises(InvalidInstance, match=r"^reason: "):
        await node.set_maintenance("o", reason)
    with pytest.raises(UnknownInstance):
        await node.set_maintenance("missing", "new disk")
    assert node.lookup("orders")


# Flapping


async def test_a_check_that_flaps_is_an_event(node: Node) -> None:
    await node.register("orders", port=80, id="o", checks=[Check(ttl=60)])
    told: list[CheckEvent] = []

    async def listen(task_status: trio.TaskStatus[None]) -> None:
        events = node.events()
        await anext(events)
        task_status.started()
        while not told:
            told.extend(event for event in await anext(events) if isinstance(event, CheckEvent))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(listen)
            for health in (Health.PASSING, Health.CRITICAL) * 4:
                await node.heartbeat("o", health=health)
    assert told == [CheckEvent("flapping", "o", "orders", "ttl", Health.CRITICAL)]


# The end


async def test_an_instance_that_is_critical_for_too_long_is_deregistered(
    node: Node, target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await node.register("orders", port=80, id="o", checks=[quick(target, deregister_after=0.1)])
    await until(node, "orders", is_in(Health.PASSING))
    target.status = 500
    assert await until(node, "orders", lambda every: not every) == ()
    assert "instance o is deregistered: its check http was critical for too long" in caplog.text
    with trio.fail_after(PATIENCE):
        await trio.testing.wait_all_tasks_blocked()
    assert node.checks() == ()


async def test_what_is_deregistered_is_checked_no_more(node: Node, target: Target) -> None:
    await node.register("orders", port=80, id="o", checks=[quick(target)])
    await until(node, "orders", is_in(Health.PASSING))
    await node.deregister("o")
    assert node.checks() == ()
    with pytest.raises(UnknownInstance):
        node.checks("o")


# Over a restart


async def test_checks_and_maintenance_come_back_with_their_instances(tmp_path: Path, target: Target) -> None:
    check = quick(target, headers={"X-Key": "k"})
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        await ann.register("orders", port=80, id="o", meta={"a": "b"}, checks=[check, Check(ttl=60)])
        await ann.register("stock", port=80, id="s")
        await ann.heartbeat("o")
        await until(ann, "orders", is_in(Health.PASSING))
        await ann.set_maintenance("s", "new disk")
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        assert [report.check for report in ann.checks("o")] == [check, Check(ttl=60)]
        [orders] = ann.lookup("orders", healthy=False)
        [stock] = ann.lookup("stock", healthy=False)
        assert (orders.health, orders.meta) == (Health.CRITICAL, {"a": "b"}), "it was not checked yet"
        assert (stock.health, stock.reason) == (Health.MAINTENANCE, "new disk")
        await ann.heartbeat("o")
        await until(ann, "orders", is_in(Health.PASSING))
        assert (await ann.set_maintenance("s", None)).health is Health.PASSING
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        assert [each.id for each in ann.lookup("stock")] == ["s"]


async def test_checks_that_this_version_cannot_read_keep_their_instance_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        with monkeypatch.context() as later:
            later.setattr(Check, "stated", lambda _: {"quantum": "127.0.0.1:1"})
            await ann.register("orders", port=80, id="o", checks=[Check(ttl=1)])
    async with open_node(config("ann", data_dir=tmp_path)) as ann:
        assert ann.services() == {}
    assert "instance o is not registered again: checks[0].quantum: a check has no such field" in caplog.text


@attrs.define
class FullDisk:
    async def put_instances(self, instances: Rows, terms: Rows) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageError("cannot use the data directory: disk full: free some space on its disk")


async def test_what_could_not_be_stored_did_not_happen_to_the_checks_either(node: Node) -> None:
    check = Check(ttl=60)
    await node.register("orders", port=80, id="o", checks=[check])
    await node.heartbeat("o")
    full: Any = FullDisk()
    node._lifecycle.context.store = full
    for attempt in (
        node.deregister("o"),
        node.register("orders", port=81, id="o", checks=[check, Check(tcp="127.0.0.1:1")]),
        node.set_maintenance("o", "new disk"),
    ):
        with pytest.raises(StorageError):
            await attempt
        [same] = node.lookup("orders")
        assert (same.port, same.health) == (80, Health.PASSING)
        assert [report.check for report in node.checks("o")] == [check]
    node._lifecycle.context.store = None


# What a check may contact


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ({"http": "http://169.254.169.254/"}, "http: 169.254.169.254 may not be contacted by checks of this node"),
        ({"tcp": "8.8.8.8:53"}, "tcp: 8.8.8.8 may not be contacted by checks of this node"),
        ({"grpc": "[::ffff:169.254.0.1]:53"}, "grpc: ::ffff:169.254.0.1 may not be contacted by checks of this node"),
        ({"http": "http://10.0.0.1/", "headers": {"Metadata": "true"}}, "headers: Metadata may not be sent by checks"),
    ],
)
async def test_a_check_of_what_may_not_be_contacted_is_refused(
    node: Node, check: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidInstance, match=rf"^checks\[1\]\.{re.escape(sentence)}"):
        await node.register("orders", port=1, checks=[{"ttl": 10}, check])
    assert node.lookup("orders", healthy=False) == ()


@pytest.fixture
def _nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: object) -> trio.SocketStream:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(dialing, "_connected", refuse)


@pytest.mark.usefixtures("_nothing_leaves")
async def test_an_instances_own_host_may_be_checked_wherever_it_is(node: Node) -> None:
    registered = await node.register("db", port=1, host="203.0.113.5", checks=[{"tcp": "203.0.113.5:1", "interval": 9}])
    assert registered.host == "203.0.113.5"


@pytest.mark.usefixtures("_nothing_leaves")
async def test_a_setting_lets_checks_contact_more(target: Target) -> None:
    settings = {"check_targets": ["8.8.8.8"], "check_headers": ["Metadata"]}
    async with open_node(config("ann", **settings)) as node:
        await node.register("dns", port=1, checks=[{"http": "http://8.8.8.8/", "headers": {"Metadata": "x"}}])
        with pytest.raises(InvalidInstance, match=r"http: 127\.0\.0\.1 may not be contacted"):
            await node.register("orders", port=1, checks=[quick(target)])


async def test_what_was_registered_under_other_settings_is_kept_and_critical(tmp_path: Path, target: Target) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=1, id="o", checks=[quick(target)])
        await until(node, "orders", is_in(Health.PASSING))
    async with open_node(config("ann", data_dir=tmp_path, check_targets=["off"])) as node:
        [out] = await until(node, "orders", lambda every: bool(every) and "see check_targets" in every[0].reason)
        assert out.health is Health.CRITICAL
        assert out.reason == "http: 127.0.0.1 may not be contacted by checks of this node: see check_targets"
        assert (await node.set_maintenance("o", "new disk")).health is Health.MAINTENANCE
