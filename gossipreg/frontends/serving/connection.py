"""One client's connection: reads requests and writes answers, one after the other.

Theory of operation. h11 holds the protocol's state, so this file only asks it what is allowed next. A connection waits
for a request (a minute), reads it to its end (ten seconds from its first byte), and answers it, before it looks at the
next; a client that sends many at once is read no faster than it is answered. One deadline serves all of this: it is
moved as the work goes on, and h11's state tells what was being waited for when it passed.

A client that polls sends the same bytes again and again. What was exactly one GET once is exactly one GET whenever it
comes on an idle connection, so it is answered without being parsed: h11 is left as idle as it was before. That makes
the commonest request of all, "who serves `orders` now?", more than twice as cheap. Its answer, also the first, is
written without h11: nothing of it but the request's name is new.

A request that cannot be read is answered with what is wrong, and is the last: where the next would begin is unknown.
An event stream is also the last. That, and an answer that is waited for, are the only times when two tasks share a
connection: one writes or waits for what there is to be said, the other for the client to go.

Before we close, we say that no more will come and read what is still under way. A kernel that closes a socket with
bytes unread resets it, and the client loses the very answer that tells it what was wrong.

What goes wrong here ends this connection and nothing else.
"""

from __future__ import annotations

import functools
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol

import attrs
import h11
import trio

from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.access import token_of_certificate
from gossipreg.frontends.serving.capacity import Capacity, ConnectionSlot
from gossipreg.frontends.serving.request import (
    Request,
    body_too_large,
    head_too_large,
    target_too_long,
    too_many_bulk_bodies,
)
from gossipreg.frontends.serving.request_id import new_name
from gossipreg.frontends.serving.response import (
    ByteChunks,
    DeferredResponse,
    HttpError,
    Reply,
    Response,
    StreamingResponse,
)
from gossipreg.frontends.serving.response_head import CLOSE, head_of, headers_of, polled_head, stream_head
from gossipreg.runtime.supervision import count_bug

log = logging.getLogger(__name__)


def _h11() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HEAD_BYTES_MAX)


class RequestHandler(Protocol):
    """What a connection hands its requests to."""

    async def answer(self, request: Request, name: bytes) -> Reply:
        """The answer to one request, which is called ``name`` in the log. Any exception is a bug."""


@attrs.define(eq=False, repr=False)
class Connection:
    """Serves one stream to its end. ``room`` is shared by all connections, ``source`` says which it is counted with."""

    _stream: trio.abc.HalfCloseableStream
    _handler: RequestHandler
    _capacity: Capacity
    _source: str = ""
    _counters: Counter[str] = attrs.field(factory=Counter)
    _client: Callable[[], str | None] | None = None  # gives the name in the client's certificate
    slot: ConnectionSlot = attrs.field(init=False)
    _http: h11.Connection = attrs.field(init=False, factory=_h11)
    _patience: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _is_new: bool = attrs.field(init=False, default=True)  # nothing has been asked yet
    _is_head: bool = attrs.field(init=False, default=False)  # a HEAD request: its answer goes without a body
    _is_last: bool = attrs.field(init=False, default=False)  # no request may follow this one
    _is_bulk: bool = attrs.field(init=False, default=False)  # its body has one of the places for large ones
    _name: bytes = attrs.field(init=False, default=b"")  # what the request is called; empty until it is read
    _ahead: bytes = attrs.field(init=False, default=b"")  # what came while the client waited
    _poll: tuple[bytes, Request] | None = attrs.field(init=False, default=None)  # the last whole GET
    _gives_way: bool = attrs.field(init=False, default=False)  # its place was given to another connection

    def __attrs_post_init__(self) -> None:
        self.slot = ConnectionSlot(self._source, self._give_way)

    def _give_way(self) -> None:
        self._gives_way = True
        self._patience.cancel()

    async def run(self) -> None:
        """Answer requests until either side has had enough. Raises nothing."""
        async with self._stream:
            try:
                last_word = await self._serve()
                if not self._gives_way:  # else it ends at once, so that its descriptor is free
                    await self._close(last_word)
            except* trio.BrokenResourceError as gone:
                log.debug("a client went in the middle: %r", gone.exceptions)
            except* Exception as errors:
                if count_bug(self._counters, errors):
                    called = self._name.decode("ascii")
                    extra = {"request_id": called}
                    log.exception("the request %s could not be answered, because of a bug", called, extra=extra)
                await self._send_internal_error()

    async def reject(self, refusal: HttpError) -> None:
        """Answer whatever is asked with ``refusal``, without waiting to hear it. Raises nothing."""
        async with self._stream:
            try:
                await self._close(refusal.answer)
            except trio.BrokenResourceError as gone:
                log.debug("a client went before it was turned away: %r", gone)

    async def _serve(self) -> Response | None:
        """Answer requests until there will be no more; returns what is left to be said, if anything."""
        try:
            with self._patience:
                while await self._exchange():
                    pass
                return None
        except HttpError as refusal:
            return refusal.answer
        if self._http.our_state is h11.SEND_RESPONSE or (self._http.our_state is h11.IDLE and self._has_begun):
            return Response.error(408, f"the request was not complete after {limits.REQUEST_SECONDS:g} s")
        return None

    async def _exchange(self) -> bool:
        """Answer one request; whether there may be another. Raises ``HttpError`` if it cannot be read."""
        try:
            return await self._answer_next()
        finally:
            if self._is_bulk:
                self._is_bulk = False
                self._capacity.bulk_bodies -= 1

    def _begin_bulk(self) -> None:
        """Hold the body of a bulk registration until it is answered. Raises ``HttpError`` if there is no room."""
        if self._capacity.bulk_bodies >= limits.BULK_BODIES_MAX:
            raise too_many_bulk_bodies()
        self._capacity.bulk_bodies += 1
        self._is_bulk = True

    async def _answer_next(self) -> bool:
        data = b""
        self._capacity.connections.awaits(self.slot)
        if not self._has_begun:
            data = await self._begin()
            if self._poll is not None and data == self._poll[0]:
                return await self._answer_again(self._poll[1])
            self._http.receive_data(data)
        else:
            await trio.lowlevel.checkpoint()  # a client that pipelines must not starve others
        if self._http.trailing_data[0][:1] == b"\r" and not await self._skip_empty_lines():
            return True
        self._wait_for(limits.REQUEST_SECONDS)
        request = await self._read()
        self._capacity.connections.has_request(self.slot)
        self._wait_for(math.inf)
        if request is None:
            return False
        is_poll = request.is_bare_get and data.endswith(b"\r\n\r\n") and self._is_idle_but_for_us
        self._name = request.name or new_name()
        reply = await self._handler.answer(request, self._name)
        if isinstance(reply, StreamingResponse):
            await self._stream_events(reply)
            return False
        if is_poll:
            self._poll = (data, request)
            self._http = _h11()  # as idle as it would be: the answer is written without it
            self._wait_for(limits.TAKE_SECONDS)
            return await self._answer_poll(reply)
        return await self._answer_once(reply)

    async def _answer_once(self, reply: Response | DeferredResponse) -> bool:
        if isinstance(reply, Response):
            await self._answer(reply)
        elif not await self._answer_late(reply, self._answer):
            return False
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _answer_again(self, request: Request) -> bool:
        self._capacity.connections.has_request(self.slot)
        self._name = request.name or new_name()
        reply = await self._handler.answer(request, self._name)
        assert not isinstance(reply, StreamingResponse), "what was answered once is a stream now"
        return await self._answer_poll(reply)

    async def _answer_poll(self, reply: Response | DeferredResponse) -> bool:
        """Answer what was exactly one GET, in what is left of the client's time to be idle or to take it."""
        if isinstance(reply, Response):
            await self._write(reply)
            return True
        return await self._answer_late(reply, self._write)

    async def _answer_late(self, reply: DeferredResponse, say: Callable[[Response], Awaitable[None]]) -> bool:
        """Say the answer when it is there; whether the client was still there.

        It is sent before the other task is cancelled, so that all woken readers are answered before any of their tasks
        is cleaned up.
        """
        said = False
        self._wait_for(math.inf)
        most = math.inf if self._capacity.waiting.has_room else limits.POLL_SECONDS * (1 + random.random() / 2)
        with self._capacity.waiting.one():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_disconnected, nursery.cancel_scope, self._keep)
                answer = await reply.answer(most)
                self._wait_for(limits.TAKE_SECONDS)
                await say(answer)
                said = True
                await trio.lowlevel.checkpoint()  # the others' answers first
                nursery.cancel_scope.cancel()
        return said

    def _keep(self, data: bytes) -> None:
        self._ahead += data

    def _wait_for(self, seconds: float) -> None:
        self._patience.deadline = trio.current_time() + seconds

    def _wait_for_more(self) -> None:
        """Give the client its time to be idle, unless it has nearly that much: to move a deadline is not cheap."""
        left = self._patience.deadline - trio.current_time()
        if not limits.IDLE_SECONDS - limits.IDLE_LEEWAY_SECONDS <= left <= limits.IDLE_SECONDS:
            self._wait_for(limits.IDLE_SECONDS)

    # Reading

    @property
    def _is_idle_but_for_us(self) -> bool:
        """Whether the client has asked one thing, no more as yet, and may go on."""
        return self._http.their_state is h11.DONE and not self._has_begun

    @property
    def _has_begun(self) -> bool:
        """Whether some of the next request is here already."""
        return bool(self._http.trailing_data[0])

    async def _begin(self) -> bytes:
        """Wait for the first bytes of a request; none if there will be none."""
        if self._is_new:
            self._wait_for(limits.REQUEST_SECONDS)
        else:
            self._wait_for_more()
        return await self._receive()

    async def _skip_empty_lines(self) -> bool:
        """Ignore empty lines before a request (RFC 9112 §2.2); whether anything of a request is here after them."""
        ahead, closed = self._http.trailing_data
        while (rest := _without_empty_lines(ahead)) == b"\r" and not closed:  # half of one
            self._wait_for(limits.REQUEST_SECONDS)
            data = await self._receive()
            ahead, closed = rest + data, not data
        self._http = _h11()  # nothing else has begun, and the old one's buffer cannot be cut
        for data in [*([rest] if rest else []), *([b""] if closed else [])]:
            self._http.receive_data(data)
        return bool(rest) or closed

    async def _receive(self) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        return bytes(await self._stream.receive_some(limits.RECEIVE_BYTES))

    async def _read(self) -> Request | None:
        """Read one request to its end. Raises ``HttpError`` if it is malformed or too large."""
        self._is_new, self._is_head, self._is_last, self._name = False, False, False, b""
        try:
            head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            self._is_head = head.method == b"HEAD"
            request = Request.of(head)
            if request.token is None and self._client is not None and (client := self._client()) is not None:
                request = attrs.evolve(request, token=token_of_certificate(client))
            self._is_last = request.is_ambiguous
            body = bytearray()
            while isinstance(event := await self._next_event(), h11.Data):
                body += event.data
                if len(body) > request.body_bytes_max:
                    raise body_too_large(request.body_bytes_max)
                if len(body) > limits.BODY_BYTES_MAX and not self._is_bulk:
                    self._begin_bulk()
        except h11.RemoteProtocolError as error:
            raise self._malformed(error) from None
        return attrs.evolve(request, body=bytes(body)) if body else request

    async def _next_event(self) -> h11.Event:
        while not isinstance(event := self._http.next_event(), h11.Event):
            assert event is h11.NEED_DATA, "asked for more than one request"
            if self._http.they_are_waiting_for_100_continue:
                await self._stream.send_all(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
            self._http.receive_data(await self._receive())
        return event

    def _malformed(self, error: h11.RemoteProtocolError) -> HttpError:
        error.__traceback__ = None  # h11 raises itself from a frame that holds it, and so all of this connection
        has_no_end = error.error_status_hint == 431
        if has_no_end and self._http.our_state is h11.IDLE:
            return head_too_large() if b"\n" in self._http.trailing_data[0] else target_too_long()
        status = 400 if has_no_end else error.error_status_hint
        return HttpError(status, f"this is not HTTP/1.1 that can be read: {str(error)[:200]}")

    # Writing

    async def _answer(self, answer: Response, *, last: bool = False) -> None:
        headers = headers_of(answer, self._name or new_name())
        if last or self._is_last:
            headers.append(CLOSE)
        parts = [self._http.send(head_of(answer.status, headers))]
        if answer.content and not self._is_head:
            parts += self._passed_on(answer.content)
        await self._send(*parts, self._http.send(h11.EndOfMessage()))

    def _passed_on(self, data: bytes | ByteChunks) -> list[bytes]:
        """``data`` as part of the answer, not copied, even if it is sent to others, too."""
        passed: list[bytes] = []
        for part in self._http.send_with_data_passthrough(h11.Data(data=data)) or ():  # type: ignore[arg-type]  # h11 asks for its size only
            passed += part.parts if isinstance(part, ByteChunks) else (part,)
        return passed

    async def _write(self, answer: Response) -> None:
        """Hand a polled answer to the client, which has its time for that already, or gets it for each piece."""
        head = polled_head(answer, self._name)
        body = answer.content
        if isinstance(body, ByteChunks):
            await self._send(head, *body.parts)
        elif len(head) + len(body) <= limits.SEND_BYTES:
            await self._stream.send_all(head + body)
        else:
            await self._send(head, body)

    async def _stream_events(self, events: StreamingResponse) -> None:
        """Send events for as long as there are any and the client is there. The answer begins with the first."""
        if self._is_head:
            await self._send(self._http.send(stream_head(self._name, events)), self._http.send(h11.EndOfMessage()))
            return
        ended = False
        try:
            with self._capacity.event_streams.one(self.slot):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_disconnected, nursery.cancel_scope, _forget)
                    await events.run(functools.partial(self._send_part, events))
                    ended = True
                    nursery.cancel_scope.cancel()
        except HttpError as full:
            await self._answer(full.answer, last=True)
        if not ended:
            return
        if self._http.our_state is h11.SEND_RESPONSE:
            await self._answer(Response.error(503, "this node has left and is closed"), last=True)
        else:
            await self._send(self._http.send(h11.EndOfMessage()))

    async def _send_part(self, events: StreamingResponse, data: bytes | ByteChunks) -> None:
        begins = self._http.our_state is h11.SEND_RESPONSE
        head = self._http.send(stream_head(self._name, events)) if begins else b""
        await self._send(head, *self._passed_on(data))

    async def _until_disconnected(self, scope: trio.CancelScope, keep: Callable[[bytes], None]) -> None:
        """Cancel ``scope`` when the client says that no more will come; ``keep`` what it says until then."""
        said = 0
        try:
            while data := await self._stream.receive_some(limits.RECEIVE_BYTES):
                keep(bytes(data))
                said += len(data)
                if keep is not _forget and said > limits.HEAD_BYTES_MAX:
                    return  # it has pipelined so much that it will not go soon; no more is kept
        except trio.BrokenResourceError as gone:
            log.debug("a client that was waiting is gone: %r", gone)
        scope.cancel()

    async def _send(self, *parts: bytes) -> None:
        """Hand ``parts`` to the client, which has so long for each piece of them."""
        size = sum(map(len, parts))
        if size <= limits.SEND_BYTES:
            self._wait_for(limits.TAKE_SECONDS)
            await self._stream.send_all(b"".join(parts))
        else:
            with self._capacity.outgoing.one(self.slot, *parts):
                await self._send_in_pieces(parts)
        self._wait_for(math.inf)

    async def _send_in_pieces(self, parts: Iterable[bytes]) -> None:
        for piece in pieces_of(parts):
            await trio.lowlevel.checkpoint()  # others have their turn, however fast this client is
            self._wait_for(limits.TAKE_SECONDS)
            await self._stream.send_all(piece)

    # Ending

    async def _close(self, last_word: Response | None) -> None:
        """Say what is left to say and that no more will come, and read what is still under way."""
        with trio.move_on_after(limits.LINGER_SECONDS):
            if last_word is not None:
                await self._answer(last_word, last=True)
            await self._stream.send_eof()
            while await self._stream.receive_some(limits.RECEIVE_BYTES):
                pass

    async def _send_internal_error(self) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            try:
                await self._close(Response.error(500, "this node made a mistake: its log says more"))
            except trio.BrokenResourceError as gone:
                log.debug("a client went before it was answered: %r", gone)


def pieces_of(parts: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """``parts`` one after the other, in pieces of up to `limits.SEND_BYTES`: short ones are put together."""
    short, size = list[bytes](), 0
    for part in parts:
        if size + len(part) > limits.SEND_BYTES:
            if size:
                yield b"".join(short)
            short, size = [], 0
        if len(part) > limits.SEND_BYTES:
            for start in range(0, len(part), limits.SEND_BYTES):
                yield memoryview(part)[start : start + limits.SEND_BYTES]
        else:
            short.append(part)
            size += len(part)
    if size:
        yield b"".join(short)


def _without_empty_lines(data: bytes) -> bytes:
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
    return data[start:]


def _forget(_: bytes) -> None:
    """Nothing more can be asked on this connection, as we said in its head."""
