"""Other registries' dialects: each package here translates one to and from the model, and decides nothing.

A dialect is a module of this package, named as the setting ``dialects`` names it, with a function ``dialect()`` that
makes one. It is imported only where it is switched on.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from gossipreg.frontends.serving.compatibility_api import Dialect


def load(names: Iterable[str]) -> tuple[Dialect, ...]:
    """The dialects of these names, which are known to the configuration."""
    return tuple(import_module(f"gossipreg.frontends.{name}").dialect() for name in names)
