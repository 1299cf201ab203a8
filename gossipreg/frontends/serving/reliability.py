"""Reliability: the headers of an answer that say how far it can be relied on."""

from __future__ import annotations

import functools
import math
from typing import Final

from gossipreg.frontends.serving.node_api import NodeApi

#: Whether the node that answers hears no member: ``true`` or ``false``.
ISOLATED: Final = b"x-gossipreg-isolated"

#: The share of the other members that it takes for alive, from ``0.00`` to ``1.00``.
REACHABLE: Final = b"x-gossipreg-reachable"

#: How old an answer about another region is, at the most (seconds).
AGE: Final = b"x-gossipreg-age"


def round_up(seconds: float) -> float:
    """``seconds`` in tenths, rounded up: an age is not understated."""
    return math.ceil(seconds * 10) / 10


def age(seconds: float) -> bytes:
    """An age as the header has it."""
    return b"%.1f" % round_up(seconds)


def headers(node: NodeApi) -> tuple[tuple[bytes, bytes], ...]:
    """The headers for what ``node`` answers now. They are no part of what is cached: an answer keeps, this changes."""
    return _headers(node.isolated, int(node.reachable * 100))  # rounded down: 1.00 means all of them


@functools.lru_cache(maxsize=256)
def _headers(isolated: bool, percent: int) -> tuple[tuple[bytes, bytes], ...]:
    return (ISOLATED, b"true" if isolated else b"false"), (REACHABLE, b"%d.%02d" % divmod(percent, 100))
