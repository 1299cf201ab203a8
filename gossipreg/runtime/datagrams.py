"""Datagrams: one non-blocking UDP socket, drained in bounded batches, with every packet sealed and opened."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator

import attrs
import trio

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address
from gossipreg.protocol.wire.packets import PacketCodec, Refused
from gossipreg.runtime.diagnostics import SendErrors
from gossipreg.runtime.supervision import log_bug

log = logging.getLogger(__name__)

#: Packets taken in one batch, and how long that may take (seconds), before other tasks get their turn.
_BATCH_MAX = 1024
_BATCH_SECONDS = 0.003

#: Packets between two looks at the clock.
_STRIDE = 32

#: Errors by which a kernel refuses an address now, although nothing is wrong with the packet: a firewall, no
#: route, no network.
_REJECTIONS = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
)

#: Least time between two warnings about one peer's clock (seconds).
_SKEW_WARNING_SECONDS = 60.0

#: Peers whose clock warnings are limited one by one.
_SKEW_PEERS_MAX = 256


@attrs.define(eq=False, repr=False)
class Datagrams:
    """One UDP socket and the seal in front of it. What cannot be sent, opened or believed is counted and dropped."""

    socket: socket.socket
    codec: PacketCodec
    counters: Counter[str]
    errors: SendErrors = attrs.field(factory=SendErrors)
    is_drained: bool = True  # whether the last batch ended because there was no more
    _warned: dict[str, float] = attrs.field(factory=dict)

    def disown(self) -> None:
        """Close this process's copy of the socket, in a fork of the process that owns it; no peer notices."""
        if self.socket.fileno() != -1:
            os.close(self.socket.detach())

    async def wait(self) -> None:
        """Return when there may be something to `receive`."""
        await trio.lowlevel.wait_readable(self.socket)

    def receive(self) -> Iterator[tuple[bytes, Address]]:
        """The packets that have arrived, opened; at most one batch."""
        wall, began = time.time(), time.perf_counter()
        self.is_drained = False
        for number in range(1, _BATCH_MAX + 1):
            if number % _STRIDE == 0 and time.perf_counter() - began >= _BATCH_SECONDS:
                return
            try:
                packet, name = self.socket.recvfrom(limits.RECEIVE_BYTES_MAX + 1)
            except BlockingIOError:
                self.is_drained = True
                return
            except OSError:  # an ICMP error about an earlier packet, reported late
                self.counters[Count.RECEIVE_ERRORS] += 1
                continue
            source = Address(name[0], name[1])
            try:
                payload = self.codec.decode(packet, wall, source.host)
            except Exception as error:  # noqa: BLE001 - it is logged
                log_bug(self.counters, f"a packet from {source}", error)
                continue
            if isinstance(payload, Refused):
                self.counters[payload.reason.counter] += 1
                if payload.skew is not None:
                    self._warn_of_skew(source, payload.skew)
            else:
                self.counters[Count.BYTES_RECEIVED] += len(packet)
                yield payload, source

    def send(self, payload: bytes, to: Address) -> bool:
        """Seal and send, or count why not: gossip repeats what is lost. False if this host's kernel rejects it."""
        packet = self.codec.encode(payload, time.time())
        self.counters[Count.PACKETS_SENT] += 1
        self.counters[Count.BYTES_SENT] += len(packet)
        try:
            self.socket.sendto(packet, tuple(to))
        except BlockingIOError:
            self.counters[Count.PACKETS_OVER_SEND_BUFFER] += 1
        except (OSError, OverflowError) as error:  # no route, a firewall, an address of the wrong family
            self.counters[Count.SEND_ERRORS] += 1
            self.errors.record(error, to)
            return getattr(error, "errno", None) not in _REJECTIONS
        return True

    def _warn_of_skew(self, source: Address, skew: float) -> None:
        now = time.monotonic()
        if now - self._warned.get(source.host, -_SKEW_WARNING_SECONDS) < _SKEW_WARNING_SECONDS:
            return
        if len(self._warned) >= _SKEW_PEERS_MAX:
            self._warned.clear()
        self._warned[source.host] = now
        log.warning(
            "packets from %s are refused: its clock is %.0f s %s ours; synchronise both clocks",
            source,
            abs(skew),
            "ahead of" if skew > 0 else "behind",
        )
