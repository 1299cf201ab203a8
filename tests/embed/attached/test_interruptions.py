"""Interruptions: what an attached node answers, and what becomes of its registrations, while its agent is away."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from gossipreg import AgentUnreachable, Instance, InstanceSpec, Snapshot
from gossipreg.embed.attached import link, open_requests
from gossipreg.embed.threads import BlockingNode, open_node
from tests.embed.attached.agents import agent, socket_file
from tests.embed.attached.test_attached_node import link_of, wait_until
from tests.runtime.nodes import PATIENCE


def is_stale(node: BlockingNode, service: str = "orders") -> list[bool]:
    return [each.stale for each in node.lookup(service)]


def break_stream(node: BlockingNode) -> None:
    """End the stream to the agent, as a network does."""
    stream = link_of(node)._stream
    assert stream is not None
    stream._socket.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(link, "_PAUSE_MAX", 0.05)


def test_a_restart_of_the_agent_is_survived_without_an_empty_answer(tmp_path: Path) -> None:
    """The other program of the host has its instance registered again, or it is gone; ours comes back by itself."""
    answers: list[tuple[Instance, ...]] = []
    ended = threading.Event()
    with agent(socket_file(tmp_path)) as first:
        other = open_node(first.config())
        mine = open_node(first.config())
        node, peer = mine.__enter__(), other.__enter__()
        try:
            peer.register("orders", port=1, id="theirs")
            node.register("shop", port=2, id="mine")
            node.wait_for("orders", timeout=PATIENCE)
            watch, events = node.watch("orders"), node.events()
            assert len(watch.get(PATIENCE).instances) == 1
            assert isinstance(events.get(PATIENCE)[0], Snapshot)

            def look() -> None:
                while not ended.is_set():
                    answers.append(node.lookup("orders"))
                    ended.wait(0.001)

            looking = threading.Thread(target=look)
            looking.start()
            before = node.index("orders")
            first.cut()
            wait_until(lambda: is_stale(node) == [True])
            assert node.isolated
            assert node.reachable == 0.0
            assert node.index("orders") > before
            assert node.pick("orders").id == "theirs"
        except BaseException:
            ended.set()
            raise
    with agent(socket_file(tmp_path)) as second:
        wait_until(lambda: is_stale(node) == [False])
        wait_until(lambda: [each.id for each in second.node.lookup("shop")] == ["mine"])
        ended.set()
        looking.join(PATIENCE)
        assert min(map(len, answers)) == 1, "no answer was empty"
        assert link_of(node).reconnects >= 1
        with pytest.raises(TimeoutError):
            watch.get(0.5)  # nothing has changed for a watcher
        second.do(second.node.register_spec, InstanceSpec(service="orders", port=3, id="new"))
        assert [each.id for each in watch.get(PATIENCE).added] == ["new"]
        mine.__exit__(None, None, None)
        other.__exit__(None, None, None)


def test_what_is_gone_after_a_restart_is_held_until_the_agent_has_settled(tmp_path: Path) -> None:
    with agent(socket_file(tmp_path)) as first:
        first.do(first.node.register_spec, InstanceSpec(service="orders", port=1))
        attached = open_node(first.config())
        node = attached.__enter__()
        watch = node.watch("orders")
        watch.get(PATIENCE)
        assert is_stale(node) == [False]
    with agent(socket_file(tmp_path)):
        wait_until(lambda: link_of(node).reconnects)
        assert is_stale(node) == [True]
        assert [each.port for each in watch.get(PATIENCE).removed] == [1]
        assert node.lookup("orders") == ()
        attached.__exit__(None, None, None)


def test_a_request_is_answered_by_the_agent_that_comes_back(tmp_path: Path) -> None:
    with agent(socket_file(tmp_path)) as first:
        attached = open_node(first.config())
        node = attached.__enter__()
        first.cut()
        wait_until(lambda: not link_of(node).is_connected)
        registering = threading.Thread(target=lambda: node.register("orders", port=80))
        registering.start()
    with agent(socket_file(tmp_path)) as second:
        registering.join(PATIENCE)
        assert second.node.lookup("orders")
        attached.__exit__(None, None, None)


def test_a_request_is_given_up_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_requests, "_AWAY_SECONDS", 0.1)
    with agent(socket_file(tmp_path)) as host, open_node(host.config()) as node:
        members = node.members()
        host.cut()
        wait_until(lambda: not link_of(node).is_connected)
        with pytest.raises(AgentUnreachable, match="no agent answers at unix:"):
            node.register("orders", port=80, timeout=PATIENCE)
        assert node.members() == members, "a read is answered as it was last"
        with pytest.raises(AgentUnreachable):
            node.policies()


def test_a_short_interruption_costs_no_snapshot(tmp_path: Path) -> None:
    """The agent is the same and the copy is current, so nothing of it is sent again."""
    with agent(socket_file(tmp_path)) as host, open_node(host.config()) as node:
        node.register("orders", port=80)
        first = node.lookup("orders")
        break_stream(node)
        wait_until(lambda: link_of(node).reconnects)
        wait_until(lambda: is_stale(node) == [False])
        wait_until(lambda: host.node.lookup("orders"))
        assert node.lookup("orders") == first


def test_with_a_grace_others_do_not_notice_an_interruption(tmp_path: Path) -> None:
    with agent(socket_file(tmp_path)) as host, open_node(host.config(grace=60)) as node:
        node.register("orders", port=80)
        seen: list[int] = []

        async def watch() -> None:
            async for change in host.node.watch("orders"):
                seen.append(len(change.instances))
                if len(seen) > 1:
                    return

        watching = threading.Thread(target=lambda: host.do(watch), daemon=True)
        watching.start()
        wait_until(lambda: seen)
        for _ in range(2):
            before = link_of(node).reconnects
            break_stream(node)
            wait_until(lambda before=before: link_of(node).reconnects > before)  # type: ignore[misc]
        node.register("shop", port=81, timeout=PATIENCE)
        assert seen == [1]
        node.deregister("orders-agent-80")
        wait_until(lambda: seen == [1, 0])
