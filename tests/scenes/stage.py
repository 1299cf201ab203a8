"""A few engines on a virtual clock, with a network between them that can be broken.

Small on purpose: one latency, cuts and losses by direction, processes that freeze, crash and restart. Whatever
happens is written down as lines, so that a scene can be compared with its script.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from random import Random

import attrs

from gossipreg import limits
from gossipreg.model import Address, Instance, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import (
    CloseStream,
    InstancesChanged,
    KeepStream,
    MemberChanged,
    NameConflicted,
    NameConflictFound,
    OpenStream,
    Output,
    SeekSeeds,
    SendFrame,
    Transmit,
)

#: One way, in seconds.
LATENCY = 0.001

#: 2026-01-01 in ms: when the stage's clock shows 0.
EPOCH = 1_767_225_600_000

#: Bytes of a datagram before it is sealed.
PACKET_ROOM = limits.PACKET_BYTES_MAX - 50

#: Datagrams that wait for a frozen process before its kernel drops the next ones.
_INBOX_MAX = 256

_NEVER = float("inf")


@attrs.define(eq=False)
class Line:
    """One actor's end of a stream."""

    peer: Actor
    number: int  # what the peer calls it
    patience: float
    heard_at: float


@attrs.define(eq=False)
class Actor:
    """One life of one node. Its handle on stage is its name, unless two bear one name."""

    handle: str
    address: Address
    engine: Engine
    seeds: tuple[Address, ...]
    lines: dict[int, Line] = attrs.field(factory=dict)  # streams, by own number
    accepted: int = 0
    alive: bool = True
    frozen: bool = False
    inbox: list[Callable[[], None]] = attrs.field(factory=list)  # what came while it was frozen
    woken_at: float = _NEVER
    yielded: bool = False

    @property
    def name(self) -> str:
        """What the cluster calls it."""
        return self.engine.identity.name


@attrs.define
class Stage:
    """Actors by handle, a heap of what happens next, and the record of what happened."""

    settings: EngineSettings = attrs.field(factory=EngineSettings)
    seed: int = 1
    now: float = 0.0
    actors: dict[str, Actor] = attrs.field(factory=dict)
    cuts: dict[tuple[str, str], None] = attrs.field(factory=dict)  # (from, to) handles whose packets are lost
    loss: float = 0.0
    lines: list[str] = attrs.field(factory=list)
    listeners: list[Callable[[Actor, Output], None]] = attrs.field(factory=list)
    packets: int = 0
    sent_bytes: int = 0
    _by_address: dict[Address, Actor] = attrs.field(factory=dict)
    _heap: list[tuple[float, int, Callable[[], None]]] = attrs.field(factory=list)
    _serial: int = 0
    _births: int = 0

    # What a director can do

    def start(
        self,
        handle: str,
        *,
        seeds: Iterable[str] = (),
        port: int | None = None,
        zone: str = "",
        name: str | None = None,
        clock_off: float = 0.0,
    ) -> Actor:
        """Begin a life of ``handle``, at its old port unless another is given.

        ``name`` is what it calls itself, if not its handle; ``clock_off`` is how far its wall clock is off (seconds).
        """
        old = self.actors.get(handle)
        assert old is None or not old.alive, f"{handle} is on stage already"
        if port is None:
            port = old.address.port if old else 7000 + len(self._by_address)
        address = Address("10.0.0.1", port)
        there = self._by_address.get(address)
        assert there is None or not there.alive, f"{address} is taken"
        self._births += 1
        engine = Engine.create(
            name=name or handle,
            generation=EPOCH + int((self.now + clock_off) * 1000) + self._births,
            address=address,
            zone=zone,
            settings=self.settings,
            rng=Random(f"{self.seed} {handle} {self._births}"),
            has_seeds=bool(tuple(seeds)),
            packet_room=PACKET_ROOM,
            now=self.now,
        )
        actor = Actor(handle, address, engine, tuple(self.actors[seed].address for seed in seeds))
        self.actors[handle] = self._by_address[address] = actor
        self._schedule(actor)
        return actor

    def crash(self, handle: str) -> None:
        """End the process: its kernel ends its streams, and refuses from now on."""
        actor = self.actors[handle]
        actor.alive = False
        for number in list(actor.lines):
            self._hang_up(actor, number)

    def freeze(self, handle: str) -> None:
        """Stop the process, as SIGSTOP does: its kernel still takes what comes, until its buffers are full."""
        self.actors[handle].frozen = True

    def thaw(self, handle: str) -> None:
        """Let a frozen process go on: it reads what has come, and then learns how late it is."""
        actor = self.actors[handle]
        due = actor.engine.deadline()
        while actor.inbox:
            actor.inbox.pop(0)()
        actor.frozen = False
        self._perform(actor, actor.engine.handle_timeout(self.now, late=max(0.0, self.now - due)))

    def cut(self, one: Iterable[str], other: Iterable[str], *, both_ways: bool = True) -> None:
        """Lose what is sent from ``one`` to ``other``."""
        others = list(other)
        for a in one:
            for b in others:
                self.cuts[a, b] = None
                if both_ways:
                    self.cuts[b, a] = None

    def heal(self) -> None:
        """Lose nothing any more."""
        self.cuts.clear()

    def register(self, handle: str, service: str, *, port: int = 80, as_id: str = "", **fields: object) -> None:
        """Offer an instance at ``handle``."""
        instance = Instance(id=as_id or f"{service}-{handle}", service=service, host="10.0.0.1", port=port, **fields)  # type: ignore[arg-type]
        self.do(handle, lambda engine, now: engine.register(instance, now))

    def do(self, handle: str, verb: Callable[[Engine, float], list[Output]]) -> None:
        """Let ``handle`` do something else."""
        actor = self.actors[handle]
        self._perform(actor, verb(actor.engine, self.now))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, event = heapq.heappop(self._heap)
            event()
        self.now = end

    def until(self, wanted: Callable[[], bool], *, within: float, step: float = 0.01) -> float:
        """Let time pass until ``wanted``; returns how long it took (seconds)."""
        started = self.now
        while not wanted():
            assert self.now - started < within, f"not within {within} s"
            self.advance(step)
        return self.now - started

    # What a critic can see

    @property
    def alive(self) -> list[Actor]:
        """The actors whose processes run."""
        return [actor for actor in self.actors.values() if actor.alive]

    def agree(self) -> bool:
        """Whether all that run have one fingerprint."""
        return len({actor.engine.fingerprint for actor in self.alive}) <= 1

    def statuses(self, subject: str) -> dict[str, str]:
        """What each that runs believes of the name ``subject``."""
        updates = {actor.handle: actor.engine.members.get(subject) for actor in self.alive if actor.name != subject}
        return {handle: "unknown" if update is None else str(update.status) for handle, update in updates.items()}

    def all_see(self, subject: str, status: Status) -> bool:
        """Whether all others that run believe ``subject`` to be ``status``."""
        return set(self.statuses(subject).values()) <= {str(status)}

    def lookup(self, handle: str, service: str) -> list[str]:
        """The ids of the healthy instances that ``handle`` would answer."""
        return [instance.id for instance in self.actors[handle].engine.view.service(service).healthy]

    def passes(self, sender: Actor, receiver: Actor) -> bool:
        """Whether the network carries anything from ``sender`` to ``receiver``."""
        return (sender.handle, receiver.handle) not in self.cuts

    def at(self, address: Address) -> Actor | None:
        """Who had ``address`` last."""
        return self._by_address.get(address)

    # How it works

    def _at(self, when: float, event: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, event))

    def _schedule(self, actor: Actor) -> None:
        due = actor.engine.deadline()
        if due < actor.woken_at:
            actor.woken_at = due
            self._at(max(due, self.now), lambda: self._wake(actor, due))

    def _wake(self, actor: Actor, due: float) -> None:
        if actor.alive and actor.woken_at == due:
            actor.woken_at = _NEVER
            if not actor.frozen:
                self._perform(actor, actor.engine.handle_timeout(self.now))
                assert actor.engine.deadline() > self.now, "an engine that was woken has done all that was due"

    def _hand_over(self, actor: Actor, event: Callable[[], None]) -> None:
        """Let something come in at ``actor``, now or when it is thawed."""
        if actor.alive and actor.frozen:
            actor.inbox.append(event)
        elif actor.alive:
            event()

    def _take(self, actor: Actor, outputs: list[Output]) -> None:
        """Do what follows from something that came in; one who is being thawed reads everything before it wakes."""
        self._perform(actor, outputs if actor.frozen else outputs + actor.engine.handle_timeout(self.now))

    def _perform(self, actor: Actor, outputs: list[Output]) -> None:
        for output in outputs:
            self._show(actor, output)
            match output:
                case Transmit():
                    self._transmit(actor, output)
                case OpenStream():
                    self._open(actor, output)
                case KeepStream():
                    actor.lines[output.stream].patience = _NEVER
                case SendFrame():
                    self._send(actor, output.stream, output.frame)
                case CloseStream():
                    self._at(self.now, lambda stream=output.stream: self._hang_up(actor, stream))  # type: ignore[misc]
                case SeekSeeds():
                    self._perform(actor, actor.engine.seeds(actor.seeds, self.now))
                case NameConflictFound():
                    self._contested(actor, output)
                case NameConflicted(other):
                    self.write(
                        actor, "has its name back" if other is None else f"goes on, though {other} is as it is called"
                    )
                case MemberChanged():
                    self._write_member(actor, output)
                case InstancesChanged():
                    self._write_instances(actor, output)
        self._schedule(actor)

    def _show(self, actor: Actor, output: Output) -> None:
        for listener in self.listeners:
            listener(actor, output)

    def write(self, actor: Actor, text: str) -> None:
        """Put down what ``actor`` does now."""
        self.lines.append(f"{self.now:8.3f}  {actor.handle:3} {text}")

    def _write_member(self, actor: Actor, change: MemberChanged) -> None:
        if change.after is None:
            assert change.before is not None
            self.write(actor, f"forgets {change.before.name}")
        elif change.after.name != actor.name:
            after = change.after
            new_run = change.before is not None and not change.before.is_same_run(after)
            said = [after.name, str(after.status), f"({'new run, ' if new_run else ''}{after.incarnation})"]
            self.write(actor, f"sees {' '.join(said)}{', draining' if after.draining else ''}")

    def _contested(self, actor: Actor, contest: NameConflictFound) -> None:
        self.write(actor, f"name contested by {contest.other}{', yields' if contest.yielding else ''}")
        if contest.yielding:
            actor.yielded = True
            self.crash(actor.handle)

    def _write_instances(self, actor: Actor, change: InstancesChanged) -> None:
        for service in change.services:
            self.write(actor, f"{service}: {' '.join(self.lookup(actor.handle, service)) or 'nobody'}")

    def _transmit(self, actor: Actor, packet: Transmit) -> None:
        assert len(packet.data) <= PACKET_ROOM, "a packet is within its room"
        self.packets += 1
        self.sent_bytes += len(packet.data)
        if self.loss and Random(f"{self.seed} {self.packets}").random() < self.loss:
            return

        def arrive() -> None:
            receiver = self._by_address.get(packet.to)
            if receiver is None or not self.passes(actor, receiver) or len(receiver.inbox) >= _INBOX_MAX:
                return
            self._hand_over(receiver, lambda: read(receiver))

        def read(receiver: Actor) -> None:
            self._take(receiver, receiver.engine.receive(packet.data, actor.address, self.now))

        self._at(self.now + LATENCY, arrive)

    # Streams

    def _open(self, actor: Actor, opening: OpenStream) -> None:
        receiver = self._by_address.get(opening.to)

        def fail(*, refused: bool) -> None:
            self._hand_over(actor, lambda: self._ended(actor, opening.stream, refused=refused))

        if receiver is None or not self.passes(actor, receiver) or not self.passes(receiver, actor):
            self._at(self.now + opening.patience, lambda: fail(refused=False))
        elif not receiver.alive:
            self._at(self.now + 2 * LATENCY, lambda: fail(refused=True))
        else:
            receiver.accepted -= 1
            patience = _NEVER if opening.idle else opening.patience
            actor.lines[opening.stream] = Line(receiver, receiver.accepted, patience, self.now)
            receiver.lines[receiver.accepted] = Line(actor, opening.stream, opening.patience, self.now)
            self._mind_silence(actor, opening.stream)
            self._mind_silence(receiver, receiver.accepted)
            self._send(actor, opening.stream, opening.frame)

    def _mind_silence(self, actor: Actor, stream: int) -> None:
        """Close a stream on which nothing has come for too long."""
        line = actor.lines[stream]
        since = line.heard_at

        def check() -> None:
            if actor.lines.get(stream) is line and line.heard_at == since and line.patience < _NEVER:
                self._hand_over(actor, lambda: self._hang_up(actor, stream))

        if line.patience < _NEVER:
            self._at(since + line.patience, check)

    def _send(self, actor: Actor, stream: int, frame: bytes) -> None:
        assert len(frame) <= limits.FRAME_BYTES_MAX, "a frame is within its limit"
        self.sent_bytes += len(frame)
        line = actor.lines.get(stream)
        if line is None:
            return

        def arrive() -> None:
            if self.passes(actor, line.peer):
                self._hand_over(line.peer, read)

        def read() -> None:
            receiver, there = line.peer, line.peer.lines.get(line.number)
            if there is not None:
                there.heard_at = self.now
                self._mind_silence(receiver, line.number)
                self._take(receiver, receiver.engine.stream_frame(line.number, frame, actor.address, self.now))

        self._at(self.now + 2 * LATENCY, arrive)

    def _hang_up(self, actor: Actor, stream: int) -> None:
        """Close a stream at one end; the other end hears of it after what was sent before."""
        line = actor.lines.pop(stream, None)
        if line is None:
            return
        self._hand_over(actor, lambda: self._ended(actor, stream))

        def arrive() -> None:
            if self.passes(actor, line.peer) and line.peer.lines.pop(line.number, None) is not None:
                self._hand_over(line.peer, lambda: self._ended(line.peer, line.number))

        self._at(self.now + 3 * LATENCY, arrive)

    def _ended(self, actor: Actor, stream: int, *, refused: bool = False) -> None:
        self._take(actor, actor.engine.stream_ended(stream, self.now, refused=refused))
