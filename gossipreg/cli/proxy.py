"""The `proxy` command: runs a TCP balancer in front of registered services."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gossipreg.cli import completion
from gossipreg.cli.agent_options import duration, token_file
from gossipreg.cli.agent_token import read_token
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command
from gossipreg.cli.logs import write_logs
from gossipreg.cli.settings import FILE_VARIABLE, SETTINGS, load
from gossipreg.errors import ConfigError, InvalidSetting
from gossipreg.hosts import DEFAULT_HTTP
from gossipreg.model import Address

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: The node's settings that a balancer has, too -> the metavar of the flag, None if it takes no value.
_NODE_FLAGS: Final = {
    "join": "HOST:PORT",
    "name": "NAME",
    "cluster": "NAME",
    "cell": "NAME",
    "bind": "HOST:PORT",
    "advertise": "HOST:PORT",
    "zone": "NAME",
    "key_file": "FILE",
    "insecure": None,
    "log_format": "text|json",
    "log_level": "debug|info|warning|error",
}

#: The balancer's own flags. Each sets one field of `Forward` for all ports: the field, its type, metavar and help.
_FORWARD_FLAGS: Final[Sequence[tuple[str, type | Callable[[str], float], str | None, str]]] = (
    ("tag", str, "TAG", "Only to instances with this tag."),
    ("role", str, "NAME", "Only to instances with this role."),
    ("connect_timeout", duration, "SECONDS", "How long an instance may take to accept.  [default: 1]"),
    ("balance", str, "RULE", "How it chooses: round-robin, least-connections or random-two.  [default: round-robin]"),
    ("tries", int, "N", "How many instances a connection is tried at.  [default: 3]"),
    ("drain_time", duration, "SECONDS", "How long connections to a removed instance may go on.  [default: 30]"),
    ("superseded", str, "cut|drain", "Connections to a former primary.  [default: cut with --role primary]"),
    ("idle_timeout", duration, "SECONDS", "Close a connection that is silent for so long.  [default: never]"),
    ("connections_max", int, "N", "Connections at once on each port.  [default: 4096]"),
    ("instance_connections_max", int, "N", "Connections at once to one instance.  [default: no limit]"),
    ("backlog", int, "N", "Connections that the kernel keeps waiting.  [default: 1024]"),
    ("panic", bool, None, "When no instance can serve, use the last that could."),
    (
        "panic_threshold",
        float,
        "SHARE",
        "Below this reachable share, use also instances lost at once.  [default: never]",
    ),
    ("failover_threshold", float, "SHARE", "The share of instances below which a region cannot serve.  [default: 0]"),
    ("slow_start", duration, "SECONDS", "How long the share of a new instance grows to its own.  [default: 0]"),
    ("sticky", str, "source", "Keep each caller at one instance, by its address."),
    ("proxy_protocol", str, "v1|v2", "Send the caller's address in a PROXY protocol header."),
    ("preread_timeout", duration, "SECONDS", "How long a caller may take to say its name.  [default: 5]"),
)


def _flags(command: _Command) -> _Command:
    for key, type_, metavar, doc in reversed(_FORWARD_FLAGS):
        flag = f"--{key.replace('_', '-')}"
        command = click.option(flag, key, type=type_, metavar=metavar, is_flag=type_ is bool, help=doc)(command)
    for key, metavar in reversed(_NODE_FLAGS.items()):
        setting = SETTINGS[key]
        command = click.option(
            str(setting.flag),
            key,
            metavar=metavar,
            is_flag=setting.default is False,
            multiple=setting.default == (),
            help=setting.doc,
        )(command)
    return command


@command()
@click.option("--listen", metavar="HOST:PORT", multiple=True, help="Address to listen on; repeatable.")
@click.option(
    "--service",
    metavar="NAME",
    multiple=True,
    shell_complete=completion.services,
    help="The service behind it: one for each --listen; with --tls it may be left out.",
)
@click.option(
    "--forwards",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="TOML file with a [[forward]] for each port, in place of --listen and --service.",
)
@click.option(
    "--http",
    "--agent",
    metavar="HOST:PORT",
    envvar=["GOSSIPREG_AGENT", "GOSSIPREG_HTTP"],
    help=f"The agent to follow; {DEFAULT_HTTP} without --join.  [env: GOSSIPREG_AGENT, GOSSIPREG_HTTP]",
)
@token_file
@click.option(
    "--tls",
    metavar="NAME=SERVICE",
    multiple=True,
    help="Service of a TLS server name, such as orders.example or *.example; repeatable.",
)
@click.option(
    "--trust-proxy",
    metavar="NETWORK",
    multiple=True,
    help="Callers from there must send a PROXY protocol header; repeatable.",
)
@click.option(
    "--failover",
    metavar="REGION",
    multiple=True,
    help="Region to use while the own one has no instance; repeatable, in order; nearest: the others.",
)
@click.option("--metrics", metavar="HOST:PORT", help="Address at which Prometheus finds /metrics.  [default: none]")
@_flags
@click.option(
    "--config",
    "file",
    metavar="FILE",
    envvar=FILE_VARIABLE,
    type=click.Path(path_type=Path),
    help="TOML file with the settings of the node, as for an agent.",
)
def proxy(
    *,
    listen: tuple[str, ...],
    service: tuple[str, ...],
    forwards: Path | None,
    http: str | None,
    token_file: Path | None,
    tls: tuple[str, ...],
    trust_proxy: tuple[str, ...],
    failover: tuple[str, ...],
    metrics: str | None,
    file: Path | None,
    **flags: Any,
) -> None:
    """Run a TCP balancer that follows the registry.

    It follows an agent (--http), or with --join is a member of the cluster itself and needs none. Each instance gets
    connections in proportion to its weight; if one cannot be connected to, another is tried. Instances of the
    balancer's own --zone go first.

    When it is ready it writes one line to standard output. SIGTERM or Ctrl-C makes it accept no more connections and
    exit with 0 when the last one has ended, or the drain time is over; a second one stops it at once, with 1. SIGHUP
    makes it read --forwards again, SIGUSR2 makes a new process take its place; no caller is refused meanwhile.

    Examples:
      gossipreg proxy --listen 127.0.0.1:9000 --service orders
      gossipreg proxy --listen [::]:443 --tls orders.example=orders
      gossipreg proxy --listen [::]:9000 --service orders --join 10.0.0.6
      gossipreg proxy --forwards ports.toml --http 127.0.0.1:8501
    """
    chosen = {key: flags.pop(key) for key, *_ in _FORWARD_FLAGS}
    # Here GOSSIPREG_HTTP names the agent to follow: it is not the setting `http` of a node.
    environ = {name: value for name, value in os.environ.items() if name != "GOSSIPREG_HTTP"}
    config = load(flags, environ, file)
    write_logs(config.log_format, config.log_level)
    if config.join and http is not None:
        raise ConfigError("--http: the balancer is a member itself with --join: give one of them, not both")

    from gossipreg.cli.run_proxy import run  # with trio: the other commands start without it
    from gossipreg.frontends.proxy.server_names import read_pair
    from gossipreg.frontends.proxy.settings import Forward, load_forwards

    common = {key: value for key, value in chosen.items() if value is not None and value is not False}
    common |= {"zone": config.zone} if config.zone else {}
    common |= {"tls": tuple(map(read_pair, tls)), "trust_proxy": trust_proxy, "failover": failover}
    if forwards is None:
        try:
            wanted = tuple(
                Forward(listen=a, service=s, **common) for a, s in _pairs(listen, service, has_names=bool(tls))
            )
        except InvalidSetting as error:
            flag = f"--{error.fields[0].replace('_', '-')}"
            raise ConfigError(f"{flag}: {str(error).removeprefix(f'{error.fields[0]}: ')}") from None
    elif listen or service:
        raise ConfigError("--forwards: names the ports itself: leave --listen and --service out")
    else:
        wanted = load_forwards(forwards, common)
    reload = None if forwards is None else partial(load_forwards, forwards, common)
    agent = None if config.join else AgentClient.at(http or DEFAULT_HTTP)._replace(token=read_token(token_file))
    run(wanted, config, agent, None if metrics is None else _metrics_address(metrics), reload)


def _metrics_address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ConfigError as error:
        raise ConfigError(f"--metrics: {error}") from None


def _pairs(listen: Sequence[str], service: Sequence[str], *, has_names: bool) -> Sequence[tuple[str, str | None]]:
    if not listen:
        raise ConfigError("--listen: give --listen HOST:PORT and --service NAME for each port, or --forwards FILE")
    if has_names and not service:
        return tuple((address, None) for address in listen)
    if len(listen) != len(service):
        raise ConfigError(
            f"{len(listen)} --listen and {len(service)} --service: give one --service for each --listen, in order"
        )
    return tuple(zip(listen, service, strict=True))
