"""Attached nodes: programs of every kind use the agent's node over one stream, with the same verbs."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio

import gossipreg
from gossipreg import (
    AgentUnreachable,
    Config,
    ConfigError,
    Health,
    InstanceSpec,
    InvalidInstance,
    MemberOnly,
    Node,
    NodeClosed,
    NoInstance,
    PreparedQuery,
    Snapshot,
    UnknownInstance,
    UnknownPolicy,
    WeightOverride,
    limits,
)
from gossipreg.attach import frames
from gossipreg.embed.asyncio import open_node as open_asyncio
from gossipreg.embed.attached import answers
from gossipreg.embed.attached.link import Link
from gossipreg.embed.attached.verbs import AttachedVerbs
from gossipreg.embed.threads import BlockingNode
from gossipreg.embed.threads import open_node as open_threads
from gossipreg.embed.trio_node import AttachedNode
from gossipreg.errors import AgentRefused, UnknownRegion
from gossipreg.events import InstanceEvent
from gossipreg.frontends.attach.verbs import VERBS
from gossipreg.frontends.serving.access import Access, Token, _digest_of
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.frontends.serving.tls import ServerTls
from gossipreg.model import Address, Instance
from gossipreg.regional import RegionalService
from tests.certificates import certificate
from tests.embed.attached.agents import Agent, agent, socket_file
from tests.runtime.nodes import PATIENCE


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Agent]:
    with agent(socket_file(tmp_path)) as running:
        yield running


@pytest.fixture
def node(host: Agent) -> Iterator[BlockingNode]:
    with open_threads(host.config()) as attached:
        yield attached


def link_of(node: BlockingNode) -> Link:
    """The connection of an attached node to its agent."""
    assert isinstance(node._node, AttachedVerbs)
    return node._node.link


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


# The same verbs


def public(kind: type) -> dict[str, object]:
    return {name: inspect.getdoc(getattr(kind, name)) for name in dir(kind) if not name.startswith("_")}


def test_an_attached_node_has_the_names_and_docstrings_of_a_member() -> None:
    assert public(AttachedNode) == public(Node)


@pytest.mark.parametrize("name", sorted(public(Node)))
def test_its_verbs_have_the_parameters_of_a_member(name: str) -> None:
    ours, theirs = inspect.getattr_static(AttachedVerbs, name), inspect.getattr_static(Node, name)
    assert type(ours) is type(theirs)
    if not isinstance(ours, property):
        assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


def test_what_the_agent_is_asked_are_verbs_of_a_node() -> None:
    assert VERBS.keys() <= public(Node).keys()


# Use


def test_a_threaded_program_registers_and_looks_up(host: Agent, node: BlockingNode) -> None:
    assert (node.name, node.cluster, node.reachable, node.isolated) == ("agent", "default", 1.0, False)
    assert node.address == host.node.address
    shown = node.register("orders", port=80, tags=["v2"], meta={"a": "b"})
    assert node.lookup("orders") == (shown,) == host.node.lookup("orders")
    assert node.pick("orders") == shown
    assert (node.own(shown.id), node.own_ids()) == (shown, (shown.id,))
    assert node.services()["orders"].healthy == 1
    assert [each.name for each in node.members()] == ["agent"]
    assert node.info().name == "agent"
    [report] = node.observer_reports()
    assert (report.name, report.observed, report.version) == ("agent", (), node.info().version)
    assert node.stated(shown) == shown
    assert node.note(shown) == ""
    assert node.next_term("orders") == 1
    assert node.terms() == ()
    assert node.counters["attach_streams"] == 1
    node.deregister(shown.id)
    assert node.lookup("orders") == ()
    with pytest.raises(NoInstance, match="is registered"):
        node.pick("orders")


def test_other_regions_are_those_of_the_agent(host: Agent, node: BlockingNode, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = node.register("orders", port=80)
    assert node.lookup("orders", region=node.region) == (mine,)
    assert [(each.name, each.own) for each in node.regions()] == [(host.node.region, True)]
    assert node.cells() == ()
    for asked in (node.lookup, node.pick, node.index, node.fetch, node.regional_service):
        with pytest.raises(UnknownRegion, match="follows no other"):
            asked("orders", region="eu")
    with pytest.raises(UnknownRegion):
        node.wait_changed("orders", 1, "eu")
    with pytest.raises(UnknownRegion):
        node.regional_events("orders", region="eu").get(PATIENCE)
    assert next(iter(node.regional_events("orders"))) == (Snapshot((), (mine,)),)

    there = Instance(id="far", service="orders", host="10.1.0.1", port=80, owner="beta", region="eu")
    held = RegionalService(
        service="orders", region="eu", index=3, instances=(there,), healthy=(there,), age=2.0, stale=False
    )
    monkeypatch.setattr(Node, "regional_service", lambda _self, _service, _region: held)
    monkeypatch.setattr(Node, "with_failover", lambda _self, _service, _failover, **_: (there,))
    assert node.regional_service("orders", "eu") == held
    assert node.lookup("orders", region="eu") == node.with_failover("orders", ["eu"]) == (there,)
    assert node.pick("orders", region="eu") == there
    with pytest.raises(NoInstance, match="in the region 'eu'"):
        node.pick("orders", tag="v9", region="eu")
    assert node.with_failover("orders", []) == (mine,)
    monkeypatch.setattr(answers, "READ_SECONDS", 0.05)
    host.cut()
    wait_until(lambda: not link_of(node).is_connected)
    assert [each.stale for each in node.lookup("orders", region="eu")] == [True]
    assert [each.stale for each in node.with_failover("orders", ["eu"])] == [True]
    with pytest.raises(AgentUnreachable):
        node.regional_service("orders", "eu")  # its age would be wrong


def test_checks_maintenance_and_policies(node: BlockingNode) -> None:
    node.register("orders", port=80, id="o", checks=[{"ttl": "30s"}])
    assert [each.health for each in node.checks()] == [Health.CRITICAL]
    node.heartbeat("o")
    assert [each.id for each in node.lookup("orders")] == ["o"]
    assert node.set_maintenance("o", "upgrade").reason == "upgrade"
    assert node.lookup("orders") == ()
    node.set_maintenance("o", None)
    query = PreparedQuery("8f246b77-f3e1-ff88-5b48-8ec93abf3e05", "orders", "near", tags=("v1",), node_meta={"a": "b"})
    assert node.set_policy(query).rule == query
    assert query in [each.rule for each in node.policies()]
    node.remove_policy(query.key)
    node.set_policy(WeightOverride("orders", "o", 7))
    assert node.pick("orders").weight == 7
    (policy,) = node.policies()
    node.remove_policy(policy.key)
    with pytest.raises(UnknownPolicy):
        node.remove_policy(policy.key)


def test_the_errors_are_those_of_a_member(node: BlockingNode) -> None:
    with pytest.raises(InvalidInstance, match=r"^port: 80000 is not"):
        node.register("orders", port=80000)
    with pytest.raises(InvalidInstance, match=r"^\[1\]\.port: "):
        node.register_many([InstanceSpec(service="a", port=1), InstanceSpec(service="b", port=-1)])
    with pytest.raises(UnknownInstance):
        node.deregister("nothing")
    with pytest.raises(InvalidInstance, match="call set_maintenance"):
        node.heartbeat("o", health=Health.MAINTENANCE)


@pytest.mark.parametrize(
    ("verb", "arguments"), [("drain", ()), ("undrain", ()), ("reread_keys", ()), ("join", ("10.0.0.1",))]
)
def test_what_is_for_a_member_says_so(node: BlockingNode, verb: str, arguments: tuple[str, ...]) -> None:
    with pytest.raises(MemberOnly, match=f"^{verb} is for a member"):
        getattr(node, verb)(*arguments)


def test_an_id_of_the_agent_itself_is_not_taken(host: Agent, node: BlockingNode) -> None:
    host.do(host.node.register_spec, InstanceSpec(service="orders", port=1, id="o"))
    with pytest.raises(InvalidInstance, match=r"^id: 'o' is registered at the agent itself"):
        node.register("orders", port=2, id="o")
    assert host.node.lookup("orders")[0].port == 1


def test_watches_tell_a_snapshot_then_differences(host: Agent, node: BlockingNode) -> None:
    watch, events = node.watch("orders"), node.events()
    assert (watch.get(PATIENCE).snapshot, type(events.get(PATIENCE)[0])) == (True, Snapshot)
    spec = InstanceSpec(service="orders", port=1, id="o")
    host.do(host.node.register_spec, spec)
    change = watch.get(PATIENCE)
    assert ([each.id for each in change.added], change.snapshot) == (["o"], False)
    assert events.get(PATIENCE) == (InstanceEvent("added", change.instances[0]),)
    index = node.index("orders")
    host.do(host.node.deregister, "o")
    assert watch.get(PATIENCE).removed == change.instances
    assert events.get(PATIENCE) == (InstanceEvent("removed", change.instances[0]),)
    node.wait_changed("orders", index, timeout=PATIENCE)
    assert node.index("orders") > index
    position = node.index()
    host.do(host.node.register_spec, spec)
    node.wait_changed(None, position, timeout=PATIENCE)
    assert node.wait_for("orders", timeout=PATIENCE) == host.node.lookup("orders")
    with pytest.raises(TimeoutError):
        node.wait_for("others", timeout=0.01)


def test_a_lookup_asks_once(host: Agent, node: BlockingNode) -> None:
    node.lookup("orders")
    asked = link_of(node)._number
    for _ in range(10):
        node.lookup("orders", tag="x")
    assert link_of(node)._number == asked


def test_beyond_the_room_for_copies_it_asks_each_time(
    host: Agent, node: BlockingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.register("orders", port=80)
    node.lookup("others")
    monkeypatch.setattr(gossipreg.limits, "ATTACH_FOLLOWS_MAX", 1)
    assert node.lookup("orders") == host.node.lookup("orders")
    assert node.pick("orders").port == 80
    assert len(link_of(node)._following) == 1


def test_what_it_registers_ends_with_it(host: Agent) -> None:
    with open_threads(host.config()) as node:
        node.register("orders", port=80)
        assert host.node.lookup("orders")
    assert not host.node.lookup("orders")
    with pytest.raises(NodeClosed):
        node.lookup("orders")
    assert [each.stale for each in node.lookup("orders", healthy=False, last_known=True)] in ([], [True])
    assert node.is_closed


def test_in_an_asyncio_program(host: Agent) -> None:
    async def main() -> None:
        async with open_asyncio(host.config()) as node:
            shown = await node.register("orders", port=80)
            assert node.lookup("orders") == (shown,)
            async for change in node.watch("orders"):
                assert change.instances == (shown,)
                break
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(node.wait_for("others"), 0.01)
            assert (await node.info()).name == "agent"
            assert not node._thread._unsettled
        with pytest.raises(NodeClosed):
            await node.register("orders", port=80)

    asyncio.run(main())
    assert not host.node.lookup("orders")


def test_in_a_trio_program(host: Agent) -> None:
    async def main() -> None:
        async with gossipreg.open_node(host.config()) as node:
            assert type(node).__name__ == "AttachedNode"
            shown = await node.register("orders", port=80)
            assert node.lookup("orders") == (shown,)
            with trio.fail_after(PATIENCE):
                async for change in node.watch("orders"):
                    assert change.instances == (shown,)
                    break
            with trio.move_on_after(0.01) as scope:
                await node.wait_for("others")
            assert scope.cancelled_caught
            assert node.info().name == "agent"
        assert node.is_closed

    trio.run(main)
    assert not host.node.lookup("orders")


def test_the_agents_pings_are_answered_by_the_programs_loop(host: Agent) -> None:
    """So a process whose loop is blocked does not answer. One without a loop answers from the node's thread."""

    async def is_answered_here(node: object, sleep: Callable[[float], Awaitable[None]]) -> bool:
        answered_in: list[int] = []
        run = link_of(node).run_in_program  # type: ignore[arg-type]
        assert run is not None
        asked = threading.Thread(target=lambda: run(lambda: answered_in.append(threading.get_ident())))
        asked.start()
        while not answered_in:
            await sleep(0.001)
        asked.join()
        return answered_in == [threading.get_ident()]

    async def in_asyncio() -> bool:
        async with open_asyncio(host.config()) as node:
            return await is_answered_here(node, asyncio.sleep)

    async def in_trio() -> bool:
        async with gossipreg.open_node(host.config()) as node:
            return await is_answered_here(node, trio.sleep)

    assert asyncio.run(in_asyncio())
    assert trio.run(in_trio)
    with open_threads(host.config()) as node:
        assert link_of(node).run_in_program is None


def test_a_fork_is_told_to_open_its_own(host: Agent, node: BlockingNode) -> None:
    node.register("orders", port=80)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            node.lookup("orders")
        except NodeClosed as error:
            os.write(writes, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"open one in each worker" in os.read(reads, 4096)
    os.close(reads)
    os.close(writes)
    assert node.lookup("orders"), "the parent's goes on"
    node.register("orders", port=81)


# Opening


def test_without_an_agent_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.embed.attached.link._OPEN_SECONDS", 0)
    with (
        pytest.raises(AgentUnreachable, match=r"no such file or directory: is one running there with --attach\?"),
        open_threads(Config(attach=f"unix:{tmp_path}/none")),
    ):
        pass


def test_what_is_no_agent_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame beyond the limit, one that is none, a hello of another version, and the end of the stream."""
    monkeypatch.setattr("gossipreg.embed.attached.link._OPEN_SECONDS", 0)
    size = limits.ATTACH_ANSWER_BYTES_MAX
    for place, said in enumerate(
        ((size + 1).to_bytes(4, "big"), b"HTTP/1.1 400 Bad", frames.pack([frames.HELLO, {"version": 2}]) * 2, b"")
    ):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{tmp_path}/{place}")
            listener.listen()
            thread = threading.Thread(target=answer_once, args=(listener, said))
            thread.start()
            with (
                pytest.raises(AgentUnreachable, match="is one running there"),
                open_threads(Config(attach=f"unix:{tmp_path}/{place}")),
            ):
                pass
            thread.join(PATIENCE)


def answer_once(listener: socket.socket, said: bytes) -> None:
    opened, _ = listener.accept()
    with opened:
        opened.sendall(said)
        opened.recv(4096)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("nowhere", "attach: cannot read the port of 'nowhere'"),
        ("unix:relative", "attach: cannot read 'unix:relative' as a socket file"),
        ("127.0.0.1:0", "attach: '127.0.0.1:0' cannot be called"),
        (7, "attach: 7 is not a string"),
    ],
)
def test_an_address_of_no_use_is_named(value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(attach=value)  # type: ignore[arg-type]
    assert str(caught.value).startswith(sentence)


def test_settings_of_no_use_are_named() -> None:
    for fields, sentence in (
        ({"grace": -1}, "attach.grace: -1.0 is not"),
        ({"patience": 0.5}, "attach.patience: 0.5 is less than 1, and not 0"),
        ({"token": "a b"}, "attach.token: "),
        ({"token": "a", "token_file": "b"}, "attach.token: token_file is given, too"),
        ({"tls_cert": "a", "tls_ca": "c"}, "attach.tls_cert: tls_cert is given without tls_key"),
    ):
        with pytest.raises(ConfigError) as caught:
            gossipreg.Attach("unix:/s", **fields)
        assert str(caught.value).startswith(sentence)


def test_a_token_is_shown_over_tcp_and_tls(tmp_path: Path) -> None:
    cert, key = certificate("127.0.0.1", tmp_path)
    access = Access((Token("app", _digest_of("t" * 16), frozenset({Scope.READ})),))
    token = tmp_path / "token"
    token.write_text("t" * 16 + "\n")
    with agent(Address("127.0.0.1", 0), access=access, tls=ServerTls(cert, key)) as host:
        with open_threads(host.config(tls_ca=cert, token_file=token)) as node:
            assert node.lookup("orders") == ()
            with pytest.raises(AgentRefused, match="is for read: this needs one that is for write"):
                node.register("orders", port=80)
        with pytest.raises(AgentRefused, match="asks for a token"), open_threads(host.config(tls_ca=cert)):
            pass


def test_the_agent_must_have_the_authoritys_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.embed.attached.link._OPEN_SECONDS", 0)
    (tmp_path / "other").mkdir()
    cert, key = certificate("127.0.0.1", tmp_path)
    other, _ = certificate("127.0.0.1", tmp_path / "other")
    with (
        agent(Address("127.0.0.1", 0), tls=ServerTls(cert, key)) as host,
        pytest.raises(AgentUnreachable, match="certificate"),
        open_threads(host.config(tls_ca=other)),
    ):
        pass
