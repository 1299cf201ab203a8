"""Simulated process of one node: an engine and its driver, which can be paused, slowed, killed or restarted.

The driver is a small version of the production one and obeys the same rule: packets that have arrived are handled
before timers fire, and the engine learns how late it was woken. States of an unhealthy process:

- *frozen* (SIGSTOP, a long GC pause): the process does nothing; packets wait in the kernel's buffer; timers are late;
- *blocked* (the Lifeguard paper's anomaly): sending and receiving wait, but timers run;
- *slow*: each arrival takes a while to handle;
- *crashed*: the kernel refuses connections; if the host is down, nothing answers at all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import attrs

from gossipreg.model import Address
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.outputs import CloseStream, MessageFailed, OpenStream, Output, SendFrame, Transmit
from gossipreg.protocol.wire.packets import PacketCodec, Refused
from gossipreg_sim.world import EPOCH_MS, SECOND, World

#: Receive buffer of a process that does not read (bytes): the production driver asks the kernel for this size.
RECEIVE_BUFFER: Final = 4 * 1024 * 1024

#: Outputs that wait while a process is blocked.
_SENDING: Final = (Transmit, OpenStream, SendFrame, CloseStream)

Arrival = Callable[[], None]


@attrs.define
class Clock:
    """A host's two clocks as functions of true time: a steady one that may drift, and a wall clock that may jump."""

    skew: float = 0.0  # seconds by which the wall clock is ahead
    drift: float = 0.0  # seconds gained per second, since `_since`
    _since: float = 0.0  # true seconds
    _shown: float = 0.0  # reading of the steady clock at `_since`
    _is_true: bool = attrs.field(init=False)  # without drift, no computation is needed

    def __attrs_post_init__(self) -> None:
        self._is_true = not (self.drift or self._since or self._shown)

    def steady(self, world: World) -> float:
        """Return the host's steady clock (seconds)."""
        if self._is_true:
            return world.now / SECOND
        return self._shown + (world.seconds - self._since) * (1.0 + self.drift)

    def run_at(self, drift: float, world: World) -> None:
        """Set the drift to ``drift`` seconds per second from now on; the steady clock does not jump."""
        self._shown, self._since, self.drift = self.steady(world), world.seconds, drift
        self._is_true = False

    def wall(self, world: World) -> float:
        """Return the host's wall clock (seconds since the epoch)."""
        return self.wall_at(self.steady(world))

    def wall_at(self, steady: float) -> float:
        """Return the wall clock at the time when the steady clock shows ``steady`` (both in seconds)."""
        return EPOCH_MS / 1000 + steady + self.skew

    def true_time(self, steady: float) -> float:
        """Return the true time at which the steady clock shows ``steady`` (both in seconds)."""
        if self._is_true:
            return steady
        return self._since + (steady - self._shown) / (1.0 + self.drift)


@attrs.define(eq=False)
class Process:
    """One run of one node. ``perform`` receives the engine's outputs, and passes them to observers."""

    name: str
    address: Address
    engine: Engine
    codec: PacketCodec
    world: World
    clock: Clock
    perform: Callable[[Process, list[Output]], None]
    has_disk: bool = False  # whether this run started with the previous run's disk
    alive: bool = True
    frozen: bool = False
    blocked: bool = False
    service: int = 0  # ns to handle one arrival
    counters: Counter[str] = attrs.field(factory=Counter)
    _inbox: deque[tuple[int, Arrival]] = attrs.field(factory=deque)  # size (bytes), handler
    _inbox_bytes: int = 0
    _held_outputs: list[Output] = attrs.field(factory=list)  # outputs that wait while blocked
    _wake_at: int | None = None  # ns
    _due: float = float("inf")  # the engine's deadline, on its own clock (seconds)
    _is_handling: bool = False

    @property
    def now(self) -> float:
        """The time on this process's steady clock (seconds)."""
        return self.clock.steady(self.world)

    # Arrivals

    def packet(self, data: bytes, source: Address) -> None:
        """Receive a packet from the socket."""
        if self.alive and not (self._inbox or self.service or self.frozen or self.blocked):
            now = self.now
            self._open(data, source, now)
            self._wake(now)
        elif self.alive and self._inbox_bytes + len(data) > RECEIVE_BUFFER:
            self.counters["kernel_drops"] += 1
        else:
            self.call(len(data), lambda: self._open(data, source, self.now))

    def call(self, size: int, arrival: Arrival) -> None:
        """Queue another arrival (a frame, the end of a stream) behind earlier packets."""
        if not self.alive:
            return
        self._inbox.append((size, arrival))
        self._inbox_bytes += size
        self._handle_arrivals()

    def _open(self, data: bytes, source: Address, now: float) -> None:
        payload = self.codec.decode(data, self.clock.wall_at(now), source.host)
        if isinstance(payload, Refused):
            self.counters[payload.reason.counter] += 1
        else:
            self.act(self.engine.receive(payload, source, now))

    def _handle_arrivals(self) -> None:
        """Handle arrivals and due timers, unless the process is paused or blocked."""
        if self._is_handling or self.frozen or self.blocked or not self.alive:
            return
        if self.service and self._inbox:
            self._is_handling = True
            self.world.after(self.service, self._handle_one)
            return
        while self._inbox:
            self._handle_next()
        self._wake(self.now)

    def _handle_one(self) -> None:
        self._is_handling = False
        if self.frozen or self.blocked or not self.alive:
            return
        if self._inbox:
            self._handle_next()
        if not self._inbox:
            self._wake(self.now)
        self._handle_arrivals() if self._inbox else self.schedule()

    def _handle_next(self) -> None:
        size, arrival = self._inbox.popleft()
        self._inbox_bytes -= size
        arrival()

    # Timers

    def _wake(self, now: float) -> None:
        if self.engine.wants_timeout(now):
            self.act(self.engine.handle_timeout(now, late=max(0.0, now - self._due)))

    def schedule(self) -> None:
        """Ask the world for a wake-up when the engine next wants one."""
        if not self.alive or self.frozen:
            return
        due = self.engine.deadline()
        if due == float("-inf"):
            due = self.now  # it is to begin with something
        if due == self._due and self._wake_at is not None and self._wake_at > self.world.now:
            return  # the alarm is set
        self._due = due
        if due == float("inf"):
            return
        when = int(self.clock.true_time(due) * SECOND) + 1  # rounded up, so as not to wake too early
        when = max(when, self.world.now + (due > self.now))  # a drifting clock may round to the present nanosecond
        if self._wake_at is None or when < self._wake_at or self._wake_at < self.world.now:
            self._wake_at = when
            self.world.at(when, lambda: self._alarm(when))

    def rewind(self) -> None:
        """Set the alarm again after the rate of the clock changed."""
        self._wake_at = None
        self.schedule()

    def _alarm(self, when: int) -> None:
        if self._wake_at != when:
            return
        self._wake_at = None
        if not self.alive or self.frozen:
            return
        if self.blocked or self._is_handling:
            self._wake(self.now)  # timers run while input waits
        else:
            self._handle_arrivals()
        self.schedule()

    # Outputs and user calls

    def act(self, outputs: list[Output]) -> None:
        """Perform what the engine returned; sends wait while the process is blocked."""
        for output in outputs:
            if isinstance(output, MessageFailed):
                raise output.error  # what a real node contains is a fault of the protocol here
        if self.blocked:
            self._held_outputs += [output for output in outputs if isinstance(output, _SENDING)]
            outputs = [output for output in outputs if not isinstance(output, _SENDING)]
        self.perform(self, outputs)

    def do(self, verb: Callable[[Engine, float], list[Output]]) -> None:
        """Run a call by the node's user; a paused process runs it when it continues."""
        if self.frozen:
            self.call(0, lambda: self.act(verb(self.engine, self.now)))
        elif self.alive:
            self.act(verb(self.engine, self.now))
            self._wake(self.now)  # as in the production driver, a user's change is sent at once
            self.schedule()

    def set_wall_clock(self) -> None:
        """Tell the engine the wall clock after it was set. The production driver does so in every iteration."""
        now = self.now
        self.engine.set_wall_clock(1000 * self.clock.wall_at(now), now)
        self.schedule()

    # Faults

    def freeze(self) -> None:
        """Pause the process."""
        self.frozen = True

    def thaw(self) -> None:
        """Continue: handle arrivals first, then overdue timers; the engine learns the delay."""
        self.frozen = False
        self._resume()

    def block(self) -> None:
        """Hold input and output back."""
        self.blocked = True

    def unblock(self) -> None:
        """Release input and output: first the held outputs, then the held arrivals."""
        self.blocked = False
        self._resume()

    def _resume(self) -> None:
        if not self.alive or self.frozen:
            return
        if not self.blocked:
            held, self._held_outputs = self._held_outputs, []
            self.perform(self, held)
            self._handle_arrivals()
        self.rewind()

    def kill(self) -> None:
        """End the process."""
        self.alive = False
        self._inbox.clear()
        self._held_outputs.clear()
