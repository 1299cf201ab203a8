"""Simulated network: how long each packet and frame takes, how many copies arrive, and whether it is corrupted.

The fate of a packet is decided once, when it is sent. The conditions of a link are cached until a fault begins or
ends. Each link draws from a stream of its own for each condition, so that removing a fault leaves every other draw
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from gossipreg_sim.rng import Rng
from gossipreg_sim.world import World, ns

#: A kernel's first retransmission timeout of a lost segment (ns), which doubles, and its maximum.
_RETRANSMIT = ns(0.2)
_RETRANSMIT_MAX = ns(3.2)


class Latency(Protocol):
    """Distribution of the one-way latency."""

    def draw(self, sender: str, receiver: str, rng: Rng) -> int:
        """Draw a latency (ns)."""


@attrs.frozen
class Constant:
    """A constant latency."""

    seconds: float

    def draw(self, sender: str, receiver: str, rng: Rng) -> int:  # noqa: ARG002 -- another of its kind needs it
        """Return the latency (ns)."""
        return ns(self.seconds)


@attrs.frozen
class Exponential:
    """A minimum plus an exponential tail."""

    least: float
    mean: float

    def draw(self, sender: str, receiver: str, rng: Rng) -> int:  # noqa: ARG002 -- another of its kind needs it
        """Draw a latency (ns)."""
        return ns(self.least + rng.exponential(self.mean))


@attrs.frozen
class Lognormal:
    """Latency of long paths: a median, and a spread (the standard deviation of the logarithm)."""

    median: float
    sigma: float

    def draw(self, sender: str, receiver: str, rng: Rng) -> int:  # noqa: ARG002 -- another of its kind needs it
        """Draw a latency (ns)."""
        return ns(self.median * 2.718281828459045 ** (self.sigma * rng.normal()))


@attrs.frozen
class Empirical:
    """Latency drawn from measured samples (seconds)."""

    samples: tuple[float, ...]

    def draw(self, sender: str, receiver: str, rng: Rng) -> int:  # noqa: ARG002 -- another of its kind needs it
        """Draw a latency (ns)."""
        return ns(self.samples[rng.below(len(self.samples))])


@attrs.frozen
class Regions:
    """One latency inside a zone, another between two."""

    zone_of: Callable[[str], str]
    inside: Latency
    between: Latency

    def draw(self, sender: str, receiver: str, rng: Rng) -> int:
        """Draw a latency (ns)."""
        here = self.zone_of(sender) == self.zone_of(receiver)
        return (self.inside if here else self.between).draw(sender, receiver, rng)


@attrs.define
class Delivery:
    """One packet in flight: the copies that will arrive, each with its delay (ns) and its bytes."""

    copies: list[tuple[int, bytes]]
    on_stream: bool = False  # a frame on a stream, or the segment that opens or closes one
    segment: int = 0  # the sender's maximum segment size (bytes; 0: no limit)

    def lose(self) -> None:
        """Drop all copies."""
        self.copies.clear()


class Condition(Protocol):
    """A condition that holds on some links for a while."""

    def covers(self, sender: str, receiver: str) -> bool:
        """Whether the condition holds from ``sender`` to ``receiver``."""

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:
        """Apply the condition to a packet."""


@attrs.define
class Network:
    """Every link between the nodes, under the current conditions."""

    world: World
    latency: Latency
    culprit: str = ""  # the condition that kept the last packet or frame from arriving intact, or ""
    _constant: int | None = attrs.field(
        init=False
    )  # ns, if constant, no rng per link is needed, which would cost 2 us each
    _conditions: list[tuple[str, Condition]] = attrs.field(factory=list)
    _found: dict[tuple[str, str], list[tuple[str, Condition, Rng]]] = attrs.field(factory=dict)
    _rng: dict[tuple[str, str, str], Rng] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._constant = ns(self.latency.seconds) if isinstance(self.latency, Constant) else None

    def begin(self, name: str, condition: Condition) -> None:
        """Add a condition from now on."""
        self._conditions.append((name, condition))
        self._found.clear()

    def end(self, name: str) -> None:
        """Remove the conditions of this name."""
        self._conditions = [(named, condition) for named, condition in self._conditions if named != name]
        self._found.clear()

    def _rng_for(self, purpose: str, link: tuple[str, str]) -> Rng:
        key = (purpose, *link)
        rng = self._rng.get(key)
        if rng is None:
            rng = self._rng[key] = self.world.rng(purpose, *link)
        return rng

    def _holding(self, link: tuple[str, str]) -> list[tuple[str, Condition, Rng]]:
        holding = self._found.get(link)
        if holding is None:
            holding = self._found[link] = [
                (name, condition, self._rng_for(name, link))
                for name, condition in self._conditions
                if condition.covers(*link)
            ]
        return holding

    def carry(
        self, sender: str, receiver: str, packet: bytes, *, on_stream: bool = False, segment: int = 0
    ) -> Sequence[tuple[int, bytes]]:
        """Return what arrives of a packet: a delay (ns) and bytes for each copy."""
        link = (sender, receiver)
        delay = self._constant
        if delay is None:
            delay = self.latency.draw(sender, receiver, self._rng_for("latency", link))
        self.culprit = ""
        if not self._conditions:
            return [(delay, packet)]
        delivery = Delivery([(delay, packet)], on_stream, segment)
        for name, condition, rng in self._holding(link):
            # A stream of its own for each packet: what one condition does to it changes no later draw of another.
            condition.touch(delivery, link, rng.fork(), self.world.now)
            if not self.culprit and not any(data is packet for _, data in delivery.copies):
                self.culprit = name
        return delivery.copies

    def carry_frame(self, sender: str, receiver: str, frame: bytes, *, segment: int = 0) -> int | None:
        """Return the time of a frame on an open stream (ns); None when nothing gets through now.

        A kernel retransmits lost segments and drops corrupted ones, so on a stream both are delays.
        """
        waited = 0
        pause = _RETRANSMIT
        while waited <= _RETRANSMIT_MAX:
            for delay, data in self.carry(sender, receiver, frame, on_stream=True, segment=segment):
                if data == frame:
                    return waited + delay
            waited += pause
            pause = min(_RETRANSMIT_MAX, 2 * pause)
        return None
