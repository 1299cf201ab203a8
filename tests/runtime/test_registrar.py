"""A registrar's changes that the disk refuses, that are cancelled, or that another change overtakes."""

from __future__ import annotations

import contextlib
import shutil
from contextlib import closing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg import Check, Health, InvalidInstance, Node, StorageError, limits, open_node
from gossipreg.model import PRIMARY
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.registry.registry import Registry
from gossipreg.runtime.policy_writer import unpack_term
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.saved_state import SavedState
from gossipreg.runtime.state_store import AsyncStateStore, Rows, StateStore
from gossipreg.spec import InstanceSpec
from tests.runtime.nodes import PATIENCE, config

#: A term that no user may state.
TOO_HIGH = limits.TERM_GIVEN_MAX + 1


def registrar_of(node: Node) -> Registrar:
    return node._lifecycle.registrar


def registration(node: Node, id: str, *, service: str = "orders", port: int = 80, **fields: Any) -> LocalRegistration:
    spec = InstanceSpec(service=service, id=id, port=port, **fields)
    return LocalRegistration.of(spec, member=node.name, host=node.address.host, zone="")


@attrs.define
class Disk:
    """The disk of all nodes: while it is held a write of instances waits, and while it is full it is refused."""

    is_full: bool = False
    is_held: bool = False
    writes: list[tuple[dict[str, bytes | None], dict[str, bytes | None]]] = attrs.field(factory=list)
    writing: trio.Event = attrs.field(factory=trio.Event)
    go_on: trio.Event = attrs.field(factory=trio.Event)

    async def wait(self) -> None:
        self.writing.set()
        if self.is_held:
            await self.go_on.wait()
        if self.is_full:
            raise StorageError("cannot use the data directory: disk full: free some space on its disk")

    def hold(self) -> None:
        """Have the next writes wait until `go_on` is set."""
        self.is_held, self.writing, self.go_on = True, trio.Event(), trio.Event()

    async def cancel_then_let_go(self, scope: trio.CancelScope) -> None:
        """Cancel ``scope`` while its write waits."""
        await self.writing.wait()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        self.let_go()

    def let_go(self) -> None:
        self.is_held = False
        self.go_on.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    put_instances, put_term = AsyncStateStore.put_instances, AsyncStateStore.put_term

    async def put(store: AsyncStateStore, instances: Rows, terms: Rows = MappingProxyType({})) -> None:
        await disk.wait()
        disk.writes.append((dict(instances), dict(terms)))
        await put_instances(store, instances, terms)

    async def put_one(store: AsyncStateStore, service: str, register: bytes) -> None:
        await disk.wait()
        await put_term(store, service, register)

    monkeypatch.setattr(AsyncStateStore, "put_instances", put)
    monkeypatch.setattr(AsyncStateStore, "put_term", put_one)
    return disk


def after_a_crash(directory: Path, copy: Path) -> SavedState:
    """What is on disk now."""
    shutil.copytree(directory, copy)
    with closing(StateStore.open(copy)) as store:
        return store.load()


# What the disk refuses has not happened


async def test_a_full_disk_changes_nothing_of_what_files_defined_before_a_restart(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        beaten = registration(node, "a", checks=[Check(ttl=60.0)])
        assert await node._lifecycle.defined_instances.define([beaten]) == {}
        await node.heartbeat("a")
        await node.set_maintenance("a", "new disk")
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        again = registration(node, "a", checks=[Check(ttl=60.0)])
        disk.is_full = True
        assert list(await node._lifecycle.defined_instances.define([again])) == ["a"]
        assert list(await node._lifecycle.defined_instances.define([])) == ["a"]
        with pytest.raises(StorageError):
            await node.register("orders", id="a", port=80, checks=[Check(ttl=60.0)])
        assert node.lookup("orders", healthy=False) == ()
        disk.is_full = False
        assert await node._lifecycle.defined_instances.define([again]) == {}
        [shown] = node.lookup("orders", healthy=False)
        assert (shown.health, shown.reason) == (Health.MAINTENANCE, "new disk")
        [report] = node.checks("a")
        assert (report.health, report.runs) == (Health.PASSING, 0), "its heartbeat from before the restart counts"


async def test_no_member_hears_of_what_is_not_on_disk_yet(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node, trio.open_nursery() as nursery:
        await node.register("orders", id="old", port=80)
        disk.hold()
        nursery.start_soon(partial(node.register, "orders", id="new", port=80))
        await disk.writing.wait()
        assert [each.id for each in node.lookup("orders")] == ["old"]
        disk.let_go()
        await node.wait_for("orders", at_least=2)
        disk.hold()
        nursery.start_soon(node.deregister, "old")
        await disk.writing.wait()
        assert len(node.lookup("orders")) == 2
        disk.let_go()


async def test_what_the_engine_refuses_at_last_is_off_the_disk_again(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(config("ann", data_dir=tmp_path / "data")) as node:
        await node.register("pg", id="old", port=1, role=PRIMARY, term=2)
        await node.register("orders", id="beaten", port=1, checks=[Check(ttl=60.0)])
        await node.heartbeat("beaten")
        registrar_of(node).monitor.take_unkept()
        before = await registrar_of(node)._context.store.load()  # type: ignore[union-attr]
        monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 3)
        disk.hold()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:

                async def refused() -> None:
                    with pytest.raises(InvalidInstance, match="as many as are allowed"):
                        await node.register("pg", id="late", port=1, role=PRIMARY, term=7)

                nursery.start_soon(refused)
                await disk.writing.wait()
                monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 2)
                disk.let_go()
        assert node.next_term("pg") == 3
        assert [(each.id, each.role) for each in node.lookup("pg")] == [("old", PRIMARY)]
        after = after_a_crash(tmp_path / "data", tmp_path / "copy")
        assert (after.instances, after.terms) == (before.instances, before.terms)


async def test_what_cannot_be_written_back_is_logged(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", id="a", port=1)

        def refuse(*_: object) -> None:
            disk.is_full = True
            raise InvalidInstance(None, "no room")

        with monkeypatch.context() as patch:
            patch.setattr(Engine, "deregister_many", refuse)
            with pytest.raises(InvalidInstance, match="no room"):
                await node.deregister("a")
        disk.is_full = False
        assert [each.id for each in node.lookup("orders")] == ["a"]
    assert "what was refused of a may be registered at the next start: cannot use the data directory" in caplog.text


# Cancellation


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_change_that_is_cancelled_while_it_is_written_is_made_all_the_same(
    is_full: bool, tmp_path: Path, disk: Disk
) -> None:
    async with open_node(config("ann", data_dir=tmp_path / "data")) as node, trio.open_nursery() as nursery:
        await node.register("orders", id="old", port=80)
        wanted: list[Any] = [
            partial(node.deregister, "old"),
            partial(node.register, "orders", id="new", port=80),
            partial(node.register, "pg", id="claim", port=80, role=PRIMARY, term=3),
        ]
        for number, change in enumerate(wanted):
            disk.hold()
            disk.is_full = is_full and number > 0
            with contextlib.suppress(StorageError), trio.fail_after(PATIENCE), trio.CancelScope() as scope:
                nursery.start_soon(disk.cancel_then_let_go, scope)
                await change()
            disk.is_full = False
        offered = {each.id for name in node.services() for each in node.lookup(name)}
        assert offered == (set() if is_full else {"new", "claim"})
        assert node.next_term("pg") == (1 if is_full else 4)
        assert set(registrar_of(node).registrations) == offered
        assert set(after_a_crash(tmp_path / "data", tmp_path / "copy").instances) == offered
        assert not len(registrar_of(node)._locks)


async def test_one_that_is_cancelled_before_its_turn_changes_nothing(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("pg", id="a", port=80, role=PRIMARY, term=1)
        disk.hold()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.set_maintenance, "a", "new disk")
                await disk.writing.wait()
                for waits in (
                    partial(node.deregister, "a"),  # for the id
                    partial(node.register, "pg", id="b", port=80, role=PRIMARY, term=5),  # for the lock of terms
                ):
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as waiting:
                            waiting.start_soon(waits)
                            await trio.testing.wait_all_tasks_blocked()
                            scope.cancel()
                disk.let_go()
        assert [each.id for each in node.lookup("pg", healthy=False)] == ["a"]
        assert node.next_term("pg") == 2
        assert not len(registrar_of(node)._locks)


# Terms


async def test_a_registration_that_is_written_beside_a_reset_does_not_bring_the_old_term_back(
    tmp_path: Path, disk: Disk
) -> None:
    async with open_node(config("ann", data_dir=tmp_path / "data")) as node:
        await node.register("pg", id="a", port=1, role=PRIMARY, term=2)
        await node.register("pg", id="b", port=1, role=PRIMARY, term=900)
        await node.deregister("b")
        changes: list[Any] = [
            partial(node.register, "pg", id="a", port=2, role=PRIMARY, term=2),
            partial(node.deregister, "a"),
        ]
        for number, change in enumerate(changes):
            disk.hold()
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(node.reset_term, "pg")
                    await disk.writing.wait()
                    nursery.start_soon(change)
                    await trio.testing.wait_all_tasks_blocked()
                    disk.let_go()
            saved = after_a_crash(tmp_path / "data", tmp_path / f"copy-{number}")
            register = unpack_term("pg", saved.terms["pg"])
            assert (register.writer, register.seen) == ("ann", 2)


async def test_what_a_claim_raises_is_found_once_it_is_its_turn(tmp_path: Path, disk: Disk) -> None:
    # Computed before the wait it is of the old epoch: written over the reset, and lost in a crash.
    async with open_node(config("ann", data_dir=tmp_path / "data")) as node:
        await node.register("pg", id="b", port=1, role=PRIMARY, term=900)
        await node.deregister("b")
        disk.hold()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.reset_term, "pg")
                await disk.writing.wait()
                nursery.start_soon(partial(node.register, "pg", id="a", port=1, role=PRIMARY, term=901))
                await trio.testing.wait_all_tasks_blocked()
                disk.let_go()
        [(_, terms)] = [write for write in disk.writes if "a" in write[0]]
        assert terms["pg"] is not None
        register = unpack_term("pg", terms["pg"])
        assert (register.writer, register.claimed) == ("ann", 901)


# What is written and published


async def test_what_changes_nothing_is_not_written(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        for _ in range(3):
            await node.register("orders", id="a", port=80, checks=[Check(ttl=60.0)])
            await node.set_maintenance("a", None)
        assert len(disk.writes) == 1
        index = node.index("orders")
        await node.register("orders", id="a", port=81, checks=[Check(ttl=60.0)])
        assert (len(disk.writes), node.index("orders")) == (2, index + 1)


async def test_many_are_one_write_and_one_refresh_of_their_service(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        index = node.index("orders")
        shown = await registrar_of(node).register_many([registration(node, f"o-{n}") for n in range(50)])
        assert shown == tuple(sorted(node.lookup("orders"), key=lambda each: int(each.id[2:])))
        assert (len(disk.writes), node.index("orders")) == (1, index + 1)


async def test_of_many_none_is_registered_if_one_cannot_be_and_the_error_has_its_place(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        registrar = registrar_of(node)
        good = [registration(node, f"o-{n}") for n in range(3)]
        for bad, sentence in (
            (registration(node, "o-1"), r"^\[3\].id: 'o-1' is that of \[1\] too"),
            (registration(node, "x", checks=[{"http": "http://192.0.2.1/"}]), r"^\[3\].checks\[0\].http: "),
            (registration(node, "x", service="pg", role=PRIMARY, term=TOO_HIGH), r"^\[3\].term: "),
            (registration(node, "x", meta={"a": "x" * limits.RECORD_BYTES_MAX}), r"^\[3\]: instance 'x': its record"),
        ):
            with pytest.raises(InvalidInstance, match=sentence):
                await registrar.register_many([*good, bad])
        with monkeypatch.context() as patch:
            patch.setattr(limits, "RECORDS_PER_OWNER_MAX", 2)
            with pytest.raises(InvalidInstance, match=r"^\[2\]: instance 'o-2': this node offers 2 instances already"):
                await registrar.register_many(good)
        with monkeypatch.context() as patch:
            patch.setattr(limits, "RECORDS_BYTES_PER_OWNER_MAX", 2 * len(good[0].payload))
            with pytest.raises(InvalidInstance, match=r"^\[2\]: instance 'o-2': with it the records"):
                await registrar.register_many(good)
        with monkeypatch.context() as patch:
            patch.setattr(limits, "TERMS_MAX", 2)
            claims = [registration(node, f"c-{n}", service=f"s-{n}", role=PRIMARY, term=1) for n in range(3)]
            with pytest.raises(InvalidInstance, match=r"^\[2\].term: 2 services have terms already"):
                await registrar.register_many(claims)
        with monkeypatch.context() as patch:
            patch.setattr(limits, "CHECKS_PER_NODE_MAX", 2)
            with pytest.raises(InvalidInstance, match=r"^checks: this node would run 3, 2 are allowed"):
                await registrar.register_many([registration(node, f"o-{n}", checks=[Check(ttl=9)]) for n in range(3)])
        disk.is_full = True
        with pytest.raises(StorageError):
            await registrar.register_many(good)
        assert (node.services(), registrar.registrations, disk.writes) == ({}, {}, [])


async def test_two_requests_for_many_of_the_same_ids_do_not_wait_for_each_other(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        ids = [f"o-{n}" for n in range(9)]
        disk.hold()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(node.register, "orders", id="o-4", port=1))
                await disk.writing.wait()
                for order, port in ((ids, 2), (ids[::-1], 3)):
                    many = [registration(node, id_, port=port) for id_ in order]
                    nursery.start_soon(registrar_of(node).register_many, many)
                await trio.testing.wait_all_tasks_blocked()
                disk.let_go()
        [port] = {each.port for each in node.lookup("orders")}
        assert (port in (2, 3), [each.id for each in node.lookup("orders")]) == (True, ids)
        assert not len(registrar_of(node)._locks)


async def test_an_instance_is_found_in_its_service_without_a_look_at_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_node(config("ann")) as ann, open_node(config("bob", ann)) as bob:
        for node in (ann, bob):
            await registrar_of(node).register_many([registration(node, f"o-{n}") for n in range(100)])
        await ann.wait_for("orders", at_least=200)
        found = ann._engine.view.service("orders")
        assert [found.find(each.id, each.owner) for each in found.instances] == list(found.instances)
        assert [found.find(id_, owner) for id_ in ("o-1", "z") for owner in ("", "anna", "z")] == [None] * 6
        assert registrar_of(ann).shown(ann.own("o-7") or found.instances[0]).owner == "ann"


# What files and checks change meanwhile


async def test_what_was_registered_otherwise_meanwhile_is_not_withdrawn_with_its_file(
    tmp_path: Path, disk: Disk
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        define = node._lifecycle.defined_instances.define
        await define([registration(node, "a"), registration(node, "b")])
        disk.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(node.register, "orders", port=80, id="a"))
            await disk.writing.wait()
            nursery.start_soon(define, [])
            await trio.testing.wait_all_tasks_blocked()
            disk.let_go()
        assert [each.id for each in node.lookup("orders")] == ["a"]


async def test_of_what_files_define_each_is_judged_by_itself(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        define = node._lifecycle.defined_instances.define
        bad = registration(node, "bad", service="pg", role=PRIMARY, term=TOO_HIGH)
        failed = await define([registration(node, "a"), bad, registration(node, "z")])
        assert [str(error) for error in failed.values()] == [str(failed["bad"])]
        assert str(failed["bad"]).startswith(f"term: {TOO_HIGH} is too high")
        assert [each.id for each in node.lookup("orders")] == ["a", "z"]


async def test_an_instance_whose_check_has_recovered_meanwhile_is_not_withdrawn() -> None:
    async with open_node(config("ann")) as node:
        await node.register("orders", port=80, id="a", checks=[{"ttl": 60.0}])
        await node.heartbeat("a")
        await registrar_of(node).health.withdraw_critical("a", "ttl")
        assert [each.id for each in node.lookup("orders")] == ["a"]
        await node.heartbeat("a", health=Health.CRITICAL)
        await registrar_of(node).health.withdraw_critical("a", "ttl")
        assert node.lookup("orders", healthy=False) == ()


# After a restart


@pytest.fixture
async def saved(tmp_path: Path) -> Path:
    """The data directory of a node that has registered three instances."""
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await registrar_of(node).register_many([registration(node, each) for each in ("a", "b", "c")])
    return tmp_path


async def test_what_was_saved_is_registered_again_together(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    register_many = Engine.register_many

    def counted(engine: Engine, instances: Any, now: float) -> Any:
        counts.append(len(instances))
        return register_many(engine, instances, now)

    monkeypatch.setattr(Engine, "register_many", counted)
    async with open_node(config("ann", data_dir=saved)) as node:
        assert [each.id for each in node.lookup("orders")] == ["a", "b", "c"]
    assert counts == [3]


async def test_a_mistake_of_ours_in_one_row_is_logged_and_its_row_stays(
    saved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    offer = Registrar.publish

    def broken(registrar: Registrar, prepared: Any) -> None:
        assert "b" not in prepared, "a bug"
        offer(registrar, prepared)

    with monkeypatch.context() as patch:
        patch.setattr(Registrar, "publish", broken)
        async with open_node(config("ann", data_dir=saved)) as node:
            assert [each.id for each in node.lookup("orders")] == ["a", "c"]
    assert "registering instance b again failed, by a bug in gossipreg" in caplog.text
    async with open_node(config("ann", data_dir=saved)) as node:
        assert [each.id for each in node.lookup("orders")] == ["a", "b", "c"]


async def test_a_broken_invariant_of_the_engine_ends_the_start(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("an invariant")

    monkeypatch.setattr(Registry, "offer", broken)
    with pytest.raises(ExceptionGroup) as raised:
        async with open_node(config("ann", data_dir=saved)):
            pass
    assert raised.group_contains(AssertionError, match="an invariant")
    monkeypatch.undo()
    with closing(StateStore.open(saved)) as store:
        assert set(store.load().instances) == {"a", "b", "c"}
