"""Knows how many packets and bytes a cluster's gossip is: it counts every IP packet on the loopback device.

The same eye for both sides, outside of both: a packet socket on `lo` (needs CAP_NET_RAW). A packet counts if either of
its ports is a gossip port of the cluster, so TCP counts with all its acknowledgements. Segments that the kernel does
not cut up on loopback count as one packet.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection

import attrs
import trio

from tests.bench.processes import BenchError

_ETH_P_IP = 0x0800
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_RECEIVE_BUFFER_BYTES = 8 << 20
_TCP, _UDP = 6, 17
_UDP_HEADER_BYTES = 8


@attrs.frozen
class Count:
    """What was counted: packets, their bytes from the IP header on, and the bytes in them that are not headers."""

    packets: int = 0
    ip_bytes: int = 0
    payload_bytes: int = 0

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


async def count(ports: Collection[int], seconds: float) -> Count:
    """Count for so long. Raises ``BenchError`` without the right to, or if the kernel let packets slip."""
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
    except PermissionError:
        raise BenchError(
            "idle traffic is counted on a packet socket, which needs CAP_NET_RAW: run as root, or leave out idle"
        ) from None
    with tap:
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        tap.setblocking(False)
        tap.bind(("lo", _ETH_P_IP))
        total = Count()
        with trio.move_on_after(seconds):
            while True:
                await trio.lowlevel.wait_readable(tap)
                total = _drain(tap, ports, total)
        statistics = tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        if dropped := struct.unpack("II", statistics)[1]:
            raise BenchError(f"the kernel let {dropped} packets slip past the count of idle traffic: run it again")
        return total


def _drain(tap: socket.socket, ports: Collection[int], total: Count) -> Count:
    while True:
        try:
            packet = tap.recv(128)
        except BlockingIOError:
            return total
        total += count_of(packet, ports) or Count()
