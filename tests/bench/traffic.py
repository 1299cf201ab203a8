"""Traffic of a cluster's gossip in packets and bytes: counts every IP packet on the loopback device.

The same eye for both sides, outside of both: a packet socket on `lo` (needs CAP_NET_RAW). A packet counts if either of
its ports is a gossip port of the cluster, so TCP counts with all its acknowledgements. Segments that the kernel does
not cut up on loopback count as one packet.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import attrs
import trio

from tests.bench.processes import BenchError

_ETH_P_IP = 0x0800
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER_BYTES = 64 << 20
_TCP, _UDP = 6, 17
_UDP_HEADER_BYTES = 8


@attrs.frozen
class Count:
    """What was counted: packets, their bytes from the IP header on, and the bytes in them that are not headers."""

    packets: int = 0
    ip_bytes: int = 0
    payload_bytes: int = 0

    def beyond(self, rest: Count, times: float) -> Count:
        """What is left without ``rest``, which was counted over 1/``times`` of the time."""
        return Count(
            round(self.packets - times * rest.packets),
            round(self.ip_bytes - times * rest.ip_bytes),
            round(self.payload_bytes - times * rest.payload_bytes),
        )

    def __add__(self, other: Count) -> Count:
        return Count(
            self.packets + other.packets,
            self.ip_bytes + other.ip_bytes,
            self.payload_bytes + other.payload_bytes,
        )


def count_of(packet: bytes, ports: Collection[int]) -> Count | None:
    """What one IPv4 packet counts for; None if it has nothing to do with ``ports``. its first 60 bytes are enough."""
    header, protocol = 4 * (packet[0] & 0x0F), packet[9]
    if protocol not in (_TCP, _UDP):
        return None
    source, destination = struct.unpack_from("!HH", packet, header)
    if source not in ports and destination not in ports:
        return None
    (total,) = struct.unpack_from("!H", packet, 2)
    transport = _UDP_HEADER_BYTES if protocol == _UDP else 4 * (packet[header + 12] >> 4)
    return Count(1, total, total - header - transport)


@attrs.define(eq=False)
class Counter:
    """Counts while it is open; ``total`` is the count so far."""

    ports: Collection[int]
    tap: socket.socket
    total: Count = Count()

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self.tap)
            self._drain()

    def end(self) -> Count:
        """Count what has come until now. Raises ``BenchError`` if the kernel let packets slip."""
        self._drain()
        statistics = self.tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        if dropped := struct.unpack("II", statistics)[1]:
            raise BenchError(f"the kernel let {dropped} packets slip past the count of traffic: run it again")
        return self.total

    def _drain(self) -> None:
        while True:
            try:
                packet = self.tap.recv(128)
            except BlockingIOError:
                return
            self.total += count_of(packet, self.ports) or Count()


@asynccontextmanager
async def counting(ports: Collection[int]) -> AsyncIterator[Counter]:
    """Count meanwhile. Raises ``BenchError`` without the right to."""
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
    except PermissionError:
        raise BenchError(
            "traffic is counted on a packet socket, which needs CAP_NET_RAW: run as root, or leave out idle and burst"
        ) from None
    with tap:
        _make_room(tap)
        tap.setblocking(False)
        tap.bind(("lo", _ETH_P_IP))
        async with trio.open_nursery() as nursery:
            counter = Counter(ports, tap)
            nursery.start_soon(counter.run)
            yield counter
            nursery.cancel_scope.cancel()


def _make_room(tap: socket.socket) -> None:
    """For what comes before it is looked at: as much as wanted with CAP_NET_ADMIN, else as much as there may be."""
    try:
        tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    except PermissionError:
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)


async def count(ports: Collection[int], seconds: float) -> Count:
    """Count for so long. Raises ``BenchError`` without the right to, or if the kernel let packets slip."""
    async with counting(ports) as counter:
        await trio.sleep(seconds)
        return counter.end()
