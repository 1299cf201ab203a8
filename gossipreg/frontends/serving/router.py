"""The router: finds the handler of a request by its method and its path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

import attrs

from gossipreg.frontends.serving.request import decoded
from gossipreg.frontends.serving.response import HttpError
from gossipreg.text import shown

Handler = TypeVar("Handler")

_NONE: Final[Mapping[str, str]] = {}


@attrs.frozen
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
    pattern: str = ""  # the one that ends here, if any does
    open_pattern: str = ""  # the one whose open end begins here


class Router(Generic[Handler]):
    """A table of path patterns such as ``/v1/agent/check/pass/{id}``.

    A segment in braces or in capitals is a placeholder for one segment that is not empty. A last ``{key...}`` takes the
    whole rest of the path. Of two patterns that match, words win over placeholders, from the left, and both over an
    open end. HEAD is handled as GET.

    With ``trailing_slash`` a slash at the end of a path is ignored. ``hint`` is added to the error for an unknown path.
    """

    def __init__(
        self, routes: Iterable[tuple[str, str, Handler]], *, trailing_slash: bool = True, hint: str = ""
    ) -> None:
        """From methods, patterns and handlers."""
        self._trailing_slash = trailing_slash
        self._hint = hint
        self._root = _Node[Handler]()
        self._table: dict[str, dict[str, Handler]] = {}  # methods and handlers by pattern
        for method, pattern, handler in routes:
            self._table.setdefault(pattern, {})[method] = handler
        for pattern in self._table:
            self._add(pattern)
        self._plain = {each: found for each, found in self._table.items() if not _has_placeholder(each)}

    def _add(self, pattern: str) -> None:
        node = self._root
        for segment in pattern.split("/")[1:]:
            if segment.endswith("...}"):
                node.open_pattern = pattern
                return
            if _is_placeholder(segment):
                node.placeholder = node.placeholder or _Node()
                node = node.placeholder
            else:
                node = node.words.setdefault(segment, _Node())
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
        pattern, arguments = path, _NONE
        methods = self._plain.get(path)
        if methods is None:
            segments = (path.rstrip("/") if self._trailing_slash else path).split("/")[1:]
            pattern = _match(self._root, segments, 0) or _match_open(self._root, segments, 0)
            if not pattern:
                raise HttpError(404, f"there is nothing at {shown(path)}{self._hint}")
            methods, arguments = self._table[pattern], _arguments(pattern, segments)
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            allow = ((b"allow", allowed.encode("ascii")),)
            raise HttpError(405, f"{path} is not for {shown(method)}: use {allowed}", allow)
        return RouteMatch(pattern, handler, arguments)


def _is_placeholder(segment: str) -> bool:
    return segment.startswith("{") or segment.isupper()


def _has_placeholder(pattern: str) -> bool:
    return any(map(_is_placeholder, pattern.split("/")))


def _match(node: _Node[Handler], segments: list[str], place: int) -> str:
    """The pattern without an open end that matches the segments from ``place`` on; empty if none does."""
    if place == len(segments):
        return node.pattern
    segment = segments[place]
    word = node.words.get(segment)
    found = _match(word, segments, place + 1) if word is not None else ""
    if not found and node.placeholder is not None and segment:
        found = _match(node.placeholder, segments, place + 1)
    return found


def _match_open(node: _Node[Handler], segments: list[str], place: int) -> str:
    """The pattern with an open end that matches the segments from ``place`` on; empty if none does."""
    if place == len(segments):
        return ""
    segment = segments[place]
    word = node.words.get(segment)
    found = _match_open(word, segments, place + 1) if word is not None else ""
    if not found and node.placeholder is not None and segment:
        found = _match_open(node.placeholder, segments, place + 1)
    return found or (node.open_pattern if "/".join(segments[place:]) else "")


def _arguments(pattern: str, segments: list[str]) -> Mapping[str, str]:
    arguments: dict[str, str] = {}
    for place, segment in enumerate(pattern.split("/")[1:]):
        if _is_placeholder(segment):
            value = "/".join(segments[place:]) if segment.endswith("...}") else segments[place]
            arguments[segment.strip("{.}")] = decoded(value)
    return arguments
