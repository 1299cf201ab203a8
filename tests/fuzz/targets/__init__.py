"""Targets by name, each in the module of its family, which is imported only when needed."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from tests.fuzz.target import Target

_FAMILIES: Final = {
    "wire": ("packets", "messages", "streams", "engine"),
    "registry": ("records", "policies", "credentials"),
    "dns": ("dns",),
    "http": ("http", "registrations"),
    "consul": ("consul", "filters"),
    "eureka": ("eureka-json", "eureka-xml"),
    "envoy": ("envoy",),
    "attach": ("attach-requests", "attach-answers"),
    "authority": ("certificates", "join-tokens"),
    "identity": ("statements", "authority-files"),
    "files": ("settings", "instances", "rows", "snapshot"),
    "checks": ("checks", "check-answers"),
    "regions": ("remote-answers",),
    "proxy": ("proxy-header", "proxy-header-in", "client-hello"),
}

_MODULES: Final = {name: family for family, names in _FAMILIES.items() for name in names}

#: Every target's name.
NAMES: Final = tuple(_MODULES)


def load(name: str) -> Target:
    """Return the target with that name."""
    found = import_module(f"tests.fuzz.targets.{_MODULES[name]}").TARGETS
    target: Target = next(each for each in found if each.name == name)
    return target
