"""Gossip streams on trio: opens, accepts, reads and writes them, and closes one on which no frame comes.

Only an authentic frame counts as progress. Bytes do not, and neither does a hello: any host that saw one can replay
its key id.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final
from weakref import WeakSet

import attrs
import trio

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.model import Address
from gossipreg.protocol.outputs import OpenStream
from gossipreg.protocol.wire.keyring import GossipKeyring
from gossipreg.protocol.wire.streams import NONCE_BYTES, StreamCodec, StreamRefused
from gossipreg.runtime.accepting import serve
from gossipreg.runtime.diagnostics import SendErrors
from gossipreg.runtime.joining import JoinFailureReason, JoinReport, reason_of
from gossipreg.runtime.stream_slots import StreamSlots
from gossipreg.runtime.supervision import run_contained

log = logging.getLogger(__name__)

#: Frames queued for a slow reader before its stream is closed; 64 MiB at most.
_OUTBOX_FRAMES = 256

_READ_BYTES = 65_536

OnFrame = Callable[[int, bytes, Address], None]
OnEnd = Callable[[int, bool], None]


#: What else the end of a sealed stream before its first frame may mean.
_OR_CELLS: Final = ", or only one of the two has a cell"


@attrs.define(eq=False, repr=False)
class _Line:
    """One open stream: its codec, its send queue, and its cancel scope."""

    number: int
    peer: Address
    codec: StreamCodec
    outbox: trio.MemorySendChannel[bytes]
    to_send: trio.MemoryReceiveChannel[bytes]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ready: trio.Event = attrs.field(factory=trio.Event)
    idle: bool = False  # whether it may be silent
    closing: bool = False  # nothing more is read or queued, but what was queued is still sent
    heard: bool = False  # whether an authentic frame came
    deadline: float = math.inf  # when it is closed, unless more comes
    frame_deadline: float = math.inf  # when the frame that has begun must be whole
    reason: JoinFailureReason | None = None  # why this side has closed it


@attrs.define(eq=False, repr=False)
class Streams:
    """Every stream of a node, by number: positive for opened ones, negative for accepted ones."""

    cluster: str
    keyring: GossipKeyring | None = attrs.field(repr=False)
    patience: float  # seconds without progress after which an accepted stream is closed
    counters: Counter[str]
    on_frame: OnFrame
    on_end: OnEnd
    nursery: trio.Nursery
    report: JoinReport | None = None  # is told how streams end
    errors: SendErrors | None = None  # counts what the kernel refuses to connect
    on_proven: Callable[[str], None] | None = None  # is told which hosts hold the key
    _lines: dict[int, _Line] = attrs.field(factory=dict)
    _accepted: int = 0
    _slots: StreamSlots = attrs.field(factory=StreamSlots)
    _sockets: WeakSet[trio.socket.SocketType] = attrs.field(factory=WeakSet)

    def open(self, opening: OpenStream) -> None:
        """Connect in the background; `on_end` is called exactly once, whatever happens."""
        self.nursery.start_soon(
            run_contained, self.counters, f"the stream to {opening.to}", partial(self._call, opening)
        )

    def send(self, number: int, frame: bytes) -> None:
        """Queue a frame. It is dropped if the stream is gone; a stream that is too slow is closed."""
        line = self._lines.get(number)
        if line is None or line.closing:
            return
        try:
            line.outbox.send_nowait(frame)
        except trio.WouldBlock:
            self.counters[Count.STREAMS_TOO_SLOW] += 1
            self._break_off(line)

    def keep(self, number: int) -> None:
        """Let a stream on which a frame has just come in be silent without limit."""
        line = self._lines.get(number)
        if line is not None:
            line.idle = True
            self._slots.keep(number)

    def close(self, number: int) -> None:
        """Close a stream after what was queued on it."""
        line = self._lines.get(number)
        if line is not None:
            line.closing = True
            line.outbox.close()

    def end_unheld(self) -> None:
        """End the streams that are sealed with a key that is not held any more; what still needs one opens another."""
        for line in list(self._lines.values()):
            if self.keyring is not None and any(each not in self.keyring for each in line.codec.key_ids):
                self._break_off(line)

    def disown(self) -> None:
        """Close this process's copies of all sockets, in a fork of the process that owns them; no peer notices."""
        for each in list(self._sockets):
            if each.fileno() != -1:
                os.close(each.detach())  # not `close`: that is for the process that runs the loop

    async def serve(self, listener: socket.socket) -> None:
        """Accept streams until cancelled."""
        ours = trio.socket.from_stdlib_socket(listener)
        self._sockets.add(ours)
        await serve(self._accept, [trio.SocketListener(ours)], self.counters, Count.STREAMS_NOT_ACCEPTED)

    async def _call(self, opening: OpenStream) -> None:
        refused = False
        try:
            stream = await self._connect(opening)
            if stream is not None:
                async with stream:
                    line = self._line(opening.stream, opening.to, opened_by_us=True)
                    line.idle = opening.idle
                    line.outbox.send_nowait(opening.frame)
                    await self._speak(line, stream, opening.patience)
                    self._conclude(line)
        except ConnectionRefusedError:
            refused = True
            self._failed(opening.to, JoinFailureReason.REFUSED)
        finally:
            self._lines.pop(opening.stream, None)
            self.on_end(opening.stream, refused)

    async def _connect(self, opening: OpenStream) -> trio.SocketStream | None:
        """A connection, or None. Raises ``ConnectionRefusedError`` when the peer's kernel reports a closed port."""
        with trio.move_on_after(opening.patience):
            try:
                return await self._connected(opening.to, opening.segment)
            except ConnectionRefusedError:
                self.counters[Count.STREAMS_REFUSED] += 1
                raise
            except OSError as error:
                if self.errors is not None:
                    self.errors.record(error, opening.to)
                self._failed(
                    opening.to, JoinFailureReason.UNREACHABLE, f"it cannot be reached: {error.strerror or error}"
                )
                self.counters[Count.STREAMS_NOT_CONNECTED] += 1
                return None
        self._failed(opening.to, JoinFailureReason.NO_ANSWER)
        self.counters[Count.STREAMS_NOT_CONNECTED] += 1
        return None

    async def _connected(self, to: Address, segment: int) -> trio.SocketStream:
        """A connection to an IP address, with segments of at most ``segment`` bytes unless it is 0.

        Raises the kernel's ``OSError``: which one it is matters to the caller.
        """
        family = trio.socket.AF_INET6 if ":" in to.host else trio.socket.AF_INET
        made = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        self._sockets.add(made)
        try:
            if segment:
                made.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_MAXSEG, segment)
            await made.connect(tuple(to))
        except BaseException:
            made.close()
            raise
        return trio.SocketStream(made)

    async def _accept(self, stream: trio.SocketStream) -> None:
        self._sockets.add(stream.socket)
        try:
            name = stream.socket.getpeername()
        except OSError:  # gone already
            return
        self._accepted -= 1
        line = self._line(self._accepted, Address(name[0], name[1]), opened_by_us=False)
        self._give_way(self._slots.admit(line.number, line.peer.host))
        try:
            await self._speak(line, stream, self.patience)
            self._conclude(line)
        finally:
            self._slots.release(line.number)
            del self._lines[line.number]
            self.on_end(line.number, False)

    def _give_way(self, number: int | None) -> None:
        """Close an accepted stream at once, to make room for another."""
        if number is not None:
            self.counters[Count.STREAMS_GAVE_WAY] += 1
            self._break_off(self._lines[number])

    def _break_off(self, line: _Line) -> None:
        line.closing = True
        line.scope.cancel()

    def _line(self, number: int, peer: Address, *, opened_by_us: bool) -> _Line:
        codec = StreamCodec(self.cluster, self.keyring, os.urandom(NONCE_BYTES), opened_by_us)
        line = self._lines[number] = _Line(number, peer, codec, *trio.open_memory_channel[bytes](_OUTBOX_FRAMES))
        return line

    async def _speak(self, line: _Line, stream: trio.SocketStream, patience: float) -> None:
        """Greet, then read and write side by side until either is done."""
        with line.scope:
            try:
                await stream.send_all(
                    line.codec.hello()
                )  # first, so that a peer without the key learns why it is refused
            except trio.BrokenResourceError:
                self.counters[Count.STREAMS_BROKEN] += 1
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(self._write, line, stream, patience))
                await self._read(line, stream, patience)
                nursery.cancel_scope.cancel()

    async def _write(self, line: _Line, stream: trio.SocketStream, patience: float) -> None:
        await line.ready.wait()
        try:
            async for frame in line.to_send:
                with trio.fail_after(patience):
                    await stream.send_all(line.codec.frame(frame))
        except (trio.BrokenResourceError, trio.TooSlowError):
            self.counters[Count.STREAMS_BROKEN] += 1
        line.scope.cancel()

    async def _read(self, line: _Line, stream: trio.SocketStream, patience: float) -> None:
        try:
            await self._listen(line, stream, patience)
        except StreamRefused as refusal:
            self.counters[refusal.reason.counter] += 1
            line.reason = reason_of(refusal.reason)
        except trio.TooSlowError:
            self.counters[Count.STREAMS_SILENT] += 1
            line.reason = JoinFailureReason.SILENT if line.codec.ready else JoinFailureReason.NOT_GOSSIP
        except trio.BrokenResourceError:
            self.counters[Count.STREAMS_BROKEN] += 1

    async def _listen(self, line: _Line, stream: trio.SocketStream, patience: float) -> None:
        """Hand in frames until the peer ends the stream. Raises if this side must close it.

        Until its first authentic frame a peer may have sent anything: the hello has ``patience`` seconds, the first
        frame as many again, and no byte earns more. After that, only whole frames count as progress.
        """
        line.deadline = trio.current_time() + patience
        while True:
            with trio.fail_at(line.deadline):
                data = await stream.receive_some(_READ_BYTES)
            if not data:
                if line.codec.doubt is not None and not line.heard:
                    raise StreamRefused(line.codec.doubt)
                return
            was_ready, was_mid_frame = line.codec.ready, line.codec.is_mid_frame
            frames = line.codec.feed(data)
            if line.codec.ready and not was_ready:
                line.ready.set()
                line.deadline += patience
                self._note_own_end(line)
            if frames:
                self._progressed(line)
            for frame in frames:
                if not line.closing:
                    self.on_frame(line.number, frame, line.peer)
            if line.heard:
                self._set_deadline(line, patience, begun=bool(frames) or not was_mid_frame)

    def _note_own_end(self, line: _Line) -> None:
        """Note at our end why the stream will end if its peer is this node itself, at another of its addresses.

        The engine ends such a stream. Nothing is ended here: a host that has seen our nonce can send it as its own.
        """
        if line.number < 0:
            for other in self._lines.values():
                if other.number > 0 and other.codec.nonce == line.codec.peer_nonce and not other.heard:
                    other.reason = JoinFailureReason.ITSELF

    def _progressed(self, line: _Line) -> None:
        """An authentic frame came: the peer holds the key."""
        if line.heard:
            return
        line.heard = True
        if self.on_proven is not None:
            self.on_proven(line.peer.host)
        if line.number > 0:
            if self.report is not None:
                self.report.answered(line.peer)
            return
        victim = self._slots.prove(line.number)
        if victim == line.number:
            self.counters[Count.STREAMS_OVER_LIMIT] += 1
            self._break_off(line)
        else:
            self._give_way(victim)

    def _set_deadline(self, line: _Line, patience: float, *, begun: bool) -> None:
        """When the stream is closed for silence; ``begun``: a frame is on its way, and its first byte came just now."""
        now = trio.current_time()
        if not line.codec.is_mid_frame:
            line.deadline = math.inf if line.idle else now + patience
            return
        if begun:
            line.frame_deadline = now + limits.FRAME_SECONDS_MAX
        line.deadline = min(line.frame_deadline, now + patience)

    # Outcome

    def _failed(self, to: Address, reason: JoinFailureReason, detail: str = "") -> None:
        if self.report is not None:
            self.report.failed(to, reason, detail)

    def _conclude(self, line: _Line) -> None:
        """A stream has ended: report how, if the peer never sent a frame."""
        if self.report is None or line.heard:
            return
        if line.number < 0:
            if line.reason is not None:
                self.report.refused(line.peer, line.reason)
        elif line.reason is not None:
            self.report.failed(line.peer, line.reason)
        elif not line.closing:
            # A member that holds the same key refuses the first frame from a cluster of another name, or from a node
            # with a cell where it has none, or the reverse; and only that.
            other = line.codec.ready and self.keyring is not None
            reason = JoinFailureReason.OTHER_CLUSTER if other else JoinFailureReason.CLOSED
            self.report.failed(line.peer, reason, self.report.sentence(reason) + (_OR_CELLS if other else ""))
