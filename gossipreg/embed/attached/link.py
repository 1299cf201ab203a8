"""Link: the stream to the agent, in a thread of its own that waits for the socket and for nothing else.

Theory of operation. Callers of any thread put frames into `_outgoing` and wake the thread by a byte; it writes them,
and settles futures by what it reads. So a read that is answered from a copy takes no lock, and one that needs the agent
may be made from any kind of program. All other state is changed under `_lock`.

When the stream ends, the thread connects again, with growing pauses and jitter. Over the new stream it first registers
again what the program has registered, then follows again what it followed, with the index of each copy, and asks again
what was not answered: every verb may be asked twice. Callers notice nothing of that but the time it takes; after
`_AWAY_SECONDS` they get ``AgentUnreachable``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

import attrs

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.attach.frames import BadFrame, FrameReader
from gossipreg.attach.values import ext_hook
from gossipreg.config import Attach
from gossipreg.embed.attached.copies import EventsCopy, ServiceCopy
from gossipreg.embed.host_thread import settle
from gossipreg.errors import AgentRefused, AgentUnreachable, ConfigError, FieldError, GossipregError
from gossipreg.model import SocketFile, place

log = logging.getLogger(__name__)

#: How long opening a node waits for an agent that does not answer yet (seconds): both may start with the host.
_OPEN_SECONDS: Final = 5.0

#: How long a request waits for an agent that is away (seconds): a restart takes a second or two.
_AWAY_SECONDS: Final = 10.0

#: The first pause between two attempts to connect, and the longest (seconds). Each is shortened by up to half.
_PAUSE_FIRST: Final = 0.05
_PAUSE_MAX: Final = 2.0

#: How long connecting and the hello may take (seconds).
_CONNECT_SECONDS: Final = 5.0

#: How long after an agent that was started anew has joined its cluster what it does not show is held (seconds): the
#: other processes of its host are back within a pause or two.
_SETTLE_SECONDS: Final = 5.0

#: How long it may take a started agent to join (seconds). After that its answers count as they are.
_JOIN_SECONDS: Final = 60.0

#: A stream that ends sooner than this (seconds) is followed by a pause before the next one.
_STEADY_SECONDS: Final = 1.0

#: How long the agent may take to answer the farewell (seconds).
_FAREWELL_SECONDS: Final = 1.0

_PIECE_BYTES: Final = 262_144

#: What a socket raises that has nothing to read, or no room.
_NOT_READY: Final = (BlockingIOError, InterruptedError)


@attrs.define(eq=False, repr=False)
class _Ask:
    """A request that is not answered: its frame, and until when it waits while the agent is away."""

    frame: bytes
    future: Future[Any]
    give_up: float
    again: bool


@attrs.define(eq=False, repr=False)
class Link:
    """The stream to the agent that ``attach`` names, over all its interruptions."""

    attach: Attach
    on_back: Callable[[], None]  # called in the thread when the agent is there again, before anything else is asked
    node: dict[str, Any] = attrs.field(init=False, factory=dict)  # what the agent says of itself; replaced, not changed
    services: dict[str, ServiceCopy] = attrs.field(init=False, factory=dict)
    is_connected: bool = attrs.field(init=False, default=False)
    reconnects: int = attrs.field(init=False, default=0)
    problem: GossipregError | None = attrs.field(init=False, default=None)  # why the last attempt to connect failed
    _session: bytes = attrs.field(init=False, factory=lambda: os.urandom(16))
    _lock: threading.RLock = attrs.field(init=False, factory=threading.RLock)
    _asks: dict[int, _Ask] = attrs.field(init=False, factory=dict)
    _followed: dict[int, ServiceCopy] = attrs.field(init=False, factory=dict)
    _numbers: dict[str, int] = attrs.field(init=False, factory=dict)  # of the services that are followed
    _events: dict[int, tuple[EventsCopy, list[Any]]] = attrs.field(init=False, factory=dict)
    _firsts: dict[int, list[Future[Any]]] = attrs.field(init=False, factory=dict)  # wait for the first view
    _number: int = attrs.field(init=False, default=0)
    _outgoing: deque[bytes] = attrs.field(init=False, factory=deque)
    _part: memoryview = attrs.field(init=False, factory=lambda: memoryview(b""))  # of a frame that is written in part
    _socket: Any = attrs.field(init=False, default=None)
    _reader: FrameReader = attrs.field(init=False)
    _not_ready: tuple[type[OSError], ...] = attrs.field(init=False, default=_NOT_READY)
    _early: list[list[Any]] = attrs.field(init=False, factory=list)  # frames that came with the hello
    _boot: bytes | None = attrs.field(init=False, default=None)
    _is_new_agent: bool = attrs.field(init=False, default=False)  # it has not settled
    _settled_at: float | None = attrs.field(init=False, default=None)
    _end: GossipregError | None = attrs.field(init=False, default=None)  # the link has ended
    _stopping: bool = attrs.field(init=False, default=False)
    _bell: tuple[socket.socket, socket.socket] = attrs.field(init=False, factory=socket.socketpair)

    def __attrs_post_init__(self) -> None:
        for each in self._bell:
            each.setblocking(False)

    # For callers of any thread

    def ask(self, verb: str, values: Mapping[str, Any], *, again: bool = True) -> Future[Any]:
        """Ask the agent; the future is settled by its answer. Cancelling it cancels the request.

        Without ``again`` it is not asked over another stream.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._end is not None:
                future.set_exception(self._end)
                return future
            self._number += 1
            number = self._number
            frame = frames.pack([frames.ASK, number, verb, dict(values)])
            if len(frame) > limits.ATTACH_FRAME_BYTES_MAX:
                raise ConfigError(
                    f"{verb}: its arguments take {len(frame)} bytes, and {limits.ATTACH_FRAME_BYTES_MAX} is the limit"
                )
            self._asks[number] = _Ask(frame, future, time.monotonic() + _AWAY_SECONDS, again=again)
            if self.is_connected:
                self._outgoing.append(frame)
        future.add_done_callback(lambda done: self._drop(number, done))
        self.ring()
        return future

    def _drop(self, number: int, future: Future[Any]) -> None:
        if future.cancelled():
            with self._lock:
                if self._asks.pop(number, None) is not None and self.is_connected:
                    self._outgoing.append(frames.pack([frames.CANCEL, number]))
            self.ring()

    def follow(self, service: str) -> tuple[ServiceCopy, Future[Any] | None]:
        """The copy of a service, and a future that is settled when it is there; None if it is."""
        with self._lock:
            copy = self.services.get(service)
            if copy is not None and copy.is_there:
                return copy, None
            if copy is None:
                self._number += 1
                copy = self.services[service] = ServiceCopy(service)
                self._followed[self._number] = copy
                self._numbers[service] = self._number
                if self.is_connected:
                    self._outgoing.append(frames.pack([frames.FOLLOW, self._number, service, 0]))
            future: Future[Any] = Future()
            if self._end is not None:
                future.set_exception(self._end)
                return copy, future
            self._firsts.setdefault(self._numbers[service], []).append(future)
        self.ring()
        return copy, future

    @property
    def may_follow(self) -> bool:
        """Whether there is room for one more service or stream of events."""
        return len(self._followed) + len(self._events) < limits.ATTACH_FOLLOWS_MAX

    def events(self, service: str | None, *, panic: float, healthy: bool) -> tuple[int, EventsCopy]:
        """A stream of events, by a number for `unfollow`."""
        return self._stream_of(frames.EVENTS, service, panic, healthy)

    def regional_events(self, service: str, *, region: str | None, failover: Sequence[str]) -> tuple[int, EventsCopy]:
        """A stream of events about a service in another region, or over a failover."""
        return self._stream_of(frames.REGIONAL, service, region, list(failover))

    def _stream_of(self, kind: str, *asked: Any) -> tuple[int, EventsCopy]:
        with self._lock:
            self._number += 1
            copy = EventsCopy()
            frame = [kind, self._number, *asked]
            self._events[self._number] = copy, frame
            if self.is_connected:
                self._outgoing.append(frames.pack(frame))
            number = self._number
        self.ring()
        return number, copy

    def unfollow(self, number: int) -> None:
        """End a stream of events."""
        with self._lock:
            if self._events.pop(number, None) is not None and self.is_connected:
                self._outgoing.append(frames.pack([frames.UNFOLLOW, number]))
        self.ring()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def _stops(self) -> bool:
        return self._stopping

    def ring(self) -> None:
        """Have the thread look at what is to be written. A signal handler may call this."""
        with contextlib.suppress(OSError):  # it was rung already, or the link has ended
            self._bell[1].send(b"!")

    def stop(self) -> None:
        """Have `run` return soon. A signal handler may call this."""
        self._stopping = True
        self.ring()

    def close(self) -> None:
        """Close the sockets, in the thread at its end, or in a fork."""
        for each in (self._socket, *self._bell):
            if each is not None:
                each.close()

    # The thread

    def run(self, opened: Callable[[], None], refused: Callable[[GossipregError], None]) -> None:
        """Keep the stream until `stop`. ``opened`` is called when there is one first, ``refused`` if there is none."""
        begun, pause = time.monotonic(), _PAUSE_FIRST
        is_open = False
        while not self._stops():
            try:
                self._connect()
            except GossipregError as error:
                self.problem = error
                is_final = isinstance(error, AgentRefused | ConfigError) or time.monotonic() > begun + _OPEN_SECONDS
                if not is_open and is_final:
                    refused(error)
                    return
                if is_open and isinstance(error, AgentRefused):
                    log.warning("the agent refuses this process: %s", error)
                self._wait(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _PAUSE_MAX)
                continue
            self.problem, connected = None, time.monotonic()
            self._attached()
            if not is_open:
                is_open = True
                opened()
            else:
                self.reconnects += 1
            self._serve()
            if self._stops():
                self._say_farewell()
            self._lost()
            if time.monotonic() - connected > _STEADY_SECONDS:
                pause = _PAUSE_FIRST
            elif not self._stops():
                self._wait(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _PAUSE_MAX)

    def _connect(self) -> None:
        """Connect and say hello. Raises ``AgentUnreachable``, ``AgentRefused``, ``ConfigError``."""
        where = place(self.attach.agent)
        hello = {
            "version": frames.VERSION,
            "session": self._session,
            "grace": self.attach.grace,
            "token": _token(self.attach),
        }
        opened: Any = None
        try:
            if isinstance(where, SocketFile):
                opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                opened.settimeout(_CONNECT_SECONDS)
                opened.connect(str(where.path))
            else:
                opened = socket.create_connection((where.host, where.port), _CONNECT_SECONDS)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                if self.attach.tls_ca is not None:
                    from gossipreg.embed.attached.tls import NOT_READY, secured  # it loads OpenSSL

                    self._not_ready = NOT_READY
                    opened = secured(opened, where.host, self.attach)
            opened.sendall(frames.pack([frames.HELLO, hello]))
            self._reader = FrameReader(limits.ATTACH_ANSWER_BYTES_MAX, ext_hook)
            self._take_hello(opened)
        except (OSError, BadFrame) as error:
            if opened is not None:
                opened.close()
            reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
            raise AgentUnreachable(
                f"no agent answers at {self.attach.agent}: {reason.lower()}: is one running there with --attach?"
            ) from None
        except GossipregError:
            opened.close()
            raise
        opened.setblocking(False)
        self._socket = opened

    def _take_hello(self, opened: Any) -> None:
        early: list[list[Any]] = []
        while len(early) < 2 and not (early and early[0][0] == frames.REFUSED):  # the hello, and what its node is
            data = opened.recv(_PIECE_BYTES)
            if not data:
                raise BadFrame("the stream has ended")
            early += self._reader.feed(data)
        match early.pop(0):
            case [frames.REFUSED, str(code), str(sentence)]:
                raise AgentRefused(sentence, code)
            case [frames.HELLO, {"version": frames.VERSION, "boot": bytes(boot)}]:
                if boot != self._boot:
                    self._meet(boot)
            case _:
                raise BadFrame("no hello of this version")
        self._early = early

    def _meet(self, boot: bytes) -> None:
        """Begin with an agent that this process has not attached to before: what it tells is compared with nothing."""
        if self._boot is not None:
            self._is_new_agent, self._settled_at = True, time.monotonic() + _JOIN_SECONDS
        self._boot = boot
        with self._lock:
            for copy in self.services.values():
                copy.told_index = 0  # that of another agent says nothing, until this one has told its own

    def _attached(self) -> None:
        """Say again what the agent is to know, in the order of the theory of operation."""
        with self._lock:
            self.is_connected = True
            self._outgoing.clear()
            self._part = memoryview(b"")
            waiting = list(self._asks.values())
            self.on_back()
            for number, copy in self._followed.items():
                self._outgoing.append(frames.pack([frames.FOLLOW, number, copy.service, copy.told_index]))
            self._outgoing.extend(frames.pack(frame) for _, frame in self._events.values())
            self._outgoing.extend(each.frame for each in waiting)
        for frame in self._early:
            self._handle(frame)

    def _serve(self) -> None:
        """Read and write until the stream ends."""
        poll = select.poll()
        poll.register(self._bell[0], select.POLLIN)
        while not self._stops():
            wants = select.POLLIN | (select.POLLOUT if self._outgoing or self._part else 0)
            poll.register(self._socket, wants)
            ready = dict(poll.poll(self._patience()))
            if self._settled_at is not None and time.monotonic() >= self._settled_at:
                self._settle()
            if self._bell[0].fileno() in ready:
                self._take_bell()
            try:
                if self._socket.fileno() in ready and not self._read():
                    return
                self._write()
            except OSError:
                return
            except (BadFrame, TypeError, ValueError, KeyError) as error:
                log.warning("the agent at %s says what cannot be read: %s", self.attach.agent, error)
                return

    def _say_farewell(self) -> None:
        """Have the agent withdraw what the program has registered, before anything else of the program ends."""
        until = time.monotonic() + _FAREWELL_SECONDS
        done = self.ask("leave", {})
        with contextlib.suppress(OSError, BadFrame, TypeError, ValueError, KeyError):
            while not done.done() and (left := until - time.monotonic()) > 0:
                self._write()
                poll = select.poll()
                poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._part else 0))
                poll.poll(int(1000 * left) + 1)
                if not self._read():
                    return

    def _patience(self) -> int | None:
        if self._settled_at is None:
            return None
        return max(0, int(1000 * (self._settled_at - time.monotonic())) + 1)

    def _take_bell(self) -> None:
        with contextlib.suppress(OSError):  # another had taken it
            self._bell[0].recv(4096)

    def _read(self) -> bool:
        """Read what is there; whether more may come."""
        while True:
            try:
                data = self._socket.recv(_PIECE_BYTES)
            except self._not_ready:
                return True
            if not data:
                return False
            for frame in self._reader.feed(data):
                self._handle(frame)
            if len(data) < _PIECE_BYTES and self.attach.tls_ca is None:
                return True  # under TLS bytes may have been read that the kernel does not tell of

    def _write(self) -> None:
        while self._part or self._outgoing:
            if not self._part:
                self._part = memoryview(self._outgoing.popleft())
            try:
                self._part = self._part[self._socket.send(self._part) :]
            except self._not_ready:
                return

    def _lost(self) -> None:
        with self._lock:
            self.is_connected = False
            self._socket.close()
            until = time.monotonic() + _AWAY_SECONDS
            for each in self._asks.values():
                each.give_up = until if each.again else 0.0
            copies = self._copies()
        for copy in copies:
            copy.agent_lost()

    def _wait(self, seconds: float) -> None:
        """Wait while the agent is away, and give up requests that have waited for too long."""
        until = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._bell[0], select.POLLIN)
        while not self._stops() and (left := until - time.monotonic()) > 0:
            if poll.poll(int(1000 * left) + 1):
                self._take_bell()
        now = time.monotonic()
        with self._lock:
            late = [number for number, each in self._asks.items() if each.give_up <= now]
            given_up = [self._asks.pop(number) for number in late]
        for each in given_up:
            settle(each.future, self.unreachable())

    def unreachable(self) -> AgentUnreachable:
        """Why nothing is answered now."""
        if isinstance(self.problem, AgentUnreachable):
            return AgentUnreachable(str(self.problem))
        why = "" if self.problem is None else f": {self.problem}"
        return AgentUnreachable(f"the agent at {self.attach.agent} does not answer{why}")

    def fail_all(self, error: GossipregError) -> None:
        """Settle all that waits: the link has ended."""
        with self._lock:
            self._end = error
            asks, self._asks = list(self._asks.values()), {}
            firsts = [each for several in self._firsts.values() for each in several]
            self._firsts = {}
            copies = self._copies()
        for future in (*(each.future for each in asks), *firsts):
            settle(future, error)
        for copy in copies:
            copy.changed.wake()

    # What the agent says

    def _handle(self, frame: list[Any]) -> None:
        match frame:
            case [frames.VIEW, int(number), int(index), bool(whole), bool(last), removed, put]:
                copy = self._followed[number]
                copy.apply(index, removed, put, is_whole=whole, is_last=last, holds=self._is_new_agent)
                if last:
                    self._settle_firsts(number, None)
            case [frames.DONE, int(number), value]:
                with self._lock:
                    ask = self._asks.pop(number, None)
                if ask is not None:
                    settle(ask.future, None, value)
            case [frames.FAILED, int(number), str(code), str(sentence), str() | None as field]:
                error = _error(code, sentence, field)
                with self._lock:
                    ask = self._asks.pop(number, None)
                    stream = self._events.pop(number, None)
                if ask is not None:
                    settle(ask.future, error)
                if stream is not None:
                    stream[0].refuse(error)
                self._settle_firsts(number, error)
            case [frames.NODE, dict() as told]:
                self.node = {**self.node, **told}
                if self._is_new_agent and self.node["joined"]:
                    self._settled_at = time.monotonic() + _SETTLE_SECONDS
            case [frames.BATCH, int(number), batch, bool(last)]:
                with self._lock:
                    found = self._events.get(number)
                if found is not None:  # else it was ended meanwhile
                    found[0].apply(batch, is_last=last, holds=self._is_new_agent)
            case _:
                raise BadFrame("a frame of no kind of this version")

    def _copies(self) -> list[ServiceCopy | EventsCopy]:
        return [*self.services.values(), *(copy for copy, _ in self._events.values())]

    def _settle_firsts(self, number: int, error: GossipregError | None) -> None:
        with self._lock:
            waiting = self._firsts.pop(number, ())
            if error is not None and number in self._followed:
                copy = self._followed.pop(number)
                del self.services[copy.service], self._numbers[copy.service]
        for future in waiting:
            settle(future, error)

    def _settle(self) -> None:
        self._settled_at, self._is_new_agent = None, False
        with self._lock:
            copies = self._copies()
        for copy in copies:
            copy.settled()


def _token(attach: Attach) -> str | None:
    if attach.token_file is None:
        return attach.token
    try:
        return attach.token_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"attach.token_file: cannot read {attach.token_file}: {error}") from None


def _error(code: str, sentence: str, field: str | None) -> GossipregError:
    """The error that the agent tells of, of the class that a member's verb raises."""
    if code == "node_closed":
        return AgentUnreachable("the agent is about to end: it comes back, or another does")
    kind = _classes().get(code)
    if kind is None or issubclass(kind, AgentRefused):
        return AgentRefused(sentence, code, field)
    return kind(field, sentence) if issubclass(kind, FieldError) else kind(sentence)


def _classes() -> dict[str, type[GossipregError]]:
    found: dict[str, type[GossipregError]] = {}
    left = [GossipregError]
    while left:
        kind = left.pop()
        found[kind.code] = kind
        left += kind.__subclasses__()
    return found
