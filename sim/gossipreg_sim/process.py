"""One node's process: an engine with a driver around it, which can be stopped, slowed, killed or restarted.

The driver is the production one in miniature, and obeys the same rule: what has arrived is handed in before timers
fire, and the engine is told how late it was woken. What can be wrong with a process:

- *frozen* (SIGSTOP, a long collection): nothing happens; what arrives waits in the kernel's buffer, timers are late;
- *blocked* (the Lifeguard paper's anomaly): sending and receiving wait, timers run;
- *slow*: everything that it handles takes a while;
- *crashed*: the kernel refuses; or, if the host is down, nothing answers at all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import attrs

from gossipreg.model import Address
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.outputs import CloseStream, OpenStream, Output, SendFrame, Transmit
from gossipreg.protocol.wire.packets import PacketCodec, Refused
from gossipreg_sim.world import EPOCH_MS, SECOND, World

#: What a kernel keeps for a process that does not read (bytes): our driver asks for so much.
RECEIVE_BUFFER: Final = 4 * 1024 * 1024

#: What waits to be sent while a process is blocked.
_SENDING: Final = (Transmit, OpenStream, SendFrame, CloseStream)

Arrival = Callable[[], None]


@attrs.define
class Clock:
    """A host's two clocks as functions of true time: one steady but for drift, one that may be wrong and may jump."""

    skew: float = 0.0  # seconds that the wall clock is ahead
    drift: float = 0.0  # seconds gained a second, since `_since`
    _since: float = 0.0  # true seconds
    _shown: float = 0.0  # what the steady clock showed then
    _is_true: bool = attrs.field(init=False)  # it shows true time, which need not be worked out

    def __attrs_post_init__(self) -> None:
        self._is_true = not (self.drift or self._since or self._shown)

    def steady(self, world: World) -> float:
        """What the host's steady clock shows (seconds)."""
        if self._is_true:
            return world.now / SECOND
        return self._shown + (world.seconds - self._since) * (1.0 + self.drift)

    def run_at(self, drift: float, world: World) -> None:
        """Gain ``drift`` seconds a second from now on; the steady clock does not jump."""
        self._shown, self._since, self.drift = self.steady(world), world.seconds, drift
        self._is_true = False

    def wall(self, world: World) -> float:
        """What the host's wall clock shows (seconds since the epoch)."""
        return self.wall_at(self.steady(world))

    def wall_at(self, steady: float) -> float:
        """What the wall clock shows when the steady one shows ``steady`` (both in seconds)."""
        return EPOCH_MS / 1000 + steady + self.skew

    def true_time(self, steady: float) -> float:
        """When, in true seconds, the steady clock shows ``steady``."""
        if self._is_true:
            return steady
        return self._since + (steady - self._shown) / (1.0 + self.drift)


@attrs.define(eq=False)
class Process:
    """One run of one node. What it returns goes to ``perform``; what was said about it, the observers see there."""

    name: str
    address: Address
    engine: Engine
    codec: PacketCodec
    world: World
    clock: Clock
    perform: Callable[[Process, list[Output]], None]
    has_disk: bool = False  # whether this life began with what the last one kept
    alive: bool = True
    frozen: bool = False
    blocked: bool = False
    service: int = 0  # ns that handling one arrival takes
    counters: Counter[str] = attrs.field(factory=Counter)
    _inbox: deque[tuple[int, Arrival]] = attrs.field(factory=deque)  # bytes, what to do with them
    _inbox_bytes: int = 0
    _held: list[Output] = attrs.field(factory=list)  # outputs that wait while blocked
    _wake_at: int | None = None  # ns
    _due: float = float("inf")  # what the engine asked for, on its own clock (seconds)
    _working: bool = False

    @property
    def now(self) -> float:
        """The time on this process's steady clock (seconds)."""
        return self.clock.steady(self.world)

    # What arrives

    def packet(self, data: bytes, source: Address) -> None:
        """A packet reaches the socket."""
        if self.alive and not (self._inbox or self.service or self.frozen or self.blocked):
            now = self.now
            self._open(data, source, now)
            self._wake(now)
        elif self.alive and self._inbox_bytes + len(data) > RECEIVE_BUFFER:
            self.counters["kernel_drops"] += 1
        else:
            self.call(len(data), lambda: self._open(data, source, self.now))

    def call(self, size: int, arrival: Arrival) -> None:
        """Something else reaches the process (a frame, the end of a stream); it waits in line like a packet."""
        if not self.alive:
            return
        self._inbox.append((size, arrival))
        self._inbox_bytes += size
        self._work()

    def _open(self, data: bytes, source: Address, now: float) -> None:
        payload = self.codec.decode(data, self.clock.wall_at(now), source.host)
        if isinstance(payload, Refused):
            self.counters[payload.reason.counter] += 1
        else:
            self.act(self.engine.receive(payload, source, now))

    def _work(self) -> None:
        """Handle what has arrived and what is due, unless something stands in the way."""
        if self._working or self.frozen or self.blocked or not self.alive:
            return
        if self.service and self._inbox:
            self._working = True
            self.world.after(self.service, self._work_off_one)
            return
        while self._inbox:
            self._take_one()
        self._wake(self.now)

    def _work_off_one(self) -> None:
        self._working = False
        if self.frozen or self.blocked or not self.alive:
            return
        if self._inbox:
            self._take_one()
        if not self._inbox:
            self._wake(self.now)
        self._work() if self._inbox else self.schedule()

    def _take_one(self) -> None:
        size, arrival = self._inbox.popleft()
        self._inbox_bytes -= size
        arrival()

    # What is due

    def _wake(self, now: float) -> None:
        if self.engine.wants_timeout(now):
            self.act(self.engine.handle_timeout(now, late=max(0.0, now - self._due)))

    def schedule(self) -> None:
        """Ask the world for a wake-up when the engine next wants one."""
        if not self.alive or self.frozen:
            return
        due = self.engine.deadline()
        if due == self._due and self._wake_at is not None and self._wake_at > self.world.now:
            return  # the alarm is set
        self._due = due
        if due == float("inf"):
            return
        when = int(self.clock.true_time(due) * SECOND) + 1  # a nanosecond late rather than a rounding early
        when = max(when, self.world.now + (due > self.now))  # nor, where clocks drift, the same nanosecond again
        if self._wake_at is None or when < self._wake_at or self._wake_at < self.world.now:
            self._wake_at = when
            self.world.at(when, lambda: self._alarm(when))

    def rewind(self) -> None:
        """Set the alarm anew: the clock runs otherwise than it did."""
        self._wake_at = None
        self.schedule()

    def _alarm(self, when: int) -> None:
        if self._wake_at != when:
            return
        self._wake_at = None
        if not self.alive or self.frozen:
            return
        if self.blocked or self._working:
            self._wake(self.now)  # timers run while input waits
        else:
            self._work()
        self.schedule()

    # What it does

    def act(self, outputs: list[Output]) -> None:
        """Do what the engine returned; what would be sent waits while the process is blocked."""
        if self.blocked:
            self._held += [output for output in outputs if isinstance(output, _SENDING)]
            outputs = [output for output in outputs if not isinstance(output, _SENDING)]
        self.perform(self, outputs)

    def do(self, verb: Callable[[Engine, float], list[Output]]) -> None:
        """Let the user of this node say something; a stopped process hears it when it goes on."""
        if self.frozen:
            self.call(0, lambda: self.act(verb(self.engine, self.now)))
        elif self.alive:
            self.act(verb(self.engine, self.now))
            self._wake(self.now)  # as the production driver does: what was said is told at once
            self.schedule()

    def set_wall_clock(self) -> None:
        """Tell the engine what the wall clock shows: it was set. The production driver does so at every turn."""
        now = self.now
        self.engine.set_wall_clock(1000 * self.clock.wall_at(now), now)
        self.schedule()

    # What can go wrong

    def freeze(self) -> None:
        """Stop the process."""
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on: what has arrived first, then what is due, with the delay known."""
        self.frozen = False
        self._resume()

    def block(self) -> None:
        """Let input and output wait."""
        self.blocked = True

    def unblock(self) -> None:
        """Let them go on: first what waited to be sent, then what waited to be read."""
        self.blocked = False
        self._resume()

    def _resume(self) -> None:
        if not self.alive or self.frozen:
            return
        if not self.blocked:
            held, self._held = self._held, []
            self.perform(self, held)
            self._work()
        self.rewind()

    def kill(self) -> None:
        """End the process."""
        self.alive = False
        self._inbox.clear()
        self._held.clear()
