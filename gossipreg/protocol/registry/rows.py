"""Rows: the instances of one service in their order, in chunks, so that a change copies a chunk and not the service."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain

import attrs

from gossipreg.model import Instance

#: The key of a row: the id of its instance, and the owner.
Key = tuple[str, str]

#: Rows that a new chunk has. Of a service of n instances a change copies one chunk and n / 64 references to chunks, so
#: chunks of 64 suit services of a few thousand.
CHUNK_ROWS = 64

#: Rows at which a chunk is divided, and below which it joins a neighbor.
_CHUNK_ROWS_MAX = 2 * CHUNK_ROWS
_CHUNK_ROWS_MIN = CHUNK_ROWS // 4


def key_of(instance: Instance) -> Key:
    """The key of the row of ``instance``."""
    return instance.id, instance.owner


@attrs.frozen
class Row:
    """One instance: as a list of all shows it, and as it is called if it can serve.

    A ``deferred`` one is called only where every instance that can serve is deferred.
    """

    shown: Instance
    able: Instance | None
    deferred: bool = False


@attrs.frozen(eq=False)
class Chunk:
    """Some consecutive rows, at least one. ``able`` and ``deferred`` have an entry for each that is ``shown``.

    What is derived from them is computed when it is first read, and stays as long as the chunk.
    """

    shown: tuple[Instance, ...]
    able: tuple[Instance | None, ...]
    deferred: tuple[bool, ...] | None  # None if no row is

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Chunk:
        """The chunk of these rows."""
        shown = tuple([row.shown for row in rows])
        is_plain = all(row.able is row.shown for row in rows)
        able = shown if is_plain else tuple([row.able for row in rows])
        deferred = tuple([row.deferred for row in rows]) if any(row.deferred for row in rows) else None
        return cls(shown, able, deferred)

    @property
    def first(self) -> Key:
        """The lowest key."""
        return key_of(self.shown[0])

    @cached_property
    def callable(self) -> tuple[Instance, ...]:
        """Those that can serve."""
        return self.shown if self.able is self.shown else tuple([each for each in self.able if each is not None])

    @cached_property
    def preferred(self) -> tuple[Instance, ...]:
        """Those that can serve and are not deferred."""
        if self.deferred is None:
            return self.callable
        pairs = zip(self.able, self.deferred, strict=True)
        return tuple([each for each, deferred in pairs if each is not None and not deferred])

    @cached_property
    def callable_shares(self) -> tuple[int, ...]:
        """The running total of the weights of those that can serve."""
        return _shares(self.callable)

    @cached_property
    def preferred_shares(self) -> tuple[int, ...]:
        """The running total of the weights of the preferred."""
        return self.callable_shares if self.deferred is None else _shares(self.preferred)

    def rows(self) -> Iterator[Row]:
        """Each row in order."""
        return map(self.row, range(len(self.shown)))

    def row(self, place: int) -> Row:
        """The row at a place."""
        deferred = self.deferred is not None and self.deferred[place]
        return Row(self.shown[place], self.able[place], deferred)

    def find(self, key: Key) -> int | None:
        """The place of the row with that key."""
        place = bisect_right(self.shown, key, key=key_of) - 1
        return place if place >= 0 and key_of(self.shown[place]) == key else None


def _shares(instances: Iterable[Instance]) -> tuple[int, ...]:
    return tuple(accumulate([each.weight if each.port else 0 for each in instances]))


@attrs.frozen(eq=False)
class Rows:
    """All rows of a service, by id and owner. Never changes: `replaced` returns other rows, which share most chunks."""

    chunks: tuple[Chunk, ...] = ()
    shown_count: int = 0
    callable_count: int = 0  # those that can serve
    preferred_count: int = 0  # those of them that are not deferred

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Rows:
        """The rows with these, which are in order."""
        return cls._counted(_divided(list(rows)))

    @classmethod
    def _counted(cls, chunks: Sequence[Chunk]) -> Rows:
        return cls(
            tuple(chunks),
            sum([len(each.shown) for each in chunks]),
            sum([len(each.callable) for each in chunks]),
            sum([len(each.preferred) for each in chunks]),
        )

    def __iter__(self) -> Iterator[Row]:
        return chain.from_iterable(each.rows() for each in self.chunks)

    def get(self, key: Key) -> Row | None:
        """The row with that key."""
        if not self.chunks:
            return None
        chunk = self.chunks[_chunk_of(self.chunks, key)]
        place = chunk.find(key)
        return None if place is None else chunk.row(place)

    def shown(self) -> tuple[Instance, ...]:
        """All as a list of all shows them."""
        return _joined([each.shown for each in self.chunks])

    def callable(self) -> tuple[Instance, ...]:
        """All that can serve."""
        return _joined([each.callable for each in self.chunks])

    def healthy(self) -> tuple[Instance, ...]:
        """Those to call: all that can serve and are not deferred; where there is none, the deferred."""
        return _joined([each.preferred for each in self.chunks]) if self.preferred_count else self.callable()

    @property
    def healthy_count(self) -> int:
        """How many `healthy` returns."""
        return self.preferred_count or self.callable_count

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        """The running total of the weights of the healthy, up to the end of each chunk."""
        return tuple(accumulate([shares[-1] if shares else 0 for shares in map(self._shares_of, self.chunks)]))

    def _shares_of(self, chunk: Chunk) -> tuple[int, ...]:
        return chunk.preferred_shares if self.preferred_count else chunk.callable_shares

    def at(self, lot: float) -> Instance | None:
        """The healthy one on whose weight ``lot``, from 0 up to 1, falls when all are laid side by side.

        None when all weights are 0, or none is there.
        """
        ends = self._ends
        if not ends or not ends[-1]:
            return None
        at = lot * ends[-1]
        place = bisect_right(ends, at)
        chunk = self.chunks[place]
        if place:
            at -= ends[place - 1]
        found = chunk.preferred if self.preferred_count else chunk.callable
        return found[bisect_right(self._shares_of(chunk), at)]

    def without(self, other: Rows) -> list[Chunk]:
        """The chunks that ``other`` does not share, in order: all differences are in them."""
        shared = set(map(id, other.chunks))
        return [each for each in self.chunks if id(each) not in shared]

    def replaced(self, changes: Mapping[Key, Row | None]) -> Rows:
        """These rows with the ``changes``, by key: another row, or None where there is none any more."""
        chunks = list(self.chunks)
        keys = sorted(changes)
        while keys:
            place = _chunk_of(chunks, keys[-1])
            # The first chunk also takes what comes before its first row.
            start = bisect_right(keys, chunks[place].first) if place else 0
            if place and start and keys[start - 1] == chunks[place].first:
                start -= 1
            _replace_in(chunks, place, {key: changes[key] for key in keys[start:]})
            del keys[start:]
        return self._counted(chunks)


def _chunk_of(chunks: Sequence[Chunk], key: Key) -> int:
    """The place of the chunk that has, or would have, the row with that key; 0 where there are none."""
    return max(0, bisect_right(chunks, key, key=lambda each: each.first) - 1)


def _replace_in(chunks: list[Chunk], place: int, changes: Mapping[Key, Row | None]) -> None:
    """Apply ``changes`` to the chunk at ``place``, and divide it or join it with a neighbor if need be."""
    held = chunks[place].rows() if chunks else ()
    rows: dict[Key, Row | None] = {key_of(row.shown): row for row in held}
    is_in_order = all(key in rows for key in changes)
    rows |= changes
    kept = [row for row in rows.values() if row is not None]
    if not is_in_order:
        kept.sort(key=lambda row: key_of(row.shown))
    end = place + 1
    if len(kept) < _CHUNK_ROWS_MIN and len(chunks) > 1:
        if place:
            place -= 1
            kept = [*chunks[place].rows(), *kept]
        else:
            kept += chunks[end].rows()
            end += 1
    chunks[place:end] = _divided(kept)


def _divided(rows: Sequence[Row]) -> list[Chunk]:
    """Chunks of these rows, which are in order: one while it is not too long."""
    if not rows:
        return []
    size = CHUNK_ROWS if len(rows) > _CHUNK_ROWS_MAX else len(rows)
    return [Chunk.of(rows[start : start + size]) for start in range(0, len(rows), size)]


def _joined(parts: Sequence[tuple[Instance, ...]]) -> tuple[Instance, ...]:
    return parts[0] if len(parts) == 1 else tuple(chain.from_iterable(parts))
