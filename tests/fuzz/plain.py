"""Plain driver: mutates the corpus of a target with a seeded generator. It needs only Python.

It is not guided by coverage. It keeps an input with a new outcome and mutates that one, too. The same seed and number
of inputs give the same run on every machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Final

import attrs

from tests.fuzz.corpus import inputs
from tests.fuzz.target import Target

#: Boundary values of parsers: signs, the first bytes of msgpack's types, the ends of ranges.
_EDGES: Final = (
    b"\x00\x01\x09\x0a\x0d\x20\"%&'()+,-./0:;<=>?@[\\]`{|}\x7f"
    b"\x80\x81\x90\xc0\xc1\xc4\xc6\xcb\xcf\xd3\xd9\xdb\xdd\xdf\xe2\xed\xff"
)

#: Inputs between two checks of the time limit.
_STRIDE: Final = 64


@attrs.frozen
class Failure:
    """An input that broke the property of a target."""

    data: bytes
    error: Exception


@attrs.frozen
class Outcome:
    """The result of a run."""

    inputs: int
    seconds: float
    features: int
    failure: Failure | None = None


@attrs.define
class Mutator:
    """Mutates inputs."""

    rng: Random
    words: tuple[bytes, ...] = ()
    bytes_max: int = 4096

    def mutated(self, data: bytes, other: bytes) -> bytes:
        """Return ``data`` changed in one to four places, perhaps with a part of ``other``."""
        for _ in range(self.rng.choice((1, 1, 2, 4))):
            data = self.rng.choice(_CHANGES)(self, data, other)
        return data[: self.bytes_max]

    def _place(self, data: bytes) -> int:
        return self.rng.randrange(len(data) + 1)

    def _flip(self, data: bytes, _: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + bytes(each ^ 1 << self.rng.randrange(8) for each in data[at : at + 1]) + data[at + 1 :]

    def _edge(self, data: bytes, _: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + bytes((self.rng.choice(_EDGES),)) + data[at + self.rng.randrange(2) :]

    def _noise(self, data: bytes, _: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self.rng.randbytes(self.rng.randrange(1, 9)) + data[at:]

    def _cut(self, data: bytes, _: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + data[at + self.rng.randrange(1, 17) :]

    def _end(self, data: bytes, _: bytes) -> bytes:
        return data[: self._place(data)]

    def _again(self, data: bytes, _: bytes) -> bytes:
        at, to = sorted((self._place(data), self._place(data)))
        return data[:to] + data[at:to] * self.rng.choice((1, 1, 2, 20)) + data[to:]

    def _splice(self, data: bytes, other: bytes) -> bytes:
        at, to = sorted((self._place(other), self._place(other)))
        place = self._place(data)
        return data[:place] + other[at:to] + data[place + self.rng.choice((0, to - at)) :]

    def _word(self, data: bytes, other: bytes) -> bytes:
        if not self.words:
            return self._splice(data, other)
        at = self._place(data)
        return data[:at] + self.rng.choice(self.words) + data[at:]


_CHANGES: Final[tuple[Callable[[Mutator, bytes, bytes], bytes], ...]] = (
    Mutator._flip,
    Mutator._edge,
    Mutator._noise,
    Mutator._cut,
    Mutator._end,
    Mutator._again,
    Mutator._splice,
    Mutator._word,
    Mutator._word,
)


def fuzz(target: Target, *, seed: int, inputs_max: int, seconds: float = float("inf")) -> Outcome:
    """Run ``target`` on its initial inputs and on mutations of them, until either limit or the first failure."""
    rng = Random(f"{seed} {target.name}")
    mutator = Mutator(rng, target.words, target.bytes_max)
    pool = inputs(target)
    seen: set[str] = set()
    began = time.monotonic()
    for number in range(inputs_max):
        if number % _STRIDE == 0 and time.monotonic() - began >= seconds:
            return Outcome(number, time.monotonic() - began, len(seen))
        data = pool[number] if number < len(pool) else mutator.mutated(rng.choice(pool), rng.choice(pool))
        try:
            word = target.run(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            return Outcome(number + 1, time.monotonic() - began, len(seen), Failure(data, error))
        if word not in seen:
            seen.add(word)
            pool.append(data)
    return Outcome(inputs_max, time.monotonic() - began, len(seen))
