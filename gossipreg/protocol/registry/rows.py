"""Rows: the instances of one service in their order, in chunks, so that a change copies a chunk and not the service."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain
from operator import is_

import attrs

from gossipreg.model import Instance
from gossipreg.protocol.registry.records import Record
from gossipreg.values import frozen

#: The key of a row: the id of its instance, and the owner.
Key = tuple[str, str]

#: Rows that a new chunk has. Of a service of n instances a change copies one chunk and n / 64 references to chunks, so
#: chunks of 64 suit services of a few thousand.
CHUNK_ROWS = 64

#: Rows at which a chunk is divided, and below which it joins a neighbor.
_CHUNK_ROWS_MAX = 2 * CHUNK_ROWS
_CHUNK_ROWS_MIN = CHUNK_ROWS // 4


def key_of(source: Instance | Record) -> Key:
    """The key of the row of an instance, or of the record of one."""
    return source.id, source.owner


#: What a row holds: an instance, or where it is shown as its owner stated it, the record that it is decoded from.
Source = Instance | Record


@frozen(eq=False)
class Row:
    """One instance: as a list of all shows it, and as it is called if it can serve.

    A ``deferred`` one is called only where every instance that can serve is deferred.
    """

    source: Source
    able_source: Source | None
    deferred: bool = False

    @property
    def key(self) -> Key:
        """Its key."""
        return key_of(self.source)

    @property
    def shown(self) -> Instance:
        """The instance as a list of all shows it."""
        return decoded(self.source)

    @property
    def able(self) -> Instance | None:
        """The instance as it is called; None if it cannot serve."""
        return None if self.able_source is None else decoded(self.able_source)

    def is_like(self, other: Row | None) -> bool:
        """Whether ``other`` is the same to every reader."""
        if other is None or self.deferred is not other.deferred:
            return False
        if self.source is other.source and self.able_source is other.able_source:
            return True
        return self.shown == other.shown and self.able == other.able


@frozen(eq=False)
class Chunk:
    """Some consecutive rows, at least one. ``able`` and ``deferred`` have an entry for each of the ``sources``.

    What is derived from them is computed when it is first read, and stays as long as the chunk.
    """

    sources: tuple[Source, ...]
    able: tuple[Source | None, ...]
    deferred: tuple[bool, ...] | None  # None if no row is
    callable_count: int
    preferred_count: int

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Chunk:
        """The chunk of these rows."""
        return cls._of_columns(
            [row.source for row in rows], [row.able_source for row in rows], [row.deferred for row in rows]
        )

    @classmethod
    def _of_columns(cls, sources: Iterable[Source], able: Sequence[Source | None], deferred: Sequence[bool]) -> Chunk:
        sources = tuple(sources)
        callable_count = sum([each is not None for each in able])
        preferred_count = callable_count
        if any(deferred):
            pairs = zip(able, deferred, strict=True)
            preferred_count = sum([each is not None and not is_deferred for each, is_deferred in pairs])
        return cls(
            sources,
            sources if all(map(is_, able, sources)) else tuple(able),
            tuple(deferred) if any(deferred) else None,
            callable_count,
            preferred_count,
        )

    def with_rows(self, changes: Mapping[Key, Row | None], least: int) -> Chunk | None:
        """This chunk with ``changes``; None if it then has too many rows for a chunk, or less than ``least``."""
        sources, able = list(self.sources), list(self.able)
        deferred = [False] * len(sources) if self.deferred is None else list(self.deferred)
        for key, row in changes.items():
            place = bisect_left(sources, key, key=key_of)
            end = place + (key_of(sources[place]) == key if place < len(sources) else 0)
            sources[place:end] = [] if row is None else [row.source]
            able[place:end] = [] if row is None else [row.able_source]
            deferred[place:end] = [] if row is None else [row.deferred]
        if len(sources) != len(self.sources) and not least <= len(sources) <= _CHUNK_ROWS_MAX:
            return None
        return self._of_columns(sources, able, deferred)

    @property
    def first(self) -> Key:
        """The lowest key."""
        return key_of(self.sources[0])

    @cached_property
    def shown(self) -> tuple[Instance, ...]:
        """All as a list of all shows them."""
        return tuple([decoded(each) for each in self.sources])

    @cached_property
    def callable(self) -> tuple[Instance, ...]:
        """Those that can serve."""
        if self.able is self.sources:
            return self.shown
        return tuple([decoded(each) for each in self.able if each is not None])

    @cached_property
    def preferred(self) -> tuple[Instance, ...]:
        """Those that can serve and are not deferred."""
        if self.deferred is None:
            return self.callable
        pairs = zip(self.able, self.deferred, strict=True)
        return tuple([decoded(each) for each, deferred in pairs if each is not None and not deferred])

    @cached_property
    def callable_shares(self) -> tuple[int, ...]:
        """The running total of the weights of those that can serve."""
        return _shares(self.callable)

    @cached_property
    def preferred_shares(self) -> tuple[int, ...]:
        """The running total of the weights of the preferred."""
        return self.callable_shares if self.deferred is None else _shares(self.preferred)

    def listed(self, *, healthy: bool, falls_back: bool) -> Sequence[Source | None]:
        """The sources of all, or of the ``healthy``: those preferred, or if it ``falls_back`` that can serve.

        None stands for what is left out.
        """
        if not healthy:
            return self.sources
        if falls_back or self.deferred is None:
            return self.able
        return [each for each, deferred in zip(self.able, self.deferred, strict=True) if not deferred]

    def rows(self) -> Iterator[Row]:
        """Each row in order."""
        return map(self.row, range(len(self.sources)))

    def row(self, place: int) -> Row:
        """The row at a place."""
        deferred = self.deferred is not None and self.deferred[place]
        return Row(self.sources[place], self.able[place], deferred)

    def find(self, key: Key) -> int | None:
        """The place of the row with that key."""
        place = bisect_right(self.sources, key, key=key_of) - 1
        return place if place >= 0 and key_of(self.sources[place]) == key else None


def decoded(source: Source) -> Instance:
    """The instance of a source."""
    return source if isinstance(source, Instance) else source.instance


def _shares(instances: Iterable[Instance]) -> tuple[int, ...]:
    return tuple(accumulate([each.weight if each.port else 0 for each in instances]))


@attrs.define(eq=False, repr=False)
class Reading:
    """Whether the instances of a service were ever read. They then stay decoded; else only their records are held."""

    has_begun: bool = False


@frozen(eq=False)
class Rows:
    """All rows of a service, by id and owner. Never changes: `replaced` returns other rows, which share most chunks."""

    chunks: tuple[Chunk, ...] = ()
    shown_count: int = 0
    callable_count: int = 0  # those that can serve
    preferred_count: int = 0  # those of them that are not deferred
    reading: Reading = attrs.field(factory=Reading)  # shared by all that follow from each other by `replaced`

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Rows:
        """The rows with these, which are in order."""
        return cls._counted(_divided(list(rows)), Reading())

    @classmethod
    def _counted(cls, chunks: Sequence[Chunk], reading: Reading) -> Rows:
        return cls(
            tuple(chunks),
            sum([len(each.sources) for each in chunks]),
            sum([each.callable_count for each in chunks]),
            sum([each.preferred_count for each in chunks]),
            reading,
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

    def decode(self) -> Iterator[None]:
        """Decode what is packed, a chunk at each step. What reads all instances then finds them decoded."""
        self.reading.has_begun = True
        for each in self.chunks:
            each.shown  # noqa: B018 -- it is computed when it is first read, and kept
            each.callable  # noqa: B018 -- it is computed as the other is
            yield

    def shown(self) -> tuple[Instance, ...]:
        """All as a list of all shows them."""
        self.reading.has_begun = True
        return _joined([each.shown for each in self.chunks])

    def callable(self) -> tuple[Instance, ...]:
        """All that can serve."""
        self.reading.has_begun = True
        return _joined([each.callable for each in self.chunks])

    def healthy(self) -> tuple[Instance, ...]:
        """Those to call: all that can serve and are not deferred; where there is none, the deferred."""
        if not self.preferred_count:
            return self.callable()
        self.reading.has_begun = True
        return _joined([each.preferred for each in self.chunks])

    @property
    def healthy_count(self) -> int:
        """How many `healthy` returns."""
        return self.preferred_count or self.callable_count

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        """The running total of the weights of the healthy, up to the end of each chunk."""
        self.reading.has_begun = True
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
        self.reading.has_begun = True
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
        return self._counted(chunks, self.reading)


def _chunk_of(chunks: Sequence[Chunk], key: Key) -> int:
    """The place of the chunk that has, or would have, the row with that key; 0 where there are none."""
    return max(0, bisect_right(chunks, key, key=lambda each: each.first) - 1)


def _replace_in(chunks: list[Chunk], place: int, changes: Mapping[Key, Row | None]) -> None:
    """Apply ``changes`` to the chunk at ``place``, and divide it or join it with a neighbor if need be."""
    least = _CHUNK_ROWS_MIN if len(chunks) > 1 else 1
    replaced = chunks[place].with_rows(changes, least) if chunks else None
    if replaced is not None:
        chunks[place] = replaced
        return
    held = chunks[place].rows() if chunks else ()
    rows: dict[Key, Row | None] = {row.key: row for row in held}
    rows |= changes
    kept = sorted([row for row in rows.values() if row is not None], key=lambda row: row.key)
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
    if len(parts) == 1:
        return parts[0]
    joined: list[Instance] = []
    for part in parts:
        joined += part  # copies references; an iterator over all would be ten times as slow
    return tuple(joined)
