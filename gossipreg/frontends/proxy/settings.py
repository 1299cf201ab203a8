"""Settings of one port of the balancer, and how they are read from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg.errors import ConfigError, InvalidSetting
from gossipreg.federation import read_failover_region
from gossipreg.fields import Choice, Number, Relation, Switch, Text, Texts, Whole, check, setting
from gossipreg.frontends.proxy.balancer import Balance
from gossipreg.frontends.proxy.first_bytes import read_network
from gossipreg.frontends.proxy.server_names import ServerNames
from gossipreg.model import Address, is_name
from gossipreg.runtime.files import read_toml
from gossipreg.text import shown
from gossipreg.values import frozen


def _address(value: str | Address) -> Address:
    if isinstance(value, Address):
        return value
    try:
        if isinstance(value, str):
            return Address.parse(value)
    except ConfigError as error:
        raise InvalidSetting(f"listen: {error}", ("listen",)) from None
    raise InvalidSetting(f"listen: {shown(value)} is not a string", ("listen",))


def _read_name(text: str) -> None:
    if not is_name(text):
        raise ConfigError(f"{shown(text)} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'")


_DAY: Final = 86_400.0

_LEADS_SOMEWHERE: Final = Relation(
    ("service",),
    "`service` is set, or `tls`",
    lambda forward: None if forward.service or forward.tls else "is missing",
)


_ONE_WAY_OUT: Final = Relation(
    ("failover", "panic_threshold"),
    "`panic_threshold` is 0 where there is `failover`: the regions are used instead of what was lost",
    lambda forward: "cannot be had with panic_threshold" if forward.failover and forward.panic_threshold else None,
)


@frozen(kw_only=True)
class Forward:
    """One port that leads to a service, or to several by TLS server name.

    Raises ``ConfigError``, naming the setting, for what cannot be used.
    """

    listen: Address = attrs.field(
        converter=_address, metadata={"doc": "Address to listen on; port 0 takes any free one."}
    )
    service: str | None = setting(
        Text(_read_name, optional=True),
        None,
        "The service that it leads to; with tls, where names lead that are not in it. Without one, those are refused.",
    )
    tls: tuple[tuple[str, str], ...] = setting(
        ServerNames(),
        (),
        "Services by the server name that a TLS caller asks for; *.example stands for all names that end so. TLS is "
        "passed through, not ended here.",
    )
    tag: str | None = setting(Text(optional=True), None, "Only to instances with this tag.")
    role: str | None = setting(Text(_read_name, optional=True), None, "Only to instances with this role.")
    zone: str | None = setting(
        Text(_read_name, optional=True), None, "Where the balancer is: instances there go first."
    )
    connect_timeout: float = setting(
        Number(0.001, 3600.0, "seconds"), 1.0, "How long an instance may take to accept a connection, in seconds."
    )
    balance: str = setting(
        Choice(tuple(Balance)),
        str(Balance.ROUND_ROBIN),
        "Which instance comes next: round-robin (exact by weight), least-connections, or random-two.",
    )
    tries: int = setting(Whole(1, 1000), 3, "How many instances a connection is tried at.")
    drain_time: float = setting(
        Number(0.0, _DAY, "seconds"),
        30.0,
        "How long connections to an instance that is gone may still run, in seconds.",
    )
    superseded: str | None = setting(
        Choice(("cut", "drain"), optional=True),
        None,
        "Connections to an instance whose role another has now: cut them at once, or drain them like those to any "
        "instance that is gone. By default they are cut if role is primary.",
    )
    idle_timeout: float = setting(
        Number(0.0, 30 * _DAY, "seconds"),
        0.0,
        "Seconds after which a connection is cut over which nothing comes, either way; 0 is never.",
    )
    connections_max: int = setting(Whole(1, 1_000_000), 4096, "Connections at once; further ones wait to be accepted.")
    instance_connections_max: int = setting(
        Whole(0, 1_000_000), 0, "Connections to one instance at once; beyond it others are used. 0 is no limit."
    )
    backlog: int = setting(Whole(1, 65_535), 1024, "Connections that the kernel keeps waiting.")
    panic: bool = setting(Switch(), default=False, doc="When no instance can serve, use the last ones that could.")
    panic_threshold: float = setting(
        Number(0.0, 1.0),
        0.0,
        "When fewer than this share of the instances can be reached because many owners failed at once, use also those "
        "that were lost; 0 is never.",
    )
    failover: tuple[str, ...] = setting(
        Texts(read_failover_region),
        (),
        "Regions, in order, whose instances are used while the own region has none that can serve; `nearest` is those "
        "that are not named, by round trip.",
    )
    failover_threshold: float = setting(
        Number(0.0, 1.0),
        0.0,
        "The share of its instances below which a region cannot serve, so that the next one in failover is used; at 0 "
        "one instance is enough.",
    )
    slow_start: float = setting(
        Number(0.0, _DAY, "seconds"),
        0.0,
        "Seconds in which the share of a new instance grows from nothing to its own; 0 is at once.",
    )
    sticky: str | None = setting(
        Choice(("source",), optional=True),
        None,
        "Keep each caller at one instance: by source, the address that it calls from.",
    )
    proxy_protocol: str | None = setting(
        Choice(("v1", "v2"), optional=True),
        None,
        "Tell the instance who calls, by a PROXY protocol header: v1 (text) or v2.",
    )
    trust_proxy: tuple[str, ...] = setting(
        Texts(read_network),
        (),
        "Networks of balancers that tell who calls: each connection from there must begin with a PROXY protocol "
        "header, v1 or v2.",
    )
    preread_timeout: float = setting(
        Number(0.001, 3600.0, "seconds"),
        5.0,
        "How long a caller may take to send its PROXY header and its TLS server name, in seconds.",
    )

    def __attrs_post_init__(self) -> None:
        check(self, (_LEADS_SOMEWHERE, _ONE_WAY_OUT))

    @property
    def services(self) -> tuple[str, ...]:
        """All services that it leads to, each once, that of names that are not in ``tls`` first."""
        own = () if self.service is None else (self.service,)
        return tuple(dict.fromkeys((*own, *(service for _, service in self.tls))))

    @property
    def leads_to(self) -> str:
        """Its services, in words."""
        if not self.tls:
            return str(self.service)
        return f"{', '.join(self.services)} by TLS name"

    @property
    def cuts_superseded(self) -> bool:
        """Whether connections to an instance that no longer has the role end at once."""
        return self.role is not None and self.superseded == "cut" if self.superseded else self.role == "primary"


#: The settings that a user has a say in for every port alike.
OPTIONS: Final = tuple(field for field in attrs.fields(Forward) if field.name not in ("listen", "service"))


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
    """The table's settings. Raises ``ConfigError`` for one that there is not, or that is missing."""
    fields = attrs.fields_dict(Forward)
    for name, value in table.items():
        if name not in fields:
            raise ConfigError(f"unknown key {name!r}: the keys are {', '.join(fields)}")
        kind_of_value = fields[name].metadata.get("kind")
        yield name, value if kind_of_value is None else kind_of_value.from_file(value)
    if "listen" not in table:
        raise ConfigError("listen: is missing")
