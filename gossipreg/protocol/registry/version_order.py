"""Version order: a table's records sorted by version, to find those that a peer lacks without a scan."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from operator import attrgetter

import attrs

from gossipreg.protocol.registry.records import Record

#: Up to so many records are taken out and put in one by one, each of which moves all references behind it. For more,
#: the list is built anew: a peer may tell of a hundred thousand deletions at once.
_ONE_BY_ONE_MAX = 32

_version = attrgetter("version")
_key = attrgetter(
    "version", "id"
)  # a table holds one record of an id; several have one version if a digest deleted them


@attrs.define(eq=False, repr=False)
class VersionOrder:
    """Records, at most one of each id, in the order of their versions."""

    _records: list[Record] = attrs.field(factory=list)

    def copy(self) -> VersionOrder:
        """A copy, which changes independently."""
        return VersionOrder(list(self._records))

    def replace(self, removed: Sequence[Record], added: Sequence[Record]) -> None:
        """Take out ``removed``, all of which are here, and put in ``added``."""
        if len(removed) + len(added) > _ONE_BY_ONE_MAX:
            ids = {record.id for record in removed}
            self._records = [record for record in self._records if record.id not in ids]
            self._records += added
            self._records.sort(key=_key)
            return
        for record in removed:
            del self._records[bisect_left(self._records, _key(record), key=_key)]
        for record in added:
            insort(self._records, record, key=_key)

    def between(self, first: int, end: int | None = None) -> Iterator[Record]:
        """The records from version ``first`` on and below ``end``, if given, the oldest first."""
        start = bisect_left(self._records, first, key=_version)
        stop = len(self._records) if end is None else bisect_left(self._records, end, key=_version)
        for index in range(start, stop):
            yield self._records[index]
