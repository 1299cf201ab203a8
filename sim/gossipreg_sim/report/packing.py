"""Packing of number columns as short text: varints, zlib, base64. The page's script unpacks them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from itertools import accumulate, pairwise


def varints(numbers: Iterable[int]) -> bytes:
    """Encode non-negative numbers, seven bits to a byte, lowest first; the high bit marks a continuation."""
    packed = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:
            packed.append(rest & 0x7F | 0x80)
            rest >>= 7
        packed.append(rest)
    return bytes(packed)


def unvarints(packed: bytes) -> list[int]:
    """Decode what `varints` encoded."""
    numbers = []
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return numbers


def rising(numbers: list[int]) -> bytes:
    """Encode a non-decreasing sequence as its differences."""
    return varints([*numbers[:1], *(after - before for before, after in pairwise(numbers))])


def unrising(packed: bytes) -> list[int]:
    """Decode what `rising` encoded."""
    return list(accumulate(unvarints(packed)))


def compressed(data: bytes) -> str:
    """Compress bytes to base64 text."""
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


def decompressed(text: str) -> bytes:
    """Decompress what `compressed` returned."""
    return zlib.decompress(base64.b64decode(text))
