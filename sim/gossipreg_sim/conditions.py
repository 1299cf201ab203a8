"""Conditions of a link: cut, lossy, slow, narrow, duplicating, reordering, corrupting."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from gossipreg_sim.network import Delivery, Latency
from gossipreg_sim.rng import Rng
from gossipreg_sim.world import SECOND, ns

#: Maximum segment size of a stream, unless configured to be smaller (bytes).
_SEGMENT = 1400


@attrs.frozen
class Links:
    """The links from some nodes to others, with or without the reverse direction."""

    senders: Collection[str]
    receivers: Collection[str]
    both_ways: bool = True

    def covers(self, sender: str, receiver: str) -> bool:
        """Whether the link is among them."""
        if sender in self.senders and receiver in self.receivers:
            return True
        return self.both_ways and sender in self.receivers and receiver in self.senders


@attrs.frozen
class _OnLinks:
    links: Links

    def covers(self, sender: str, receiver: str) -> bool:
        """Whether the condition holds from ``sender`` to ``receiver``."""
        return self.links.covers(sender, receiver)


@attrs.frozen
class Cut(_OnLinks):
    """Nothing gets through."""

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Lose the packet."""
        delivery.lose()


@attrs.frozen
class FlipFlop(_OnLinks):
    """Nothing gets through for ``off`` seconds, everything for ``on`` seconds, over and over (Rapid's experiment)."""

    off: float
    on: float
    started: int = 0  # ns

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Lose the packet in the off phase."""
        if (now - self.started) % ns(self.off + self.on) < ns(self.off):
            delivery.lose()


@attrs.frozen
class Loss(_OnLinks):
    """Each packet is lost with this probability."""

    probability: float

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Lose the packet with the given probability."""
        if rng.chance(self.probability):
            delivery.lose()


@attrs.frozen
class UdpLoss(Loss):
    """Each packet is lost with this probability; streams pass."""

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:
        """Lose the packet with the given probability."""
        if not delivery.on_stream:
            super().touch(delivery, link, rng, now)


@attrs.frozen
class TcpLoss(Loss):
    """Each segment of a stream is lost with this probability; packets pass."""

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:
        """Lose the segment with the given probability."""
        if delivery.on_stream:
            super().touch(delivery, link, rng, now)


@attrs.frozen
class Mtu(_OnLinks):
    """A black hole for what is larger than ``size`` bytes, packets and segments alike."""

    size: int

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Lose what is too large."""
        delivery.copies = [
            (delay, data)
            for delay, data in delivery.copies
            if min(len(data), delivery.segment or _SEGMENT) <= self.size
        ]


@attrs.define
class Bursts(_OnLinks):
    """Burst losses: the Gilbert-Elliott chain of a good and a bad state, each with its own loss rate."""

    to_bad: float  # probability, per packet in the good state, of turning bad
    to_good: float
    loss_good: float = 0.0
    loss_bad: float = 1.0
    _bad: dict[tuple[str, str], bool] = attrs.field(factory=dict)

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Advance the link's chain by one step, then lose the packet with the state's probability."""
        bad = self._bad.get(link, False)
        if rng.chance(self.to_good if bad else self.to_bad):
            bad = not bad
        self._bad[link] = bad
        if rng.chance(self.loss_bad if bad else self.loss_good):
            delivery.lose()


@attrs.frozen
class Duplication(_OnLinks):
    """Some packets arrive twice, the second up to ``spread`` seconds later."""

    probability: float
    spread: float = 0.05

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Sometimes add a copy."""
        again = [(delay + ns(rng.random() * self.spread), data) for delay, data in delivery.copies]
        if rng.chance(self.probability):
            delivery.copies += again


@attrs.frozen
class Reordering(_OnLinks):
    """Some packets are held back for up to ``spread`` seconds, so that later ones overtake them."""

    probability: float
    spread: float = 0.05

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Sometimes hold the packet back."""
        if rng.chance(self.probability):
            extra = ns(rng.random() * self.spread)
            delivery.copies = [(delay + extra, data) for delay, data in delivery.copies]


@attrs.frozen
class Delay(_OnLinks):
    """Every packet takes longer."""

    extra: Latency

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Delay the packet."""
        extra = self.extra.draw(*link, rng)
        delivery.copies = [(delay + extra, data) for delay, data in delivery.copies]


@attrs.define
class Narrow(_OnLinks):
    """A link of limited bandwidth behind a buffer; what the buffer cannot hold is lost."""

    bytes_per_second: float
    buffer: int = 65_536  # bytes
    _free_at: dict[tuple[str, str], int] = attrs.field(factory=dict)  # ns

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Queue the packet behind those before it."""
        passed = []
        for delay, data in delivery.copies:
            start = max(now, self._free_at.get(link, 0))
            waiting = (start - now) * self.bytes_per_second / SECOND
            if waiting + len(data) > self.buffer:
                continue
            done = start + ns(len(data) / self.bytes_per_second)
            self._free_at[link] = done
            passed.append((delay + done - now, data))
        delivery.copies = passed


@attrs.frozen
class BitFlips(_OnLinks):
    """Some packets arrive with one bit wrong."""

    probability: float

    def touch(self, delivery: Delivery, link: tuple[str, str], rng: Rng, now: int) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Sometimes flip one bit of the packet."""
        if rng.chance(self.probability):
            delivery.copies = [(delay, _flipped(data, rng)) for delay, data in delivery.copies]


def _flipped(data: bytes, rng: Rng) -> bytes:
    place = rng.below(len(data) * 8)
    spoilt = bytearray(data)
    spoilt[place // 8] ^= 1 << place % 8
    return bytes(spoilt)
