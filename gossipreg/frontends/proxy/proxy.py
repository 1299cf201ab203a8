"""One port of the balancer: accepts callers, and hands each to the instances of the service that it leads to.

A port leads to one service, or to several by the server name that a TLS caller asks for. The first bytes of a caller
are read here only if they say who calls (PROXY protocol) or where to (TLS); see `Upstream` for what follows.

Beyond the limit nothing is accepted: the kernel keeps callers waiting, as it would before a busy server.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Final

import attrs
import trio

from gossipreg.events import Event
from gossipreg.frontends.proxy import limits
from gossipreg.frontends.proxy.client_hello import UNRECOGNIZED_NAME, BadHello
from gossipreg.frontends.proxy.connecting import EXHAUSTED
from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.frontends.proxy.first_bytes import (
    BadHeader,
    Call,
    CallerGone,
    FirstBytes,
    Network,
    is_within,
    read_network,
)
from gossipreg.frontends.proxy.listeners import OwnAddresses, accept_now, open_listeners, plain_host
from gossipreg.frontends.proxy.relay import reset, send_all, tune
from gossipreg.frontends.proxy.server_names import service_of
from gossipreg.frontends.proxy.settings import Forward
from gossipreg.frontends.proxy.upstream import Upstream
from gossipreg.frontends.proxy.warnings import RateLimitedWarnings
from gossipreg.model import Address

log = logging.getLogger(__name__)


def _counters_of(_: str) -> Counter[str]:
    return Counter()


@attrs.define(eq=False, repr=False)
class Proxy:
    """Forwards the callers of one port to the instances of its services.

    ``counters_of`` gives the counters of a service behind it, and with "" those of callers that reach none.
    """

    forward: Forward
    rng: Random = attrs.field(factory=Random)
    counters_of: Callable[[str], Counter[str]] = _counters_of
    own: OwnAddresses = attrs.field(factory=OwnAddresses)  # of all ports of this process
    upstreams: Mapping[str, Upstream] = attrs.field(init=False)  # by service
    counters: Counter[str] = attrs.field(init=False)  # of the default service, if there is one
    bound: Address | None = attrs.field(init=False, default=None)  # where it listens, once it does
    open: int = attrs.field(init=False, default=0)  # callers that are being served
    _names: Mapping[str, str] = attrs.field(init=False)
    _trusted: tuple[Network, ...] = attrs.field(init=False)
    _accepting: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _everything: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _semaphore: trio.Semaphore = attrs.field(init=False)
    _listeners: Sequence[trio.socket.SocketType] = attrs.field(init=False, default=())
    _is_replaced: bool = attrs.field(init=False, default=False)
    _warnings: RateLimitedWarnings = attrs.field(init=False, factory=RateLimitedWarnings)

    def __attrs_post_init__(self) -> None:
        forward = self.forward
        self.upstreams = {
            service: Upstream(service, forward, self.counters_of(service), self.own, self.rng, self._warnings)
            for service in forward.services
        }
        self.counters = self.counters_of("") if forward.service is None else self.upstreams[forward.service].counters
        self._names = dict(forward.tls)
        self._trusted = tuple(map(read_network, forward.trust_proxy))
        self._semaphore = trio.Semaphore(forward.connections_max)

    @property
    def unrouted(self) -> int:
        """How many callers have not said yet where they want to go."""
        return self.open - sum(upstream.open for upstream in self.upstreams.values())

    def apply(self, events: Iterable[Event], service: str | None = None) -> None:
        """Apply a node's events about ``service``, by default the one that every caller without a name gets."""
        self.upstreams[service or self.forward.services[0]].apply(events)

    def _apply_again(self) -> None:
        """Choose among the instances again: which addresses are this process's own has changed."""
        for upstream in self.upstreams.values():
            upstream.apply(())

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

    # Accepting

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
            listeners = await open_listeners(self.forward.listen, self.forward.backlog, self.forward.leads_to)
        addresses = [Address(*listener.getsockname()[:2]) for listener in listeners]
        bound = self.bound = addresses[0]
        self._listeners = listeners
        self.own.observe(self._apply_again)
        self.own.add(addresses)
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
                    self.own.forget(self._apply_again)
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
                self._warnings.warn("cannot accept more connections: %s", error.strerror)
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
        self.open += 1
        try:
            tune(caller)
            routed = await self._routed(caller)
            if routed is not None:
                upstream, call = routed
                await upstream.serve(caller, call)
        except Exception:
            log.exception("a connection could not be served, because of a bug")
        finally:
            caller.close()
            self.open -= 1
            self._semaphore.release()

    # Routing

    async def _routed(self, caller: trio.socket.SocketType) -> tuple[Upstream, Call] | None:
        """Where a caller goes, and what is known of it; None, and counted, if it goes nowhere."""
        ended: ForwardCount | None = ForwardCount.DRAINED  # by this port, which has gone
        try:
            call, service = await self._first(caller)
            if service is not None:
                ended = None
                return self.upstreams[service], call
            ended = ForwardCount.UNKNOWN_NAME
            await _refuse_name(caller)
        except BadHello as error:
            ended = ForwardCount.BAD_HELLO
            self._warnings.warn("a caller did not begin with a TLS ClientHello: %s", error)
        except BadHeader as error:
            ended = ForwardCount.BAD_HEADER
            self._warnings.warn("a caller that trust_proxy names did not begin with a PROXY header: %s", error)
        except trio.TooSlowError:
            ended = ForwardCount.TOO_LATE
            reset(caller)
        except (CallerGone, OSError):
            ended = ForwardCount.FINISHED
        except Exception:
            ended = ForwardCount.FAILED
            raise
        finally:
            if ended is not None:
                self.counters[ForwardCount.ACCEPTED] += 1
                self.counters[ended] += 1
        return None

    async def _first(self, caller: trio.socket.SocketType) -> tuple[Call, str | None]:
        """What is known of a caller, and the service that it wants; None if its name leads nowhere.

        Raises ``BadHello``, ``BadHeader``, ``TooSlowError``, ``CallerGone`` and ``OSError``.
        """
        forward = self.forward
        if not (self._names or self._trusted or forward.proxy_protocol or forward.sticky):
            return _UNKNOWN_CALL, forward.service
        (host, port), (called, at) = caller.getpeername()[:2], caller.getsockname()[:2]
        call = Call(Address(plain_host(host), port), Address(plain_host(called), at))
        is_trusted = is_within(host, self._trusted)
        if not (self._names or is_trusted):
            return call, forward.service
        first, service = FirstBytes(caller), forward.service
        with trio.fail_after(forward.preread_timeout):
            if is_trusted:
                told = await first.take_header()
                if told.caller is not None:
                    call = Call(told.caller, told.called)
            if self._names:
                service = service_of(self._names, await first.server_name()) or service
        return attrs.evolve(call, data=first.data), service


_UNKNOWN_CALL: Final = Call()


async def _refuse_name(caller: trio.socket.SocketType) -> None:
    """Say by an alert that there is no such name, and give the caller time to read it."""
    with trio.move_on_after(limits.ALERT_SECONDS), suppress(OSError):
        await send_all(caller, UNRECOGNIZED_NAME)
        caller.shutdown(socket.SHUT_WR)
        while await caller.recv(limits.PIECE_BYTES):
            pass
