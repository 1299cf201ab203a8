"""Compatibility APIs: the interface that each implements, and the router and query parsing that they share.

The dispatcher hands a request whose path begins with one of an API's prefixes to that API, after the guard has admitted
it. The API then does all the rest: it reads the token, acts, and words errors in its own form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, Protocol, Self, TypeVar
from urllib.parse import parse_qsl

import attrs

from gossipreg.errors import GossipregError
from gossipreg.frontends.http.routes import Reply
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.dispatcher import status_of
from gossipreg.frontends.serving.request import Request, decoded
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scopes import Action
from gossipreg.text import shown

_NO: Final = frozenset({"0", "f", "false", "no", "off"})

Handler = TypeVar("Handler")


class CompatibilityApi(Protocol):
    """What the door needs of a compatibility API."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Such as ``("/v1",)``: all paths below them are its own."""
        ...

    @property
    def routine(self) -> frozenset[tuple[str, str]]:
        """Methods and patterns of what is no GET and comes as often: heartbeats, polls. Logged as reads are."""
        ...

    @property
    def routes(self) -> Sequence[tuple[str, str, Action]]:
        """Every route: its method, its pattern, and what is done there. It is checked against ``docs/scopes.md``."""
        ...

    def token(self, request: Request) -> str | None:
        """What a request that found its pattern shows to be let in, wherever the API's clients put it."""
        ...

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """The pattern of the path, for the counter, empty if there is none; and the answer, errors included.

        Any exception is our own mistake.
        """
        ...


def status_and_sentence(error: HttpError | GossipregError) -> tuple[int, str]:
    """The status code and the sentence of a no, for a compatibility API to say in its own form."""
    if isinstance(error, HttpError):
        return error.answer.status, str(error)
    return status_of(error), str(error)


@attrs.frozen
class Query:
    """What stands behind the question mark, in order: names may be repeated and may lack a value."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``a=1&b&a=2``. Raises a 400 ``HttpError`` unless UTF-8 comes out."""
        try:
            return cls(tuple(parse_qsl(text, keep_blank_values=True, errors="strict")))
        except UnicodeDecodeError:
            raise HttpError(400, f"the query {shown(text)} is not UTF-8 under its percent signs") from None

    def __contains__(self, name: object) -> bool:
        return any(each == name for each, _ in self.pairs)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of that name."""
        return tuple(value for each, value in self.pairs if each == name)

    def first(self, name: str, default: str = "") -> str:
        """The first value of that name."""
        return next((value for each, value in self.pairs if each == name), default)

    def flag(self, name: str) -> bool:
        """Whether it is there and not denied: ``?stale``, ``?stale=1`` and ``?stale=True`` say yes."""
        return name in self and self.first(name).lower() not in _NO


def split(target: str) -> tuple[str, Query]:
    """The path of a request's target, still encoded, and its query. Raises a 400 ``HttpError``."""
    path, _, text = target.partition("?")
    return path, Query.parse(text) if text else Query()


@attrs.frozen
class RouteMatch(Generic[Handler]):
    """Who answers a request, by which pattern, and what the pattern's placeholders stand for, decoded."""

    pattern: str
    handler: Handler
    arguments: Mapping[str, str]


@attrs.frozen
class _Pattern:
    text: str
    segments: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        return cls(text, tuple(text.split("/")[1:]))

    @property
    def is_open(self) -> bool:
        """Whether its last placeholder takes the whole rest of the path."""
        return self.segments[-1].endswith("...}")

    @property
    def rank(self) -> tuple[bool, tuple[bool, ...]]:
        """Of two that match, the lower is meant: words before placeholders, and those before open ends."""
        return self.is_open, tuple(each.startswith("{") for each in self.segments)

    def match(self, segments: list[str]) -> Mapping[str, str] | None:
        """What its placeholders stand for, still encoded; None if it does not match."""
        if self.is_open and len(segments) >= len(self.segments):
            last = len(self.segments) - 1
            segments = [*segments[:last], "/".join(segments[last:])]
        if len(segments) != len(self.segments):
            return None
        values: dict[str, str] = {}
        for ours, theirs in zip(self.segments, segments, strict=True):
            if ours.startswith("{"):
                if not theirs:
                    return None
                values[ours.strip("{.}")] = theirs
            elif ours != theirs:
                return None
        return values


class Router(Generic[Handler]):
    """A table of paths such as ``/v1/agent/check/pass/{id}``; a last ``{key...}`` takes the whole rest of a path.

    A slash at the end of a request's path means nothing.
    """

    def __init__(self, routes: Iterable[tuple[str, str, Handler]]) -> None:
        """From methods, patterns and handlers."""
        table: dict[str, dict[str, Handler]] = {}
        for method, text, handler in routes:
            table.setdefault(text, {})[method] = handler
        patterns = sorted((_Pattern.of(text) for text in table), key=lambda pattern: pattern.rank)
        self._table = [(pattern, table[pattern.text]) for pattern in patterns]

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every pattern."""
        return tuple(pattern.text for pattern, _ in self._table)

    @property
    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        """Every method with its pattern and its handler."""
        return tuple(
            (method, pattern.text, handler) for pattern, methods in self._table for method, handler in methods.items()
        )

    def find(self, method: str, path: str) -> RouteMatch[Handler]:
        """Who answers. HEAD goes where GET goes. Raises a ``HttpError``: 404 for the path, 405 for the method."""
        segments = path.rstrip("/").split("/")[1:]
        for pattern, methods in self._table:
            values = pattern.match(segments)
            if values is None:
                continue
            handler = methods.get("GET" if method == "HEAD" else method)
            if handler is None:
                allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
                allow = ((b"allow", allowed.encode("ascii")),)
                raise HttpError(405, f"{path} is not for {shown(method)}: use {allowed}", allow)
            return RouteMatch(pattern.text, handler, {name: decoded(value) for name, value in values.items()})
        raise HttpError(404, f"there is nothing at {shown(path)}")
