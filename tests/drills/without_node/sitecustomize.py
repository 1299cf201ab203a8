"""Makes the programs of docs/frameworks.md run without a node, to see how they end then: put its folder on the path.

Python imports it in every process of the program. Whatever would start a node says that it is ready instead.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gossipreg.embed import asyncio as embedded
from gossipreg.embed.offering import Offer


def tell_ready(*_: object) -> None:
    (Path(os.environ["READY"]) / str(os.getpid())).touch()


async def tell_ready_soon(*_: object, **__: object) -> None:
    tell_ready()


@asynccontextmanager
async def open_nothing(*_: object) -> AsyncIterator[Any]:
    yield SimpleNamespace(register=tell_ready_soon)


class Nothing:
    def lookup(self, service: str, **_: object) -> tuple[()]:
        return ()

    def check_failure(self) -> None:
        pass


Offer.start = tell_ready  # type: ignore[method-assign, assignment]
Offer.stop = lambda self: None  # type: ignore[method-assign]
Offer.__aenter__ = tell_ready_soon  # type: ignore[method-assign, assignment]
Offer.node = Nothing()  # type: ignore[method-assign, assignment]
embedded.open_node = open_nothing  # type: ignore[assignment]
