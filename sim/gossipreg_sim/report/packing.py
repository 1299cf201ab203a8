"""Columns of numbers as short text: varints, zlib, base64. The page's script reads the same."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from itertools import accumulate, pairwise


def varints(numbers: Iterable[int]) -> bytes:
    """Numbers from 0 on, seven bits to a byte, the lowest first; the high bit says that there is more."""
    packed = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:
            packed.append(rest & 0x7F | 0x80)
            rest >>= 7
        packed.append(rest)
    return bytes(packed)


def unvarints(packed: bytes) -> list[int]:
    """What `varints` packed."""
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
    """Numbers that never fall, as the steps between them."""
    return varints([*numbers[:1], *(after - before for before, after in pairwise(numbers))])


def unrising(packed: bytes) -> list[int]:
    """What `rising` packed."""
    return list(accumulate(unvarints(packed)))


def compressed(data: bytes) -> str:
    """Bytes as text that a page can hold."""
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


def decompressed(text: str) -> bytes:
    """What `squeezed` wrote."""
    return zlib.decompress(base64.b64decode(text))
