"""Testbed of a few engines on a virtual clock and a faulty network.

It is small on purpose: one latency, cuts and losses by direction, processes that freeze, crash and restart. Every event
is recorded as a line, so that a scene can be compared with its script.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from random import Random

import attrs

from gossipreg import limits
from gossipreg.model import Address, Instance, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_creation import create_engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import (
    CloseStream,
    InstancesChanged,
    JoinEnded,
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

#: One-way latency (seconds).
LATENCY = 0.001

#: The wall-clock time at the start: 2026-01-01, in ms since the epoch.
EPOCH = 1_767_225_600_000

#: Maximum size of a datagram before it is sealed (bytes).
PACKET_ROOM = limits.PACKET_BYTES_MAX - 50

#: Datagrams that the kernel queues for a frozen process.
_INBOX_MAX = 256

_NEVER = float("inf")


@attrs.define(eq=False)
class StreamEnd:
    """One node's end of a stream."""

    peer: EngineNode
    number: int  # its number at the peer
    patience: float
    received_at: float


@attrs.define(eq=False)
class EngineNode:
    """One run of one node. Its handle is its name, unless two nodes have the same name."""

    handle: str
    address: Address
    engine: Engine
    seeds: tuple[Address, ...]
    streams: dict[int, StreamEnd] = attrs.field(factory=dict)  # by the node's own number
    accepted: int = 0
    alive: bool = True
    frozen: bool = False
    inbox: list[Callable[[], None]] = attrs.field(factory=list)  # arrivals while it was frozen
    woken_at: float = _NEVER
    yielded: bool = False

    @property
    def name(self) -> str:
        """The name of the node in the cluster."""
        return self.engine.identity.name


@attrs.define
class EngineTestbed:
    """Nodes by handle, a heap of future events, and the recorded lines."""

    settings: EngineSettings = attrs.field(factory=EngineSettings)
    seed: int = 1
    now: float = 0.0
    nodes: dict[str, EngineNode] = attrs.field(factory=dict)
    cuts: dict[tuple[str, str], None] = attrs.field(factory=dict)  # (from, to) handles whose packets are lost
    loss: float = 0.0
    lines: list[str] = attrs.field(factory=list)
    listeners: list[Callable[[EngineNode, Output], None]] = attrs.field(factory=list)
    packets: int = 0
    sent_bytes: int = 0
    _by_address: dict[Address, EngineNode] = attrs.field(factory=dict)
    _heap: list[tuple[float, int, Callable[[], None]]] = attrs.field(factory=list)
    _serial: int = 0
    _births: int = 0

    # Commands

    def start(
        self,
        handle: str,
        *,
        seeds: Iterable[str] = (),
        port: int | None = None,
        zone: str = "",
        name: str | None = None,
        clock_off: float = 0.0,
    ) -> EngineNode:
        """Start a run of ``handle``, at its old port unless another is given.

        ``name`` is what it calls itself, if not its handle; ``clock_off`` is how far its wall clock is off (seconds).
        """
        old = self.nodes.get(handle)
        assert old is None or not old.alive, f"{handle} is running already"
        if port is None:
            port = old.address.port if old else 7000 + len(self._by_address)
        address = Address("10.0.0.1", port)
        there = self._by_address.get(address)
        assert there is None or not there.alive, f"{address} is in use"
        self._births += 1
        engine = create_engine(
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
        node = EngineNode(handle, address, engine, tuple(self.nodes[seed].address for seed in seeds))
        self.nodes[handle] = self._by_address[address] = node
        self._schedule(node)
        return node

    def crash(self, handle: str) -> None:
        """Kill the process: its kernel closes its streams, and refuses connections from now on."""
        node = self.nodes[handle]
        node.alive = False
        for number in list(node.streams):
            self._hang_up(node, number)

    def freeze(self, handle: str) -> None:
        """Stop the process like SIGSTOP: its kernel still queues packets, until its buffers are full."""
        self.nodes[handle].frozen = True

    def thaw(self, handle: str) -> None:
        """Continue a frozen process: it reads its queued packets, and then learns how late it is."""
        node = self.nodes[handle]
        due = node.engine.deadline()
        while node.inbox:
            node.inbox.pop(0)()
        node.frozen = False
        self._perform(node, node.engine.handle_timeout(self.now, late=max(0.0, self.now - due)))

    def cut(self, one: Iterable[str], other: Iterable[str], *, both_ways: bool = True) -> None:
        """Lose packets from ``one`` to ``other``."""
        others = list(other)
        for a in one:
            for b in others:
                self.cuts[a, b] = None
                if both_ways:
                    self.cuts[b, a] = None

    def heal(self) -> None:
        """End all cuts."""
        self.cuts.clear()

    def register(self, handle: str, service: str, *, port: int = 80, as_id: str = "", **fields: object) -> None:
        """Register an instance at ``handle``."""
        instance = Instance(id=as_id or f"{service}-{handle}", service=service, host="10.0.0.1", port=port, **fields)  # type: ignore[arg-type]
        self.do(handle, lambda engine, now: engine.register(instance, now))

    def do(self, handle: str, verb: Callable[[Engine, float], list[Output]]) -> None:
        """Make any other call to the engine of ``handle``."""
        node = self.nodes[handle]
        self._perform(node, verb(node.engine, self.now))

    def advance(self, seconds: float) -> None:
        """Run for ``seconds``."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, event = heapq.heappop(self._heap)
            event()
        self.now = end

    def until(self, wanted: Callable[[], bool], *, within: float, step: float = 0.01) -> float:
        """Run until ``wanted`` returns true; return how long it took (seconds)."""
        started = self.now
        while not wanted():
            assert self.now - started < within, f"not within {within} s"
            self.advance(step)
        return self.now - started

    # Observations

    @property
    def alive(self) -> list[EngineNode]:
        """The running nodes."""
        return [node for node in self.nodes.values() if node.alive]

    def agree(self) -> bool:
        """Whether all running nodes have equal fingerprints."""
        return len({node.engine.fingerprint for node in self.alive}) <= 1

    def statuses(self, subject: str) -> dict[str, str]:
        """Return what each running node believes of ``subject``."""
        updates = {node.handle: node.engine.members.get(subject) for node in self.alive if node.name != subject}
        return {handle: "unknown" if update is None else str(update.status) for handle, update in updates.items()}

    def all_see(self, subject: str, status: Status) -> bool:
        """Whether all other running nodes believe that ``subject`` has ``status``."""
        return set(self.statuses(subject).values()) <= {str(status)}

    def lookup(self, handle: str, service: str) -> list[str]:
        """Return the ids of the healthy instances that ``handle`` would return."""
        return [instance.id for instance in self.nodes[handle].engine.view.service(service).healthy]

    def passes(self, sender: EngineNode, receiver: EngineNode) -> bool:
        """Whether the network passes packets from ``sender`` to ``receiver``."""
        return (sender.handle, receiver.handle) not in self.cuts

    def at(self, address: Address) -> EngineNode | None:
        """Return the last node with ``address``."""
        return self._by_address.get(address)

    # Events and outputs

    def _at(self, when: float, event: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, event))

    def _schedule(self, node: EngineNode) -> None:
        due = node.engine.deadline()
        if due < node.woken_at:
            node.woken_at = due
            self._at(max(due, self.now), lambda: self._wake(node, due))

    def _wake(self, node: EngineNode, due: float) -> None:
        if node.alive and node.woken_at == due:
            node.woken_at = _NEVER
            if not node.frozen:
                self._perform(node, node.engine.handle_timeout(self.now))
                assert node.engine.deadline() > self.now, "an engine has no due timer after handle_timeout"

    def _hand_over(self, node: EngineNode, event: Callable[[], None]) -> None:
        """Deliver an arrival to ``node``, now or when it is thawed."""
        if node.alive and node.frozen:
            node.inbox.append(event)
        elif node.alive:
            event()

    def _take(self, node: EngineNode, outputs: list[Output]) -> None:
        """Perform the outputs of an arrival; a node being thawed reads everything before its timers run."""
        self._perform(node, outputs if node.frozen else outputs + node.engine.handle_timeout(self.now))

    def _perform(self, node: EngineNode, outputs: list[Output]) -> None:
        for output in outputs:
            self._show(node, output)
            match output:
                case Transmit():
                    self._transmit(node, output)
                case OpenStream():
                    self._open(node, output)
                case KeepStream():
                    node.streams[output.stream].patience = _NEVER
                case SendFrame():
                    self._send(node, output.stream, output.frame)
                case CloseStream():
                    self._at(self.now, lambda stream=output.stream: self._hang_up(node, stream))  # type: ignore[misc]
                case SeekSeeds():
                    self._perform(node, node.engine.seeds(node.seeds, self.now))
                case _:
                    self._report(node, output)
        self._schedule(node)

    def _report(self, node: EngineNode, output: Output) -> None:
        match output:
            case JoinEnded():
                there = self._by_address.get(output.peer)
                what = there.handle if there is not None else str(output.peer)
                self.write(node, f"{'has joined' if output.compared else 'has not joined'} {what}")
            case NameConflictFound():
                self._contested(node, output)
            case NameConflicted(other):
                self.write(node, "name conflict over" if other is None else f"name conflict: {other} has its name")
            case MemberChanged():
                self._write_member(node, output)
            case InstancesChanged():
                self._write_instances(node, output)

    def _show(self, node: EngineNode, output: Output) -> None:
        for listener in self.listeners:
            listener(node, output)

    def write(self, node: EngineNode, text: str) -> None:
        """Record an event of ``node``."""
        self.lines.append(f"{self.now:8.3f}  {node.handle:3} {text}")

    def _write_member(self, node: EngineNode, change: MemberChanged) -> None:
        if change.after is None:
            assert change.before is not None
            self.write(node, f"forgets {change.before.name}")
        elif change.after.name != node.name:
            after = change.after
            new_run = change.before is not None and not change.before.is_same_run(after)
            said = [after.name, str(after.status), f"({'new run, ' if new_run else ''}{after.incarnation})"]
            self.write(node, f"sees {' '.join(said)}{', draining' if after.draining else ''}")

    def _contested(self, node: EngineNode, conflict: NameConflictFound) -> None:
        self.write(node, f"name contested by {conflict.other}{', yields' if conflict.yielding else ''}")
        if conflict.yielding:
            node.yielded = True
            self.crash(node.handle)

    def _write_instances(self, node: EngineNode, change: InstancesChanged) -> None:
        for service in change.services:
            self.write(node, f"{service}: {' '.join(self.lookup(node.handle, service)) or 'none'}")

    def _transmit(self, node: EngineNode, packet: Transmit) -> None:
        assert len(packet.data) <= PACKET_ROOM, "a packet is within its size limit"
        self.packets += 1
        self.sent_bytes += len(packet.data)
        if self.loss and Random(f"{self.seed} {self.packets}").random() < self.loss:
            return

        def arrive() -> None:
            receiver = self._by_address.get(packet.to)
            if receiver is None or not self.passes(node, receiver) or len(receiver.inbox) >= _INBOX_MAX:
                return
            self._hand_over(receiver, lambda: read(receiver))

        def read(receiver: EngineNode) -> None:
            self._take(receiver, receiver.engine.receive(packet.data, node.address, self.now))

        self._at(self.now + LATENCY, arrive)

    # Streams

    def _open(self, node: EngineNode, opening: OpenStream) -> None:
        receiver = self._by_address.get(opening.to)

        def fail(*, refused: bool) -> None:
            self._hand_over(node, lambda: self._ended(node, opening.stream, refused=refused))

        if receiver is None or not self.passes(node, receiver) or not self.passes(receiver, node):
            self._at(self.now + opening.patience, lambda: fail(refused=False))
        elif not receiver.alive:
            self._at(self.now + 2 * LATENCY, lambda: fail(refused=True))
        else:
            receiver.accepted -= 1
            patience = _NEVER if opening.idle else opening.patience
            node.streams[opening.stream] = StreamEnd(receiver, receiver.accepted, patience, self.now)
            receiver.streams[receiver.accepted] = StreamEnd(node, opening.stream, opening.patience, self.now)
            self._watch_silence(node, opening.stream)
            self._watch_silence(receiver, receiver.accepted)
            self._send(node, opening.stream, opening.frame)

    def _watch_silence(self, node: EngineNode, stream: int) -> None:
        """Close a stream on which nothing has arrived for too long."""
        end = node.streams[stream]
        since = end.received_at

        def check() -> None:
            if node.streams.get(stream) is end and end.received_at == since and end.patience < _NEVER:
                self._hand_over(node, lambda: self._hang_up(node, stream))

        if end.patience < _NEVER:
            self._at(since + end.patience, check)

    def _send(self, node: EngineNode, stream: int, frame: bytes) -> None:
        assert len(frame) <= limits.FRAME_BYTES_MAX, "a frame is within its size limit"
        self.sent_bytes += len(frame)
        end = node.streams.get(stream)
        if end is None:
            return

        def arrive() -> None:
            if self.passes(node, end.peer):
                self._hand_over(end.peer, read)

        def read() -> None:
            receiver, there = end.peer, end.peer.streams.get(end.number)
            if there is not None:
                there.received_at = self.now
                self._watch_silence(receiver, end.number)
                self._take(receiver, receiver.engine.stream_frame(end.number, frame, node.address, self.now))

        self._at(self.now + 2 * LATENCY, arrive)

    def _hang_up(self, node: EngineNode, stream: int) -> None:
        """Close a stream at one end; the other end learns of it after the frames sent before."""
        end = node.streams.pop(stream, None)
        if end is None:
            return
        self._hand_over(node, lambda: self._ended(node, stream))

        def arrive() -> None:
            if self.passes(node, end.peer) and end.peer.streams.pop(end.number, None) is not None:
                self._hand_over(end.peer, lambda: self._ended(end.peer, end.number))

        self._at(self.now + 3 * LATENCY, arrive)

    def _ended(self, node: EngineNode, stream: int, *, refused: bool = False) -> None:
        self._take(node, node.engine.stream_ended(stream, self.now, refused=refused))
