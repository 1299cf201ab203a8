"""Loading of compatibility APIs: each translates another registry's HTTP API to and from the model.

A compatibility API is a module of `gossipreg.frontends`, named as the setting ``compatibility_apis`` names it, with a
function ``create_api()``. It is imported only where it is switched on.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from gossipreg.frontends.serving.compatibility_api import CompatibilityApi


def load(names: Iterable[str]) -> tuple[CompatibilityApi, ...]:
    """The compatibility APIs of these names, which are known to the configuration."""
    return tuple(import_module(f"gossipreg.frontends.{name}").create_api() for name in names)
