"""PacketSwitch: carries the gossip of the playground's agents, and loses or delays what it is told to.

Each agent advertises an address of the switch instead of its own. The switch knows the sender of a packet by its port,
and that of a stream by the process that holds the other end of the connection. It runs in a thread of its own.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import attrs
import trio

from gossipreg.errors import GossipregError

#: Largest datagram (bytes), and how much of a stream is carried at a time.
_BYTES: Final = 65_536

#: Packets that are delayed at one time; further ones are lost, as where a queue is full.
_DELAYED_MAX: Final = 4096

#: How long a stream waits for a cut link before it is looked at again (seconds).
_LOOK_SECONDS: Final = 0.05

_HOST: Final = "127.0.0.1"


@attrs.define(eq=False, repr=False)
class _Port:
    """One agent: the address that it advertises, which is the switch's, and the one that it has bound."""

    name: str
    packets: trio.socket.SocketType
    listener: trio.SocketListener
    bound: tuple[str, int]
    advertised: tuple[str, int]
    pid: int = 0
    gone: trio.Event = attrs.field(factory=trio.Event)  # set when its process has ended


@attrs.define(eq=False, repr=False)
class PacketSwitch:
    """The links between agents, each in both directions. Any thread may change them."""

    lost: set[tuple[str, str]] = attrs.field(factory=set)  # (from, to)
    delays: dict[str, float] = attrs.field(factory=dict)  # of what an agent sends and receives (seconds)
    _ports: dict[str, _Port] = attrs.field(init=False, factory=dict)
    _between: dict[tuple[str, str], trio.socket.SocketType] = attrs.field(init=False, factory=dict)
    _token: trio.lowlevel.TrioToken | None = attrs.field(init=False, default=None)
    _nursery: trio.Nursery | None = attrs.field(init=False, default=None)
    _thread: threading.Thread = attrs.field(init=False)
    _ready: threading.Event = attrs.field(init=False, factory=threading.Event)
    _delayed: int = attrs.field(init=False, default=0)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=trio.run, args=(self._run,), daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        with suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(self._stop, trio_token=self._token)
        self._thread.join()

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                self._token = trio.lowlevel.current_trio_token()
                self._ready.set()
                await trio.sleep_forever()
        finally:
            for port in self._ports.values():
                port.packets.close()
                port.listener.socket.close()
            for between in self._between.values():
                between.close()

    def _stop(self) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    def add(self, name: str) -> tuple[str, str]:
        """Add an agent: the address that it is to bind, and the one that it is to advertise."""
        assert self._token is not None
        port: _Port = trio.from_thread.run(self._add, name, trio_token=self._token)
        return f"{_HOST}:{port.bound[1]}", f"{_HOST}:{port.packets.getsockname()[1]}"

    async def _add(self, name: str) -> _Port:
        assert self._nursery is not None
        packets, streams = await _pair()
        probe_packets, probe_streams = await _pair()  # a port that is free now; the agent binds it in a moment
        bound = probe_packets.getsockname()
        probe_packets.close()
        probe_streams.close()
        streams.listen(128)
        port = _Port(name, packets, trio.SocketListener(streams), bound, packets.getsockname())
        for other in self._ports:
            for pair in ((name, other), (other, name)):
                between = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                await between.bind((_HOST, 0))
                self._between[pair] = between
        self._ports[name] = port
        for other in self._ports:
            if other != name:
                self._nursery.start_soon(self._carry_back, name, other)
                self._nursery.start_soon(self._carry_back, other, name)
        self._open(port)
        return port

    def _open(self, port: _Port) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._carry_packets, port)
        self._nursery.start_soon(self._carry_streams, port)

    def runs(self, name: str, pid: int) -> None:
        """The process of an agent has this id from now on.

        Raises ``GossipregError`` if the advertised port was taken by another program after `ended`.
        """
        assert self._token is not None
        trio.from_thread.run(self._runs, self._ports[name], pid, trio_token=self._token)

    async def _runs(self, port: _Port, pid: int) -> None:
        port.pid = pid
        if port.packets.fileno() < 0:
            port.packets, streams = await _pair(port.advertised, tries=1)
            streams.listen(128)
            port.listener = trio.SocketListener(streams)
            self._open(port)

    def ended(self, name: str) -> None:
        """The process of an agent has ended: its streams end, and its ports are closed, as its kernel would do it.

        So the kernel reports to the others that what they send there is refused.
        """

        def end() -> None:
            port = self._ports[name]
            port.pid = 0
            port.gone.set()
            port.gone = trio.Event()
            port.packets.close()
            port.listener.socket.close()

        assert self._token is not None
        trio.from_thread.run_sync(end, trio_token=self._token)

    # Packets

    async def _carry_packets(self, to: _Port) -> None:
        """Carry what the others send to the advertised address of ``to``, until that is closed."""
        packets = to.packets
        while packets.fileno() >= 0:
            with suppress(OSError, trio.ClosedResourceError):
                data, source = await packets.recvfrom(_BYTES)
                sender = next((each.name for each in self._ports.values() if each.bound == source), None)
                if sender is not None and sender != to.name:
                    self._carry(sender, to.name, data, self._between[sender, to.name], to.bound)

    async def _carry_back(self, sender: str, to: str) -> None:
        """Carry what ``to`` answers to packets of ``sender``: it comes from the advertised address of ``to``."""
        between = self._between[sender, to]
        while True:
            with suppress(OSError):
                data, source = await between.recvfrom(_BYTES)
                if source == self._ports[to].bound:
                    self._carry(to, sender, data, self._ports[to].packets, self._ports[sender].bound)

    def _carry(self, sender: str, to: str, data: bytes, by: trio.socket.SocketType, where: tuple[str, int]) -> None:
        if (sender, to) in self.lost or self._delayed >= _DELAYED_MAX:
            return
        assert self._nursery is not None
        self._delayed += 1
        self._nursery.start_soon(self._send, self._delay(sender, to), data, by, where)

    def _delay(self, *names: str) -> float:
        return sum(self.delays.get(name, 0.0) for name in names)

    async def _send(self, delay: float, data: bytes, by: trio.socket.SocketType, where: tuple[str, int]) -> None:
        if delay:
            await trio.sleep(delay)
        self._delayed -= 1
        with suppress(OSError, trio.ClosedResourceError):
            await by.sendto(data, where)

    # Streams

    async def _carry_streams(self, to: _Port) -> None:
        listener = to.listener
        with suppress(trio.ClosedResourceError):
            while True:
                stream = await listener.accept()
                if not to.pid:
                    _reset(stream)
                    continue
                assert self._nursery is not None
                self._nursery.start_soon(self._carry_stream, stream, to)

    async def _carry_stream(self, stream: trio.SocketStream, to: _Port) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when, to.gone, nursery.cancel_scope)
                with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._carry_both(stream, self._holder(stream.socket.getpeername()[1]), to)
                nursery.cancel_scope.cancel()
        finally:
            _reset(stream)

    async def _carry_both(self, stream: trio.SocketStream, sender: str, to: _Port) -> None:
        await self._passing(sender, to.name)
        onward = await trio.open_tcp_stream(*to.bound)
        try:
            async with trio.open_nursery() as both:
                both.start_soon(self._pump, stream, onward, sender, to.name, both.cancel_scope)
                both.start_soon(self._pump, onward, stream, to.name, sender, both.cancel_scope)
        finally:
            _reset(onward)

    async def _pump(
        self,
        source: trio.SocketStream,
        target: trio.SocketStream,
        sender: str,
        to: str,
        both: trio.CancelScope,
    ) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await self._passing(sender, to)
                await trio.sleep(self._delay(sender, to))
                await target.send_all(data)
        both.cancel()

    async def _passing(self, one: str, other: str) -> None:
        """Wait until both directions pass: a stream needs both."""
        while (one, other) in self.lost or (other, one) in self.lost:  # noqa: ASYNC110 - changed by another thread
            await trio.sleep(_LOOK_SECONDS)

    def _holder(self, port: int) -> str:
        """The agent whose process has the connection from ``port``; nothing if it is none's."""
        inode = _inode_of(port)
        return next((each.name for each in self._ports.values() if each.pid and inode in _sockets_of(each.pid)), "")


async def _pair(
    wanted: tuple[str, int] = (_HOST, 0), tries: int = 100
) -> tuple[trio.socket.SocketType, trio.socket.SocketType]:
    """A socket for packets and one for streams, of one port."""
    for _ in range(tries):
        packets = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        streams = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # streams of before may not be over
        try:
            await packets.bind(wanted)
            await streams.bind(packets.getsockname())
        except OSError:
            packets.close()
            streams.close()
            continue
        return packets, streams
    what = f"port {wanted[1]}" if wanted[1] else "port"
    raise GossipregError(f"no {what} of loopback is free for both UDP and TCP: end other programs")


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _reset(stream: trio.SocketStream) -> None:
    """End a stream at once, as the kernel of a dead process does."""
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def _inode_of(port: int) -> str:
    """The inode of the socket of this host that is connected from ``port``; nothing if there is none."""
    wanted = f"{port:04X}"
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{wanted}"):
            return fields[9]
    return ""


def _sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process holds."""
    found = set()
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry.path)):
                    found.add(match[1])
    return found
