"""Compatibility APIs: the interface that each implements, and how they are found.

The dispatcher hands a request whose path begins with one of an API's prefixes to that API, after the guard has admitted
it. The API then does all the rest: it reads the token, acts, and words errors in its own form.

A compatibility API is an entry point of the group `GROUP`: a name, and a function without arguments that creates it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Final, Protocol

from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.errors import ConfigError
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import Reply
from gossipreg.frontends.serving.scopes import Action
from gossipreg.text import shown

#: The group of the entry points by which compatibility APIs are found.
GROUP: Final = "gossipreg.frontends"


class CompatibilityApi(Protocol):
    """What the dispatcher needs of a compatibility API."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Such as ``("/v1",)``: the API answers all paths below them."""
        ...

    @property
    def routine(self) -> frozenset[tuple[str, str]]:
        """Methods and patterns of frequent requests that are no GET, such as heartbeats. Logged as reads are."""
        ...

    @property
    def routes(self) -> Sequence[tuple[str, str, Action]]:
        """Every route: its method, its pattern, and its action. ``docs/scopes.md`` lists them."""
        ...

    def token(self, request: Request) -> str | None:
        """The token of a request, wherever the API's clients put it."""
        ...

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """The pattern of the path, for the counter, empty if none matches; and the answer, errors included.

        Any exception is a bug.
        """
        ...


def load(names: Iterable[str]) -> tuple[CompatibilityApi, ...]:
    """The compatibility APIs of these names. Only those are imported. Raises ``ConfigError`` for an unknown name."""
    return tuple(map(_load, names))


def _load(name: str) -> CompatibilityApi:
    found: Callable[[], CompatibilityApi]
    if name in COMPATIBILITY_APIS:  # ours: to read the metadata of all installed packages takes tens of milliseconds
        found = import_module(f"gossipreg.frontends.{name}").create_api
        return found()
    from importlib.metadata import entry_points

    for each in entry_points(group=GROUP, name=name):
        try:
            found = each.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"compatibility_apis: {shown(name)} cannot be loaded from {each.value}: {error}"
            ) from None
        return found()
    raise ConfigError(
        f"compatibility_apis: {shown(name)} is none of {', '.join(COMPATIBILITY_APIS)}, and no installed package has "
        f"that entry point in {GROUP}"
    )
