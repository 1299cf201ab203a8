"""Ranked versions: policy versions in the order of their stamps, and which one is evicted when there is no more room.

Theory of operation (docs/decisions/0038). Which versions are kept must follow from their content, not from when they
arrived, or nodes would differ for ever. So the oldest is evicted; but before any other that which is stamped the
farthest ahead of the wall clock, for a flood of those would evict all versions of correct clocks. One writer's versions
evict each other first, so that one writer cannot evict all others' either.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

import attrs

from gossipreg.protocol.registry.policy_version import PolicyVersion

#: How far ahead of the wall clock a stamp may be to count as one of a correct clock (ms).
_AHEAD_MS: Final = 60_000


def _rank(version: PolicyVersion) -> tuple[int, int, str, int]:
    return version.rank


@attrs.define(eq=False, repr=False)
class RankedVersions:
    """Versions by rank, all together and of each writer. ``wall``: ms since the epoch."""

    _versions: list[PolicyVersion] = attrs.field(factory=list)
    _by_writer: dict[str, list[PolicyVersion]] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._versions)

    def __iter__(self) -> Iterator[PolicyVersion]:
        return iter(tuple(self._versions))

    def accepts(self, version: PolicyVersion, most: int, most_of_writer: int, wall: int) -> bool:
        """Whether ``version`` would stay, with room for ``most`` versions and for ``most_of_writer`` of one writer."""
        versions = self._by_writer.get(version.writer, [])
        if len(versions) < most_of_writer:
            if len(self._versions) < most:
                return True
            versions = self._versions
        last = versions[-1]
        if is_ahead(last, wall):
            return version.rank < last.rank
        return not is_ahead(version, wall) and version.rank > versions[0].rank

    def add(self, version: PolicyVersion, most: int, most_of_writer: int, wall: int) -> PolicyVersion | None:
        """Keep ``version``, which is there now whatever its stamp; returns the one that it evicts, if any."""
        insort(self._versions, version, key=_rank)
        insort(self._by_writer.setdefault(version.writer, []), version, key=_rank)
        versions = self._by_writer[version.writer]
        if len(versions) <= most_of_writer:
            if len(self._versions) <= most:
                return None
            versions = self._versions
        first, last = (
            versions[0 if versions[0] is not version else 1],
            versions[-1 if versions[-1] is not version else -2],
        )
        return last if is_ahead(last, wall) else first

    def discard(self, version: PolicyVersion) -> None:
        """Remove ``version``, which is there."""
        versions = self._by_writer[version.writer]
        for each in (versions, self._versions):
            del each[bisect_left(each, version.rank, key=_rank)]
        if not versions:
            del self._by_writer[version.writer]


def is_ahead(version: PolicyVersion, wall: int) -> bool:
    """Whether ``version`` is stamped by a clock that was ahead, or in answer to such a version."""
    return version.ms > wall + _AHEAD_MS
