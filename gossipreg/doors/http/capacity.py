"""Knows how many clients a door has room for, given the descriptors that the process may have open."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

import attrs

from gossipreg.doors.http import limits
from gossipreg.doors.http.answers import Refusal

#: Descriptors that a door with all its room needs, and everything else of an agent beside it.
DESCRIPTORS: Final = limits.CONNECTIONS_MAX + limits.REFUSALS_MAX + limits.OTHER_DESCRIPTORS


@attrs.define(eq=False, repr=False)
class Capacity:
    """Room for connections, and among them for event streams and for those who wait."""

    connections: int
    event_streams: Places
    waiting: Places

    @classmethod
    def within(cls, descriptors: int) -> Self:
        """As much as ``descriptors`` suffice for, and no more than the limits: all shrink by the same share."""
        left = max(descriptors - limits.OTHER_DESCRIPTORS - limits.REFUSALS_MAX, limits.CONNECTIONS_MIN)
        share = min(1.0, left / limits.CONNECTIONS_MAX)
        return cls(
            int(limits.CONNECTIONS_MAX * share),
            Places("event streams", int(limits.EVENT_STREAMS_MAX * share)),
            Places("blocking reads", int(limits.WAITING_MAX * share)),
        )

    @classmethod
    def now(cls) -> Self:
        """What the process's soft limit of descriptors gives."""
        return cls.within(soft_limit())


@attrs.define(eq=False, repr=False)
class Places:
    """Room for so many of a kind."""

    kind: str
    most: int
    _taken: int = attrs.field(init=False, default=0)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for the length of a ``with`` block. Raises a 503 ``Refusal`` if there is none."""
        if self._taken == self.most:
            raise Refusal(503, f"{self.most} {self.kind} are open, which is the limit")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


def soft_limit() -> int:
    """How many descriptors the process may have open now."""
    return _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def ask_for_descriptors() -> int:
    """Raise the process's soft limit to what a door with all its room needs, as far as the hard limit allows.

    No further: what starts other programs may close all descriptors that there could be. Returns what it is now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _finite(soft) < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, _finite(hard)), hard))
    return soft_limit()


def _finite(limit: int) -> int:
    return 2**31 if limit == resource.RLIM_INFINITY else limit
