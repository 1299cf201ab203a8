"""The router: finds the handler of a request by its method and its path."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

import attrs

from gossipreg.frontends.serving.request import decoded
from gossipreg.frontends.serving.response import HttpError
from gossipreg.text import shown
from gossipreg.values import frozen

Handler = TypeVar("Handler")

_NONE: Final[Mapping[str, str]] = {}


@frozen
class RouteMatch(Generic[Handler]):
    """The handler of a request, the pattern of its path, and the values of the pattern's placeholders, decoded."""

    pattern: str
    handler: Handler
    arguments: Mapping[str, str]


@attrs.define(eq=False, repr=False)
class _Node(Generic[Handler]):
    """What patterns have in common up to one segment, in a tree of patterns by segments."""

    words: dict[str, _Node[Handler]] = attrs.field(factory=dict)
    placeholder: _Node[Handler] | None = None
    spanning: _Node[Handler] | None = None  # after a placeholder for one segment or more
    pattern: str = ""  # the one that ends here, if any does


#: The pattern that matches a path, and the values of its placeholders in order, not decoded.
_Found = tuple[str, tuple[str, ...]]


class Router(Generic[Handler]):
    """A table of path patterns such as ``/v1/agent/check/pass/{id}``.

    A segment in braces or in capitals is a placeholder for one segment that is not empty. A last ``{key...}`` takes the
    whole rest of the path. So does a placeholder that ``spanning`` names, for values that may hold slashes; words may
    follow it. What such a placeholder takes is not normalised: ``//``, ``/../`` and a last slash stay, and ``%2F``
    separates nothing.

    Of several patterns that match, words win over placeholders, from the left, and both over what takes the rest. One
    that is not for the request's method gives way to the next. HEAD is handled as GET.

    With ``trailing_slash`` a slash at the end of a path is ignored. ``hint`` is added to the error for an unknown path.
    """

    def __init__(
        self,
        routes: Iterable[tuple[str, str, Handler]],
        *,
        trailing_slash: bool = True,
        hint: str = "",
        spanning: Collection[str] = (),
    ) -> None:
        """From methods, patterns and handlers."""
        self._trailing_slash = trailing_slash
        self._hint = hint
        self._spanning = spanning
        self._root = _Node[Handler]()
        self._table: dict[str, dict[str, Handler]] = {}  # methods and handlers by pattern
        for method, pattern, handler in routes:
            self._table.setdefault(pattern, {})[method] = handler
        self._names = {pattern: _placeholders(pattern) for pattern in self._table}
        for pattern in self._table:
            self._add(pattern)
        self._plain = {each: found for each, found in self._table.items() if not self._names[each]}

    def _add(self, pattern: str) -> None:
        node = self._root
        for segment in pattern.split("/")[1:]:
            if not _is_placeholder(segment):
                node = node.words.setdefault(segment, _Node())
            elif segment.endswith("...}") or segment.strip("{}") in self._spanning:
                node.spanning = node.spanning or _Node()
                node = node.spanning
            else:
                node.placeholder = node.placeholder or _Node()
                node = node.placeholder
        node.pattern = pattern

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every pattern."""
        return tuple(self._table)

    @property
    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        """Every method with its pattern and its handler."""
        return tuple(
            (method, pattern, each) for pattern, found in self._table.items() for method, each in found.items()
        )

    def find(self, method: str, path: str) -> RouteMatch[Handler]:
        """The handler. Raises an ``HttpError``: 404 for an unknown path, 405 for a method that is not for it."""
        wanted = "GET" if method == "HEAD" else method
        plain = self._plain.get(path)
        if plain is not None and wanted in plain:
            return RouteMatch(path, plain[wanted], _NONE)
        allowed: dict[str, None] = {}  # in order, each once
        for pattern, values in self._matches(path):
            methods = self._table[pattern]
            if wanted in methods:
                arguments = dict(zip(self._names[pattern], map(decoded, values), strict=True))
                return RouteMatch(pattern, methods[wanted], arguments)
            allowed |= dict.fromkeys(methods)
        if not allowed:
            raise HttpError(404, f"there is nothing at {shown(path)}{self._hint}")
        listed = ", ".join([*allowed, *(["HEAD"] if "GET" in allowed else [])])
        raise HttpError(405, f"{path} is not for {shown(method)}: use {listed}", ((b"allow", listed.encode("ascii")),))

    def _matches(self, path: str) -> Iterator[_Found]:
        """The patterns that match, the best first."""
        segments = path.split("/")[1:]
        end = len(segments)
        while self._trailing_slash and end > 0 and not segments[end - 1]:
            end -= 1
        return _matches(self._root, segments, 0, end, ())


def _matches(
    node: _Node[Handler], segments: list[str], place: int, end: int, values: tuple[str, ...]
) -> Iterator[_Found]:
    """The patterns below ``node`` that match the segments from ``place`` on.

    Beyond ``end`` are only empty segments, which count for what takes the rest of the path and for nothing else.
    """
    if place >= end and node.pattern:
        yield node.pattern, values
    if place < end:
        segment = segments[place]
        if segment in node.words:
            yield from _matches(node.words[segment], segments, place + 1, end, values)
        if node.placeholder is not None and segment:
            yield from _matches(node.placeholder, segments, place + 1, end, (*values, segment))
    after = node.spanning
    if after is None:
        return
    for stop in range(place + 1, end):
        word = after.words.get(segments[stop])
        value = "/".join(segments[place:stop]) if word is not None else ""
        if word is not None and value:
            yield from _matches(word, segments, stop + 1, end, (*values, value))
    value = "/".join(segments[place:])
    if value and after.pattern:
        yield after.pattern, (*values, value)


def _is_placeholder(segment: str) -> bool:
    return segment.startswith("{") or segment.isupper()


def _placeholders(pattern: str) -> tuple[str, ...]:
    """The names of a pattern's placeholders, in order."""
    return tuple(each.strip("{.}") for each in pattern.split("/") if _is_placeholder(each))
