"""Random number streams: small, one for each purpose, the same on every Python and in every run."""

from __future__ import annotations

import hashlib
import math
from typing import Final

import attrs

_MASK: Final = (1 << 64) - 1


def _mixed(state: int) -> int:
    """One step of SplitMix64 (Steele, Lea, Flood 2014): 64 well-mixed bits from a counter."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
    return state ^ (state >> 31)


@attrs.define
class Rng:
    """One random stream. Its state is eight bytes, so that each of a million links can have its own."""

    _state: int

    @classmethod
    def of(cls, *purpose: object) -> Rng:
        """Return the stream for ``purpose``: equal purposes give equal streams; others are independent."""
        text = "|".join(map(str, purpose))
        return cls(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"gossipreg dice").digest()))

    def fork(self) -> Rng:
        """Return an independent stream; it costs one draw from this one, however much is drawn from the new one."""
        return Rng(self.bits())

    def bits(self) -> int:
        """64 random bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        return _mixed(self._state)

    def random(self) -> float:
        """A number from 0 up to, not including, 1."""
        return (self.bits() >> 11) * 2.0**-53

    def below(self, count: int) -> int:
        """A whole number from 0 up to, not including, ``count``."""
        assert count > 0, "the range is not empty"
        return int(self.random() * count)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def exponential(self, mean: float) -> float:
        """A waiting time of this mean."""
        return -mean * math.log(1.0 - self.random())

    def normal(self) -> float:
        """A number of the standard normal distribution (Box-Muller)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.random()))
        return radius * math.cos(2.0 * math.pi * self.random())

    def sample(self, names: list[str], count: int) -> list[str]:
        """``count`` of ``names``, each at most once, in the order drawn."""
        pool = list(names)
        return [pool.pop(self.below(len(pool))) for _ in range(min(count, len(pool)))]
