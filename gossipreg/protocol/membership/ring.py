"""The ring: all members in the order of a hash of their names; lifelines and broadcast trees follow from it.

The order in which members watch each other must follow without messages, must spread the load evenly, and must change
little when a member comes or goes. On the ring each member watches those that come next after it, so each is watched
by those just before.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from functools import lru_cache
from typing import Final

import attrs

#: Hops from the root of a broadcast tree to its last leaf, at the most.
TREE_DEPTH: Final = 4

#: Places remembered: a walk begins at one's own, and engines of one process share what they hold of the others.
_PLACES_KEPT: Final = 2048


@lru_cache(maxsize=_PLACES_KEPT)
def _place_of(name: str) -> tuple[int, str]:
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"ring").digest()
    return int.from_bytes(digest), name


def tree_fanout(members: int, least: int) -> int:
    """How many children each of so many members has in a broadcast tree: ``least``, or what `TREE_DEPTH` hops need.

    A message costs each member one packet, whatever the fanout is. But each hop takes time, and on each the packet may
    be lost and have to wait for the next try.
    """
    fanout = least
    while sum(fanout**hop for hop in range(TREE_DEPTH + 1)) < members:
        fanout += 1
    return fanout


@attrs.define(eq=False, repr=False)
class Ring:
    """Names in the order of their places."""

    changes: int = 0  # how often a member came or went
    _places: list[tuple[int, str]] = attrs.field(factory=list)

    def __len__(self) -> int:
        return len(self._places)

    def seat(self, name: str) -> None:
        """Add ``name``, which is not on the ring."""
        place = _place_of(name)
        self._places.insert(bisect_left(self._places, place), place)
        self.changes += 1

    def unseat(self, name: str) -> None:
        """Remove ``name``, which is on the ring."""
        del self._places[bisect_left(self._places, _place_of(name))]
        self.changes += 1

    def after(self, name: str, count: int) -> list[str]:
        """The ``count`` that come next after ``name`` (all others, if they are fewer)."""
        return self._walk(name, count, 1)

    def before(self, name: str, count: int) -> list[str]:
        """The ``count`` that come just before ``name``, the nearest first."""
        return self._walk(name, count, -1)

    def children(self, name: str, root: str, fanout: int) -> list[str]:
        """The children of ``name`` in the tree of ``root``, if each member has ``fanout`` of them.

        The tree is a heap laid on the ring from ``root`` on. Both are on the ring.
        """
        rank = self._rank(name, root)
        children = range(fanout * rank + 1, min(fanout * rank + fanout + 1, len(self)))
        return [self._at(child, root) for child in children]

    def parent(self, name: str, root: str, fanout: int) -> str | None:
        """The parent of ``name`` in the tree of ``root``; None, if they are one."""
        rank = self._rank(name, root)
        return self._at((rank - 1) // fanout, root) if rank else None

    def _rank(self, name: str, root: str) -> int:
        start = bisect_left(self._places, _place_of(root))
        return (bisect_left(self._places, _place_of(name)) - start) % len(self)

    def _at(self, rank: int, root: str) -> str:
        return self._places[(bisect_left(self._places, _place_of(root)) + rank) % len(self)][1]

    def _walk(self, name: str, count: int, step: int) -> list[str]:
        start = bisect_left(self._places, _place_of(name))
        steps = range(1, min(count, len(self._places) - 1) + 1)
        return [self._places[(start + step * number) % len(self._places)][1] for number in steps]
