"""The configuration of a node and of an agent: what a user tells it, each with its unit and its default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg import hosts, limits
from gossipreg.errors import ConfigError
from gossipreg.federation import Federation, check_federations, check_region
from gossipreg.fields import (
    Choice,
    FieldKind,
    Number,
    OfClass,
    OptionalPath,
    Relation,
    Switch,
    Text,
    Texts,
    TupleOf,
    Whole,
    check,
    setting,
)
from gossipreg.model import Address, is_name, place
from gossipreg.settings import Settings
from gossipreg.targets import DEFAULT_TARGETS, CheckTargets
from gossipreg.text import shown

#: The port that a node listens on, UDP and TCP, unless told otherwise.
DEFAULT_PORT: Final = 7940

#: Where an agent answers DNS unless told otherwise.
DEFAULT_DNS: Final = "127.0.0.1:8600"

#: The tables of an agent's file that are no settings: each defines a service that it offers.
SERVICES: Final = "services"

#: What a token may be for; `gossipreg.frontends.serving.scopes` says what each is.
TOKEN_SCOPES: Final = ("read", "write", "policy", "checks", "credentials", "operator", "federate")

#: Our own compatibility APIs: `gossipreg.frontends` has a module for each.
COMPATIBILITY_APIS: Final = ("consul", "eureka", "envoy", "traefik")

KEY_BYTES: Final = 32

#: Letters, digits and inner hyphens between dots; a dot at the end may be.
_DOMAIN: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"
)

#: A key of the node's meta, as Consul has it.
_NODE_META_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")

#: The name of a header (RFC 9110 §5.6.2).
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: Longest domain (characters). Whole names end at 253, and a member's name before it may have 63.
_DOMAIN_CHARS_MAX: Final = 128

#: Longest that DNS clients may be told to keep an answer (seconds): a day. RFC 8767 caps a TTL at a week.
_TTL_MAX: Final = 86_400


def _read_name(text: str) -> None:
    if not is_name(text):
        raise ConfigError(f"{shown(text)} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'")


def _read_name_or_nothing(text: str) -> None:
    if text:
        _read_name(text)


def _read_region(text: str) -> None:
    if text:
        check_region(text)


def _read_address(text: str) -> None:
    Address.parse(text, default_port=DEFAULT_PORT)


def _read_called_address(text: str) -> None:
    flaw = hosts.flaw(Address.parse(text, default_port=DEFAULT_PORT).host)
    if flaw is not None:
        raise ConfigError(f"the host of {shown(text)} is {flaw}")


def _read_seed(text: str) -> None:
    _read_called_address(text)
    Address.parse(text, default_port=DEFAULT_PORT).check_called()


def _read_dns(text: str) -> None:
    if text != "off":
        try:
            Address.parse(text)
        except ConfigError as error:
            raise ConfigError(f"{error}, or say off") from None


def _read_http(text: str) -> None:
    if text != "off":
        try:
            place(text)
        except ConfigError as error:
            raise ConfigError(f"{error}, or say off") from None


def _read_place(text: str) -> None:
    place(text)


def _read_agent(text: str) -> None:
    found = place(text)
    if isinstance(found, Address):
        found.check_called()


def _read_group(text: str) -> None:
    if not text:
        raise ConfigError("the name of a group is empty")


def _read_domain(text: str) -> None:
    if len(text) > _DOMAIN_CHARS_MAX or not _DOMAIN.fullmatch(text):
        raise ConfigError(
            f"{shown(text)} is not a domain: use up to {_DOMAIN_CHARS_MAX} characters, "
            "labels of letters, digits and inner '-' with dots between"
        )


def _some_domains(domains: tuple[str, ...]) -> None:
    if not domains:
        raise ConfigError("name at least one domain, or turn DNS off with dns = off")


def _scope_words(words: tuple[str, ...]) -> None:
    for each in words:
        if words != ("off",) and each not in TOKEN_SCOPES:
            raise ConfigError(f"{shown(each)} is none of {', '.join(TOKEN_SCOPES)}, nor off alone")


def _api_names(names: tuple[str, ...]) -> None:
    """Whether there are such APIs is found out when they are loaded: other packages may bring more."""
    for name in names:
        if not is_name(name) or (name == "off" and len(names) > 1):
            raise ConfigError(f"{shown(name)} is no name of an API such as consul; off alone means none")


def _read_node_meta(text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not _NODE_META_KEY.fullmatch(key) or len(value) > limits.NODE_META_VALUE_CHARS_MAX:
        raise ConfigError(
            f"{shown(text)} is not KEY=VALUE: use a key of up to 128 letters, digits, '_' and '-', and a value of up "
            f"to {limits.NODE_META_VALUE_CHARS_MAX} characters"
        )


def _unique_keys(pairs: tuple[str, ...]) -> None:
    keys = [pair.partition("=")[0] for pair in pairs]
    if len(keys) > limits.NODE_META_ENTRIES_MAX:
        raise ConfigError(f"{len(keys)} entries are too many: {limits.NODE_META_ENTRIES_MAX} is the limit")
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"{shown(key)} is there twice")


def _read_header(text: str) -> None:
    if not _HEADER.fullmatch(text):
        raise ConfigError(f"{shown(text)} is not the name of a header")


def _read_token(text: str) -> None:
    if not text or not all("!" <= each <= "~" for each in text):
        raise ConfigError("a token is printable ASCII characters without a space")


def _read_key(text: str) -> None:
    _key_bytes(text)


_SECRET: Final = Text(read=_read_key, optional=True, secret=True)
_SEEDS: Final = Texts(read=_read_seed)


def _same_port(one: str, other: str) -> Relation:
    """Two listeners may not want the same port of the same address."""

    def wrong(config: Any) -> str | None:
        mine, others = (_listener(getattr(config, name), name) for name in (one, other))
        if mine is None or mine != others:
            return None
        return f"{mine} is that of {other} too: give each a port of its own"

    return Relation((one, other), f"`{one}` and `{other}` have ports of their own", wrong)


def _listener(text: str | None, name: str) -> Address | None:
    """Where a setting would have the node listen, if at a port that is taken by that."""
    if text is None or text == "off" or text.startswith("unix:"):
        return None
    address = Address.parse(text, default_port=DEFAULT_PORT if name == "bind" else None)
    return address if address.port else None


def _one_of(one: str, other: str) -> Relation:
    """One setting may be given, or the other."""

    def wrong(config: Any) -> str | None:
        if getattr(config, one) is None or getattr(config, other) is None:
            return None
        return f"{other} is given, too: give one of them, not both"

    return Relation((one, other), f"not both `{one}` and `{other}`", wrong)


def _goes_with(one: str, other: str) -> Relation:
    """Neither setting may be given without the other."""

    def wrong(config: Any) -> str | None:
        if (getattr(config, one) is None) == (getattr(config, other) is None):
            return None
        given, missing = (one, other) if getattr(config, other) is None else (other, one)
        return f"{given} is given without {missing}: give both"

    return Relation((one, other), f"`{one}` with `{other}`", wrong)


def _needs(one: str, other: str) -> Relation:
    """One setting is of use with the other only."""

    def wrong(config: Any) -> str | None:
        if getattr(config, one) is None or getattr(config, other) is not None:
            return None
        return f"it is given without {other}: give that, too"

    return Relation((one, other), f"`{one}` with `{other}` only", wrong)


def _listens_with(one: str, other: str) -> Relation:
    """A listener that needs a file."""

    def wrong(config: Any) -> str | None:
        if getattr(config, one) == "off" or getattr(config, other) not in (None, "off"):
            return None
        return f"it is given without {other}: give that, too"

    return Relation((one, other), f"`{one}` with `{other}` only", wrong)


def read_seeds(value: str | Iterable[str]) -> tuple[str, ...]:
    """Addresses or host names of members, as `Config.join` takes them. Raises ``ConfigError`` naming the wrong one."""
    seeds = _seeds(value)
    wrong = _SEEDS.wrong(seeds)
    if wrong is not None:
        raise ConfigError(f"seeds: {wrong}")
    if not 1 <= len(seeds) <= limits.JOIN_SEEDS_MAX:
        raise ConfigError(f"seeds: {len(seeds)} are named, not 1 to {limits.JOIN_SEEDS_MAX}")
    return seeds


def _seeds(value: str | Iterable[str]) -> tuple[str, ...]:
    converted: tuple[str, ...] = _SEEDS.converted(value)
    return converted


def _federations(value: Iterable[Federation]) -> tuple[Federation, ...]:
    return tuple(value)


@attrs.frozen
class Attach:
    """How a process attaches to the agent of its host, where it is no member itself.

    Raises ``ConfigError``, naming the field, for a value that cannot be used.
    """

    agent: str = setting(
        Text(_read_agent), attrs.NOTHING, "Where the agent listens (its --attach): unix:/path or HOST:PORT."
    )
    grace: float = setting(
        Number(0.0, limits.ATTACH_GRACE_SECONDS_MAX, "seconds"),
        0.0,
        "How long what the process has registered outlives its stream, in seconds; 0: it goes with the stream.",
    )
    token: str | None = setting(Text(_read_token, optional=True, secret=True), None, "The token.", repr=False)
    token_file: Path | None = setting(OptionalPath(), None, "File that holds the token; read at every connect.")
    tls_ca: Path | None = setting(
        OptionalPath(),
        None,
        "File with the authorities, in PEM, that the agent's certificate must be from: the stream is under TLS then.",
    )
    tls_cert: Path | None = setting(
        OptionalPath(), None, "File with a certificate, in PEM, that the process shows in place of a token."
    )
    tls_key: Path | None = setting(OptionalPath(), None, "File with the key of that certificate in PEM.")

    def __attrs_post_init__(self) -> None:
        check(
            self,
            (_one_of("token", "token_file"), _goes_with("tls_cert", "tls_key"), _needs("tls_cert", "tls_ca")),
            table="attach.",
        )


def _attach(value: str | Attach | None) -> Attach | None:
    if not isinstance(value, str):
        return value
    try:
        return Attach(value)
    except ConfigError:
        return value  # type: ignore[return-value]  # `_AttachTo.wrong` says what is wrong with it


class _AttachTo(FieldKind):
    """The address of an agent, or an `Attach`, or None."""

    def wrong(self, value: Any) -> str | None:
        """See `FieldKind.wrong`."""
        if value is None or isinstance(value, Attach):
            return None
        return Text(_read_agent).wrong(value)


@attrs.frozen(kw_only=True)
class Config:
    """What a user tells a node. Raises ``ConfigError``, naming the setting, for a value that cannot be used."""

    name: str | None = setting(
        Text(_read_name_or_nothing, optional=True),
        None,
        "This member's name, unique in the cluster. Default: the host's name, with -PORT unless the port is 7940.",
    )
    cluster: str = setting(
        Text(_read_name), "default", "The cluster's name. Nodes of differently named clusters never merge."
    )
    bind: str = setting(
        Text(_read_address),
        f"127.0.0.1:{DEFAULT_PORT}",
        "Address to listen on, UDP and TCP; port 0 takes any free one.",
    )
    advertise: str | None = setting(
        Text(_read_called_address, optional=True),
        None,
        "Address that others reach this node at, if not the one it binds.",
    )
    join: tuple[str, ...] = attrs.field(  # not by `setting`, which would hide from type checkers that a list will do
        default=(),
        converter=_seeds,
        metadata={
            "doc": "Seeds: addresses or host names of members to join. Every address of a name is tried, again at "
            "every retry.",
            "kind": _SEEDS,
        },
    )
    region: str = setting(
        Text(_read_region),
        "",
        "The region of the whole cluster, which Consul's clients know as the datacenter: the same at all its nodes. "
        "Default: the cluster's name.",
    )
    zone: str = setting(Text(_read_name_or_nothing), "", "Where this node is; the default zone of its instances.")
    node_meta: tuple[str, ...] = setting(
        Texts(read=_read_node_meta, whole=_unique_keys),
        (),
        "What Consul's clients can select this node by, as KEY=VALUE; shown with every instance of it.",
    )
    key: str | None = setting(
        _SECRET, None, "Key that seals the gossip: 32 bytes in base64, as `gossipreg keygen` prints.", repr=False
    )
    key_file: Path | None = setting(
        OptionalPath(),
        None,
        "File that holds the key. It may hold several, one a line: the first seals, all open. Read again on SIGHUP.",
    )
    insecure: bool = setting(
        Switch(), default=False, doc="Allow gossip in clear, and HTTP without tokens, beyond loopback."
    )
    credential_key: str | None = setting(
        _SECRET, None, "Key that seals and opens credentials of instances: another one, written like `key`.", repr=False
    )
    credential_key_file: Path | None = setting(
        OptionalPath(),
        None,
        "File that holds it. It may hold several, one a line: the first seals, all open. Read again on SIGHUP.",
    )
    authority_file: Path | None = setting(
        OptionalPath(),
        None,
        "File with the public keys of the cluster's authorities, one a line, and revocations of certificates. Read "
        "again on SIGHUP.",
    )
    identity_cert: Path | None = setting(
        OptionalPath(),
        None,
        "File with this node's certificate, as `gossipreg ca sign` writes it. Read again on SIGHUP.",
    )
    identity_key: Path | None = setting(
        OptionalPath(), None, "File with the key of that certificate, as `gossipreg ca request` writes it."
    )
    identity: str = setting(
        Choice(("auto", "off", "prefer", "require")),
        "auto",
        "Whether what members state must be signed: off, prefer (what is signed is verified, and members that signed "
        "must go on) or require (nothing else is believed). auto: prefer with an authority_file, else off.",
    )
    data_dir: Path | None = setting(
        OptionalPath(),
        None,
        "Directory in which all that is set at the node outlives a crash. Default: nothing is kept.",
    )
    snapshot: Path | None = setting(
        OptionalPath(),
        None,
        "File that keeps what could be called lately. A node that starts while it can reach no member answers from it, "
        "marked stale. Default: none.",
    )
    command_checks: str = setting(
        Choice(("off", "own", "api")),
        "off",
        "Whether health checks may run commands here: off, own (those of the program itself, of files that define "
        "services, and those kept on disk) or api (also those registered over HTTP).",
    )
    check_targets: tuple[str, ...] = setting(
        Texts(whole=CheckTargets.parse),
        DEFAULT_TARGETS,
        "What health checks may contact: loopback, self (the instance's own host), private (networks), any, networks "
        "such as 10.0.0.0/8, names such as db.example or *.example; with ! before it, not; off: nothing.",
    )
    check_headers: tuple[str, ...] = setting(
        Texts(read=_read_header),
        (),
        "Headers that checks may send although they are guarded: Host, Metadata, Metadata-Flavor and the like.",
    )
    federate: tuple[Federation, ...] = attrs.field(
        default=(),
        converter=_federations,
        metadata={"doc": "Other regions whose services this node follows.", "kind": TupleOf(Federation)},
    )
    protocol: Settings = attrs.field(
        factory=Settings,
        metadata={"doc": "The protocol's knobs; see below.", "kind": OfClass(Settings)},
    )
    attach: Attach | None = attrs.field(
        default=None,
        converter=_attach,
        metadata={
            "doc": "Address of this host's agent, or an `Attach`: the process uses that node, and is no member itself.",
            "kind": _AttachTo(),
        },
    )

    def __attrs_post_init__(self) -> None:
        check(self, self._relations())

    @classmethod
    def _relations(cls) -> tuple[Relation, ...]:
        own = Relation(
            ("federate", "region"),
            "`federate` names no region twice, nor that of the node",
            lambda config: check_federations(config.federate, config.region or config.cluster),
        )
        return (
            _one_of("key", "key_file"),
            _one_of("credential_key", "credential_key_file"),
            own,
            _goes_with("identity_cert", "identity_key"),
            _needs("identity_cert", "authority_file"),
            Relation(
                ("identity", "authority_file"),
                "`identity` beyond `auto` and `off` with `authority_file` only",
                lambda config: (
                    "it is given without authority_file: give that, too"
                    if config.identity in ("prefer", "require") and config.authority_file is None
                    else None
                ),
            ),
        )


@attrs.frozen(kw_only=True)
class AgentConfig(Config):
    """What a user tells a standalone agent: a node's settings and its listeners'."""

    http: str = setting(
        Text(_read_http), hosts.DEFAULT_HTTP, "Address for the HTTP API: HOST:PORT, unix:/path, or off."
    )
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
        Text(_read_place, optional=True),
        None,
        "Address for processes of this host that attach to this node: unix:/path or HOST:PORT. Default: none. Tokens "
        "and certificates are those of the HTTP API; a socket file has no TLS.",
    )
    attach_group: str | None = setting(
        Text(_read_group, optional=True),
        None,
        "Group whose processes may open the socket file of `attach`, too. Default: those of the agent's user alone.",
    )
    dns: str = setting(Text(_read_dns), DEFAULT_DNS, "Address for DNS, UDP and TCP: HOST:PORT, or off.")
    dns_tls: str = setting(
        Text(_read_dns),
        "off",
        "Address for DNS over TLS: HOST:PORT, by convention port 853, or off. It shows the certificate tls_cert.",
    )
    dns_domain: tuple[str, ...] = setting(
        Texts(read=_read_domain, whole=_some_domains),
        ("gossipreg", "consul"),
        "Domains that DNS names are below. Consul's clients expect consul.",
    )
    dns_ttl: int = setting(
        Whole(0, _TTL_MAX, "seconds"), 0, "How long DNS clients may keep an answer, in seconds; 0: not at all."
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
        ports = [_same_port(other, one) for one, other in pairs]
        files = (_listens_with("dns_tls", "tls_cert"), _listens_with("dns_tls", "dns"))
        return (
            *super()._relations(),
            *ports,
            _goes_with("tls_cert", "tls_key"),
            _needs("tls_client_ca", "tls_cert"),
            *files,
            _needs("attach_group", "attach"),
        )


def parse_key(text: str, *, where: str) -> bytes:
    """The 32 bytes of a key written in base64. ``ConfigError`` says ``where`` the key was, not what it was."""
    try:
        return _key_bytes(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _key_bytes(text: str) -> bytes:
    import base64  # neither this nor `hashlib` is needed by a process that attaches
    import binascii

    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("the key is not base64: make one with `gossipreg keygen --out FILE`") from None
    if len(key) != KEY_BYTES:
        raise ConfigError(f"the key has {len(key)} bytes, not {KEY_BYTES}: make one with `gossipreg keygen --out FILE`")
    return key


def encode_key(key: bytes) -> str:
    """A key as `parse_key` reads it."""
    import base64

    return base64.b64encode(key).decode()


def key_id(key: bytes) -> str:
    """A short public name of a key (hex), safe to log and compare."""
    import hashlib

    return hashlib.blake2b(key, digest_size=4, person=b"gossipreg key").hexdigest()
