"""The link to the agent, over streams that a test answers: what it says again, and to which agent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs
import pytest

from gossipreg.attach import frames
from gossipreg.attach.frames import FrameReader
from gossipreg.attach.values import default
from gossipreg.config import Attach
from gossipreg.embed.attached import agent_stream, open_requests
from gossipreg.embed.attached import link as link_module
from gossipreg.embed.attached.link import Link
from gossipreg.embed.attached.steps import Steps
from gossipreg.embed.attached.verbs import AttachedVerbs
from gossipreg.errors import AgentUnreachable
from gossipreg.model import Instance
from tests.embed.attached.test_attached_node import wait_until
from tests.runtime.nodes import PATIENCE

ORDERS = Instance(id="o", service="orders", host="10.0.0.1", port=80, owner="beta")


@attrs.define(eq=False)
class Stream:
    """One stream of the process, from the agent's side."""

    _socket: socket.socket
    _reader: FrameReader = attrs.field(init=False, factory=lambda: FrameReader(2**20))
    _received: list[list[Any]] = attrs.field(init=False, factory=list)

    def say(self, *frame: Any) -> None:
        self._socket.sendall(frames.pack(list(frame), default))

    def hear(self) -> list[Any]:
        while not self._received:
            data = self._socket.recv(65_536)
            assert data, "the stream goes on"
            self._received += self._reader.feed(data)
        return self._received.pop(0)

    def close(self) -> None:
        self._socket.close()


@attrs.define(eq=False)
class Agents:
    """The agents that listen at one place, one after another."""

    listener: socket.socket

    def accept(self, boot: bytes, *, joined: bool = True) -> Stream:
        """The next stream, as the agent of that boot id greets it."""
        accepted, _ = self.listener.accept()
        accepted.settimeout(PATIENCE)
        stream = Stream(accepted)
        assert stream.hear()[0] == frames.HELLO
        stream.say(frames.HELLO, {"version": frames.VERSION, "boot": boot})
        stream.say(frames.NODE, {"joined": joined})
        return stream


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "attach.sock"))
        listener.listen()
        listener.settimeout(PATIENCE)
        yield Agents(listener)


@pytest.fixture
def link(agents: Agents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    monkeypatch.setattr(link_module, "_PAUSE_MAX", 0.01)
    monkeypatch.setattr(link_module, "_SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(link_module, "_FAREWELL_SECONDS", 0.01)
    monkeypatch.setattr(agent_stream, "_CONNECT_SECONDS", 0.5)  # it may wait for a greeting when the test ends
    made = Link(Attach(f"unix:{tmp_path / 'attach.sock'}"), lambda: None)
    running = threading.Thread(target=made.run, args=(lambda: None, lambda error: None), daemon=True)
    running.start()
    yield made
    agents.listener.close()
    made.stop()
    running.join(PATIENCE)
    assert not running.is_alive()
    made.close()


def test_an_index_is_said_only_to_the_agent_that_told_it(agents: Agents, link: Link) -> None:
    copy, first = link.follow("orders")
    assert first is not None
    stream = agents.accept(b"one")
    kind, number, *rest = stream.hear()
    assert (kind, rest) == (frames.FOLLOW, ["orders", 0])
    stream.say(frames.VIEW, number, 5, True, True, [], [ORDERS])
    first.result(PATIENCE)
    stream.close()
    stream = agents.accept(b"one")
    assert stream.hear() == [frames.FOLLOW, number, "orders", 5], "it need not tell that again"
    stream.close()
    for _ in range(2):  # the second time it is no new agent any more, and still has told nothing
        stream = agents.accept(b"two")
        assert stream.hear() == [frames.FOLLOW, number, "orders", 0]
        stream.close()
    stream = agents.accept(b"two")
    assert stream.hear() == [frames.FOLLOW, number, "orders", 0]
    stream.say(frames.VIEW, number, 2, True, True, [], [ORDERS])
    wait_until(lambda: copy.told_index == 2)
    stream.close()
    stream = agents.accept(b"two")
    assert stream.hear() == [frames.FOLLOW, number, "orders", 2]
    stream.close()


def test_a_second_interruption_does_not_end_the_holding(agents: Agents, link: Link) -> None:
    """An agent that has not joined lacks instances, also over the second stream that leads to it."""
    copy, first = link.follow("orders")
    assert first is not None
    stream = agents.accept(b"one")
    number = stream.hear()[1]
    stream.say(frames.VIEW, number, 5, True, True, [], [ORDERS])
    first.result(PATIENCE)
    stream.close()
    for index in (1, 2):
        stream = agents.accept(b"two", joined=False)
        stream.hear()
        stream.say(frames.VIEW, number, index, True, True, [], [])
        wait_until(lambda index=index: copy.told_index == index)  # type: ignore[misc]
        assert [each.stale for each in copy.view.instances] == [True]
        if index == 1:
            stream.close()
    stream.say(frames.NODE, {"joined": True})
    wait_until(lambda: copy.view.instances == ())
    stream.close()


def test_a_ping_is_answered_once_the_program_runs_what_answers_it(agents: Agents, link: Link) -> None:
    stream = agents.accept(b"one")
    stream.say(frames.PING, 1)
    assert stream.hear() == [frames.PONG, 1], "without a loop the thread answers"
    held: list[Any] = []
    link.run_in_program = held.append
    stream.say(frames.PING, 2)
    wait_until(lambda: held)
    link.ask("info", {})
    assert stream.hear()[0] == frames.ASK, "the thread goes on meanwhile"
    held[0]()
    assert stream.hear() == [frames.PONG, 2]

    def ended(_: object) -> None:
        raise RuntimeError("Event loop is closed")

    link.run_in_program = ended
    stream.say(frames.PING, 3)
    link.ask("info", {})
    assert stream.hear()[0] == frames.ASK, "a loop that has ended is no error of the link"
    stream.close()
    wait_until(lambda: not link.is_connected)
    held[0]()  # the loop was late: there is no stream to answer on


def test_an_unreadable_frame_beside_the_hello_ends_that_stream_only(
    agents: Agents, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    accepted, _ = agents.listener.accept()
    hello = frames.pack([frames.HELLO, {"version": frames.VERSION, "boot": b"one"}])
    accepted.sendall(hello + frames.pack([frames.NODE, {"joined": True}]) + frames.pack(["unheard of"]))
    agents.accept(b"one").close()
    accepted.close()
    wait_until(lambda: link.reconnects)
    assert "says what cannot be read: a frame of no kind of this version" in caplog.text


def test_a_withdrawal_that_no_agent_answered_is_told_over_each_stream_until_one_does(
    agents: Agents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the instance would stay registered for as long as the process is attached."""
    monkeypatch.setattr(link_module, "_PAUSE_MAX", 0.01)
    monkeypatch.setattr(link_module, "_FAREWELL_SECONDS", 0.01)
    monkeypatch.setattr(agent_stream, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(open_requests, "_AWAY_SECONDS", 0.0)
    node = AttachedVerbs(Attach(f"unix:{tmp_path / 'attach.sock'}"))
    running = threading.Thread(target=node.link.run, args=(lambda: None, lambda error: None), daemon=True)
    running.start()
    withdrawn: Future[None] = Future()
    stream = agents.accept(b"one")
    wait_until(lambda: node.link.is_connected)
    Steps(node.deregister("orders"), withdrawn).begin()
    for _ in range(3):
        kind, number, *asked = stream.hear()
        assert (kind, asked) == (frames.ASK, ["deregister", {"id": "orders"}])
        stream.close()
        stream = agents.accept(b"one")
    with pytest.raises(AgentUnreachable):
        withdrawn.result(PATIENCE)
    _, number, *_ = stream.hear()
    stream.say(frames.DONE, number, None)
    wait_until(lambda: not node._own._gone)
    agents.listener.close()
    node.link.stop()
    stream.close()
    running.join(PATIENCE)
    node.link.close()
