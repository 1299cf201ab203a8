"""Simulated cluster: its processes, the streams between them, and the global state that no node can see."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

import attrs

from gossipreg import limits
from gossipreg.model import Address, Instance
from gossipreg.policy import Rule
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_creation import create_engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.identity.authenticator import Authenticator
from gossipreg.protocol.outputs import (
    CloseStream,
    NameConflictFound,
    OpenStream,
    Output,
    PoliciesChanged,
    SeekSeeds,
    SendFrame,
    TermsChanged,
    Transmit,
)
from gossipreg.protocol.registry.key_statements import KeyStatement, PrimaryKeyStatement, is_about_keys, keys_in_force
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.keyring import GossipKeyring
from gossipreg.protocol.wire.packets import ChecksummedPackets, PacketCodec, SealedPackets
from gossipreg.protocol.wire.reader import Reader
from gossipreg.revocation import Revocation
from gossipreg_sim.identities import Identities, key_in, revocation_key
from gossipreg_sim.network import Constant, Latency, Network
from gossipreg_sim.process import Clock, Process
from gossipreg_sim.wire import Bare, corrupted
from gossipreg_sim.world import World, ns

#: Size of a stream's end in a process's receive buffer (bytes).
_END_BYTES = 64

#: What a kernel sends to open or close a stream: an empty segment.
_BARE = bytes(40)

#: Messages cached by the reader that all nodes share. Each of a thousand nodes has updates of its own.
_READ_MAX = 65_536

#: Retry interval of a stalled frame (ns).
_STALL = ns(0.4)

#: The address of a sender that is no node.
NO_NODE = Address("198.18.255.254", 1)

Observer = Callable[[Process, Output], None]


@attrs.frozen
class PacketTrace:
    """What became of one packet, or of one frame on a stream, between two nodes."""

    sender: str
    receiver: str
    sent: int  # ns
    data: bytes  # the engine's output before sealing; empty for the opening or end of a stream
    arrivals: tuple[int, ...]  # ns, one for each copy that arrives intact
    culprit: str  # the condition that kept every copy from arriving intact, or ""
    on_stream: bool


@attrs.define(eq=False)
class _Stream:
    """One connection: its two ends, and the frames in flight to each (frames stay in order)."""

    ends: tuple[tuple[Process, int], tuple[Process, int]]
    segment: int = 0  # maximum segment size (bytes; 0: no limit)
    clear_at: dict[str, int] = attrs.field(factory=dict)  # receiver's name -> ns, when the last frame arrives
    stalled: dict[str, deque[bytes | None]] = attrs.field(factory=dict)  # receiver's name -> frames; None: the end

    def other(self, process: Process) -> tuple[Process, int]:
        """Return the far end."""
        (one, _), there = self.ends
        return there if one is process else self.ends[0]


@attrs.define
class Cluster:
    """Processes by name, connected by a network. Observers are called before each output is performed."""

    world: World
    settings: EngineSettings = attrs.field(factory=EngineSettings)
    latency: Latency = Constant(0.0005)
    key: bytes | None = attrs.field(default=None, repr=False)
    name: str = "sim"
    authenticators: Callable[[str], Authenticator] | None = None  # by name, if members have identities
    identities: Identities | None = None  # certificates of a simulated authority, which make the authenticators
    bare: bool = False  # whether packets go unsealed (see `gossipreg_sim.wire`)
    is_open: bool = False  # whether any process can send packets, as without a key (see `Engine.create`)
    network: Network = attrs.field(init=False)
    processes: dict[str, Process] = attrs.field(factory=dict)
    observers: list[Observer] = attrs.field(factory=list)
    touched: list[Callable[[Process], None]] = attrs.field(factory=list)
    taps: list[Callable[[bytes, Address], None]] = attrs.field(factory=list)  # shown every packet and its destination
    packet_taps: list[Callable[[PacketTrace], None]] = attrs.field(
        factory=list
    )  # called with the fate of each packet and frame
    frame_taps: list[Callable[[Process, bytes], None]] = attrs.field(factory=list)  # called with each received frame
    exit_taps: list[Callable[[Process], None]] = attrs.field(factory=list)  # called with every process that dies
    counters: Counter[str] = attrs.field(factory=Counter)
    _at: dict[Address, Process] = attrs.field(factory=dict)
    rejecting: dict[str, None] = attrs.field(factory=dict)  # hosts whose own kernel rejects all output
    _silent_hosts: dict[str, None] = attrs.field(factory=dict)  # hosts that do not even refuse connections
    _disks: dict[str, dict[str, Instance]] = attrs.field(factory=dict)
    _policies_on_disk: dict[str, dict[str, PolicyVersion]] = attrs.field(factory=dict)  # policies on each disk, by key
    _terms: dict[str, dict[str, TermRegister]] = attrs.field(factory=dict)  # terms on each disk, by service
    _generations: dict[str, int] = attrs.field(factory=dict)
    _seeds: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    _zones: dict[str, str] = attrs.field(factory=dict)
    _cells: dict[str, str] = attrs.field(factory=dict)
    _streams: dict[tuple[Process, int], _Stream] = attrs.field(factory=dict)
    _accepted: Counter[str] = attrs.field(factory=Counter)
    _starts: Counter[str] = attrs.field(factory=Counter)
    _clocks: dict[str, Clock] = attrs.field(factory=dict)
    file_keys: tuple[bytes, ...] = attrs.field(default=(), repr=False)  # in all nodes' key files; empty: `key` alone
    _keyrings: dict[str, GossipKeyring] = attrs.field(factory=dict)  # of the running process of each node, if sealed
    _earlier_counters: Counter[str] = attrs.field(factory=Counter)  # counters of the runs that have ended
    _reader: Reader = attrs.field(factory=lambda: Reader(_READ_MAX))  # shared, as are the messages that it caches

    def __attrs_post_init__(self) -> None:
        self.network = Network(self.world, self.latency)
        if self.identities is not None:
            self.authenticators = self.identities.authenticator

    # Starting and stopping nodes

    def start(
        self,
        name: str,
        *,
        seeds: Iterable[str] = (),
        zone: str = "",
        cell: str = "",
        port: int | None = None,
        disk: bool = False,
    ) -> Process:
        """Start the node ``name``; a restart keeps zone, cell, seeds and port unless they are given.

        With ``disk`` the node restarts with its generation, the instances that were registered through it, and the
        policies and terms that it knew. Without ``disk`` it starts empty.
        """
        old = self.processes.get(name)
        assert old is None or not old.alive, "a node has one process at a time"
        if old is not None:
            self._earlier_counters.update(_counted(old))
        self._seeds[name] = tuple(seeds) or self._seeds.get(name, ())
        self._zones[name] = zone or self._zones.get(name, "")
        self._cells[name] = cell or self._cells.get(name, "")
        self._starts[name] += 1
        start_number = self._starts[name]
        address = Address(_host(len(self._clocks), self._clocks, name), port or (old.address.port if old else 7940))
        clock = self.clock(name)
        generation = int(clock.wall(self.world) * 1000)
        if disk:
            generation = max(generation, self._generations.get(name, 0) + 1)
        self._generations[name] = generation
        codec = self._codec(name, start_number)
        engine = create_engine(
            name=name,
            generation=generation,
            address=address,
            zone=self._zones[name],
            cell=self._cells[name],
            settings=self.settings,
            rng=Random(self.world.rng("node", name, start_number).bits()),
            has_seeds=bool(self._seeds[name]),
            packet_room=limits.PACKET_BYTES_MAX - codec.overhead,
            now=clock.steady(self.world),
            reader=self._reader,
            checks_clocks=self.key is not None,
            is_open=self.is_open,
            authenticator=None if self.authenticators is None else self.authenticators(name),
        )
        process = Process(name, address, engine, codec, self.world, clock, self._perform, has_disk=disk)
        engine.set_wall_clock(1000 * clock.wall(self.world), process.now)
        self.processes[name] = self._at[address] = process
        self._silent_hosts.pop(name, None)
        versions = self._policies_on_disk.pop(name, {}) if disk else {}
        terms = self._terms.pop(name, {}) if disk else {}
        self._policies_on_disk[name], self._terms[name] = versions, terms
        if versions or terms:
            process.do(partial(_recall, tuple(versions.values()), tuple(terms.values())))
        for revocation in () if self.identities is None else self.identities.known_revocations:
            if process.engine.state.authenticator.is_on:
                process.do(partial(_revoke, revocation))
        for instance in self._disks.get(name, {}).values() if disk else ():
            process.do(partial(_register, instance))
        self.apply_keys(process)
        process.schedule()
        return process

    def _codec(self, name: str, start_number: int) -> PacketCodec:
        if self.bare:
            return Bare(ChecksummedPackets.overhead if self.key is None else SealedPackets.overhead)
        if self.key is None:
            return ChecksummedPackets(self.name)
        keyring = self._keyrings[name] = GossipKeyring(self.file_keys or (self.key,))
        return SealedPackets(keyring, self.name, self.world.rng("seal", name, start_number).bits().to_bytes(8))

    def outsiders_codec(self, sender_id: bytes) -> PacketCodec:
        """The codec of a sender that is no member, and has the key files of the nodes."""
        if self.key is None:
            return ChecksummedPackets(self.name)
        keyring = self._keyrings.setdefault("", GossipKeyring((self.key,)))
        return SealedPackets(keyring, self.name, sender_id)

    def crash(self, name: str, *, host: bool = False) -> None:
        """Kill a process: its kernel closes its streams and refuses new ones. With ``host`` the host falls silent."""
        process = self.processes[name]
        process.kill()
        for tap in self.exit_taps:
            tap(process)
        if host:
            self._silent_hosts[name] = None
        for held, number in [end for end in self._streams if end[0] is process]:
            stream = self._streams.pop((held, number))
            if not host:
                self._close_far(stream, process)
            else:
                self._time_out_far(stream, process)

    def clock(self, name: str) -> Clock:
        """Return the clocks of ``name``'s host, which a fault may set wrong."""
        return self._clocks.setdefault(name, Clock())

    def running(self, name: str) -> Process | None:
        """Return the running process of ``name``, paused or not; None if there is none."""
        process = self.processes.get(name)
        return process if process is not None and process.alive else None

    @property
    def alive(self) -> list[Process]:
        """The running processes, paused ones included."""
        return [process for process in self.processes.values() if process.alive]

    def name_at(self, address: Address) -> str | None:
        """Return the process that has, or last had, ``address``."""
        process = self._at.get(address)
        return None if process is None else process.name

    @property
    def tally(self) -> Counter[str]:
        """The counters of all processes and their engines, summed over this and earlier runs of each node."""
        return sum(map(_counted, self.processes.values()), self._earlier_counters.copy())

    # Actions of users

    def register(self, name: str, instance: Instance) -> None:
        """Register an instance at ``name``."""
        self._disks.setdefault(name, {})[instance.id] = instance
        self.processes[name].do(partial(_register, instance))

    def deregister(self, name: str, instance_id: str) -> None:
        """Deregister it."""
        self._disks.get(name, {}).pop(instance_id, None)
        self.processes[name].do(lambda engine, now: engine.deregister(instance_id, now))

    def set_policy(self, name: str, rule: Rule) -> None:
        """Set a policy at ``name``."""
        self.processes[name].do(lambda engine, now: engine.set_policy(rule, now))

    def remove_policy(self, name: str, key: str) -> None:
        """Remove a policy at ``name``."""
        self.processes[name].do(lambda engine, now: engine.remove_policy(key, now))

    def revoke(self, name: str, revocation: Revocation) -> None:
        """Publish a revocation at ``name``."""
        assert self.identities is not None, "members have identities"
        self.identities.ledger.revoked.setdefault(revocation_key(revocation), self.world.now)
        self.processes[name].do(partial(_revoke, revocation))

    def has_revoked(self, proof: bytes) -> bool:
        """Whether the certificate in a proof was revoked; not without proof."""
        return bool(proof) and self.identities is not None and key_in(proof) in self.identities.ledger.revoked

    def state_key(self, name: str, statement: KeyStatement | PrimaryKeyStatement) -> None:
        """State something about a key of the gossip at ``name``, which has joined."""
        self.processes[name].do(
            lambda engine, now: engine.publish_policy(engine.local_policies.statement_of(statement, now), now)
        )

    def offered(self) -> dict[str, dict[str, Instance]]:
        """Return the ground truth: what each live node's own engine offers now, by node and id."""
        return {
            process.name: {record.id: record.instance for record in table}
            for process in self.alive
            if (table := process.engine.state.registry.table(process.name)) is not None
        }

    # Outputs of engines

    def _perform(self, process: Process, outputs: list[Output]) -> None:
        for output in outputs:
            for observer in self.observers:
                observer(process, output)
            match output:
                case Transmit():
                    self._transmit(process, output)
                case OpenStream():
                    self._open(process, output)
                case SendFrame():
                    self._send(process, output.stream, output.frame)
                case CloseStream():
                    self._close(process, output.stream)
                case SeekSeeds():
                    addresses = [self.processes[s].address for s in self._seeds[process.name] if s in self.processes]
                    process.act(process.engine.seeds(addresses, process.now))
                case PoliciesChanged():
                    self._store_policies(process, output)
                case TermsChanged():
                    self._store_terms(process, output)
                case NameConflictFound(yielding=True):
                    self.crash(process.name)
        for touch in self.touched:
            touch(process)

    def _store_policies(self, process: Process, changed: PoliciesChanged) -> None:
        disk = self._policies_on_disk[process.name]
        for key in changed.keys:
            version = process.engine.state.policies.get(key)
            if version is None:
                disk.pop(key, None)
            else:
                disk[key] = version
        if any(map(is_about_keys, changed.keys)):
            self.apply_keys(process)

    def use_key_files(self, keys: tuple[bytes, ...]) -> None:
        """Replace the key files of all nodes, and have the running ones read them again."""
        self.file_keys = keys
        if (outsiders := self._keyrings.get("")) is not None:
            outsiders.replace(keys)
        for process in self.alive:
            self.apply_keys(process)

    def apply_keys(self, process: Process) -> None:
        """Have a node hold the gossip keys that its file and the cluster's statements give now."""
        keyring = self._keyrings.get(process.name)
        if keyring is not None and self.key is not None and self.running(process.name) is process:
            statements = process.engine.state.policies.statements
            files = self.file_keys or (self.key,)
            keyring.replace(keys_in_force(files, statements, process.clock.wall(self.world)).keys)

    def _store_terms(self, process: Process, changed: TermsChanged) -> None:
        disk = self._terms[process.name]
        for service in changed.services:
            register = process.engine.state.terms.get(service)
            if register is None:
                disk.pop(service, None)
            else:
                disk[service] = register

    def _transmit(self, process: Process, output: Transmit) -> None:
        if process.name in self.rejecting:
            self.counters["packets_rejected"] += 1
            process.act(process.engine.unsent(output.to, process.now))
            return
        receiver = self._at.get(output.to)
        packet = process.codec.encode(output.data, process.clock.wall(self.world))
        counters = self.counters
        counters["packets"] += 1
        counters["bytes"] += len(packet)
        for tap in self.taps:
            tap(packet, output.to)
        if receiver is None:
            return
        copies = self.network.carry(process.name, receiver.name, packet)
        if self.bare:
            copies = [(delay, data if data is packet else corrupted(data)) for delay, data in copies]
        if self.packet_taps:
            whole = [self.world.now + delay for delay, data in copies if data is packet]
            self._trace_packet(process, receiver, output.data, whole, self.network.culprit, on_stream=False)
        for delay, data in copies:
            self.world.after(delay, partial(self._deliver, data, process.address, output.to))

    def _trace_packet(
        self, sender: Process, receiver: Process, data: bytes, arrivals: list[int], culprit: str, *, on_stream: bool
    ) -> None:
        culprit = "" if arrivals else culprit
        passage = PacketTrace(sender.name, receiver.name, self.world.now, data, tuple(arrivals), culprit, on_stream)
        for tap in self.packet_taps:
            tap(passage)

    def _deliver(self, data: bytes, source: Address, to: Address) -> None:
        receiver = self._at.get(to)
        if receiver is not None and receiver.name not in self._silent_hosts:
            receiver.packet(data, source)
            receiver.schedule()

    def inject(self, packet: bytes, to: Address) -> None:
        """Deliver a packet to ``to`` that no node sent, from an address that no node has."""
        self._deliver(packet, NO_NODE, to)

    def inject_stream(self, name: str, frames: Iterable[bytes]) -> None:
        """Open a stream to ``name`` that no node opened, send ``frames`` on it, and close it; answers go nowhere."""
        receiver = self.processes[name]
        self._accepted[name] -= 1
        number = self._accepted[name]
        for frame in frames:
            receiver.call(len(frame), partial(self._injected_frame, receiver, number, frame))
        receiver.call(_END_BYTES, lambda: receiver.act(receiver.engine.stream_ended(number, receiver.now)))
        receiver.schedule()

    def _injected_frame(self, receiver: Process, number: int, frame: bytes) -> None:
        for tap in self.frame_taps:
            tap(receiver, frame)
        receiver.act(receiver.engine.stream_frame(number, frame, NO_NODE, receiver.now))

    # Streams

    def _open(self, process: Process, opening: OpenStream) -> None:
        if process.name in self.rejecting:
            self.world.after(0, partial(self._ended, process, opening.stream, refused=True))
            return
        receiver = self._at.get(opening.to)
        there = None if receiver is None else self.network.carry_frame(process.name, receiver.name, _BARE)
        culprit = self.network.culprit
        back = None if receiver is None else self.network.carry_frame(receiver.name, process.name, _BARE)
        if receiver is None or receiver.name in self._silent_hosts or there is None or back is None:
            if self.packet_taps and receiver is not None:
                self._trace_packet(
                    process, receiver, opening.frame, [], culprit or self.network.culprit, on_stream=True
                )
            self.world.after(ns(opening.patience), partial(self._ended, process, opening.stream, refused=False))
        elif not receiver.alive:
            self.world.after(there + back, partial(self._ended, process, opening.stream, refused=True))
        else:
            self._accepted[receiver.name] -= 1
            number = self._accepted[receiver.name]
            stream = _Stream(((process, opening.stream), (receiver, number)), opening.segment)
            self._streams[process, opening.stream] = self._streams[receiver, number] = stream
            self.world.after(there + back, partial(self._send, process, opening.stream, opening.frame))
            if not opening.idle:
                self.world.after(ns(opening.patience) * 4, partial(self._time_out, process, opening.stream))

    def _send(self, process: Process, number: int, frame: bytes) -> None:
        stream = self._streams.get((process, number))
        if stream is None:
            return
        self.counters["frames"] += 1
        self.counters["bytes"] += len(frame)
        self._queue_frame(stream, process, frame)

    def _queue_frame(self, stream: _Stream, process: Process, frame: bytes | None) -> None:
        """Send a frame, or the end of the stream, behind all frames that wait."""
        receiver, _ = stream.other(process)
        stalled = stream.stalled.setdefault(receiver.name, deque())
        stalled.append(frame)
        if len(stalled) == 1:
            self._send_queued(stream, process)

    def _send_queued(self, stream: _Stream, process: Process) -> None:
        receiver, far = stream.other(process)
        stalled = stream.stalled[receiver.name]
        while stalled and (receiver, far) in self._streams:
            frame = stalled[0]
            sent = _BARE if frame is None else frame
            delay = self.network.carry_frame(process.name, receiver.name, sent, segment=stream.segment)
            if delay is None:
                if self.packet_taps:
                    self._trace_packet(process, receiver, frame or b"", [], self.network.culprit, on_stream=True)
                self.world.after(_STALL, partial(self._send_queued, stream, process))
                return
            stalled.popleft()
            arrives = max(self.world.now + delay, stream.clear_at.get(receiver.name, 0))
            stream.clear_at[receiver.name] = arrives
            if self.packet_taps:
                self._trace_packet(process, receiver, frame or b"", [arrives], "", on_stream=True)
            if frame is None:
                self.world.at(arrives, partial(self._far_end_closed, receiver, far))
            else:
                self.world.at(arrives, partial(self._frame, receiver, far, frame, process.address))

    def _frame(self, receiver: Process, number: int, frame: bytes, source: Address) -> None:
        def arrive() -> None:
            if (receiver, number) in self._streams:
                for tap in self.frame_taps:
                    tap(receiver, frame)
                receiver.act(receiver.engine.stream_frame(number, frame, source, receiver.now))

        receiver.call(len(frame), arrive)
        receiver.schedule()

    def _close(self, process: Process, number: int) -> None:
        stream = self._streams.pop((process, number), None)
        if stream is not None:
            self._close_far(stream, process)

    def _time_out(self, process: Process, number: int) -> None:
        if (process, number) in self._streams:
            self._close(process, number)
            self._ended(process, number, refused=False)

    def _close_far(self, stream: _Stream, process: Process) -> None:
        """Tell the far end after the frames in flight to it; if the message is lost, the far end times out."""
        self._queue_frame(stream, process, None)
        self._time_out_far(stream, process)

    def _time_out_far(self, stream: _Stream, process: Process) -> None:
        self.world.after(ns(self.settings.stream_patience), partial(self._far_end_closed, *stream.other(process)))

    def _far_end_closed(self, process: Process, number: int) -> None:
        def arrive() -> None:
            if self._streams.pop((process, number), None) is not None:
                process.act(process.engine.stream_ended(number, process.now))

        if (process, number) in self._streams:
            process.call(_END_BYTES, arrive)
            process.schedule()

    def _ended(self, process: Process, number: int, *, refused: bool) -> None:
        process.call(_END_BYTES, lambda: process.act(process.engine.stream_ended(number, process.now, refused=refused)))
        process.schedule()


def _counted(process: Process) -> Counter[str]:
    return process.counters + process.engine.counters


def _register(instance: Instance, engine: Engine, now: float) -> list[Output]:
    return engine.register(instance, now)


def _revoke(revocation: Revocation, engine: Engine, now: float) -> list[Output]:
    return engine.publish_policy(engine.local_policies.revocation_of(revocation), now)


def _recall(
    versions: tuple[PolicyVersion, ...], terms: tuple[TermRegister, ...], engine: Engine, now: float
) -> list[Output]:
    return engine.recall(versions, now, terms=terms)


def _host(count: int, known: dict[str, Clock], name: str) -> str:
    """Return a distinct address for each host, in the range reserved for benchmarks (RFC 2544)."""
    number = list(known).index(name) if name in known else count
    return f"198.18.{number // 256}.{number % 256}"
