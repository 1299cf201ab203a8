"""Attached processes for tests: an agent over a fake node, and streams to it in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from gossipreg.attach import frames
from gossipreg.attach.frames import FrameReader
from gossipreg.attach.values import ext_hook
from gossipreg.frontends.attach.bindings import Bindings
from gossipreg.frontends.attach.server import AttachServer
from gossipreg.frontends.attach.session import Session
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.model import Health, Instance
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.spec import InstanceSpec
from tests.frontends.fake_node import FakeNode

SESSION = b"s" * 16


@attrs.define
class FakeRegistry:
    """Registers at a fake node."""

    node: FakeNode
    silences: dict[str, str | None] = attrs.field(init=False, factory=dict)
    taken: set[str] = attrs.field(init=False, factory=set)  # ids that a user has registered since

    async def register_many(self, specs: Collection[InstanceSpec]) -> tuple[Instance, ...]:
        return await self.node.register_many(list(specs))

    async def withdraw(self, ids: Collection[str], is_taken: Callable[[str], bool]) -> None:
        for id_ in ids:
            if not is_taken(id_) and self.node.own(id_) is not None:
                await self.node.deregister(id_)

    def set_silence(self, ids: Collection[str], reason: str | None) -> bool:
        news = {id_ for id_ in ids if self.silences.get(id_) != reason}
        self.silences |= dict.fromkeys(news, reason)
        return bool(news)

    def is_bound(self, id: str) -> bool:
        return id not in self.taken and self.node.own(id) is not None

    def view(self, service: str) -> ServiceView:
        listed, called = self.node.lookup(service, healthy=False), self.node.lookup(service)
        return ServiceView.of(self.node.index(service), listed, called)

    def shown(self, instance: Instance) -> Instance:
        return attrs.evolve(instance, health=Health.CRITICAL if self.silences.get(instance.id) else Health.PASSING)


@attrs.define(eq=False)
class Process:
    """One stream to an agent, from the process's side."""

    stream: Any
    _reader: FrameReader = attrs.field(init=False, factory=lambda: FrameReader(2**24, ext_hook))
    _received: list[list[Any]] = attrs.field(init=False, factory=list)

    async def say(self, *frame: Any) -> None:
        await self.stream.send_all(frames.pack(list(frame)))

    async def hear(self) -> list[Any] | None:
        """The next frame; None at the end of the stream."""
        while not self._received:
            data = await self.stream.receive_some(65_536)
            if not data:
                return None
            self._received += self._reader.feed(data)
        return self._received.pop(0)

    async def hear_of(self, kind: str) -> list[Any]:
        """The next frame of that kind."""
        while (frame := await self.hear()) is not None:
            if frame[0] == kind:
                return frame
        raise AssertionError(f"the stream has ended without a {kind}")

    async def ask(self, number: int, verb: str, **values: Any) -> list[Any]:
        """The answer to a request."""
        await self.say(frames.ASK, number, verb, values)
        while True:
            frame = await self.hear()
            assert frame is not None, "it is answered"
            if frame[0] in (frames.DONE, frames.FAILED) and frame[1] == number:
                return frame


@attrs.define(eq=False)
class FakeAgent:
    """An agent over a fake node."""

    node: FakeNode
    server: AttachServer
    nursery: trio.Nursery

    @property
    def counters(self) -> Counter[str]:
        return self.server.counters

    def begin(self, process_end: Any = None) -> Process:
        """A stream that has said nothing yet."""
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.server.serve, theirs if process_end is None else process_end, lambda: None)
        return Process(ours)

    async def attach(
        self,
        *,
        session: bytes = SESSION,
        grace: float = 0,
        token: str | None = None,
        version: int = frames.VERSION,
        **hello: Any,
    ) -> Process:
        """A stream that has said hello."""
        process = self.begin()
        said = {"version": version, "session": session, "grace": grace, "token": token, **hello}
        await process.say(frames.HELLO, said)
        return process


@asynccontextmanager
async def agent(node: FakeNode, access: Access | None = None) -> AsyncIterator[FakeAgent]:
    server = AttachServer(node, Bindings(FakeRegistry(node)), access or Access(), AuditLog(), Counter(), None)
    async with trio.open_nursery() as nursery:
        server.nursery = nursery
        nursery.start_soon(server.follow_node)
        yield FakeAgent(node, server, nursery)
        nursery.cancel_scope.cancel()


__all__ = ["SESSION", "FakeAgent", "Process", "Session", "agent"]
