"""TLS server names of a port: which service each leads to, as users write it, and the choice by a caller's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from gossipreg.errors import ConfigError
from gossipreg.fields import FieldKind
from gossipreg.hosts import flaw
from gossipreg.model import is_name
from gossipreg.text import shown

_WILDCARD: Final = "*."


class ServerNames(FieldKind):
    """Names with the service of each: a table in a file, a mapping or pairs in a program. In the end, sorted pairs."""

    noun: ClassVar[str] = "a table of server names, each with its service"

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        if not _are_pairs(value):
            return f"{shown(value)} is not {self.noun}"
        names = [name for name, _ in value]
        for name, service in value:
            if (reason := _flaw(name)) is not None:
                return f"{shown(name)} is {reason}"
            if not is_name(service):
                flaw_of_service = "is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'"
                return f"{shown(service)}, the service of {shown(name)}, {flaw_of_service}"
            if names.count(name) > 1:
                return f"{shown(name)} is there twice"
        return None

    def converted(self, value: Any) -> Any:
        """Pairs in order, with names in lower case: two tables that say the same are equal."""
        pairs = tuple(value.items()) if isinstance(value, Mapping) else value
        if not _are_pairs(pairs):
            return value
        return tuple(sorted((name.lower().removesuffix("."), service) for name, service in pairs))


def _are_pairs(value: object) -> bool:
    """Whether it is a tuple of pairs of strings."""
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(each, str) for each in pair) for pair in value
    )


def read_pair(text: str) -> tuple[str, str]:
    """A server name and its service, as a flag gives them: ``NAME=SERVICE``. Raises ``ConfigError``."""
    name, equals, service = text.partition("=")
    if not (name and equals and service):
        raise ConfigError(f"--tls: {shown(text)} is not NAME=SERVICE, for example orders.example=orders")
    return name, service


def service_of(names: Mapping[str, str], name: str) -> str | None:
    """The service that a caller's ``name``, in lower case, leads to; None if it leads nowhere.

    A name as it is goes first, then the longest of those with a star that it ends with. A star stands for one label or
    more, as with nginx and Envoy.
    """
    found = names.get(name)
    rest = name
    while found is None and "." in rest:
        rest = rest.partition(".")[2]
        found = names.get(_WILDCARD + rest)
    return found


def _flaw(name: str) -> str | None:
    """Why no caller can ask for ``name``, as the end of a sentence that begins with "NAME is"; None if one can."""
    plain = name.removeprefix(_WILDCARD)
    if (reason := flaw(plain)) is not None:
        return reason
    if ":" in plain or plain.rpartition(".")[2].isdecimal():
        return "an address: a caller of TLS asks for a host name, or for none (RFC 6066)"
    return None
