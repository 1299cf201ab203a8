"""Knows what a user says about one port of the balancer, and how that is read from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg.errors import ConfigError
from gossipreg.model import Address, is_name
from gossipreg.runtime.toml import read_toml


def _address(value: str | Address) -> Address:
    return value if isinstance(value, Address) else Address.parse(value)


def _checked_name(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not is_name(value):
        raise ConfigError(
            f"{attribute.name}: {value!r} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'"
        )


def _at_least(low: float) -> Any:
    def check(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
        if not low <= value < float("inf"):
            raise ConfigError(f"{attribute.name}: {value!r} is not a number of at least {low:g}")

    return check


def _checked_version(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value not in (None, "v1", "v2"):
        raise ConfigError(f"{attribute.name}: {value!r} is neither v1 nor v2")


def _checked_share(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{attribute.name}: {value!r} is not a share from 0 to 1")


def _checked_sticky(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value not in (None, "source"):
        raise ConfigError(f"{attribute.name}: {value!r} is not source, the only thing that callers can be told by")


def _option(default: Any, doc: str, validator: Any = None) -> Any:
    return attrs.field(default=default, validator=validator, metadata={"doc": doc})


@attrs.frozen(kw_only=True)
class Forward:
    """One port that leads to one service. Raises ``ConfigError``, naming the setting, for what cannot be used."""

    listen: Address = attrs.field(
        converter=_address, metadata={"doc": "Address to listen on; port 0 takes any free one."}
    )
    service: str = attrs.field(validator=_checked_name, metadata={"doc": "The service that it leads to."})
    tag: str | None = _option(None, "Only to instances with this tag.")
    role: str | None = _option(None, "Only to instances with this role.", _checked_name)
    zone: str | None = _option(None, "Where the balancer is: instances there go first.", _checked_name)
    connect_timeout: float = _option(
        1.0, "How long an instance may take to accept a connection, in seconds.", _at_least(0.001)
    )
    tries: int = _option(3, "How many instances a connection is tried at.", _at_least(1))
    drain_time: float = _option(
        30.0, "How long connections to an instance that is gone may still run, in seconds.", _at_least(0)
    )
    idle_timeout: float = _option(
        0.0, "Seconds after which a connection is cut over which nothing comes, either way; 0 is never.", _at_least(0)
    )
    connections_max: int = _option(4096, "Connections at once; further ones wait to be accepted.", _at_least(1))
    instance_connections_max: int = _option(
        0, "Connections to one instance at once; beyond it others are used. 0 is no limit.", _at_least(0)
    )
    backlog: int = _option(1024, "Connections that the kernel keeps waiting.", _at_least(1))
    panic: bool = _option(False, "When no instance can serve, use the last ones that could.")
    panic_threshold: float = _option(
        0.0,
        "When fewer than this share of the instances can be reached because many owners failed at once, use also those "
        "that were lost; 0 is never.",
        _checked_share,
    )
    slow_start: float = _option(
        0.0, "Seconds in which the share of a new instance grows from nothing to its own; 0 is at once.", _at_least(0)
    )
    sticky: str | None = _option(
        None, "Keep each caller at one instance: by source, the address that it calls from.", _checked_sticky
    )
    proxy_protocol: str | None = _option(
        None, "Tell the instance who calls, by a PROXY protocol header: v1 (text) or v2.", _checked_version
    )


#: The settings that a user has a say in for every port alike.
OPTIONS: Final = tuple(field for field in attrs.fields(Forward) if field.name not in ("listen", "service"))

_NOUNS: Final[Mapping[type, str]] = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def kind(field: attrs.Attribute[Any]) -> type:
    """What a setting's value is: bool, int, float or str."""
    return str if field.default in (None, attrs.NOTHING) else type(field.default)


def load_forwards(file: Path, common: Mapping[str, Any]) -> tuple[Forward, ...]:
    """The ports in a TOML file, one ``[[forward]]`` each; what it does not say of one is as in ``common``.

    Raises ``ConfigError`` that names the file, the port by its number, and the key.
    """
    document = read_toml(file)
    tables = document.pop("forward", None)
    if document:
        raise ConfigError(f"{file}: unknown key {min(document)!r}: write [[forward]] and the settings of a port below")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{file}: there is no port in it: write [[forward]], and below it listen and service")
    return tuple(_forward(f"{file}: forward {number}", table, common) for number, table in enumerate(tables, 1))


def _forward(where: str, table: Mapping[str, Any], common: Mapping[str, Any]) -> Forward:
    try:
        return Forward(**{**common, **dict(_checked(table))})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _checked(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The table's settings, each of the right type. Raises ``ConfigError``."""
    fields = attrs.fields_dict(Forward)
    for name, value in table.items():
        if name not in fields:
            raise ConfigError(f"unknown key {name!r}: the keys are {', '.join(fields)}")
        wanted = kind(fields[name])
        if wanted is float and type(value) is int:
            yield name, float(value)
        elif type(value) is wanted:
            yield name, value
        else:
            raise ConfigError(f"{name}: {value!r} is not {_NOUNS[wanted]}")
    for name in ("listen", "service"):
        if name not in table:
            raise ConfigError(f"{name}: is missing")
