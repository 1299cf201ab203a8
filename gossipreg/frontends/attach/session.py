"""Session: one stream of an attached process: its hello, what it asks, and what it follows.

Theory of operation. What is followed has no queue (docs/decisions/0008): for each service the session holds the index
of what the process was last told, and when its turn to write comes it tells the difference to what is there now, which
`feed` packs for all sessions. A process that reads slowly is told less often. What is there to write is written
together, up to `_WRITTEN_BYTES`. Answers do wait in a queue, of at most `limits.ATTACH_ASKS_MAX`: a
request is worked on only when there is room for its answer. A process that does not read at all is cut.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol

import attrs
import trio

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.attach.frames import BadFrame, FrameReader
from gossipreg.attach.values import default, is_sent
from gossipreg.counters import Count
from gossipreg.errors import GossipregError, NodeClosed
from gossipreg.events import Event, Snapshot
from gossipreg.frontends.attach.bindings import Binding, Bindings
from gossipreg.frontends.attach.feed import Followed, ServiceFeed
from gossipreg.frontends.attach.liveness import Liveness
from gossipreg.frontends.attach.verbs import AttachedProcess, failure
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.node_api import EventBatches, NodeApi
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scopes import Action
from gossipreg.frontends.serving.time_slices import TimeSlicer

_PIECE_BYTES: Final = 65_536

#: Frames are written together up to that length (bytes): a write wakes the process, which costs more than its bytes.
_WRITTEN_BYTES: Final = 65_536

#: Length of a session's secret (bytes).
_SESSION_BYTES: Final = 16

#: Longest token that is looked at (characters).
_TOKEN_CHARS: Final = 4096


class Agent(Protocol):
    """What all sessions of an agent share."""

    node: NodeApi
    access: Access
    audit: AuditLog
    bindings: Bindings
    counters: Counter[str]
    boot: bytes  # another each time that the agent is started
    status: dict[str, Any]  # of the node, as the processes are told

    def follow(self, session: Session, service: str) -> ServiceFeed:
        """Have `Session.wake` called when that service changes. Returns what tells of it."""

    def unfollow(self, session: Session, service: str) -> None:
        """End that."""

    def ended(self, binding: Binding, cut: Callable[[], None]) -> None:
        """Do what is to be done when the stream of a process has ended; returns at once."""


async def _in_slices(answer: Any) -> Any:
    """``answer`` to a request; if it is a long list, with its items packed already, so that others have their turn."""
    if not isinstance(answer, list | tuple) or not answer or not is_sent(answer[0]):
        return answer
    return [default(each) if is_sent(each) else each async for each in TimeSlicer().over(answer)]


@attrs.define(eq=False, repr=False)
class Session:
    """One stream of an attached process, from its hello to its end.

    ``token``: the token that the client's certificate stands for.
    """

    _agent: Agent
    _stream: trio.abc.Stream
    _token: Callable[[], str | None]
    _follows: dict[int, Followed] = attrs.field(init=False, factory=dict)
    _tasks: dict[int, trio.CancelScope] = attrs.field(init=False, factory=dict)  # of requests and streams of events
    _slots: trio.Semaphore = attrs.field(init=False, factory=lambda: trio.Semaphore(limits.ATTACH_ASKS_MAX))
    _waiting: deque[tuple[bytes, Callable[[], object]]] = attrs.field(init=False, factory=deque)  # to be written
    _waiting_bytes: int = attrs.field(init=False, default=0)
    _wakeup: trio.Event = attrs.field(init=False, factory=trio.Event)
    _told: dict[str, Any] = attrs.field(init=False, factory=dict)  # of the node
    _caller: AttachedProcess = attrs.field(init=False)
    _liveness: Liveness = attrs.field(init=False)
    _nursery: trio.Nursery = attrs.field(init=False)
    _is_greeted: bool = attrs.field(init=False, default=False)
    is_proven: bool = attrs.field(init=False, default=False)

    def wake(self) -> None:
        """Have the session tell what has changed of what it follows, and of the node."""
        self._wakeup.set()

    async def run(self) -> None:
        """Serve the process until its stream ends."""
        reader = FrameReader(limits.ATTACH_FRAME_BYTES_MAX)
        received: deque[list[Any]] = deque()
        try:
            with trio.move_on_after(limits.ATTACH_FRAME_SECONDS_MAX) as patience:
                first = await self._next(reader, received)
                if first is None:
                    return
                refusal = self._refusal(first)
                if refusal is not None:
                    self._agent.counters[Count.ATTACH_REFUSED] += 1
                    await self._stream.send_all(frames.pack([frames.REFUSED, *refusal]))
                    return
            if patience.cancelled_caught:
                self._agent.counters[Count.ATTACH_REFUSED] += 1
                return
            assert first is not None, "the hello has come"
            await self._serve(first[1], reader, received)
        except BadFrame:
            self._agent.counters[Count.ATTACH_JUNK] += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it is gone

    # The hello

    def _refusal(self, frame: list[Any]) -> tuple[str, str] | None:
        """Why a stream that begins with ``frame`` is refused. Raises ``BadFrame`` for what is no hello."""
        if len(frame) < 2 or frame[0] != frames.HELLO or not isinstance(frame[1], dict):
            raise BadFrame("no hello")
        hello = frame[1]
        if hello.get("version") != frames.VERSION:
            return "agent_refused", (
                f"the agent speaks version {frames.VERSION} of the attach protocol, and this process another: "
                "upgrade the older of the two"
            )
        session, grace, token = hello.get("session"), hello.get("grace"), hello.get("token")
        if not isinstance(session, bytes) or len(session) != _SESSION_BYTES:
            raise BadFrame("no session")
        if not isinstance(grace, int | float) or not 0 <= grace <= limits.ATTACH_GRACE_SECONDS_MAX:
            raise BadFrame("no grace within the limit")
        patience = hello.setdefault("patience", 0.0)  # a process of an earlier release is not asked
        if not isinstance(patience, int | float) or not 0 <= patience <= limits.ATTACH_PATIENCE_SECONDS_MAX:
            raise BadFrame("no patience within the limit")
        if token is not None and (not isinstance(token, str) or len(token) > _TOKEN_CHARS):
            raise BadFrame("no token")
        hello["token"] = self._token() or token
        access, token = self._agent.access, hello["token"]
        if access.is_open or (token is not None and access.find(token) is not None):
            return None  # what it is for is found out when it is used
        try:
            access.permit(token, Action.READ_CLUSTER)
        except HttpError as no:
            return "agent_refused", str(no)
        raise AssertionError("a token that is not found permits nothing")

    async def _serve(self, hello: dict[str, Any], reader: FrameReader, received: deque[list[Any]]) -> None:
        agent = self._agent
        self.is_proven = True
        async with trio.open_nursery() as self._nursery:
            cut = self._nursery.cancel_scope.cancel
            binding = agent.bindings.begin(hello["session"], float(hello["grace"]), cut)
            self._caller = AttachedProcess(agent.node, agent.access, hello["token"], binding, agent.audit)
            patience = float(hello["patience"]) and max(hello["patience"], limits.ATTACH_PATIENCE_SECONDS_MIN)
            self._liveness = Liveness(binding, patience, self._ping, self._reads, agent.counters)
            try:
                self.wake()
                self._nursery.start_soon(self._write)
                self._nursery.start_soon(self._liveness.run)
                while (frame := await self._next(reader, received)) is not None:
                    await self._handle(frame)
            except BadFrame:
                agent.counters[Count.ATTACH_JUNK] += 1
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # it is gone
            finally:
                agent.ended(binding, cut)
                for followed in self._follows.values():
                    agent.unfollow(self, followed.feed.service)
            self._nursery.cancel_scope.cancel()

    # Reading

    async def _next(self, reader: FrameReader, received: deque[list[Any]]) -> list[Any] | None:
        """The next frame; None when no more will come. Raises ``BadFrame``."""
        while not received:
            with trio.move_on_after(limits.ATTACH_FRAME_SECONDS_MAX if reader.has_part else math.inf) as patience:
                data = await self._stream.receive_some(_PIECE_BYTES)
            if patience.cancelled_caught:
                self._agent.counters[Count.ATTACH_SLOW] += 1
                return None
            if not data:
                return None
            received.extend(reader.feed(bytes(data)))
        return received.popleft()

    async def _handle(self, frame: list[Any]) -> None:
        match frame:
            case [frames.ASK, int(number), str(verb), values]:
                await self._slots.acquire()
                self._begin(number, self._answer, number, verb, values)
            case [frames.FOLLOW, int(number), str(service), int(known)]:
                if self._may_follow(number, service):
                    self._follows[number] = Followed.of(self._agent.follow(self, service), known)
                    self.wake()
            case [
                frames.EVENTS,
                int(number),
                str() | None as service,
                int() | float() as panic,
                bool(healthy),
                *all_cells,
            ] if all_cells in ([], [True]):
                if self._may_follow(number, service):
                    self._begin(number, self._tell_events, number, service, float(panic), healthy, bool(all_cells))
            case [
                frames.REGIONAL,
                int(number),
                str(service),
                str() | None as region,
                [*failover],
                int() | float() as threshold,
                str() | None as tag,
                str() | None as role,
            ] if _are_texts(failover):
                if self._may_follow(number, service):
                    watch = partial(
                        self._agent.node.regional_events,
                        service,
                        region=region,
                        failover=tuple(failover),
                        threshold=float(threshold),
                        tag=tag,
                        role=role,
                    )
                    self._begin(number, self._tell_regional, number, watch)
            case [frames.UNFOLLOW, int(number)] if number in self._follows:
                self._agent.unfollow(self, self._follows.pop(number).feed.service)
            case [frames.PONG, int(number)]:
                self._liveness.take_answer(number)
            case [frames.CANCEL | frames.UNFOLLOW, int(number)]:
                if number in self._tasks:  # else it has just ended
                    self._tasks[number].cancel()
            case _:
                raise BadFrame("a frame of no kind of this version")

    def _ping(self, number: int) -> None:
        self._put(frames.pack([frames.PING, number]))

    def _reads(self) -> bool:
        return self._slots.value > 0

    def _may_follow(self, number: int, service: str | None) -> bool:
        if number in self._follows or number in self._tasks:
            raise BadFrame("a number that is in use")
        refusal: HttpError | None = None
        if len(self._follows) + len(self._tasks) >= limits.ATTACH_FOLLOWS_MAX:
            refusal = HttpError(503, f"{limits.ATTACH_FOLLOWS_MAX} services are followed, which is the limit")
        try:
            self._caller.permit(Action.READ_CLUSTER, service)
        except HttpError as no:
            refusal = no
        if refusal is not None:
            self._put(frames.pack([frames.FAILED, number, *failure(refusal)]))
        return refusal is None

    def _begin(self, number: int, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        if number in self._tasks or number in self._follows:
            raise BadFrame("a number that is in use")
        self._tasks[number] = scope = trio.CancelScope()
        self._nursery.start_soon(self._run_task, number, scope, work, arguments)

    async def _run_task(
        self, number: int, scope: trio.CancelScope, work: Callable[..., Awaitable[None]], arguments: Sequence[Any]
    ) -> None:
        try:
            with scope:
                await work(*arguments)
        except BadFrame:
            self._agent.counters[Count.ATTACH_JUNK] += 1
            self._nursery.cancel_scope.cancel()
        finally:
            del self._tasks[number]

    async def _answer(self, number: int, verb: str, values: object) -> None:
        is_queued = False
        try:
            try:
                answer = await _in_slices(await self._caller.answer(verb, values))
                frame = frames.pack([frames.DONE, number, answer], default)
            except (HttpError, GossipregError) as error:
                frame = frames.pack([frames.FAILED, number, *failure(error)])
            self._put(frame, self._slots.release)
            is_queued = True
        finally:
            if not is_queued:
                self._slots.release()

    async def _tell_events(
        self, number: int, service: str | None, panic: float, healthy: bool, all_cells: bool
    ) -> None:
        events = self._agent.node.events(service, panic=panic, healthy=healthy, all_cells=all_cells)
        await self._tell(number, events)

    async def _tell_regional(self, number: int, watch: Callable[[], EventBatches]) -> None:
        try:
            events = watch()
        except GossipregError as error:  # that region is not known here
            self._put(frames.pack([frames.FAILED, number, *failure(error)]))
            return
        await self._tell(number, events)

    async def _tell(self, number: int, events: EventBatches) -> None:
        try:
            async for batch in events:
                pieces = list(_pieces(batch))
                for place, piece in enumerate(pieces):
                    sent = trio.Event()
                    last = place + 1 == len(pieces)
                    self._put(frames.pack([frames.BATCH, number, piece, last], default), sent.set)
                    await sent.wait()
        except NodeClosed:
            pass  # the stream ends with the node
        finally:
            await events.aclose()

    # Writing

    def _put(self, frame: bytes, sent: Callable[[], object] | None = None) -> None:
        self._waiting.append((frame, sent or _nothing))
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > limits.ATTACH_OUTGOING_BYTES_MAX:
            self._cut_slow()
        self.wake()

    def _cut_slow(self) -> None:
        self._agent.counters[Count.ATTACH_SLOW] += 1
        self._nursery.cancel_scope.cancel()

    async def _write(self) -> None:
        try:
            while True:
                await self._wakeup.wait()
                self._wakeup = trio.Event()
                for data, done in self._batches():
                    with trio.move_on_after(limits.ATTACH_FRAME_SECONDS_MAX) as patience:
                        await self._stream.send_all(data)
                    if patience.cancelled_caught:
                        self._cut_slow()
                        return
                    for sent in done:
                        sent()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._nursery.cancel_scope.cancel()  # it is gone

    def _batches(self) -> Iterator[tuple[bytes, list[Callable[[], object]]]]:
        """What `_to_write` says, put together for a write each."""
        data, done = bytearray(), list[Callable[[], object]]()
        for frame, sent in self._to_write():
            data += frame
            done.append(sent)
            if len(data) >= _WRITTEN_BYTES:
                yield bytes(data), done
                data, done = bytearray(), []
        if data:
            yield bytes(data), done

    def _to_write(self) -> Iterator[tuple[bytes, Callable[[], object]]]:
        """What is to be written now: what has changed first, so that an answer never comes before its effect."""
        while True:
            answers = len(self._waiting)
            yield from self._changes()
            for _ in range(answers):
                frame, sent = self._waiting.popleft()
                self._waiting_bytes -= len(frame)
                yield frame, sent
            if not self._waiting:
                return

    def _changes(self) -> Iterator[tuple[bytes, Callable[[], object]]]:
        if not self._is_greeted:
            self._is_greeted = True
            yield frames.pack([frames.HELLO, {"version": frames.VERSION, "boot": self._agent.boot}]), _nothing
        changed = {key: value for key, value in self._agent.status.items() if self._told.get(key, value) != value}
        if not self._told or changed:
            changed = changed if self._told else self._agent.status
            self._told = dict(self._agent.status)
            yield frames.pack([frames.NODE, dict(changed)], default), _nothing
        for number, followed in list(self._follows.items()):
            for frame in followed.step(number):
                yield frame, _nothing


def _are_texts(values: Sequence[object]) -> bool:
    return all(isinstance(each, str) for each in values)


def _nothing() -> None:
    """What is to be done when a frame was written that has no answer."""


def _pieces(batch: Sequence[Event]) -> Iterator[list[Event]]:
    """A batch of events in pieces for a frame each. A snapshot is cut, too: its pieces are put together again."""
    size = limits.ATTACH_INSTANCES_PER_FRAME
    if len(batch) == 1 and isinstance(batch[0], Snapshot):
        members, instances = batch[0].members, batch[0].instances
        for start in range(0, max(1, len(members), len(instances)), size):
            yield [Snapshot(members[start : start + size], instances[start : start + size])]
        return
    for start in range(0, len(batch), size):
        yield list(batch[start : start + size])
