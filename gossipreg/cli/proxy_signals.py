"""Signals of a running balancer: end, read the ports again, give way to a new process."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack

import attrs
import trio

from gossipreg.cli.service_manager import ServiceManager
from gossipreg.errors import GossipregError
from gossipreg.failures import reason_of
from gossipreg.frontends.proxy import Forward, Ports
from gossipreg.frontends.proxy.succession import start_successor
from gossipreg.model import Address
from gossipreg.runtime.supervision import leaves

_log = logging.getLogger("gossipreg.proxy")

#: Those that are handled.
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)

#: Reads the ports again. Raises ``ConfigError``.
Reload = Callable[[], Sequence[Forward]]

#: Is told of ports that were opened or changed.
Opened = Callable[[Sequence[tuple[Address, Forward]]], None]


@attrs.define(eq=False, repr=False)
class Signals:
    """What the signals of a running balancer do, to its ``ports`` and its ``metrics`` listeners.

    The start, a reload and a hand-over may wait for an agent; the signals that end the process wait for none of them.
    The start is what is done in ``starting``, until ``started`` is set.
    """

    ports: Ports
    reload: Reload | None
    opened: Opened
    manager: ServiceManager = attrs.field(factory=ServiceManager)
    metrics: Sequence[trio.SocketListener] = ()
    metrics_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    starting: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    started: trio.Event = attrs.field(factory=trio.Event)
    _is_ending: bool = attrs.field(init=False, default=False)
    _wanted: list[int] = attrs.field(init=False, factory=list)  # changes that wait, each once
    _is_wanted: trio.Event = attrs.field(init=False, factory=trio.Event)
    _changing: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _successor: trio.Process | None = attrs.field(init=False, default=None)  # kept: it outlives this process

    async def handle(self, signals: AsyncIterator[int]) -> None:
        """Let the connections end at the first signal to end; end the process at once at one that comes meanwhile."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._change)
            async for number in signals:
                if number in (signal.SIGHUP, signal.SIGUSR2):
                    self._want(number)
                else:
                    self._end(signal.Signals(number).name)

    def _end(self, name: str) -> None:
        if self._is_ending:
            _log.warning("%s while connections end: stopping at once", name)
            os._exit(1)
        self._is_ending = True
        self.starting.cancel()
        self._changing.cancel()
        connections = self.ports.connections
        _log.info("%s: accepting no more, %d connections to end", name, connections)
        self.manager.stopping(f"accepting no more, {connections} connections to end")
        self.ports.stop()

    def _want(self, number: int) -> None:
        if not self._is_ending and number not in self._wanted:
            self._wanted.append(number)
            self._is_wanted.set()

    async def _change(self) -> None:
        """Make the changes that are wanted, one after the other, until the balancer ends."""
        with self._changing:
            await self.started.wait()
            while not self._is_ending:
                await self._is_wanted.wait()
                number = self._wanted.pop(0)
                if not self._wanted:
                    self._is_wanted = trio.Event()
                await (self._reload() if number == signal.SIGHUP else self._hand_over())

    async def _reload(self) -> None:
        if self.reload is None:
            _log.info("SIGHUP: there is nothing to read again: the ports were given by --listen and --service")
            return
        with self.manager.reloading():
            try:
                forwards = await trio.to_thread.run_sync(self.reload, abandon_on_cancel=True)
                self.opened(await self.ports.replace(forwards))
            except* GossipregError as errors:
                for error in leaves(errors):
                    _log.error("%s (the ports stay as they were)", error)

    async def _hand_over(self) -> None:
        """Start this program anew with the listening sockets; accept no more once it is ready."""
        _log.info("SIGUSR2: starting a process that takes over")
        with ExitStack() as stack:
            listeners = stack.enter_context(self.ports.listeners_for_another())
            metrics = [stack.enter_context(socket.socket(fileno=os.dup(each.socket.fileno()))) for each in self.metrics]
            try:
                self._successor = await start_successor(listeners, metrics)
            except OSError as error:
                _log.error("no process could be started to take over: %s", reason_of(error))
                return
        if self._successor is not None:
            self._is_ending = True
            connections = self.ports.connections
            pid = self._successor.pid
            _log.info("process %d has taken over: accepting no more, %d connections to end", pid, connections)
            self.manager.succeeded_by(pid)
            self.metrics_scope.cancel()
            self.ports.hand_over()
