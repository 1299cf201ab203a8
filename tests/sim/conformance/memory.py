"""Sockets in memory: packets and streams between them, on trio's clock, with the scene's latencies.

For trio's event loop a datagram socket is a real, non-blocking one: one end of a socket pair whose other end is written
to when a packet arrives. So production code waits for it and drains it as usual. Connections are trio socket objects of
our own, which `trio.socket.set_custom_socket_factory` supplies.
"""

from __future__ import annotations

import errno
import heapq
import math
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import Any

import attrs
import trio
import trio.testing

from gossipreg.model import Address
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.world import SECOND
from tests.sim.conformance.scene import address_of, latency, name_at

#: Retry interval of a byte that cannot get through (seconds), as in the simulator.
_STALL = 0.4

#: Lead of a stream's data over a datagram sent at the same instant (seconds): a stream's writer is a task that runs
#: after the datagram is sent; the simulator sends in the order of the outputs.
_HEAD_START = 1e-7

#: Time limit after which the far end of a closed connection is closed (seconds; as simulated).
_PATIENCE = EngineSettings().stream_patience

#: Maximum size of one read (bytes).
_READ = 65_536

#: The host of the current task: a socket that connects belongs to it.
_here: ContextVar[str] = ContextVar("host")


@attrs.define(eq=False)
class Wires:
    """All hosts and everything in flight between them, in sending order."""

    datagrams: dict[Address, DatagramSocket] = attrs.field(factory=dict)
    listeners: dict[Address, Listener] = attrs.field(factory=dict)
    silent: set[str] = attrs.field(factory=set)
    cut_off: frozenset[str] = frozenset()
    sent: int = 0  # datagrams
    _ports: Iterator[int] = attrs.field(factory=lambda: count(32_768))
    _agenda: list[tuple[float, int, Callable[[], None]]] = attrs.field(factory=list)
    _serials: Iterator[int] = attrs.field(factory=count)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        """Deliver everything at its time, one event after another, until cancelled.

        Before each event all tasks have finished their work from the last one. Production code guarantees no order for
        events of one instant, but a comparison needs one; the simulator's is the sending order.
        """
        while True:
            with trio.move_on_at(self._agenda[0][0] if self._agenda else math.inf):
                await self._changed.wait()
            self._changed = trio.Event()
            while self._agenda and self._agenda[0][0] <= trio.current_time():
                heapq.heappop(self._agenda)[2]()
                await trio.testing.wait_all_tasks_blocked()

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Run the block as a task on the host of ``name``."""
        token = _here.set(name)
        try:
            yield
        finally:
            _here.reset(token)

    def gets_through(self, sender: str, receiver: str) -> bool:
        """Whether what is sent now arrives."""
        apart = (sender in self.cut_off) != (receiver in self.cut_off)
        return not apart and not {sender, receiver} & self.silent

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Schedule ``event`` in ``seconds``."""
        heapq.heappush(self._agenda, (trio.current_time() + seconds, next(self._serials), event))
        self._changed.set()

    def ephemeral(self) -> Address:
        """Return a new port on the host of the current task."""
        return Address(address_of(_here.get()).host, next(self._ports))


def seconds_between(sender: str, receiver: str) -> float:
    """Return the one-way latency (seconds)."""
    return latency(sender, receiver, trio.current_time()) / SECOND


class DatagramSocket(socket.socket):
    """A UDP socket; for trio, the real end of a socket pair that becomes readable when a packet arrives."""

    def __init__(self, wires: Wires, name: str) -> None:
        ours, self._bell = socket.socketpair()
        super().__init__(fileno=ours.detach())
        self.setblocking(False)
        self._bell.setblocking(False)
        self._wires = wires
        self._name = name
        self._arrived: deque[tuple[bytes, tuple[str, int]]] = deque()
        wires.datagrams[address_of(name)] = self

    def getsockname(self) -> tuple[str, int]:
        own = address_of(self._name)
        return own.host, own.port

    def sendto(self, data: Any, to: Any) -> int:  # type: ignore[override]
        self._wires.sent += 1
        name = name_at(to[0])
        if self._wires.gets_through(self._name, name):
            packet, there = bytes(data), Address(to[0], to[1])
            self._wires.after(seconds_between(self._name, name), lambda: self._deliver(packet, there))
        return len(data)

    def _deliver(self, packet: bytes, to: Address) -> None:
        receiver = self._wires.datagrams.get(to)
        if receiver is not None and name_at(to.host) not in self._wires.silent:
            source = address_of(self._name)
            receiver._arrived.append((packet, (source.host, source.port)))
            receiver._bell.send(b"!")

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, tuple[str, int]]:
        if not self._arrived:
            raise BlockingIOError
        self.recv(1)
        return self._arrived.popleft()

    def close(self) -> None:
        self._wires.datagrams.pop(address_of(self._name), None)
        self._bell.close()
        super().close()


class Listener(trio.socket.SocketType):
    """A listening TCP socket."""

    def __init__(self, wires: Wires, name: str) -> None:
        super().__init__()
        self._wires = wires
        self._name = name
        self._arrive, self._arrived = trio.open_memory_channel[Connection](math.inf)
        wires.listeners[address_of(name)] = self

    type = socket.SOCK_STREAM

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        return 1  # SO_ACCEPTCONN

    def called(self, connection: Connection) -> None:
        """Queue an incoming connection."""
        self._arrive.send_nowait(connection)

    async def accept(self) -> tuple[trio.socket.SocketType, Any]:
        connection = await self._arrived.receive()
        return connection, connection.getpeername()

    def close(self) -> None:
        self._wires.listeners.pop(address_of(self._name), None)


class Connection(trio.socket.SocketType):
    """One end of a TCP connection."""

    def __init__(self, wires: Wires, ours: Address | None = None, theirs: Address | None = None) -> None:
        super().__init__()
        self._wires = wires
        self._ours = ours or wires.ephemeral()
        self._theirs = theirs
        self._far: Connection | None = None
        self._closed = False
        self._hear, self._heard = trio.open_memory_channel[bytes](math.inf)
        self._to_send: deque[bytes | None] = deque()  # None: the end

    type = socket.SOCK_STREAM
    did_shutdown_SHUT_WR = False  # noqa: N815 - trio's name

    def setsockopt(self, *_: Any) -> None:
        pass

    def getpeername(self) -> Any:
        assert self._theirs is not None
        return tuple(self._theirs)

    async def connect(self, to: Any) -> None:
        self._theirs = Address(to[0], to[1])
        us, them = name_at(self._ours.host), name_at(to[0])
        if not self._wires.gets_through(us, them):
            await trio.sleep_forever()
        there, back = seconds_between(us, them), seconds_between(them, us)
        began = trio.current_time()
        await trio.sleep_until(began + there)
        listener = self._wires.listeners.get(self._theirs)
        if listener is not None:
            self._far = Connection(self._wires, self._theirs, self._ours)
            self._far._far = self
            listener.called(self._far)
        await trio.sleep_until(began + there + back)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "no listener")

    async def send(self, data: Any, flags: int = 0) -> int:
        await trio.lowlevel.checkpoint()
        self._put(bytes(data))
        return len(data)

    def _put(self, data: bytes | None) -> None:
        self._to_send.append(data)
        if len(self._to_send) == 1:
            self._flow()

    def _flow(self) -> None:
        """Send all that gets through; retry later if something does not."""
        assert self._theirs is not None
        us, them = name_at(self._ours.host), name_at(self._theirs.host)
        while self._to_send:
            if not self._wires.gets_through(us, them):
                self._wires.after(_STALL, self._flow)
                return
            self._wires.after(seconds_between(us, them) - _HEAD_START, partial(self._arrive, self._to_send.popleft()))

    def _arrive(self, data: bytes | None) -> None:
        far = self._far
        if far is None or far._closed:
            return
        if data is None:
            far._hear.close()
        else:
            for start in range(0, len(data), _READ):
                far._hear.send_nowait(data[start : start + _READ])

    async def recv(self, size: int, flags: int = 0) -> bytes:
        assert size >= _READ
        try:
            return await self._heard.receive()
        except trio.EndOfChannel:
            return b""

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._far is not None:
                self._put(None)
                self._wires.after(_PATIENCE, self._give_up_far)

    def _give_up_far(self) -> None:
        """Close the far end if the close did not get through to it."""
        assert self._far is not None
        if not self._far._closed:
            self._far._hear.close()


@attrs.frozen
class Factory(trio.abc.SocketFactory):
    """Creates the sockets with which production code connects."""

    wires: Wires

    def socket(self, family: Any = None, type: Any = None, proto: int = 0) -> trio.socket.SocketType:  # noqa: A002
        assert type == socket.SOCK_STREAM
        return Connection(self.wires)
