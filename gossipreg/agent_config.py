"""The configuration of an agent: that of its node, and the settings of its listeners, files and log."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Final

from gossipreg import hosts
from gossipreg.config import Config
from gossipreg.config_rules import (
    goes_with,
    listens_with,
    needs,
    read_dns,
    read_domain,
    read_group,
    read_http,
    read_place,
    same_port,
    some_domains,
)
from gossipreg.errors import ConfigError
from gossipreg.federation import check_failover, read_failover_region
from gossipreg.fields import (
    Choice,
    Number,
    OptionalPath,
    Relation,
    Text,
    Texts,
    Whole,
    setting,
)
from gossipreg.model import is_name
from gossipreg.text import shown
from gossipreg.values import frozen

#: Where an agent answers DNS unless told otherwise.
DEFAULT_DNS: Final = "127.0.0.1:8600"

#: The tables of an agent's file that are no settings: each defines a service that it offers.
SERVICES: Final = "services"

#: What a token may be for; `gossipreg.frontends.serving.scopes` says what each is.
TOKEN_SCOPES: Final = ("read", "write", "policy", "checks", "credentials", "operator", "federate")

#: Our own compatibility APIs: `gossipreg.frontends` has a module for each.
COMPATIBILITY_APIS: Final = ("consul", "eureka", "envoy", "traefik")

#: Longest that DNS clients may be told to keep an answer (seconds): a day. RFC 8767 caps a TTL at a week.
_TTL_MAX: Final = 86_400


def _scope_words(words: tuple[str, ...]) -> None:
    for each in words:
        if words != ("off",) and each not in TOKEN_SCOPES:
            raise ConfigError(f"{shown(each)} is none of {', '.join(TOKEN_SCOPES)}, nor off alone")


def _api_names(names: tuple[str, ...]) -> None:
    """Whether there are such APIs is found out when they are loaded: other packages may bring more."""
    for name in names:
        if not is_name(name) or (name == "off" and len(names) > 1):
            raise ConfigError(f"{shown(name)} is no name of an API such as consul; off alone means none")


@frozen(kw_only=True)
class AgentConfig(Config):
    """What a user tells a standalone agent: a node's settings and its listeners'."""

    http: str = setting(Text(read_http), hosts.DEFAULT_HTTP, "Address for the HTTP API: HOST:PORT, unix:/path, or off.")
    tokens_file: Path | None = setting(
        OptionalPath(),
        None,
        "TOML file with the tokens of those who may use the HTTP API, and what each is for; read again on SIGHUP. "
        "Default: every client that reaches it may do everything.",
    )
    cluster_token_scopes: tuple[str, ...] = setting(
        Texts(whole=_scope_words),
        ("read", "write", "policy", "operator"),
        "Scopes for which this agent accepts the tokens that the whole cluster knows, beside those of its tokens_file; "
        "off: none.",
    )
    audit_log: Path | None = setting(
        OptionalPath(),
        None,
        "File that gets a line of JSON for each change that a client of the HTTP API makes or is refused; opened anew "
        "on SIGHUP.",
    )
    tls_cert: Path | None = setting(
        OptionalPath(),
        None,
        "File with the certificate of the HTTP API in PEM, with those up to its root: it speaks HTTPS then. Read again "
        "on SIGHUP. Default: HTTP in clear.",
    )
    tls_key: Path | None = setting(OptionalPath(), None, "File with the key of that certificate in PEM.")
    tls_client_ca: Path | None = setting(
        OptionalPath(),
        None,
        "File with the authorities, in PEM, whose certificates clients may show in place of a token: see tokens_file.",
    )
    compatibility_apis: tuple[str, ...] = setting(
        Texts(whole=_api_names),
        COMPATIBILITY_APIS,
        "Compatibility APIs that the HTTP listener serves beside its own; off: none.",
    )
    attach: str | None = setting(  # type: ignore[assignment]  # an agent attaches to none: others attach to it
        Text(read_place, optional=True),
        None,
        "Address for processes of this host that attach to this node: unix:/path or HOST:PORT. Default: none. Tokens "
        "and certificates are those of the HTTP API; a socket file has no TLS.",
    )
    attach_group: str | None = setting(
        Text(read_group, optional=True),
        None,
        "Group whose processes may open the socket file of `attach`, too. Default: those of the agent's user alone.",
    )
    dns: str = setting(Text(read_dns), DEFAULT_DNS, "Address for DNS, UDP and TCP: HOST:PORT, or off.")
    dns_tls: str = setting(
        Text(read_dns),
        "off",
        "Address for DNS over TLS: HOST:PORT, by convention port 853, or off. It shows the certificate tls_cert.",
    )
    dns_domain: tuple[str, ...] = setting(
        Texts(read=read_domain, whole=some_domains),
        ("gossipreg", "consul"),
        "Domains that DNS names are below. Consul's clients expect consul.",
    )
    dns_ttl: int = setting(
        Whole(0, _TTL_MAX, "seconds"), 0, "How long DNS clients may keep an answer, in seconds; 0: not at all."
    )
    failover: tuple[str, ...] = setting(
        Texts(read=read_failover_region),
        (),
        "Regions, in order, from which DNS and Consul's prepared queries are answered about a service while this one "
        "cannot serve it; `nearest` is those that are not named, by round trip. Each has to be followed.",
    )
    failover_threshold: float = setting(
        Number(0.0, 1.0),
        0.0,
        "The share of its instances below which a region cannot serve, so that the next one in failover is used; at 0 "
        "one instance is enough.",
    )
    services_dir: Path | None = setting(
        OptionalPath(),
        None,
        "Directory whose *.toml files define services that this agent offers, in tables [[services]]; read again on "
        "SIGHUP.",
    )
    log_format: str = setting(
        Choice(("text", "json")), "text", "How log lines are written on standard error: text or json."
    )
    log_level: str = setting(
        Choice(("debug", "info", "warning", "error")),
        "info",
        "The least severe log lines that are written: debug, info, warning or error.",
    )

    @classmethod
    def _relations(cls) -> tuple[Relation, ...]:
        pairs = combinations(("bind", "http", "dns", "dns_tls", "attach"), 2)
        ports = [same_port(other, one) for one, other in pairs]
        files = (listens_with("dns_tls", "tls_cert"), listens_with("dns_tls", "dns"))
        return (
            *super()._relations(),
            *ports,
            goes_with("tls_cert", "tls_key"),
            needs("tls_client_ca", "tls_cert"),
            *files,
            needs("attach_group", "attach"),
            Relation(
                ("failover", "federate"),
                "`failover` names regions that are followed, or `nearest`",
                lambda config: check_failover(config.failover, config.federate, config.region or config.cluster),
            ),
        )
