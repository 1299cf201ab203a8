"""Node for asyncio programs: FastAPI, aiohttp, scripts. Its methods are coroutines; reads are plain calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, Generic, Self, TypeVar

import attrs

from gossipreg.check import Check, CheckReport
from gossipreg.config import Config
from gossipreg.embed.node_reads import NodeReads
from gossipreg.embed.node_thread import NodeThread, forked_message
from gossipreg.embed.signals import leave_first
from gossipreg.embed.watch_steps import WatchSteps
from gossipreg.errors import NodeClosed
from gossipreg.model import Event, Health, Instance, NodeInfo, ServiceChange, ServiceTerm
from gossipreg.policy import Policy, Rule
from gossipreg.spec import InstanceSpec

__all__ = ["AsyncioNode", "AsyncioWatch", "leave_first", "lifespan", "open_node"]

T = TypeVar("T")


@asynccontextmanager
async def open_node(config: Config | None = None) -> AsyncIterator[AsyncioNode]:
    """Start a node: bind, join in the background, answer at once. On leaving the block the node leaves the cluster.

    Raises ``ConfigError``, ``InsecureError``, ``BindError`` or ``StorageError`` when it cannot start. If the node has
    to stop in the middle because its name is held by another, the block is cancelled and ``NameConflict`` raised.
    """
    thread = NodeThread.start(config or Config())
    try:
        await _wait_done(thread.opened)
        node = AsyncioNode(thread)
        with _TaskCancellation(thread.ended):
            yield node
    finally:
        await _leave(thread)
        failure = thread.failure()
        if failure is not None:
            raise failure


def lifespan(
    config: Config | None, service: str, *, port: int, drain_on_sigterm: bool = False, **fields: Any
) -> Callable[[object], AbstractAsyncContextManager[dict[str, Any]]]:
    """An ASGI application's lifespan that offers it as an instance of ``service`` for as long as it serves.

    For ``FastAPI(lifespan=lifespan(...))`` and Starlette; handlers find the node as ``request.state.node``. ``fields``
    are those of `AsyncioNode.register`. When the server ends the lifespan the node drains and leaves. By then the
    server has stopped listening: with ``drain_on_sigterm`` the node leaves first, as `leave_first` has it.
    """

    @asynccontextmanager
    async def living(app: object) -> AsyncIterator[dict[str, Any]]:  # noqa: ARG001 - whatever application it is
        async with open_node(config) as node:
            await node.register(service, port=port, **fields)
            if drain_on_sigterm and threading.current_thread() is threading.main_thread():
                leave_first(node)  # no signal ever comes to servers in other threads, as those of test clients are
            yield {"node": node}

    return living


@attrs.define(eq=False, repr=False)
class AsyncioNode(NodeReads):
    """One member of the cluster, living in this process. Get one from `open_node`.

    The reads may be called from any thread, the rest from any event loop of this process.
    """

    async def info(self) -> NodeInfo:
        """This node about itself."""

        async def info() -> NodeInfo:
            return self._node.info()

        return await self._call(info)

    def watch(self, service: str) -> AsyncioWatch[ServiceChange]:
        """The service's healthy instances over time: first a snapshot, then diffs."""
        return AsyncioWatch(WatchSteps(self._thread, self._node.watch(service)))

    def events(self, service: str | None = None, *, panic: float = 0.0) -> AsyncioWatch[tuple[Event, ...]]:
        """Members and instances over time, in batches: first a ``Snapshot``, then what changed.

        With ``panic``, of the instances that `lookup` returns with it.
        """
        return AsyncioWatch(WatchSteps(self._thread, self._node.events(service, panic=panic)))

    async def wait_for(self, service: str, *, at_least: int = 1) -> tuple[Instance, ...]:
        """Wait until ``service`` has at least ``at_least`` healthy instances, and return them."""
        return await self._call(partial(self._node.wait_for, service, at_least=at_least))

    async def wait_changed(self, service: str | None, index: int) -> None:
        """Return when `index` differs from ``index``. Raises ``NodeClosed``, or what closed the node."""
        await self._call(partial(self._node.wait_changed, service, index))

    async def register(
        self,
        service: str,
        *,
        port: int,
        host: str | None = None,
        tags: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        weight: int = 1,
        zone: str | None = None,
        role: str | None = None,
        term: int = 0,
        id: str | None = None,
        checks: Sequence[Check | Mapping[str, object]] = (),
        credentials: Mapping[str, str] | None = None,
    ) -> Instance:
        """Register an instance, or replace this node's own one of the same id; returns it as lookups show it now.

        That is with the role that its term allows (``fenced`` below a higher one), with the weight that policies give
        it, and with the health of its checks; `note` says why it is not as it was stated.

        ``host`` and ``zone`` are this node's own unless given. The default id is made of service, member (or the given
        host) and port, so that registering again replaces; a check that stays the same then goes on unchanged. Without
        ``checks`` the instance can serve for as long as this node lives. ``credentials``, what a
        client needs to log in, are sealed under the credential key. With a data directory the registration is on disk
        when this returns. Raises ``InvalidInstance``, ``RecordTooLarge``, ``NodeClosed``, ``StorageError``, and
        ``CredentialsUnavailable`` for credentials without a credential key.
        """
        register = partial(
            self._node.register,
            service,
            port=port,
            host=host,
            tags=tags,
            meta=meta,
            weight=weight,
            zone=zone,
            role=role,
            term=term,
            id=id,
            checks=checks,
            credentials=credentials,
        )
        return await self._call(register)

    async def register_spec(self, spec: InstanceSpec) -> Instance:
        """Register what ``spec`` describes, in whatever form it was written. Returns and raises as `register` does."""
        return await self._call(partial(self._node.register_spec, spec))

    async def deregister(self, id: str) -> None:
        """Withdraw this node's own instance. Raises ``UnknownInstance``, ``NodeClosed``, ``StorageError``."""
        await self._call(partial(self._node.deregister, id))

    async def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        """The checks of this node's own instance of that id, or of all of them, in the order of registration.

        Raises ``UnknownInstance``, ``NodeClosed``.
        """

        async def checks() -> tuple[CheckReport, ...]:
            return self._node.checks(id)

        return await self._call(checks)

    async def heartbeat(
        self,
        id: str,
        *,
        check: str | None = None,
        health: Health = Health.PASSING,
        note: str = "",
    ) -> None:
        """Report the health of this node's own instance to its ttl check of that name, or to all of its ttl checks.

        ``health`` is passing, warning or critical. Raises ``UnknownInstance``, ``NodeClosed``, and
        ``InvalidInstance`` if no check awaits a heartbeat.
        """
        await self._call(partial(self._node.heartbeat, id, check=check, health=health, note=note))

    async def set_maintenance(
        self,
        id: str,
        reason: str | None,
    ) -> Instance:
        """Put this node's own instance into maintenance, with a ``reason`` that all nodes see; None ends that.

        It stays in maintenance over a restart, and when it is registered again. Its checks go on. Returns it as lookups
        show it.
        Raises ``UnknownInstance``, ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        return await self._call(partial(self._node.set_maintenance, id, reason))

    async def set_policy(self, rule: Rule) -> Policy:
        """Put ``rule`` into force on every node, in place of any of its key; returns it as it is in force now.

        With a data directory it is on disk before it is published. Raises ``InvalidPolicy``, ``NodeClosed``, and
        ``StorageError`` if the disk refuses it: then it is in force nowhere.
        """
        return await self._call(partial(self._node.set_policy, rule))

    async def remove_policy(self, key: str) -> None:
        """Remove the policy of that key on every node. Raises ``UnknownPolicy``, ``NodeClosed``, ``StorageError``."""
        await self._call(partial(self._node.remove_policy, key))

    async def forget(self, name: str) -> None:
        """Have a failed member forgotten on every node at once, with its instances.

        Nothing happens if it has left. A member that lives after all, behind a split, is back when it is heard again.
        Raises ``UnknownMember``, ``MemberPresent`` for one that is alive or suspect, and ``NodeClosed``.
        """
        await self._call(partial(self._node.forget, name))

    async def reset_term(self, service: str) -> ServiceTerm:
        """Have the terms of ``service`` restart on every node from the highest that its instances state now.

        The only way to lower a term that was given by mistake: deregister the instance that states it, then reset. The
        term keeps by which node and when it was reset. Raises ``UnknownTerm``, ``NotJoined``, ``NodeClosed``, and
        ``StorageError`` if this node's disk refuses it: then nothing has changed.
        """
        return await self._call(partial(self._node.reset_term, service))

    @property
    def drained(self) -> str | None:
        """Why this node was told to drain, which may be empty; None if it was not."""
        return self._node.drained

    async def drain(self, reason: str = "") -> None:
        """Give every instance of this node the weight 0 on every node, until `undrain`; the node stays a member.

        Nothing else changes. With a data directory it outlives a restart, with its ``reason`` (at most 160 characters,
        for people). Idempotent. Raises ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        await self._call(partial(self._node.drain, reason))

    async def undrain(self) -> None:
        """End `drain`: every instance has the weight that it was registered with. Idempotent.

        Raises ``NodeClosed``, ``StorageError``.
        """
        await self._call(self._node.undrain)

    async def leave(self) -> None:
        """Leave gracefully: drain, announce the departure, wait until that has spread, close. Idempotent."""
        if not self._thread.is_forked:  # else it is not here, and the process that has it goes on
            self._thread.stop()
            await _wait_done(self._thread.ended)

    async def wait_closed(self) -> None:
        """Return when the node has left or was closed. Raises ``NameConflict`` if it had to yield its name."""
        if self._thread.is_forked:
            raise NodeClosed(forked_message(self._thread.pid))
        await _wait_done(self._thread.ended)
        self._thread.ended.result()

    async def _call(self, verb: Callable[[], Awaitable[T]]) -> T:
        future = self._thread.submit(verb)
        try:
            await _wait_done(future)
        finally:
            future.cancel()  # when this task is; what is done stays done
        return future.result()


class AsyncioWatch(Generic[T]):
    """What changes, over time: ``async for change in node.watch("orders")``, in one task at a time.

    Ends when the node closes; raises what closed it, if that was an error. A timeout or a cancellation loses nothing:
    the next ``anext`` gives what came meanwhile.
    """

    def __init__(self, steps: WatchSteps[T]) -> None:
        self._steps = steps
        self._wakeup: asyncio.Event | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        future = self._steps.next()
        if not future.done():
            self._wakeup = self._wakeup or _wakeup_of(future)
            await self._wakeup.wait()
        self._wakeup = None
        change = self._steps.result(0)
        if change is None:
            raise StopAsyncIteration
        return change

    async def aclose(self) -> None:
        """Stop watching: a waiting task sees the end of the watch."""
        self._steps.close()


class _TaskCancellation:
    """Cancels the task that is inside of the block when the node is ended by an error; takes that back at its end."""

    def __init__(self, ended: Future[None]) -> None:
        self._ended = ended
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._inside = False
        self._cancelled = False

    def __enter__(self) -> None:
        self._inside = True
        self._ended.add_done_callback(self._tell)

    def __exit__(self, *_: object) -> None:
        self._inside = False
        if self._cancelled and self._task is not None:
            self._task.uncancel()

    def _tell(self, ended: Future[None]) -> None:
        if ended.exception() is not None:
            with suppress(RuntimeError):  # the loop is closed, so the block has ended
                self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if self._inside and self._task is not None:
            self._cancelled = self._task.cancel()


def _wakeup_of(future: Future[Any]) -> asyncio.Event:
    """An event of the running loop that is set when ``future`` is settled."""
    loop = asyncio.get_running_loop()
    wakeup = asyncio.Event()

    def handle_timeout(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so no task waits
            loop.call_soon_threadsafe(wakeup.set)

    future.add_done_callback(handle_timeout)
    return wakeup


async def _wait_done(future: Future[Any]) -> None:
    """Return when ``future`` is settled. A cancellation cancels the waiting, not the future."""
    if not future.done():
        await _wakeup_of(future).wait()


async def _leave(thread: NodeThread) -> None:
    """Leave, even when cancelled; it takes a second or two. Then the cancellation goes on."""
    if thread.is_forked:
        return  # it is not here, and the process that has it goes on
    thread.stop()
    cancelled: asyncio.CancelledError | None = None
    while not thread.ended.done():
        try:
            await _wait_done(thread.ended)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None and thread.failure() is None:
        raise cancelled
