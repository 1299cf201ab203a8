"""Link: the connection to the agent, in a thread of its own that waits for nothing but the stream.

Theory of operation. Callers of any thread put frames into `_outgoing` and wake the thread by a byte; it writes them,
and settles futures by what it reads. So a read that is answered from a copy takes no lock, and one that needs the agent
may be made from any kind of program. All other state is changed under `_lock`. No future is settled under it: its
callbacks may be a caller's next step.

When the stream ends, the thread connects again, with growing pauses and jitter. Over the new stream it first registers
again what the program has registered, then follows again what it followed, with the index of each copy, and asks again
what was not answered: every verb may be asked twice. Callers notice nothing of that but the time it takes, and get
``AgentUnreachable`` if the agent stays away.

A restarted agent is believed only once it has settled: until then the copies keep instances that it does not show yet.
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
from gossipreg.attach.frames import BadFrame
from gossipreg.config import Attach
from gossipreg.embed.attached.agent_stream import BAD_FRAMES, AgentStream
from gossipreg.embed.attached.copies import EventsCopy, ServiceCopy
from gossipreg.embed.attached.following import Following
from gossipreg.embed.attached.open_requests import OpenRequests, refusal
from gossipreg.embed.host_thread import settle
from gossipreg.errors import AgentRefused, AgentUnreachable, ConfigError, GossipregError, NodeClosed

log = logging.getLogger(__name__)

#: How long opening a node waits for an agent that does not answer yet (seconds): both may start with the host.
_OPEN_SECONDS: Final = 5.0

#: The first pause between two attempts to connect, and the longest (seconds). Each is shortened by up to half.
_PAUSE_FIRST: Final = 0.05
_PAUSE_MAX: Final = 2.0

#: How long after an agent that was started anew has joined its cluster what it does not show is held (seconds): the
#: other processes of its host are back within a pause or two.
_SETTLE_SECONDS: Final = 5.0

#: How long it may take a started agent to join (seconds). After that its answers count as they are.
_JOIN_SECONDS: Final = 60.0

#: A stream that ends sooner than this (seconds) is followed by a pause before the next one.
_STEADY_SECONDS: Final = 1.0

#: How long the agent may take to answer the farewell (seconds).
_FAREWELL_SECONDS: Final = 1.0


@attrs.define(eq=False, repr=False)
class Link:
    """The stream to the agent that ``attach`` names, over all its interruptions."""

    attach: Attach
    on_back: Callable[[], None]  # called in the thread when the agent is there again, before anything else is asked
    node: dict[str, Any] = attrs.field(init=False, factory=dict)  # what the agent says of itself; replaced, not changed
    is_connected: bool = attrs.field(init=False, default=False)
    has_ended: bool = attrs.field(init=False, default=False)
    ended: Future[None] = attrs.field(init=False, factory=Future)  # is settled when it has
    reconnects: int = attrs.field(init=False, default=0)
    run_in_program: Callable[[Callable[[], object]], object] | None = attrs.field(init=False, default=None)
    problem: GossipregError | None = attrs.field(init=False, default=None)  # why the last attempt to connect failed
    _session: bytes = attrs.field(init=False, factory=lambda: os.urandom(16))
    _lock: threading.RLock = attrs.field(init=False, factory=threading.RLock)
    _number: int = attrs.field(init=False, default=0)  # of the last request, or of what was last followed
    _requests: OpenRequests = attrs.field(init=False, factory=OpenRequests)
    _following: Following = attrs.field(init=False, factory=Following)
    _outgoing: deque[bytes] = attrs.field(init=False, factory=deque)
    _stream: AgentStream | None = attrs.field(init=False, default=None)  # the last one, which may have ended
    _boot: bytes | None = attrs.field(init=False, default=None)  # of the agent that was attached to last
    _is_new_agent: bool = attrs.field(init=False, default=False)  # it has not settled
    _settled_at: float | None = attrs.field(init=False, default=None)
    _stopping: bool = attrs.field(init=False, default=False)
    _is_rung: bool = attrs.field(init=False, default=False)  # the thread is about to look, so it needs no other byte
    _bell: tuple[socket.socket, socket.socket] = attrs.field(init=False, factory=socket.socketpair)

    def __attrs_post_init__(self) -> None:
        for each in self._bell:
            each.setblocking(False)

    # For callers of any thread

    def check_open(self) -> None:
        """Raise ``NodeClosed`` once the link has ended."""
        if self.has_ended:
            raise _closed()

    def ask(self, verb: str, values: Mapping[str, Any], *, again: bool = True) -> Future[Any]:
        """Ask the agent; the future is settled by its answer. Cancelling it cancels the request.

        Without ``again`` it is not asked over another stream.
        """
        with self._lock:
            if self.has_ended:
                return _refused(_closed())
            self._number += 1
            number = self._number
            future, frame = self._requests.add(number, verb, values, again=again)
            if self.is_connected:
                self._outgoing.append(frame)
        future.add_done_callback(lambda done: self._drop(number, done))
        self.ring()
        return future

    def _drop(self, number: int, future: Future[Any]) -> None:
        if future.cancelled():
            with self._lock:
                if self._requests.pop(number) is not None and self.is_connected:
                    self._outgoing.append(frames.pack([frames.CANCEL, number]))
            self.ring()

    def copy_of(self, service: str) -> ServiceCopy | None:
        """The copy of a service that is followed, which may not be there yet; None if it is not followed."""
        return self._following.services.get(service)

    def follow(self, service: str) -> tuple[ServiceCopy, Future[Any] | None]:
        """The copy of a service, and a future that is settled when it is there; None if it is."""
        with self._lock:
            copy = self.copy_of(service)
            if copy is not None and copy.is_there:
                return copy, None
            if copy is None:
                self._number += 1
                frame = self._following.add_service(service, self._number)
                copy = self._following.services[service]
                if self.is_connected:
                    self._outgoing.append(frames.pack(frame))
            if self.has_ended:
                return copy, _refused(_closed())
            future = self._following.first_view(service)
        self.ring()
        return copy, future

    @property
    def may_follow(self) -> bool:
        """Whether there is room for one more service or stream of events."""
        return len(self._following) < limits.ATTACH_FOLLOWS_MAX

    def events(self, service: str | None, *, panic: float, healthy: bool, all_cells: bool) -> tuple[int, EventsCopy]:
        """A stream of events, by a number for `unfollow`."""
        more = [True] if all_cells else []  # an agent of an earlier release knows no such item
        return self._stream_of(frames.EVENTS, service, panic, healthy, *more)

    def regional_events(
        self,
        service: str,
        *,
        region: str | None,
        failover: Sequence[str],
        threshold: float,
        tag: str | None,
        role: str | None,
    ) -> tuple[int, EventsCopy]:
        """A stream of events about a service in another region, or over a failover."""
        return self._stream_of(frames.REGIONAL, service, region, list(failover), threshold, tag, role)

    def _stream_of(self, kind: str, *asked: Any) -> tuple[int, EventsCopy]:
        with self._lock:
            self._number += 1
            number = self._number
            frame = [kind, number, *asked]
            copy = self._following.add_events(number, frame)
            if self.is_connected:
                self._outgoing.append(frames.pack(frame))
        self.ring()
        return number, copy

    def unfollow(self, number: int) -> None:
        """End a stream of events."""
        with self._lock:
            if self._following.end_events(number) is not None and self.is_connected:
                self._outgoing.append(frames.pack([frames.UNFOLLOW, number]))
        self.ring()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def _stops(self) -> bool:
        """The same as a call, since type checkers take a property to stay as it was within a loop."""
        return self._stopping

    def ring(self) -> None:
        """Have the thread look at what is to be written. A signal handler may call this."""
        if not self._is_rung:
            self._is_rung = True
            with contextlib.suppress(OSError):  # the link has ended
                self._bell[1].send(b"!")

    def stop(self) -> None:
        """Have `run` return soon. A signal handler may call this."""
        self._stopping = True
        self.ring()

    def close(self) -> None:
        """Close the sockets, in the thread at its end, or in a fork."""
        for each in (self._stream, *self._bell):
            if each is not None:
                each.close()

    # The thread

    def run(self, opened: Callable[[], None], refused: Callable[[GossipregError], None]) -> None:
        """Keep the stream until `stop`. ``opened`` is called when there is one first, ``refused`` if there is none."""
        begun, pause = time.monotonic(), _PAUSE_FIRST
        is_open = False
        while not self._stops():
            try:
                stream = AgentStream.open(self.attach, self._session)
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
            self._attached(stream)
            if not is_open:
                is_open = True
                opened()
            else:
                self.reconnects += 1
            self._serve(stream)
            if self._stops():
                self._say_farewell(stream)
            self._lost(stream)
            if time.monotonic() - connected > _STEADY_SECONDS:
                pause = _PAUSE_FIRST
            elif not self._stops():
                self._wait(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _PAUSE_MAX)

    def _attached(self, stream: AgentStream) -> None:
        """Tell the agent again all that it must know, in the order of the theory of operation."""
        with self._lock:
            self._stream = stream
            if stream.boot != self._boot:
                self._meet(stream.boot)
            self._describe(stream.node)
            self.is_connected = True
            self._outgoing.clear()
            waiting = self._requests.frames()
            self.on_back()
            self._outgoing.extend(map(frames.pack, self._following.frames()))
            self._outgoing.extend(waiting)

    def _meet(self, boot: bytes) -> None:
        """Begin with an agent that this process has not attached to before: what it tells is compared with nothing."""
        if self._boot is not None:
            self._is_new_agent, self._settled_at = True, time.monotonic() + _JOIN_SECONDS
        self._boot = boot
        self._following.forget_indexes()

    def _describe(self, told: Mapping[str, Any]) -> None:
        """Take in what the agent says of its node."""
        self.node = {**self.node, **told}
        if self._is_new_agent and self.node["joined"]:
            self._settled_at = time.monotonic() + _SETTLE_SECONDS

    def _serve(self, stream: AgentStream) -> None:
        """Read and write until the stream ends."""
        poll = select.poll()
        poll.register(self._bell[0], select.POLLIN)
        try:
            for frame in stream.early:
                self._handle(frame)
            while not self._stops():
                poll.register(stream, select.POLLIN | (select.POLLOUT if self._outgoing or stream.has_part else 0))
                ready = dict(poll.poll(self._patience()))
                if self._settled_at is not None and time.monotonic() >= self._settled_at:
                    self._settle()
                if self._bell[0].fileno() in ready:
                    self._take_bell()
                if stream.fileno() in ready and not stream.receive(self._handle):
                    return
                stream.send(self._outgoing)
        except OSError:
            return
        except BAD_FRAMES as error:
            log.warning("the agent at %s says what cannot be read: %s", self.attach.agent, error)

    def _say_farewell(self, stream: AgentStream) -> None:
        """Have the agent withdraw what the program has registered, before anything else of the program ends."""
        until = time.monotonic() + _FAREWELL_SECONDS
        done = self.ask("leave", {})
        with contextlib.suppress(OSError, *BAD_FRAMES):
            while not done.done() and (left := until - time.monotonic()) > 0:
                stream.send(self._outgoing)
                poll = select.poll()
                poll.register(stream, select.POLLIN | (select.POLLOUT if stream.has_part else 0))
                poll.poll(int(1000 * left) + 1)
                if not stream.receive(self._handle):
                    return

    def _patience(self) -> int | None:
        if self._settled_at is None:
            return None
        return max(0, int(1000 * (self._settled_at - time.monotonic())) + 1)

    def _take_bell(self) -> None:
        with contextlib.suppress(OSError):  # another had taken it
            self._bell[0].recv(4096)
        self._is_rung = False  # only now: what is rung for before this is looked at after it

    def _lost(self, stream: AgentStream) -> None:
        with self._lock:
            self.is_connected = False
            stream.close()
            self._requests.agent_lost()
            copies = self._following.copies()
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
        with self._lock:
            given_up = self._requests.take_late()
        for future in given_up:
            settle(future, self.unreachable())

    def unreachable(self) -> AgentUnreachable:
        """Why nothing is answered now."""
        if isinstance(self.problem, AgentUnreachable):
            return AgentUnreachable(str(self.problem))
        why = "" if self.problem is None else f": {self.problem}"
        return AgentUnreachable(f"the agent at {self.attach.agent} does not answer{why}")

    def end(self) -> None:
        """Answer no more, and have all that wait raise ``NodeClosed``. In the thread, after `run`."""
        with self._lock:
            self.has_ended = True
            waiting = [*self._requests.end(), *self._following.end()]
            copies = self._following.copies()
        for future in waiting:
            settle(future, _closed())
        for copy in copies:
            copy.changed.wake()
        self.ended.set_result(None)

    # What the agent says

    def _handle(self, frame: list[Any]) -> None:
        """Take in one frame. Raises what `BAD_FRAMES` names."""
        match frame:
            case [frames.VIEW, int(number), int(index), bool(whole), bool(last), removed, put]:
                copy = self._following.service(number)
                copy.apply(index, removed, put, is_whole=whole, is_last=last, holds=self._is_new_agent)
                if last:
                    with self._lock:
                        waiting = self._following.told(number)
                    for future in waiting:
                        settle(future, None)
            case [frames.DONE, int(number), value]:
                with self._lock:
                    asked = self._requests.pop(number)
                if asked is not None:
                    settle(asked, None, value)
            case [frames.FAILED, int(number), str(code), str(sentence), str() | None as field]:
                self._take_refusal(number, refusal(code, sentence, field))
            case [frames.PING, int(number)]:
                self._answer_ping(number)
            case [frames.NODE, dict() as told]:
                self._describe(told)
            case [frames.BATCH, int(number), batch, bool(last)]:
                with self._lock:
                    events = self._following.events(number)
                if events is not None:  # else it was ended meanwhile
                    events.apply(batch, is_last=last, holds=self._is_new_agent)
            case _:
                raise BadFrame("a frame of no kind of this version")

    def _answer_ping(self, number: int) -> None:
        """Say that the program runs: from its event loop, if it has one."""

        def answer() -> None:
            with self._lock:
                if self.is_connected:
                    self._outgoing.append(frames.pack([frames.PONG, number]))
            self.ring()

        if self.run_in_program is None:
            answer()
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended, so the program does not answer
                self.run_in_program(answer)

    def _take_refusal(self, number: int, error: GossipregError) -> None:
        """The agent does not do what was asked of it under ``number``: a request, or to tell of something."""
        with self._lock:
            asked = self._requests.pop(number)
            events = self._following.end_events(number)
            waiting = self._following.drop_service(number)
        if events is not None:
            events.refuse(error)
        for future in (*(() if asked is None else (asked,)), *waiting):
            settle(future, error)

    def _settle(self) -> None:
        self._settled_at, self._is_new_agent = None, False
        with self._lock:
            copies = self._following.copies()
        for copy in copies:
            copy.settled()


def _closed() -> NodeClosed:
    return NodeClosed("the node is closed: open a new one")


def _refused(error: GossipregError) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
