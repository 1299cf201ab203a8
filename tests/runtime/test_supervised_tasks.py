"""An exception in any one task of a node is counted, and the node runs on."""

from __future__ import annotations

import base64
import logging
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import attrs
import pytest
import trio

from gossipreg import Check, Node, WeightOverride, open_node
from gossipreg.cli import run_agent
from gossipreg.protocol.inbound import HalfChanged, Inbound
from gossipreg.protocol.membership.probe import Ping, Prober
from gossipreg.protocol.registry.credentials import CredentialKeyring
from gossipreg.protocol.wire.packets import ChecksummedPackets
from gossipreg.protocol.wire.reader import Reader
from gossipreg.protocol.wire.streams import StreamCodec
from gossipreg.runtime import advertised_address, state_writer
from gossipreg.runtime.advertised_address import AdvertisedAddress
from gossipreg.runtime.diagnostics import PrimaryConflicts
from gossipreg.runtime.joining import JoinReport, Seeds
from gossipreg.runtime.policy_writer import PolicyWriter
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.snapshot_file import SnapshotFile
from gossipreg.runtime.state_store import AsyncStateStore
from gossipreg.runtime.state_writer import StateWriter
from gossipreg.runtime.streams import Streams
from tests.protocol.making import packet
from tests.runtime.nodes import PATIENCE, config

Patch = pytest.MonkeyPatch


def fail(*_: Any, **__: Any) -> NoReturn:
    raise ZeroDivisionError("unforeseen")


async def fail_late(*_: Any, **__: Any) -> NoReturn:
    await trio.lowlevel.checkpoint()
    fail()


async def counted(node: Node) -> None:
    """Wait until a mistake was counted, and see that the node goes on."""
    with trio.fail_after(PATIENCE):
        while not node.counters["tasks_failed"]:  # noqa: ASYNC110 - a counter is no event
            await trio.sleep(0.005)
        await node.register("alive", port=1, id="alive")
        assert [each.id for each in node.lookup("alive")] == ["alive"]
    assert not node.is_closed


@attrs.frozen
class Fault:
    """A mistake that is planted in one task, and what has that task run."""

    where: Any
    method: str
    do: Callable[[Node], Any] | None = None
    fails: Callable[..., Any] = fail
    options: dict[str, Any] = attrs.field(factory=dict)


async def register_primary(node: Node) -> None:
    await node.register("pg", port=1, id="pg-1", role="primary", term=1)


async def beat(node: Node) -> None:
    await node.register("web", port=1, id="web", checks=[Check(ttl=60.0)])
    await node.heartbeat("web")


async def set_policy(node: Node) -> None:
    await node.set_policy(WeightOverride("web", "web-1", 3))


async def expire(node: Node) -> None:
    await node.register("web", port=1, id="web", checks=[Check(ttl=60.0)])  # critical until the first heartbeat
    node._lifecycle.registrar.health._expired("web", "ttl")


FAULTS = {
    "look for seeds": Fault(Seeds, "resolve", fails=fail_late),
    "join report": Fault(JoinReport, "run", fails=fail_late),
    "outgoing stream": Fault(Streams, "_connected", fails=fail_late),
    "spoken stream": Fault(StreamCodec, "hello"),
    "frames": Fault(StreamCodec, "feed"),
    "packets": Fault(ChecksummedPackets, "decode"),
    "news": Fault(PrimaryConflicts, "warn", register_primary),
    "own address": Fault(AdvertisedAddress, "run", fails=fail_late),
    "snapshot": Fault(SnapshotFile, "_note", fails=fail_late),
    "note of peers": Fault(AsyncStateStore, "set_peers", fails=fail_late),
    "note of ttl checks": Fault(AsyncStateStore, "put_checks", beat, fails=fail_late),
    "note of policies": Fault(PolicyWriter, "_store_policy", set_policy, fails=fail_late),
    "withdrawal": Fault(Registrar, "withdraw", expire, fails=fail_late),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_node_outlives_a_mistake_in_a_task(
    fault: Fault, tmp_path: Path, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_writer, "_PEERS_INTERVAL", 0.01)
    caplog.set_level(logging.CRITICAL)
    options = {"data_dir": tmp_path / "data", "snapshot": tmp_path / "snapshot"}
    async with open_node(config("seed")) as seed:
        with monkeypatch.context() as patch:
            patch.setattr(fault.where, fault.method, fault.fails)
            async with open_node(config("ann", seed, **options)) as node:
                if fault.do is not None:
                    await fault.do(node)
                await counted(node)
                patch.undo()  # so that it can leave in good order
        assert not seed.is_closed


async def test_a_node_outlives_a_mistake_in_its_note_of_the_identity(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(state_writer, "_PEERS_INTERVAL", 0.01)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        monkeypatch.setattr(StateWriter, "store_identity", fail_late)
        await counted(node)


async def test_a_node_outlives_a_mistake_in_its_look_at_its_address(monkeypatch: Patch) -> None:
    monkeypatch.setattr(advertised_address, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(AdvertisedAddress, "look", fail_late)
    monkeypatch.setattr("ipaddress.IPv4Address.is_loopback", property(lambda _: False))
    async with open_node(config("ann", insecure=True)) as node:
        await counted(node)


async def test_a_node_outlives_a_mistake_in_renewing_credentials(tmp_path: Path, monkeypatch: Patch) -> None:
    options = {"data_dir": tmp_path, "credential_key": base64.b64encode(bytes(32)).decode()}
    async with open_node(config("ann", **options)) as node:
        for id_ in ("one", "two"):
            await node.register("pg", port=1, id=id_, credentials={"user": "app"})
    tried = []

    def supersedes(_: CredentialKeyring, instance: Any) -> bool:
        tried.append(instance.id)
        return True

    monkeypatch.setattr(CredentialKeyring, "supersedes", supersedes)
    monkeypatch.setattr(CredentialKeyring, "open", fail)
    async with open_node(config("ann", **options)) as node:
        await counted(node)
        assert sorted(tried) == ["one", "two"], "one that cannot be renewed keeps no other from it"


async def test_one_policy_that_cannot_be_noted_keeps_no_other_from_it(tmp_path: Path, monkeypatch: Patch) -> None:
    noted = []

    async def store_policy(writer: PolicyWriter, key: str) -> None:
        await trio.lowlevel.checkpoint()
        noted.append(key)
        if key.endswith("web-1"):
            fail()

    monkeypatch.setattr(PolicyWriter, "_store_policy", store_policy)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        async with trio.open_nursery() as nursery:
            for number in (1, 2):
                nursery.start_soon(node.set_policy, WeightOverride("web", f"web-{number}", 3))
        await counted(node)
        with trio.fail_after(PATIENCE):
            while len(set(noted)) < 2:  # noqa: ASYNC110
                await trio.sleep(0.005)


async def test_a_node_outlives_a_mistake_at_sighup() -> None:
    node = SimpleNamespace(counters=Counter[str]())
    reloaded = trio.Event()

    async def reload() -> None:
        await trio.lowlevel.checkpoint()
        reloaded.set()
        fail()

    async def signals() -> AsyncIterator[int]:
        yield signal.SIGHUP
        with trio.fail_after(PATIENCE):
            await reloaded.wait()
        await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        await run_agent._handle_signals(node, signals(), trio.Event(), reload, nursery)  # type: ignore[arg-type]
    assert node.counters["tasks_failed"] == 1


# Only the engine's own invariants end a node


def broken(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("an invariant")


async def test_an_invariant_of_the_engine_that_does_not_hold_ends_the_node_whichever_task_finds_it(
    monkeypatch: Patch,
) -> None:
    codec = StreamCodec("default", None, bytes(16), opened_by_us=True)
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="an invariant"), flatten_subgroups=True):
        async with open_node(config("ann")) as node, await trio.open_tcp_stream(*node.address) as stream:
            await stream.send_all(codec.hello())
            codec.feed(await stream.receive_some())
            monkeypatch.setattr(Inbound, "read", broken)
            await stream.send_all(codec.frame(b"frame"))
            with trio.fail_after(PATIENCE):
                await node.wait_closed()


@pytest.mark.parametrize("over_stream", [False, True])
async def test_a_bug_that_a_peer_brings_up_is_logged_and_contained_before_anything_has_changed(
    over_stream: bool, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Reader, "read", fail)
    async with open_node(config("ann")) as node:
        await sent(node, over_stream=over_stream)
        with trio.fail_after(PATIENCE):
            while not node.counters["messages_failed"]:  # noqa: ASYNC110 - a counter is no event
                await trio.sleep(0.005)
        await node.register("alive", port=1, id="alive")
        assert not node.is_closed
    assert "is left out, by a bug in gossipreg; nothing has changed" in caplog.text
    assert not node.counters["tasks_failed"]


@pytest.mark.parametrize("over_stream", [False, True])
async def test_a_bug_that_a_peer_brings_up_ends_the_node_once_something_has_changed(
    over_stream: bool, monkeypatch: Patch
) -> None:
    def half(self: Inbound, *_: Any) -> NoReturn:
        self.state.begin_change()
        fail()

    monkeypatch.setattr(Inbound, "_dispatch", half)
    with pytest.RaisesGroup(pytest.RaisesExc(HalfChanged, match="handled in part"), flatten_subgroups=True):
        async with open_node(config("ann")) as node:
            await sent(node, over_stream=over_stream)
            with trio.fail_after(PATIENCE):
                await node.wait_closed()


async def test_a_bug_in_a_timer_ends_the_node(monkeypatch: Patch) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError), flatten_subgroups=True):
        async with open_node(config("ann")) as node:
            monkeypatch.setattr(Prober, "handle_timeout", fail)
            with trio.fail_after(PATIENCE):
                await node.wait_closed()


async def sent(node: Node, *, over_stream: bool) -> None:
    """Send a node a ping of a stranger, in clear."""
    data = packet(77, Ping(1, 0, 1))
    if over_stream:
        codec = StreamCodec("default", None, bytes(16), opened_by_us=True)
        async with await trio.open_tcp_stream(*node.address) as stream:
            await stream.send_all(codec.hello())
            codec.feed(await stream.receive_some())
            await stream.send_all(codec.frame(data))
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(ChecksummedPackets("default").encode(data, time.time()), tuple(node.address))


async def test_an_assertion_outside_of_the_engine_ends_what_made_it(monkeypatch: Patch) -> None:
    monkeypatch.setattr(StreamCodec, "hello", broken)
    async with open_node(config("seed")) as seed, open_node(config("ann", seed)) as node:
        await counted(node)
