"""Knows how to play a handful of engines against each other on a virtual clock, with a network that can be broken.

Small on purpose: one latency, cuts and losses by direction, processes that crash and restart. Whatever happens is
written down as lines, so that a scene can be compared with its script.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from random import Random

import attrs

from gossipreg import limits
from gossipreg.config import Settings
from gossipreg.model import Address, Instance, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.outputs import (
    CloseStream,
    InstancesChanged,
    MemberChanged,
    NameContested,
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


@attrs.define(eq=False)
class Actor:
    """One life of one node."""

    name: str
    address: Address
    engine: Engine
    seeds: tuple[Address, ...]
    streams: dict[int, tuple[Actor, int]] = attrs.field(factory=dict)  # own number -> peer and its number
    accepted: int = 0
    alive: bool = True
    woken_at: float = float("inf")
    yielded: bool = False


@attrs.define
class Stage:
    """Actors by name, a heap of what happens next, and the record of what happened."""

    settings: Settings = attrs.field(factory=Settings)
    seed: int = 1
    now: float = 0.0
    actors: dict[str, Actor] = attrs.field(factory=dict)
    cuts: dict[tuple[str, str], None] = attrs.field(factory=dict)  # (from, to) names whose packets are lost
    loss: float = 0.0
    lines: list[str] = attrs.field(factory=list)
    listeners: list[Callable[[Actor, Output], None]] = attrs.field(factory=list)
    packets: int = 0
    bytes: int = 0
    _by_address: dict[Address, Actor] = attrs.field(factory=dict)
    _heap: list[tuple[float, int, Callable[[], None]]] = attrs.field(factory=list)
    _serial: int = 0
    _births: int = 0

    # What a director can do

    def start(self, name: str, *, seeds: Iterable[str] = (), port: int | None = None, zone: str = "") -> Actor:
        """Begin a life of ``name``, at its old port unless another is given."""
        old = self.actors.get(name)
        if port is None:
            port = old.address.port if old else 7000 + len(self._by_address)
        address = Address("10.0.0.1", port)
        self._births += 1
        engine = Engine.create(
            name=name,
            generation=EPOCH + int(self.now * 1000) + self._births,
            address=address,
            zone=zone,
            settings=self.settings,
            dice=Random(f"{self.seed} {name} {self._births}"),
            has_seeds=bool(tuple(seeds)),
            packet_room=limits.PACKET_BYTES_MAX - 50,
            now=self.now,
        )
        actor = Actor(name, address, engine, tuple(self.actors[seed].address for seed in seeds))
        self.actors[name] = self._by_address[address] = actor
        self._schedule(actor)
        return actor

    def crash(self, name: str) -> None:
        """End the process: its kernel refuses from now on."""
        actor = self.actors[name]
        actor.alive = False
        for number in list(actor.streams):
            self._hang_up(actor, number)

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

    def register(self, name: str, service: str, *, port: int = 80, id: str | None = None, **fields: object) -> None:
        """Offer an instance at ``name``."""
        instance = Instance(id=id or f"{service}-{name}", service=service, host="10.0.0.1", port=port, **fields)  # type: ignore[arg-type]
        actor = self.actors[name]
        self._perform(actor, actor.engine.register(instance, self.now))

    def do(self, name: str, verb: Callable[[Engine, float], list[Output]]) -> None:
        """Let ``name`` do something else."""
        actor = self.actors[name]
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
        """What each that runs believes of ``subject``."""
        rumors = {actor.name: actor.engine.members.get(subject) for actor in self.alive if actor.name != subject}
        return {name: "unknown" if rumor is None else str(rumor.status) for name, rumor in rumors.items()}

    def all_see(self, subject: str, status: Status) -> bool:
        """Whether all others that run believe ``subject`` to be ``status``."""
        return set(self.statuses(subject).values()) <= {str(status)}

    def lookup(self, name: str, service: str) -> list[str]:
        """The ids of the healthy instances that ``name`` would answer."""
        return [instance.id for instance in self.actors[name].engine.view.service(service).healthy]

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
            actor.woken_at = float("inf")
            self._perform(actor, actor.engine.wake(self.now))

    def _passes(self, sender: Actor, receiver: Actor) -> bool:
        return (sender.name, receiver.name) not in self.cuts

    def _perform(self, actor: Actor, outputs: list[Output]) -> None:
        for output in outputs:
            for listener in self.listeners:
                listener(actor, output)
            match output:
                case Transmit():
                    self._transmit(actor, output)
                case OpenStream():
                    self._open(actor, output)
                case SendFrame():
                    self._send(actor, output.stream, output.frame)
                case CloseStream():
                    self._at(self.now, lambda stream=output.stream: self._hang_up(actor, stream))  # type: ignore[misc]
                case SeekSeeds():
                    self._perform(actor, actor.engine.seeds(actor.seeds, self.now))
                case NameContested():
                    self._write(actor, f"name contested by {output.other}{', yields' if output.yielding else ''}")
                    if output.yielding:
                        actor.yielded = True
                        self.crash(actor.name) if self.actors[actor.name] is actor else setattr(actor, "alive", False)
                case MemberChanged():
                    self._write_member(actor, output)
                case InstancesChanged():
                    for service in output.services:
                        ids = [instance.id for instance in actor.engine.view.service(service).healthy]
                        self._write(actor, f"{service}: {' '.join(ids) or 'nobody'}")
        self._schedule(actor)

    def _write(self, actor: Actor, text: str) -> None:
        self.lines.append(f"{self.now:8.3f}  {actor.name:4} {text}")

    def _write_member(self, actor: Actor, change: MemberChanged) -> None:
        if change.after is None:
            assert change.before is not None
            self._write(actor, f"forgets {change.before.name}")
        elif change.after.name != actor.name:
            self._write(actor, f"sees {change.after.name} {change.after.status} {change.after.incarnation}")

    def _transmit(self, actor: Actor, packet: Transmit) -> None:
        assert len(packet.data) <= limits.PACKET_BYTES_MAX - 50, "a packet is within its room"
        self.packets += 1
        self.bytes += len(packet.data)
        if self.loss and Random(f"{self.seed} {self.packets}").random() < self.loss:
            return

        def arrive() -> None:
            receiver = self._by_address.get(packet.to)
            if receiver is not None and receiver.alive and self._passes(actor, receiver):
                outputs = receiver.engine.receive(packet.data, actor.address, self.now)
                self._perform(receiver, outputs + receiver.engine.wake(self.now))

        self._at(self.now + LATENCY, arrive)

    def _open(self, actor: Actor, opening: OpenStream) -> None:
        receiver = self._by_address.get(opening.to)

        def fail(*, refused: bool) -> None:
            if actor.alive:
                self._perform(actor, actor.engine.stream_ended(opening.stream, self.now, refused=refused))

        if receiver is None or not self._passes(actor, receiver) or not self._passes(receiver, actor):
            self._at(self.now + opening.patience, lambda: fail(refused=False))
        elif not receiver.alive:
            self._at(self.now + 2 * LATENCY, lambda: fail(refused=True))
        else:
            receiver.accepted -= 1
            actor.streams[opening.stream] = (receiver, receiver.accepted)
            receiver.streams[receiver.accepted] = (actor, opening.stream)
            self._send(actor, opening.stream, opening.frame)

    def _send(self, actor: Actor, stream: int, frame: bytes) -> None:
        assert len(frame) <= limits.FRAME_BYTES_MAX, "a frame is within its limit"
        self.bytes += len(frame)

        def arrive() -> None:
            if stream not in actor.streams:
                return
            receiver, number = actor.streams[stream]
            if receiver.alive and self._passes(actor, receiver):
                outputs = receiver.engine.stream_frame(number, frame, actor.address, self.now)
                self._perform(receiver, outputs + receiver.engine.wake(self.now))

        self._at(self.now + 2 * LATENCY, arrive)

    def _hang_up(self, actor: Actor, stream: int) -> None:
        if stream not in actor.streams:
            return
        peer, number = actor.streams.pop(stream)
        peer.streams.pop(number, None)

        def arrive() -> None:
            if peer.alive:
                self._perform(peer, peer.engine.stream_ended(number, self.now))

        self._at(self.now + 3 * LATENCY, arrive)
