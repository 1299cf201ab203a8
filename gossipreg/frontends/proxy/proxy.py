"""One port of the balancer: accepts a connection, chooses an instance, connects to it, and relays until both are done.

Theory of operation. A node's events (`Proxy.apply`) go into the instance table and from there into the balancer, at
once; they hold for every connection that is made after that. A connection stays where it is until it ends; when its
instance is gone, it may run on for the drain time. If connecting fails, another instance is tried. The caller does not
notice, for nothing of what it sends has been read yet.

Beyond the limit nothing is accepted: the kernel keeps callers waiting, as it would before a busy server.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from random import Random

import attrs
import trio

from gossipreg.frontends.proxy import limits
from gossipreg.frontends.proxy.backend import Backend, Key, key_of
from gossipreg.frontends.proxy.balancer import Balance, Balancer
from gossipreg.frontends.proxy.connecting import EXHAUSTED, connected
from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.frontends.proxy.header import header
from gossipreg.frontends.proxy.instance_table import InstanceTable
from gossipreg.frontends.proxy.listeners import OwnAddresses, accept_now, open_listeners, plain_host
from gossipreg.frontends.proxy.relay import Relay, reset, send_all, tune
from gossipreg.frontends.proxy.settings import Forward
from gossipreg.model import Address, Event

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class Proxy:
    """Forwards the callers of one port to the instances of one service."""

    forward: Forward
    rng: Random = attrs.field(factory=Random)
    counters: Counter[str] = attrs.field(factory=Counter)
    own: OwnAddresses = attrs.field(factory=OwnAddresses)  # of all ports of this process
    table: InstanceTable = attrs.field(init=False)
    balancer: Balancer = attrs.field(init=False)
    bound: Address | None = attrs.field(init=False, default=None)  # where it listens, once it does
    open: int = attrs.field(init=False, default=0)  # callers that are being served
    _scopes: dict[Key, set[trio.CancelScope]] = attrs.field(init=False, factory=dict)
    _gone: set[Key] = attrs.field(init=False, factory=set)  # instances that are no more, but have connections
    _accepting: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _everything: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _semaphore: trio.Semaphore = attrs.field(init=False)
    _listeners: Sequence[trio.socket.SocketType] = attrs.field(init=False, default=())
    _is_replaced: bool = attrs.field(init=False, default=False)
    _warned_at: float = attrs.field(init=False, default=-math.inf)

    def __attrs_post_init__(self) -> None:
        forward = self.forward
        self.table = InstanceTable(forward.tag, forward.role)
        self.balancer = Balancer(
            self.rng,
            forward.zone,
            Balance(forward.balance),
            forward.instance_connections_max,
            forward.panic,
            forward.slow_start,
        )
        self._semaphore = trio.Semaphore(forward.connections_max)

    # Events

    def apply(self, events: Iterable[Event]) -> None:
        """Apply a node's events about the service. They hold from the next connection on."""
        self.table.apply(events)
        were, was_in_panic = len(self.balancer.backends), self.balancer.in_panic
        # An instance that is a port of this process would call itself until all descriptors are used up.
        instances = [each for each in self.table.instances if not self.own.includes(each.host, each.port)]
        now = trio.current_time()
        demoted = [key for key in self.balancer.backends if self.table.has_lost_role(*key)]
        never = demoted if self.forward.cuts_superseded else []
        gone = self.balancer.replace(instances, self.table.suspects, now, never)
        self._limit(gone, now + self.forward.drain_time)
        self._limit([key for key in self._gone.union(gone) if self._is_superseded(key)], now)
        back = [key for key in self._gone if key in self.balancer.backends]
        self._limit(back, math.inf)
        self._gone = (self._gone | set(gone)) & self._scopes.keys() - set(back)
        self._log_change(were, was_in_panic)

    def _is_superseded(self, key: Key) -> bool:
        """Whether connections to an instance that is gone must end at once: another has its role, or it has another."""
        if not self.forward.cuts_superseded:
            return False
        return bool(self.balancer.backends) or self.table.has_lost_role(*key)

    def _limit(self, keys: Iterable[Key], deadline: float) -> None:
        """The connections to these instances may run until ``deadline``."""
        for key in keys:
            for scope in self._scopes.get(key, ()):
                scope.deadline = deadline

    def _log_change(self, were: int, was_in_panic: bool) -> None:
        service, are = self.forward.service, len(self.balancer.backends)
        if self.balancer.in_panic and not was_in_panic:
            log.warning("no instance of %s can serve: using the last %d that could", service, are)
        elif were and not are:
            log.warning("no instance of %s can serve", service)
        elif are and (not were or (was_in_panic and not self.balancer.in_panic)):
            log.info("%s: %d can serve", service, are)

    def duplicate_listeners(self) -> list[socket.socket]:
        """Its listening sockets for another process or port to accept from: they stay open when this one stops."""
        duplicates = [socket.socket(fileno=os.dup(listener.fileno())) for listener in self._listeners]
        for duplicate in duplicates:
            duplicate.setblocking(False)
        return duplicates

    def stop(self, *, is_replaced: bool = False) -> None:
        """Accept no more, and cut after the drain time what has not ended by then. `serve` returns after that.

        With ``is_replaced`` another port has the same sockets: callers that wait are its, and no connection is cut.
        """
        self._is_replaced = is_replaced
        self._accepting.cancel()

    def drain(self) -> None:
        """Cut after the drain time what has not ended by then, at a port that was replaced before."""
        self._everything.deadline = min(self._everything.deadline, trio.current_time() + self.forward.drain_time)

    # Serving

    async def serve(
        self,
        listeners: Sequence[trio.socket.SocketType] | None = None,
        *,
        task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve callers until `stop`; starts with the address it really got. Raises ``BindError``.

        With ``listeners``, which it closes in the end, it does not open its own.
        """
        if listeners is None:
            listeners = await open_listeners(self.forward.listen, self.forward.backlog, self.forward.service)
        addresses = [Address(*listener.getsockname()[:2]) for listener in listeners]
        bound = self.bound = addresses[0]
        self._listeners = listeners
        self.own.add(addresses)
        self.apply(())
        with self._everything:
            async with trio.open_nursery() as callers:
                try:
                    with self._accepting:
                        async with trio.open_nursery() as nursery:
                            for listener in listeners:
                                nursery.start_soon(self._accept, listener, callers)
                            task_status.started(bound)
                    if not self._is_replaced:
                        for listener in listeners:
                            self._accept_backlog(listener, callers)
                finally:
                    self.own.remove(addresses)
                    for listener in listeners:
                        listener.close()
                if not self._is_replaced:
                    self.drain()

    async def _accept(self, listener: trio.socket.SocketType, callers: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            await self._semaphore.acquire()  # only now, or a listener that has no callers would keep others waiting
            try:
                caller = accept_now(listener)
            except OSError as error:
                self._semaphore.release()
                if error.errno == errno.ECONNABORTED:
                    continue  # the caller went before it was let in
                if error.errno in EXHAUSTED:
                    self.counters[ForwardCount.EXHAUSTED] += 1
                self._warn("cannot accept more connections: %s", error.strerror)
                await trio.sleep(limits.EXHAUSTED_SECONDS)
            else:
                if caller is None:  # another process or port that has the same socket was faster
                    self._semaphore.release()
                else:
                    callers.start_soon(self._serve, caller)

    def _accept_backlog(self, listener: trio.socket.SocketType, callers: trio.Nursery) -> None:
        """Accept connections that are waiting in the backlog; the kernel would reset them when the listener closes."""
        with suppress(OSError, trio.WouldBlock):
            while True:
                self._semaphore.acquire_nowait()
                caller = accept_now(listener)
                if caller is None:
                    self._semaphore.release()
                    return
                callers.start_soon(self._serve, caller)

    async def _serve(self, caller: trio.socket.SocketType) -> None:
        self.counters[ForwardCount.ACCEPTED] += 1
        self.open += 1
        try:
            tune(caller)
            await self._forward_caller(caller)
        except Exception:
            log.exception("a connection could not be served, because of a bug")
        finally:
            caller.close()
            self.open -= 1
            self._semaphore.release()

    async def _forward_caller(self, caller: trio.socket.SocketType) -> None:
        names = self._addresses(caller)
        reached = None if names is None else await self._connect(*names)
        if reached is None:
            return
        backend, instance = reached
        key = key_of(backend.instance)
        relay = Relay(caller, instance, self.forward.idle_timeout, self.counters)
        ended = ForwardCount.DRAINED  # by this port, which has gone
        try:
            with trio.CancelScope() as scope:
                self._scopes.setdefault(key, set()).add(scope)
                if key not in self.balancer.backends:  # gone while we connected
                    self._gone.add(key)
                    drain_time = 0.0 if self._is_superseded(key) else self.forward.drain_time
                    scope.deadline = trio.current_time() + drain_time
                await relay.run()
            if not scope.cancelled_caught:
                ended = ForwardCount.IDLE if relay.timed_out else ForwardCount.FINISHED
        finally:
            backend.ended()
            self._forget(key, scope)
            self.counters[ended] += 1

    def _forget(self, key: Key, scope: trio.CancelScope) -> None:
        scopes = self._scopes[key]
        scopes.discard(scope)
        if not scopes:
            del self._scopes[key]

    # Connecting

    async def _connect(
        self, caller: Address | None, called: Address | None
    ) -> tuple[Backend, trio.socket.SocketType] | None:
        """A connection to an instance, which counts as in flight; None if none could be had."""
        version, sticky = self.forward.proxy_protocol, self.forward.sticky
        greeting = b"" if version is None or caller is None or called is None else header(version, caller, called)
        source = None if sticky is None or caller is None else caller.host
        tried: set[Key] = set()
        is_short = False
        for _ in range(self.forward.tries):
            began = trio.current_time()
            backend = self.balancer.choose(tried, began, source)
            if backend is None:
                break
            tried.add(key_of(backend.instance))
            try:
                instance = await self._attempt(backend, greeting, began)
            except (OSError, trio.TooSlowError) as error:
                if getattr(error, "errno", None) in EXHAUSTED:
                    is_short = True
                    tried.remove(key_of(backend.instance))
                    self.counters[ForwardCount.EXHAUSTED] += 1
                    self._warn("cannot make more connections: %s", error)
                    await trio.sleep(limits.EXHAUSTED_SECONDS)
                    continue
                self.counters[ForwardCount.CONNECTS_FAILED] += 1
                backend.failed(began, trio.current_time())
            else:
                backend.answered()
                return backend, instance
        if tried or is_short:
            self.counters[ForwardCount.NOT_CONNECTED] += 1
            self._warn("none of %d instances of %s could be connected to", len(tried), self.forward.service)
        else:
            self.counters[ForwardCount.NO_INSTANCE] += 1
            self._warn("a connection found no instance of %s with room", self.forward.service)
        return None

    async def _attempt(self, backend: Backend, greeting: bytes, now: float) -> trio.socket.SocketType:
        """A connection to ``backend``. Raises ``OSError`` or ``TooSlowError``."""
        backend.chosen(now)
        try:
            with trio.fail_after(self.forward.connect_timeout):
                connection = await connected(backend.instance.address, self.own)
                try:
                    tune(connection)
                    if greeting:
                        await send_all(connection, greeting)
                except BaseException:
                    reset(connection)
                    raise
                return connection
        except BaseException:
            backend.ended()
            raise

    def _addresses(self, caller: trio.socket.SocketType) -> tuple[Address | None, Address | None] | None:
        """The caller's address and the one that it called, if they are needed; None if it is gone already."""
        if self.forward.proxy_protocol is None and self.forward.sticky is None:
            return None, None
        try:
            (host, port), (called, at) = caller.getpeername()[:2], caller.getsockname()[:2]
            return Address(plain_host(host), port), Address(plain_host(called), at)
        except OSError:
            return None

    def _warn(self, sentence: str, *values: object) -> None:
        now = trio.current_time()
        if now - self._warned_at >= limits.COMPLAINT_SECONDS:
            self._warned_at = now
            log.warning(sentence, *values)
