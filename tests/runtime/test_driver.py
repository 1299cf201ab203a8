"""The driver passes in all packets before timers run, reports how late it is, and performs the outputs."""

from __future__ import annotations

import logging
import math
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg.errors import GossipregError, NameConflict
from gossipreg.model import PRIMARY, Address, Instance, Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import (
    CloseStream,
    InstancesChanged,
    IsolationChanged,
    MemberChanged,
    NameConflicted,
    NameConflictFound,
    OpenStream,
    Output,
    SeekSeeds,
    SendFrame,
    Transmit,
)
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.wire.packets import ChecksummedPackets
from gossipreg.runtime import datagrams as datagrams_module
from gossipreg.runtime import driver as driver_module
from gossipreg.runtime.change_log import ChangeLog
from gossipreg.runtime.datagrams import Datagrams
from gossipreg.runtime.driver import Driver
from gossipreg.runtime.joining import Seeds
from gossipreg.settings import Settings

ANN = MemberUpdate("ann", 1, 0, Status.ALIVE, Address("10.0.0.1", 7940))


@attrs.frozen
class FakeIdentity:
    name: str
    address: Address


@attrs.define(eq=False)
class FakeEngine:
    """Notes what it is told, in order, and returns what it is to return."""

    address: Address
    heard: trio.MemorySendChannel[tuple[Any, ...]]
    due: float = math.inf
    dirty: bool = False
    settings: Settings = attrs.field(factory=Settings)
    view: View = attrs.field(factory=lambda: View(0))
    counters: Counter[str] = attrs.field(factory=Counter)
    returns: dict[str, list[Output]] = attrs.field(factory=dict)

    @property
    def identity(self) -> FakeIdentity:
        return FakeIdentity("me", self.address)

    def deadline(self) -> float:
        return self.due

    def set_wall_clock(self, ms: float, now: float) -> None:
        """What the wall clock shows is no matter of the driver's."""

    def wants_timeout(self, now: float) -> bool:
        return self.dirty or self.due <= now

    def receive(self, data: bytes, source: Address, now: float) -> list[Output]:
        return self._note("receive", data)

    def handle_timeout(self, now: float, *, late: float) -> list[Output]:
        self.due, self.dirty = math.inf, False
        return self._note("wake", late)

    def seeds(self, addresses: Sequence[Address], now: float) -> list[Output]:
        return self._note("seeds", list(addresses))

    def stream_frame(self, stream: int, frame: bytes, source: Address, now: float) -> list[Output]:
        return self._note("frame", stream > 0, frame)

    def stream_ended(self, stream: int, now: float, *, refused: bool) -> list[Output]:
        return self._note("ended", stream > 0, refused)

    def _note(self, verb: str, *what: Any) -> list[Output]:
        self.heard.send_nowait((verb, *what))
        return self.returns.pop(verb, [])


@attrs.define(eq=False)
class Rig:
    """A driver on a fake engine, with a real socket, and one to speak to it."""

    driver: Driver
    engine: FakeEngine
    events: trio.MemoryReceiveChannel[tuple[Any, ...]]
    other: socket.socket
    failures: list[GossipregError] = attrs.field(factory=list)

    async def heard(self) -> tuple[Any, ...]:
        with trio.fail_after(60):
            return await self.events.receive()

    def send(self, payload: bytes) -> None:
        """Have a packet arrive."""
        self.other.sendto(ChecksummedPackets("shop").encode(payload, 0.0), self.engine.address)


@pytest.fixture
async def rig(nursery: trio.Nursery) -> AsyncIterator[Rig]:
    """A driver that does not run yet."""
    tell, events = trio.open_memory_channel[tuple[Any, ...]](1000)
    with socket.socket(type=socket.SOCK_DGRAM) as own, socket.socket(type=socket.SOCK_DGRAM) as other:
        for each in (own, other):
            each.setblocking(False)
            each.bind(("127.0.0.1", 0))
        engine = FakeEngine(Address(*own.getsockname()), tell)
        as_engine: Any = engine
        datagrams = Datagrams(own, ChecksummedPackets("shop"), engine.counters)
        driver = Driver(as_engine, datagrams, Seeds(("10.0.0.9:1",)), ChangeLog(), "shop", None, nursery)
        made = Rig(driver, engine, events, other)
        driver.on_failure = made.failures.append
        yield made
        nursery.cancel_scope.cancel()


async def test_all_that_can_be_read_is_handed_in_before_anything_that_is_due(rig: Rig, nursery: trio.Nursery) -> None:
    rig.send(b"one")
    rig.send(b"two")
    rig.engine.due = -math.inf
    nursery.start_soon(rig.driver.run)
    assert [await rig.heard() for _ in range(2)] == [("receive", b"one"), ("receive", b"two")]
    assert (await rig.heard())[0] == "wake"


async def test_what_came_behind_a_flood_is_handed_in_before_anything_that_is_due(
    rig: Rig, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams_module, "_BATCH_SECONDS", 0.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    for _ in range(5 * datagrams_module._STRIDE):
        rig.other.sendto(b"junk", rig.engine.address)
    rig.send(b"an ack")
    rig.engine.due = -math.inf
    nursery.start_soon(other)
    nursery.start_soon(rig.driver.run)
    assert await rig.heard() == ("receive", b"an ack")
    assert turns >= 3  # of five batches
    assert (await rig.heard())[0] == "wake"


async def test_a_flood_that_does_not_end_holds_up_nothing_that_is_due(
    rig: Rig, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams_module, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(driver_module, "_BATCHES_MAX", 2)  # of each of the two turns that may run at once
    for _ in range(5 * datagrams_module._STRIDE):
        rig.other.sendto(b"junk", rig.engine.address)
    rig.send(b"too late")
    rig.engine.due = -math.inf
    nursery.start_soon(rig.driver.run)
    assert (await rig.heard())[0] == "wake"


async def test_the_engine_is_told_how_late_it_is_woken(rig: Rig, nursery: trio.Nursery) -> None:
    rig.engine.due = trio.current_time() - 3
    nursery.start_soon(rig.driver.run)
    verb, late = await rig.heard()
    assert (verb, late) == ("wake", pytest.approx(3, abs=1))


async def test_a_packet_that_comes_early_makes_no_timeout_late(rig: Rig, nursery: trio.Nursery) -> None:
    nursery.start_soon(rig.driver.run)
    rig.engine.due = math.inf
    await trio.testing.wait_all_tasks_blocked()
    rig.engine.dirty = True
    rig.send(b"early")
    assert [await rig.heard(), await rig.heard()] == [("receive", b"early"), ("wake", 0.0)]


async def test_the_engine_is_woken_when_something_is_due(rig: Rig, nursery: trio.Nursery) -> None:
    rig.engine.due = trio.current_time() + 0.01
    nursery.start_soon(rig.driver.run)
    assert (await rig.heard())[0] == "wake"
    assert rig.engine.due <= trio.current_time() or rig.engine.due == math.inf


async def test_what_a_user_does_wakes_the_engine_at_once(rig: Rig, nursery: trio.Nursery) -> None:
    nursery.start_soon(rig.driver.run)
    await trio.testing.wait_all_tasks_blocked()
    rig.engine.dirty = True
    rig.driver.say([])
    assert (await rig.heard())[0] == "wake"


async def test_what_a_user_does_wakes_nothing_before_something_is_due(rig: Rig, nursery: trio.Nursery) -> None:
    """Each wake-up costs a node as much as a packet does."""
    nursery.start_soon(rig.driver.run)
    await trio.testing.wait_all_tasks_blocked()
    turns = 0

    class Turns(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal turns
            turns += task.name.endswith("_keep_time")

    trio.lowlevel.add_instrument(Turns())
    rig.engine.due = trio.current_time() + 3600
    rig.driver.say([])
    await trio.testing.wait_all_tasks_blocked()
    assert not turns
    rig.engine.due = trio.current_time() + 0.01  # sooner than the next timer was
    rig.driver.say([])
    assert (await rig.heard())[0] == "wake"


async def test_the_engine_is_not_woken_when_nothing_is_due(rig: Rig, nursery: trio.Nursery) -> None:
    nursery.start_soon(rig.driver.run)
    await trio.testing.wait_all_tasks_blocked()
    rig.send(b"one")
    assert await rig.heard() == ("receive", b"one")
    rig.send(b"two")
    assert await rig.heard() == ("receive", b"two")


async def test_packets_are_sent_sealed(rig: Rig) -> None:
    to = Address(*rig.other.getsockname())
    rig.driver.perform([Transmit(b"hello", to)])
    await trio.lowlevel.wait_readable(rig.other)
    assert ChecksummedPackets("shop").decode(rig.other.recv(100), 0.0) == b"hello"


async def test_streams_are_opened_spoken_on_and_closed(rig: Rig, nursery: trio.Nursery) -> None:
    with socket.socket() as listener:
        listener.setblocking(False)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        rig.engine.returns["frame"] = [SendFrame(-1, b"answer")]
        nursery.start_soon(rig.driver.serve, listener)
        rig.driver.perform([OpenStream(1, Address(*listener.getsockname()), b"question", 5.0)])
        assert await rig.heard() == ("frame", False, b"question")
        rig.engine.returns["frame"] = [CloseStream(1)]
        assert await rig.heard() == ("frame", True, b"answer")
        ends = {await rig.heard(), await rig.heard()}
        assert ends == {("ended", True, False), ("ended", False, False)}


async def test_seeds_are_looked_up_when_they_are_sought(rig: Rig) -> None:
    rig.driver.perform([SeekSeeds()])
    assert await rig.heard() == ("seeds", [Address("10.0.0.9", 1)])


async def test_what_changed_is_written_down_for_watchers(rig: Rig) -> None:
    failed = ANN.graver(Status.FAILED)
    rig.driver.perform([InstancesChanged(("orders", "stock")), MemberChanged(ANN, failed), MemberChanged(failed, None)])
    assert rig.driver.change_log.since(0) == [("service", "orders"), ("service", "stock"), ("member", "ann")]


async def test_two_that_claim_to_be_the_primary_are_in_the_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    both = tuple(
        Instance(id=f"i-{number}", service="orders", host="10.0.0.1", port=80, owner=f"m{number}", role=PRIMARY)
        for number in (1, 2)
    )
    rig.engine.view._services["orders"] = ServiceView.of(1, both)
    rig.driver.perform([InstancesChanged(("orders", "stock"))])
    assert [record.getMessage()[:49] for record in caplog.records] == [
        "2 instances of orders claim to be its primary: i-"
    ]


@pytest.mark.parametrize(
    ("before", "after", "level", "message"),
    [
        (None, ANN, logging.INFO, "member ann at 10.0.0.1:7940 is alive"),
        (ANN, ANN.graver(Status.SUSPECT), logging.WARNING, "member ann at 10.0.0.1:7940 is suspect"),
        (ANN, ANN.graver(Status.FAILED), logging.WARNING, "member ann at 10.0.0.1:7940 is failed"),
        (ANN, ANN.graver(Status.LEFT), logging.INFO, "member ann at 10.0.0.1:7940 is left"),
        (ANN.graver(Status.LEFT), None, logging.INFO, "member ann is forgotten"),
    ],
)
async def test_every_turn_of_a_member_is_logged(
    before: MemberUpdate | None,
    after: MemberUpdate | None,
    level: int,
    message: str,
    rig: Rig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rig.driver.perform([MemberChanged(before, after)])
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, message)]


async def test_a_refutation_that_changes_no_status_is_not_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig.driver.perform([MemberChanged(ANN, attrs.evolve(ANN, incarnation=1))])
    assert caplog.messages == []


async def test_isolation_is_logged_and_told_to_watchers(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        rig.driver.perform([IsolationChanged(isolated=True, silence=3.0)])
        assert not caplog.records, "a node that has not joined says why not"
        rig.driver.join_report.joined.set()
        rig.driver.perform([IsolationChanged(isolated=True, silence=4.04)])
        rig.driver.perform([IsolationChanged(isolated=False, silence=33)])
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "isolated: no member was heard for 4.0 s; answers of this node may be stale"),
        ("INFO", "no longer isolated: a member is heard again, after 33.0 s"),
    ]
    assert rig.driver.change_log.since(0) == [("node", "me")]
    assert rig.driver.change_log.position == 3


async def test_who_must_yield_its_name_fails_with_a_sentence(rig: Rig) -> None:
    rig.driver.perform([NameConflictFound(Address("10.0.0.2", 7940), yielding=True)])
    [failure] = rig.failures
    assert isinstance(failure, NameConflict)
    assert str(failure) == (
        "the name 'me' is held by the member at 10.0.0.2:7940, which is older: "
        "stop that one, or give this node another --name"
    )


async def test_who_runs_under_a_name_that_an_older_one_holds_says_so_and_goes_on(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        rig.driver.perform([NameConflicted(Address("10.0.0.2", 7940))])
        rig.driver.perform([NameConflicted(None)])
    assert rig.failures == []
    assert [(record.levelname, record.message.partition(";")[0]) for record in caplog.records] == [
        ("ERROR", "the name 'me' is held by the member at 10.0.0.2:7940, which is older"),
        ("WARNING", "the name 'me' is ours again: the other node that had it is gone"),
    ]


async def test_who_keeps_its_name_only_says_so_and_not_again_and_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        rig.driver.perform([NameConflictFound(Address("10.0.0.2", 7940), yielding=False)])
    assert rig.failures == []
    assert caplog.messages == ["another node at 10.0.0.2:7940 claims our name 'me'; it is told to stop"]
