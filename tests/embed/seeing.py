"""Configuration of embedded nodes in tests: as in tests of the runtime, but joining any kind of node."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from gossipreg.config import Config
from gossipreg.model import Address
from tests.runtime.nodes import PATIENCE, QUICK


class Seed(Protocol):
    """A node of whatever kind."""

    @property
    def address(self) -> Address: ...


def config(name: str | None = "a", *seeds: Seed, **options: Any) -> Config:
    """A node of that name that joins these."""
    join = tuple(str(seed.address) for seed in seeds)
    return Config(**{"name": name, "bind": "127.0.0.1:0", "join": join, "protocol": QUICK} | options)


def assert_no_thread_is_left() -> None:
    """Every node that has left has also ended its thread."""
    for thread in threading.enumerate():
        if thread.name.startswith("gossipreg"):
            thread.join(PATIENCE)
            assert not thread.is_alive()
