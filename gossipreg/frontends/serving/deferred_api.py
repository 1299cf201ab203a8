"""Deferred APIs: compatibility APIs that are imported when a client first asks them.

An agent serves all of them unless it is told otherwise, and most agents have clients of one or none. The first request
for each waits for the import, in a thread beside the loop
(``docs/decisions/0078-frontends-loaded-by-their-first-client.md``).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

import attrs
import trio

from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import Reply
from gossipreg.frontends.serving.scopes import Action


class ApiAnswers(Protocol):
    """The part of `CompatibilityApi` that needs the API's own modules."""

    @property
    def routes(self) -> Sequence[tuple[str, str, Action]]:
        """See `CompatibilityApi`."""
        ...

    def token(self, request: Request) -> str | None:
        """See `CompatibilityApi`."""
        ...

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """See `CompatibilityApi`."""
        ...


@attrs.define(eq=False, repr=False)
class DeferredApi:
    """A compatibility API whose answers are given by an object without arguments of ``class_name`` in ``module``."""

    module: str
    class_name: str
    prefixes: tuple[str, ...]
    routine: frozenset[tuple[str, str]] = frozenset()
    _answers: ApiAnswers | None = attrs.field(init=False, default=None)  # from the first request on

    async def load(self) -> None:
        """Import what answers in a thread, if it was not yet: without kept bytecode that takes hundreds of ms."""
        if self.module not in sys.modules:
            await trio.to_thread.run_sync(import_module, self.module)

    @property
    def loaded(self) -> ApiAnswers:
        """What answers, imported if it was not yet."""
        if self._answers is None:
            self._answers = getattr(import_module(self.module), self.class_name)()
        return self._answers

    @property
    def routes(self) -> Sequence[tuple[str, str, Action]]:
        """See `CompatibilityApi`."""
        return self.loaded.routes

    def token(self, request: Request) -> str | None:
        """See `CompatibilityApi`."""
        return self.loaded.token(request)

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """See `CompatibilityApi`."""
        return await self.loaded.answer(request, server)
