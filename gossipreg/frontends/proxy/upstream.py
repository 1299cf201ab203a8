"""Upstream: the instances of one service behind a port. It chooses one for a caller, connects to it, and relays.

Theory of operation. A node's events (`Upstream.apply`) go into the instance table and from there into the balancer, at
once; they hold for every connection that is made after that. A connection stays where it is until it ends; when its
instance is gone, it may run on for the drain time. If connecting fails, another instance is tried. The caller does not
notice: of what it sends only the first bytes have been read, if any, and each instance that is tried gets them.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from random import Random

import attrs
import trio

from gossipreg.events import Event
from gossipreg.frontends.proxy import limits
from gossipreg.frontends.proxy.backend import Backend, Key, key_of
from gossipreg.frontends.proxy.balancer import Balance, Balancer
from gossipreg.frontends.proxy.connecting import EXHAUSTED, PortsExhausted, connected
from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.frontends.proxy.first_bytes import Call
from gossipreg.frontends.proxy.header import header
from gossipreg.frontends.proxy.instance_table import InstanceTable
from gossipreg.frontends.proxy.listeners import OwnAddresses
from gossipreg.frontends.proxy.relay import Relay, reset, send_all, tune
from gossipreg.frontends.proxy.settings import Forward
from gossipreg.frontends.proxy.warnings import RateLimitedWarnings
from gossipreg.model import PRIMARY

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class Upstream:
    """The instances of ``service``, to which callers of one port are connected."""

    service: str
    forward: Forward
    counters: Counter[str]
    own: OwnAddresses  # of all ports of this process
    rng: Random
    warnings: RateLimitedWarnings
    table: InstanceTable = attrs.field(init=False)
    balancer: Balancer = attrs.field(init=False)
    open: int = attrs.field(init=False, default=0)  # callers that are being served
    region: str = attrs.field(init=False, default="")  # whose instances are used; empty for the own one
    _left_at: float = attrs.field(init=False, default=0.0)  # when the own region was left (seconds)
    _scopes: dict[Key, set[trio.CancelScope]] = attrs.field(init=False, factory=dict)
    _gone: set[Key] = attrs.field(init=False, factory=set)  # instances that are no more, but have connections

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
        if self.balancer.backends:  # while there are none, none other came into use
            self._use(next(iter(self.balancer.backends))[0], now)

    def _use(self, region: str, now: float) -> None:
        """Use the instances of ``region`` from now on; log and count the beginning and the end of a failover."""
        before, self.region = self.region, region
        if region == before:
            return
        if not region:
            away = now - self._left_at
            log.info("%s: the own region serves again, after %.0f s in %s", self.service, away, before)
            return
        self.counters[ForwardCount.FAILOVERS] += 1
        if before:
            log.warning("%s: callers are sent to the region %s in place of %s", self.service, region, before)
            return
        self._left_at = now
        share = self.forward.failover_threshold
        why = f"fewer than {100 * share:g} % of its instances can serve" if share else "none of its instances can serve"
        log.warning("%s: callers are sent to the region %s: in the own one %s", self.service, region, why)

    def _is_superseded(self, key: Key) -> bool:
        """Whether connections to an instance that is gone must end at once: another has its role, or it has another.

        Only one instance is primary at a time. Several have any other role, so that one of them is there says nothing.
        A primary that is drained gets no connection, but what the former one is told is lost all the same.
        """
        if not self.forward.cuts_superseded:
            return False
        has_successor = self.forward.role == PRIMARY and bool(self.balancer.backends)
        return has_successor or self.table.has_lost_role(*key)

    def _limit(self, keys: Iterable[Key], deadline: float) -> None:
        """The connections to these instances may run until ``deadline``."""
        for key in keys:
            for scope in self._scopes.get(key, ()):
                scope.deadline = deadline

    def _log_change(self, were: int, was_in_panic: bool) -> None:
        are = len(self.balancer.backends)
        if self.balancer.in_panic and not was_in_panic:
            log.warning("no instance of %s can serve: using the last %d that could", self.service, are)
        elif were and not are:
            log.warning("no instance of %s can serve", self.service)
        elif are and (not were or (was_in_panic and not self.balancer.in_panic)):
            log.info("%s: %d can serve", self.service, are)

    # Serving

    async def serve(self, caller: trio.socket.SocketType, call: Call) -> None:
        """Connect a caller to an instance and relay until both are done; count how it ended."""
        self.counters[ForwardCount.ACCEPTED] += 1
        self.open += 1
        ended = ForwardCount.DRAINED  # by this port, which has gone
        try:
            reached = await self._connect(call)
            ended = await self._relay(caller, call, *reached) if isinstance(reached, tuple) else reached
        except Exception:
            ended = ForwardCount.FAILED
            raise
        finally:
            self.open -= 1
            self.counters[ended] += 1

    async def _relay(
        self, caller: trio.socket.SocketType, call: Call, backend: Backend, instance: trio.socket.SocketType
    ) -> ForwardCount:
        key = key_of(backend.instance)
        self.counters[ForwardCount.BYTES_IN] += len(call.data)
        relay = Relay(caller, instance, self.forward.idle_timeout, self.counters)
        try:
            with trio.CancelScope() as scope:
                self._scopes.setdefault(key, set()).add(scope)
                if key not in self.balancer.backends:  # gone while we connected
                    self._gone.add(key)
                    drain_time = 0.0 if self._is_superseded(key) else self.forward.drain_time
                    scope.deadline = trio.current_time() + drain_time
                await relay.run()
        finally:
            backend.ended()
            self._forget(key, scope)
        if scope.cancelled_caught:
            return ForwardCount.DRAINED
        return ForwardCount.IDLE if relay.timed_out else ForwardCount.FINISHED

    def _forget(self, key: Key, scope: trio.CancelScope) -> None:
        scopes = self._scopes[key]
        scopes.discard(scope)
        if not scopes:
            del self._scopes[key]

    # Connecting

    async def _connect(self, call: Call) -> tuple[Backend, trio.socket.SocketType] | ForwardCount:
        """A connection to an instance, which counts as in flight; why there is none, if none could be had."""
        greeting = self._header(call) + call.data
        source = None if self.forward.sticky is None or call.caller is None else call.caller.host
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
                if isinstance(error, PortsExhausted):
                    self.counters[ForwardCount.EXHAUSTED] += 1
                    self.warnings.warn("%s", error.strerror)
                    continue
                if getattr(error, "errno", None) in EXHAUSTED:
                    is_short = True
                    tried.remove(key_of(backend.instance))
                    self.counters[ForwardCount.EXHAUSTED] += 1
                    self.warnings.warn("cannot make more connections: %s", error)
                    await trio.sleep(limits.EXHAUSTED_SECONDS)
                    continue
                self.counters[ForwardCount.CONNECTS_FAILED] += 1
                backend.failed(began, trio.current_time())
            else:
                backend.answered()
                return backend, instance
        if tried or is_short:
            self.warnings.warn("none of %d instances of %s could be connected to", len(tried), self.service)
            return ForwardCount.NOT_CONNECTED
        self.warnings.warn("a connection found no instance of %s with room", self.service)
        return ForwardCount.NO_INSTANCE

    def _header(self, call: Call) -> bytes:
        version = self.forward.proxy_protocol
        if version is None or call.caller is None or call.called is None:
            return b""
        return header(version, call.caller, call.called)

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
