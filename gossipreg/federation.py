"""Federation: another region whose services a node follows, as a user names it: its agents, and what is taken of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg import hosts, limits
from gossipreg.errors import ConfigError, InvalidSetting
from gossipreg.fields import OptionalPath, Text, Texts, check, setting
from gossipreg.model import Address, is_name
from gossipreg.text import shown
from gossipreg.values import frozen

#: In a list of regions, those that are not named in it, the one with the shortest round trip first.
NEAREST: Final = "nearest"

#: The tables of an agent's file that each name a region to be followed.
TABLES: Final = "federate"

#: A key of such a table that Python reserves, and the field that it is.
_ALIASES: Final = {"import": "imports"}

#: A pattern of service names: ``*`` stands for any characters.
_PATTERN: Final = re.compile(r"[A-Za-z0-9._*-]{1,63}")


def read_pattern(text: str) -> None:
    """Raise ``ConfigError`` unless ``text`` is a service's name, in which ``*`` may stand for any characters."""
    if not _PATTERN.fullmatch(text):
        raise ConfigError(f"{shown(text)} is no pattern of services: write names, with * for any characters")


def includes(patterns: Iterable[str], service: str) -> bool:
    """Whether one of ``patterns`` is ``service``; ``*`` stands for any characters."""
    return any(each == "*" or _compiled(each).match(service) is not None for each in patterns)


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Kept, because a region's list of services is compared with each pattern, name by name."""
    return re.compile(translate(pattern))


def check_region(text: str) -> None:
    """Raise ``ConfigError`` unless ``text`` can name a region."""
    if not is_name(text):
        raise ConfigError(f"{shown(text)} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'")
    if text.lower() == NEAREST:
        raise ConfigError(f"{shown(text)} stands for the region with the shortest round trip: choose another word")


def read_failover_region(text: str) -> None:
    """Raise ``ConfigError`` unless ``text`` can stand in a list of regions to fail over to: a name, or ``nearest``."""
    if not is_name(text):
        raise ConfigError(f"{shown(text)} names no region, and is not {NEAREST!r} either")


def _read_token(text: str) -> None:
    if not text or not all("!" <= each <= "~" for each in text):
        raise ConfigError("it is not printable ASCII characters without a space")


def _some_agents(agents: tuple[str, ...]) -> None:
    if not agents:
        raise ConfigError("name at least one agent of the region: HOST:PORT or https://HOST:PORT")
    if len(agents) > limits.REGION_AGENTS_MAX:
        raise ConfigError(f"{len(agents)} agents are too many: {limits.REGION_AGENTS_MAX} is the limit")


@frozen
class AgentPlace:
    """Where an agent of another region answers HTTP."""

    address: Address
    is_tls: bool

    @classmethod
    def parse(cls, text: str) -> AgentPlace:
        """Read ``HOST:PORT``, ``http://HOST:PORT`` or ``https://HOST:PORT``. Raises ``ConfigError``."""
        is_tls = text.startswith("https://")
        address = Address.parse(text.removeprefix("https://" if is_tls else "http://").removesuffix("/"))
        address.check_called()
        flaw = hosts.flaw(address.host)
        if flaw is not None:
            raise ConfigError(f"the host of {shown(text)} is {flaw}")
        return cls(address, is_tls)

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{self.address}"


def _read_agent(text: str) -> None:
    AgentPlace.parse(text)


@frozen(kw_only=True)
class Federation:
    """A region that a node follows. Raises ``ConfigError``, naming the field, for what cannot be used."""

    region: str = setting(Text(check_region), "", "The region's name, as its own agents know it.")
    agents: tuple[str, ...] = setting(
        Texts(read=_read_agent, whole=_some_agents),
        (),
        "HTTP addresses of agents there: HOST:PORT, or https://HOST:PORT. One is asked, and the next if it fails.",
    )
    token: str | None = setting(
        Text(_read_token, optional=True, secret=True), None, "Token for them, with the scope `federate`.", repr=False
    )
    token_file: Path | None = setting(OptionalPath(), None, "File that holds the token. Read at each new connection.")
    ca_file: Path | None = setting(
        OptionalPath(), None, "File with the authorities of their certificates, in PEM. Default: the system's."
    )
    cert_file: Path | None = setting(
        OptionalPath(), None, "File with the certificate to show in place of a token and its key, in PEM."
    )
    imports: tuple[str, ...] = setting(
        Texts(read=read_pattern),
        ("*",),
        "Services of that region that exist here: names, with * for any characters. In a file: `import`.",
    )

    def __attrs_post_init__(self) -> None:
        check(self, ())
        if self.token is not None and self.token_file is not None:
            raise InvalidSetting("token: token_file is given, too: give one of them, not both", ("token", "token_file"))

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Federation:
        """The region that a table of TOML describes. Raises ``ConfigError`` naming the key."""
        fields = attrs.fields_dict(cls)
        given: dict[str, Any] = {}
        for key, value in table.items():
            name = _ALIASES.get(key, key)
            if name not in fields or key in _ALIASES.values():
                known = ", ".join(_key(each) for each in fields)
                raise ConfigError(f"unknown key {key!r}: the keys are {known}")
            given[name] = fields[name].metadata["kind"].from_file(value)
        return cls(**given)

    @property
    def places(self) -> tuple[AgentPlace, ...]:
        """Where its agents answer."""
        return tuple(map(AgentPlace.parse, self.agents))

    def includes(self, service: str) -> bool:
        """Whether that service of the region exists here."""
        return includes(self.imports, service)


def _key(name: str) -> str:
    return next((key for key, each in _ALIASES.items() if each == name), name)


def check_failover(failover: Iterable[str], federations: Iterable[Federation], own: str) -> str | None:
    """What is wrong with a list of regions to fail over to; None if the node, which is in ``own``, knows them all."""
    known = {NEAREST, own, *(each.region for each in federations)}
    strange = next((each for each in failover if each not in known), None)
    return None if strange is None else f"the region {shown(strange)} is not followed: name it in a table [[{TABLES}]]"


def check_federations(federations: Iterable[Federation], own: str) -> str | None:
    """What is wrong with a list of regions to be followed by a node in the region ``own``; None if nothing is."""
    known: set[str] = set()
    for number, each in enumerate(federations, 1):
        if number > limits.REGIONS_MAX:
            return f"more than {limits.REGIONS_MAX} regions are named"
        name = each.region.lower()
        if name == own.lower():
            return f"the region {shown(each.region)} is the node's own"
        if name in known:
            return f"the region {shown(each.region)} is named twice: case does not tell regions apart"
        known.add(name)
    return None
