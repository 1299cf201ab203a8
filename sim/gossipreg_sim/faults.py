"""Faults of a scenario: applying each to a cluster, and undoing it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial

import attrs

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.wire.keyring import GossipKeyring
from gossipreg.protocol.wire.packets import SealedPackets
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.conditions import (
    BitFlips,
    Bursts,
    Cut,
    Delay,
    Duplication,
    FlipFlop,
    Links,
    Loss,
    Mtu,
    Narrow,
    Reordering,
    TcpLoss,
    UdpLoss,
)
from gossipreg_sim.fault import Fault
from gossipreg_sim.fault_timing import is_for_good
from gossipreg_sim.identity_faults import IdentityFaults
from gossipreg_sim.network import Condition, Constant, Exponential
from gossipreg_sim.process import Process
from gossipreg_sim.rng import Rng
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.trace import Trace
from gossipreg_sim.world import EPOCH_MS, ns

#: Packets recorded for replays, per fault.
_RECORDED_MAX = 256

#: How long a leaving node stays up, so that its leave message spreads (seconds).
_FAREWELL = 1.0


_Recorded = tuple[int, bytes, Address]  # when (ns), what, where to


def chosen(selectors: tuple[str, ...], scenario: Scenario, rng: Rng) -> list[str]:
    """Return the nodes that ``selectors`` name: a name, ``*``, ``zone:zone-1``, ``random:3``, ``first:3``, ``last:3``.

    With several cells, ``cell:cell-1`` is all nodes of one. Each selector draws from its own stream, and names at least
    one node, as `Scenario` has checked.
    """
    names: dict[str, None] = {}
    every_name = scenario.node_names
    for selector in selectors:
        how, _, which = selector.partition(":")
        if selector == "*":
            names.update(dict.fromkeys(every_name))
        elif how == "zone":
            names.update((name, None) for name in every_name if scenario.zone_of(name) == which)
        elif how == "cell":
            names.update((name, None) for name in every_name if scenario.cell_of(name) == which)
        elif how == "random":
            names.update(dict.fromkeys(rng.fork().sample(every_name, int(which))))
        elif how == "first":
            names.update(dict.fromkeys(every_name[: int(which)]))
        elif how == "last":
            names.update(dict.fromkeys(every_name[-int(which) :]))
        else:
            names[selector] = None
    return list(names)


def links_of(fault: Fault, nodes: list[str], to: list[str]) -> Links:
    """Return the links that ``fault`` affects; a cut leaves those among ``nodes``, unless it is between them only."""
    if fault.kind in ("cut", "flip-flop"):
        to = [name for name in to if name not in nodes] or to
    return Links(frozenset(nodes), frozenset(to), fault.both_ways)


@attrs.define
class Faults:
    """The faults of a scenario, applied to a cluster at their times."""

    scenario: Scenario
    cluster: Cluster
    trace: Trace
    stop_at: int  # ns, when the heal begins
    restarted: list[str] = attrs.field(factory=list)
    _down_until: dict[str, float] = attrs.field(factory=dict)  # ns: no fault restarts the node earlier

    def plan(self, start: int) -> None:
        """Schedule every fault; ``start`` (ns) is the time from which the faults' times count."""
        for fault in self.scenario.faults:
            purpose = f"fault {fault.name}"
            rng = self.cluster.world.rng(purpose)
            nodes = chosen(fault.nodes, self.scenario, rng)
            begins = start + ns(fault.at)
            ends = self._by_heal(begins + ns(fault.lasts)) if fault.lasts else self.stop_at
            condition = self._condition(fault, nodes, chosen(fault.to, self.scenario, rng), begins)
            if condition is not None:
                self._condition_between(purpose, fault, condition, begins, ends)
            else:
                self._plan_on_nodes(fault, nodes, rng, begins, ends)

    def _by_heal(self, when: int) -> int:
        return min(self.stop_at, when)

    # Links

    def _condition(self, fault: Fault, nodes: list[str], to: list[str], begins: int) -> Condition | None:
        """Return the link condition that the fault sets; None if the fault does not affect links."""
        links = links_of(fault, nodes, to)
        extra = Exponential(fault.seconds, fault.spread) if fault.spread else Constant(fault.seconds)
        made: dict[str, Callable[[], Condition]] = {
            "cut": lambda: Cut(links),
            "flip-flop": lambda: FlipFlop(links, fault.off, fault.on, begins),
            "loss": lambda: Loss(links, fault.probability),
            "udp-only-loss": lambda: UdpLoss(links, fault.probability),
            "tcp-only-loss": lambda: TcpLoss(links, fault.probability),
            "mtu": lambda: Mtu(links, fault.size),
            "bursts": lambda: Bursts(links, fault.probability, fault.spread),
            "duplicate": lambda: Duplication(links, fault.probability, fault.spread),
            "reorder": lambda: Reordering(links, fault.probability, fault.spread),
            "delay": lambda: Delay(links, extra),
            "narrow": lambda: Narrow(links, fault.rate, fault.buffer),
            "bit-flips": lambda: BitFlips(links, fault.probability),
        }
        make = made.get(fault.kind)
        return None if make is None else make()

    def _condition_between(self, name: str, fault: Fault, condition: Condition, begins: int, ends: int) -> None:
        def begin() -> None:
            self._note(fault, "begins")
            self.cluster.network.begin(name, condition)

        def end() -> None:
            self._note(fault, "ends")
            self.cluster.network.end(name)

        self.cluster.world.at(begins, begin)
        if not fault.permanent:
            self.cluster.world.at(ends, end)

    def _note(self, fault: Fault, what: str, about: str = "") -> None:
        self.trace.note(self.cluster.world.now, "", f"{fault.kind} {what}", about)

    # Processes and hosts

    def _plan_on_nodes(self, fault: Fault, nodes: list[str], rng: Rng, begins: int, ends: int) -> None:
        actions: dict[str, Callable[[str, float], None]] = {
            "crash": lambda name, until: self._crash(name, until, host=False),
            "crash-host": lambda name, until: self._crash(name, until, host=True),
            "leave": self._leave,
        }
        world = self.cluster.world
        back_at = math.inf if is_for_good(fault) else ends
        for place, name in enumerate(nodes):
            match fault.kind:
                case "crash" | "crash-host" | "leave":
                    world.at(begins, partial(actions[fault.kind], name, back_at))
                    if not is_for_good(fault):
                        world.at(ends, partial(self._start, name, disk=fault.disk))
                case "restart":
                    when = begins + place * ns(fault.every)
                    back = when + ns(fault.seconds)  # before the heal, as `Scenario` has checked
                    world.at(when, partial(self._crash, name, back, host=False))
                    world.at(back, partial(self._start, name, disk=fault.disk, port=fault.port or None))
                case "freeze" | "block":
                    self._pauses(fault, name, begins, ends)
                case "slow":
                    world.at(begins, partial(self._slow, name, ns(fault.seconds)))
                    world.at(ends, partial(self._slow, name, 0))
                case "output-rejected":
                    world.at(begins, partial(self._reject, fault, name))
                    world.at(ends, partial(self._accept, fault, name))
                case "clock-skew":
                    self._plan_span(fault, partial(self._skew, name), fault.seconds, begins, ends)
                case "clock-skew-at-start":
                    self._skew(name, fault.seconds)  # at the start, before the node runs
                    world.at(ends, partial(self._skew, name, 0.0))
                case "clock-drift":
                    self._plan_span(fault, partial(self._drift, name), fault.drift, begins, ends)
        if fault.kind in ("churn", "swizzle", "forge", "replay"):
            self._plan_repeated(fault, nodes, rng, begins, ends)
        IdentityFaults(self.cluster, self.trace, self._crash, self._start).plan(fault, nodes, rng, begins, ends)

    def _plan_span(self, fault: Fault, turn: Callable[[float], None], wrong: float, begins: int, ends: int) -> None:
        self.cluster.world.at(begins, partial(turn, wrong))
        if not fault.permanent:
            self.cluster.world.at(ends, partial(turn, 0.0))

    def _keep_down(self, name: str, until: float) -> None:
        self._down_until[name] = max(until, self._down_until.get(name, 0))

    def _crash(self, name: str, until: float, *, host: bool) -> None:
        self._keep_down(name, until)
        if self.cluster.running(name):
            self.trace.note(self.cluster.world.now, name, "crash-host" if host else "crash")
            self.cluster.crash(name, host=host)

    def _start(self, name: str, *, disk: bool, port: int | None = None) -> None:
        """Restart the node, unless another fault keeps it down for longer."""
        if self.cluster.world.now < self._down_until.get(name, 0):
            return
        leaving = self.cluster.running(name)
        if leaving is not None and leaving.engine.identity.left:
            self._close(name, leaving)
        if name in self.cluster.processes and not self.cluster.running(name):
            self.trace.note(self.cluster.world.now, name, "start")
            self.cluster.start(name, disk=disk, port=port)
            self.restarted.append(name)

    def _leave(self, name: str, until: float) -> None:
        self._keep_down(name, until)
        process = self.cluster.running(name)
        if process is not None:
            self.trace.note(self.cluster.world.now, name, "leave")
            process.do(lambda engine, now: [] if engine.identity.left else engine.leave(now))
            self.cluster.world.after(ns(_FAREWELL), partial(self._close, name, process))

    def _close(self, name: str, process: Process) -> None:
        if process.alive:
            self.cluster.crash(name)

    def _slow(self, name: str, service: int) -> None:
        process = self.cluster.running(name)
        if process is not None:
            self.trace.note(self.cluster.world.now, name, "slow", "", str(service))
            process.service = service

    def _reject(self, fault: Fault, name: str) -> None:
        """Reject what a node sends, as a firewall on its own host does; data on its open streams waits."""
        self.trace.note(self.cluster.world.now, name, "output-rejected")
        out = Links(frozenset([name]), frozenset(self.scenario.node_names), both_ways=False)
        self.cluster.rejecting[name] = None
        self.cluster.network.begin(f"fault {fault.name} {name}", Cut(out))

    def _accept(self, fault: Fault, name: str) -> None:
        self.cluster.network.end(f"fault {fault.name} {name}")
        self.cluster.rejecting.pop(name, None)

    def _skew(self, name: str, seconds: float) -> None:
        self.trace.note(self.cluster.world.now, name, "clock", "", str(seconds))
        self.cluster.clock(name).skew = seconds
        process = self.cluster.running(name)
        if process is not None:
            process.set_wall_clock()

    def _drift(self, name: str, drift: float) -> None:
        self.trace.note(self.cluster.world.now, name, "drift", "", str(drift))
        self.cluster.clock(name).run_at(drift, self.cluster.world)
        process = self.cluster.running(name)
        if process is not None:
            process.rewind()

    def _pauses(self, fault: Fault, name: str, begins: int, ends: int) -> None:
        """Pause for ``off`` seconds, continue for ``on``, repeat until ``ends``; without ``on`` only once."""
        world = self.cluster.world
        off = ns(fault.off) if fault.off else ends - begins
        at = begins
        while at < ends:
            world.at(at, partial(self._pause, fault.kind, name, stop=True))
            world.at(min(ends, at + off), partial(self._pause, fault.kind, name, stop=False))
            if not fault.on:
                return
            at += off + ns(fault.on)

    def _pause(self, kind: str, name: str, *, stop: bool) -> None:
        process = self.cluster.running(name)
        if process is None or (process.frozen if kind == "freeze" else process.blocked) == stop:
            return
        self.trace.note(self.cluster.world.now, name, kind if stop else f"un{kind}")
        if kind == "freeze":
            process.freeze() if stop else process.thaw()
        else:
            process.block() if stop else process.unblock()

    # Recurring faults

    def _plan_repeated(self, fault: Fault, nodes: list[str], rng: Rng, begins: int, ends: int) -> None:
        every = max(ns(fault.every), ns(0.001))
        recorded: deque[_Recorded] = deque(maxlen=_RECORDED_MAX)
        if fault.kind in ("forge", "replay"):
            wanted = frozenset(nodes)
            self.cluster.taps.append(lambda packet, to: self._record(recorded, packet, to, wanted))
        actions: dict[str, Callable[[], None]] = {
            "churn": lambda: self._churn(fault, nodes, rng),
            "swizzle": lambda: self._swizzle(fault, nodes, rng),
            "forge": lambda: self._forge(nodes, recorded, rng),
            "replay": lambda: self._replay(fault, recorded, rng),
        }
        for at in range(begins, ends, every):
            self.cluster.world.at(at, actions[fault.kind])

    def _churn(self, fault: Fault, nodes: list[str], rng: Rng) -> None:
        name = nodes[rng.below(len(nodes))]
        back = self._by_heal(self.cluster.world.now + ns(fault.seconds))
        self._crash(name, back, host=rng.chance(0.3))
        self.cluster.world.at(back, partial(self._start, name, disk=fault.disk))

    def _swizzle(self, fault: Fault, nodes: list[str], rng: Rng) -> None:
        """Clog some nodes one after the other, then unclog them in reverse order (FoundationDB's "swizzle")."""
        clogged = rng.sample(nodes, max(1, len(nodes) // 3))
        step = ns(fault.every) // (2 * len(clogged) + 2)
        for place, name in enumerate(clogged):
            links = Links(frozenset([name]), frozenset(self.scenario.node_names))
            purpose = f"fault {fault.name} {name}"
            clogs = self.cluster.world.now + place * step
            back = self._by_heal(self.cluster.world.now + (2 * len(clogged) - place) * step)
            if clogs < back:  # otherwise the heal comes first
                self.cluster.world.at(clogs, partial(self.cluster.network.begin, purpose, Cut(links)))
                self.cluster.world.at(back, partial(self.cluster.network.end, purpose))

    def _record(self, recorded: deque[_Recorded], packet: bytes, to: Address, wanted: frozenset[str]) -> None:
        """Record every packet until the buffer is full, then now and then replace the oldest with a new one."""
        if self.cluster.name_at(to) in wanted and (
            len(recorded) < _RECORDED_MAX or self.cluster.counters["packets"] % 8 == 0
        ):
            recorded.append((self.cluster.world.now, packet, to))

    def _forge(self, nodes: list[str], recorded: deque[_Recorded], rng: Rng) -> None:
        """Inject junk, a real packet with one byte changed, or a member's message sealed under a wrong key."""
        target = self.cluster.running(nodes[rng.below(len(nodes))])
        if target is None:
            return
        to = target.address
        which = rng.below(3) if recorded else 0
        size = 1 + rng.below(200)
        packet = b"".join(rng.bits().to_bytes(8) for _ in range(size // 8 + 1))[:size]
        if which:
            _, real, to = recorded[rng.below(len(recorded))]
            place = rng.below(len(real))
            changed = bytes([real[place] ^ 1 + rng.below(255)])
            packet = real[:place] + changed + real[place + 1 :]
            if which == 2:
                codec = SealedPackets(
                    GossipKeyring((rng.bits().to_bytes(8) * 4,)), self.cluster.name, rng.bits().to_bytes(8)
                )
                packet = codec.encode(
                    real[: limits.PACKET_BYTES_MAX - codec.overhead], EPOCH_MS / 1000 + self.cluster.world.seconds
                )
        self.trace.note(self.cluster.world.now, "", "forge", str(to), str(which))
        self.cluster.inject(packet, to)

    def _replay(self, fault: Fault, recorded: deque[_Recorded], rng: Rng) -> None:
        if not recorded:
            return
        at, packet, to = recorded[rng.below(len(recorded))]
        if self.cluster.world.now - at >= ns(fault.seconds):
            self.trace.note(self.cluster.world.now, "", "replay", str(to), str(at))
            self.cluster.inject(packet, to)
