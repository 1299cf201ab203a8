"""Packet tap: the accusations that reach each node about itself, in datagrams and in frames of streams."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import attrs
import msgpack

from gossipreg.model import Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.wire.messages import SENDER_BYTES, pack
from gossipreg.protocol.wire.packets import PacketCodec, Refused
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.process import Process

#: Byte offsets of fields in a packed update, and the length before its name: array head, kind, string head.
_GENERATION, _INCARNATION, _STATUS, _HOST, _PORT = 2, 3, 4, 5, 6
_ACCUSER: Final = 9
_BEFORE_NAME: Final = 3

_ACCUSED: Final = (int(Status.SUSPECT), int(Status.FAILED))


@attrs.frozen
class Accusation:
    """An update says that a node is suspect or failed in one of the node's own claims."""

    claim: tuple[int, int]  # (generation, incarnation)
    status: Status
    update: MemberUpdate


Tell = Callable[[Process, Accusation], None]


@attrs.define
class PacketTap:
    """The taps of one oracle, one in each process of a cluster."""

    tell: Tell
    cluster: Cluster
    _taps: dict[Process, _Tap] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.cluster.frame_taps.append(self._frame)

    def attach(self, process: Process) -> None:
        """Observe the packets and frames of ``process`` from now on."""
        if process not in self._taps:
            self._taps[process] = _Tap(process.codec, process, self.tell)
            process.codec = self._taps[process]

    def _frame(self, process: Process, frame: bytes) -> None:
        if process in self._taps:
            self._taps[process].inspect(frame)


@attrs.define(eq=False)
class _Tap:
    """A packet codec that forwards to the process's own codec and reports accusations of that process."""

    inner: PacketCodec
    process: Process
    tell: Tell
    overhead: int = attrs.field(init=False)
    encode: Callable[..., bytes] = attrs.field(init=False)
    _prefix: bytes = attrs.field(init=False)  # the first bytes of an update about the process

    def __attrs_post_init__(self) -> None:
        self.overhead = self.inner.overhead
        self.encode = self.inner.encode
        own = self.process.engine.local_member.identity.own_update()
        self._prefix = pack(own)[: _BEFORE_NAME + len(own.name)]

    def vouch(self, host: str) -> None:
        """Forward to the codec."""
        self.inner.vouch(host)

    def decode(self, packet: bytes, wall: float, host: str = "") -> bytes | Refused:
        """Decode a packet, and inspect its payload."""
        payload = self.inner.decode(packet, wall, host)
        if type(payload) is bytes:
            self.inspect(payload)
        return payload

    def inspect(self, payload: bytes) -> None:
        """Search a payload or frame for updates about the process; without a match of bytes nothing is decoded."""
        at = payload.find(self._prefix, SENDER_BYTES)
        while at >= 0:
            unpacker = msgpack.Unpacker()
            unpacker.feed(payload[at:])
            with suppress(StopIteration, ValueError, msgpack.UnpackException):  # it may be a part of another message
                self._report(next(unpacker))
            at = payload.find(self._prefix, at + 1)

    def _report(self, fields: list[Any]) -> None:
        """Report an update that accuses the process."""
        own = self.process.engine.local_member.identity
        if len(fields) <= _ACCUSER:
            return
        of_this_run = fields[_GENERATION] == own.generation and tuple(fields[_HOST : _PORT + 1]) == own.address
        if fields[_STATUS] in _ACCUSED and of_this_run:
            claim, status = (fields[_GENERATION], fields[_INCARNATION]), Status(fields[_STATUS])
            update = attrs.evolve(own.own_update(), incarnation=claim[1], status=status, accuser=fields[_ACCUSER])
            self.tell(self.process, Accusation(claim, status, update))
