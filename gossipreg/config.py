"""The settings of a node, each with its unit, its default and its formula."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import attrs

from gossipreg import hosts, limits
from gossipreg.errors import ConfigError
from gossipreg.fields import (
    Choice,
    Number,
    OfClass,
    OptionalPath,
    Relation,
    Switch,
    Text,
    Texts,
    Whole,
    at_most,
    check,
    setting,
)
from gossipreg.model import Address, is_name, place
from gossipreg.targets import DEFAULT_TARGETS, CheckTargets
from gossipreg.text import shown

#: The port that a node listens on, UDP and TCP, unless told otherwise.
DEFAULT_PORT: Final = 7940

#: Where an agent answers HTTP unless told otherwise.
DEFAULT_HTTP: Final = "127.0.0.1:8500"

#: Where an agent answers DNS unless told otherwise.
DEFAULT_DNS: Final = "127.0.0.1:8600"

#: The tables of an agent's file that are no settings: each defines a service that it offers.
SERVICES: Final = "services"

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


#: Shortest and longest time between two runs of a timer (seconds): below, a node would do nothing else; above, it is
#: a slip of the pen.
_TIMER: Final = (0.001, 3600.0)

_DAY: Final = 86_400.0


def _timer(default: float, doc: str) -> Any:
    return setting(Number(*_TIMER, "seconds"), default, doc)


def _seconds(default: float, doc: str, *, most: float = 3600.0) -> Any:
    """A time that may be 0, which says: not at all, or at once."""
    return setting(Number(0.0, most, "seconds"), default, doc)


def _whole(low: int, high: int, default: int, doc: str) -> Any:
    return setting(Whole(low, high), default, doc)


@attrs.frozen(kw_only=True)
class Settings:
    """The protocol's knobs. Durations are in seconds. Every node of a cluster should have the same."""

    probe_interval: float = _timer(
        1.0, "Time between probes of a node, T (SWIM §3). Stretched to T x (local health + 1)."
    )
    probe_timeout: float = _timer(
        0.5, "How long an ack may take before others are asked to ping. Stretched like the interval."
    )
    probe_timeout_min: float = _timer(
        0.1, "The least that it may take, where round trips were measured: smoothed + 4 x variation (RFC 6298)."
    )
    probe_early: float = setting(
        Number(0.0, 1.0),
        0.5,
        "Share of its interval by which a probe may begin sooner when a ping has woken the node anyway; 0: never.",
    )
    indirect_probes: int = _whole(
        1, 64, 3, "How many members are asked to ping one that did not answer, k (SWIM §3.1)."
    )
    nack_fraction: float = setting(
        Number(0.0, 1.0, above=True),
        0.8,
        "Share of the patience in a ping-req after which a helper without an ack sends a nack (Lifeguard §IV-A).",
    )
    suspicion_alpha: float = setting(
        Number(0.0, 1000.0, above=True),
        1.5,
        "Shortest suspicion = alpha x max(1, log10(members)) x probe_interval (Lifeguard §IV-B).",
    )
    suspicion_beta: float = setting(
        Number(1.0, 1000.0), 6.0, "Longest suspicion = beta x the shortest; each confirmation shortens it."
    )
    suspicion_confirmations: int = _whole(
        0,
        64,
        3,
        "Independent confirmations K that bring a suspicion to its shortest: max - (max - min) ln(C+1)/ln(K+1). "
        "0: confirmations do not shorten it.",
    )
    local_health_max: int = _whole(0, 64, 8, "Highest local health score; 0 turns local health off.")
    gossip_fanout: int = _whole(1, 64, 3, "Members that each transmission of a new update is sent to.")
    gossip_transmissions: int = _whole(
        1, 64, 6, "How often an update is sent: at once, then gossip_gap x gossip_growth^i later."
    )
    gossip_gap: float = _timer(0.01, "First gap between two transmissions of one update.")
    gossip_growth: float = setting(
        Number(1.0, 100.0),
        2.0,
        "How many times as long each next gap is; 1 is the fixed tick of SWIM and its children.",
    )
    gossip_tree_gap: float = _timer(
        0.05, "First gap of an update that went down a tree: later transmissions must not delay the first one."
    )
    gossip_duplicates: int = _whole(
        0, 1000, 6, "How many duplicates of an update are received for one transmission to be skipped; 0: none is."
    )
    gossip_coalesce: float = _seconds(0.002, "How long a new update waits for others to share its packet.", most=10.0)
    gossip_coalesce_max: float = _seconds(
        0.25,
        "The longest that it waits for them on a node that is short of CPU; 0: never longer than gossip_coalesce.",
        most=10.0,
    )
    piggyback_transmissions: int = _whole(0, 1000, 6, "How often an update is also piggybacked on probes and acks.")
    lifelines: int = _whole(
        0,
        limits.LIFELINES_MAX,
        3,
        "Members to which a node keeps an idle stream, whose end tells it when their process dies; 0: none.",
    )
    reconcile_settle: float = _timer(
        1.0, "How long fingerprints must have differed before two nodes compare: longer than gossip needs."
    )
    reconcile_gap: float = _timer(1.0, "Least time between two comparisons that one node starts.")
    reconnect_interval: float = _timer(
        5.0, "Time between tries to reach one failed member or silent seed, jittered by a half; heals partitions."
    )
    join_retry: float = _timer(
        0.25, "First wait before the seeds are tried again while no member was reached; doubles."
    )
    join_retry_max: float = _timer(1.0, "Longest wait between tries of the seeds while no member was reached.")
    stream_patience: float = _timer(5.0, "How long a stream may be silent before it is given up.")
    remember_departed: float = setting(
        Number(1.0, 30 * _DAY, "seconds"),
        _DAY,
        "How long a member that failed is remembered and tried again; one that left, a little longer (5 %), so that "
        "no node that holds it failed can bring it back.",
    )
    drain_time: float = _seconds(0.5, "Time between the announcement that a node drains and that it leaves.")
    leave_linger: float = _seconds(0.7, "Time for the departure to spread before the sockets close.")
    lag_tolerance: float = setting(
        Number(0.0, 1e9, "seconds", above=True),
        0.25,
        "A node that wakes later than this after a timer was due was itself stopped: it extends its suspicions.",
    )
    damping_base: float = _seconds(
        30.0,
        "How long a member that fails again within damping_memory waits before it rejoins; doubles; 0: never.",
        most=_DAY,
    )
    damping_max: float = _seconds(120.0, "The longest such wait.", most=_DAY)
    damping_memory: float = _seconds(600.0, "For how long a return counts.", most=_DAY)

    def __attrs_post_init__(self) -> None:
        check(self, RELATIONS, table="protocol.")

    @classmethod
    def lan(cls, **changes: Any) -> Self:
        """For one data centre, round trips below 100 ms: the defaults. ``changes`` are settings that differ."""
        return cls(**changes)

    @classmethod
    def wan(cls, **changes: Any) -> Self:
        """For nodes far apart, round trips up to a second: three times as patient, and as slow to find a failure."""
        return cls(**{**_WAN, **changes})

    @classmethod
    def local(cls, **changes: Any) -> Self:
        """For the processes of one machine: finds a hung one in half the time, and comes together at once."""
        return cls(**{**_LOCAL, **changes})


_WAN: Final[Mapping[str, Any]] = {
    "probe_interval": 3.0,
    "probe_timeout": 1.5,
    "probe_timeout_min": 0.5,
    "gossip_gap": 0.05,
    "gossip_tree_gap": 0.25,
    "reconcile_settle": 3.0,
    "reconcile_gap": 3.0,
    "reconnect_interval": 10.0,
    "join_retry": 1.0,
    "join_retry_max": 5.0,
    "stream_patience": 15.0,
    "leave_linger": 1.5,
}

_LOCAL: Final[Mapping[str, Any]] = {
    "probe_interval": 0.5,
    "probe_timeout": 0.25,
    "probe_timeout_min": 0.05,
    "reconcile_settle": 0.5,
    "reconcile_gap": 0.5,
    "reconnect_interval": 1.0,
    "join_retry": 0.1,
    "join_retry_max": 0.5,
}


def _longest_suspicion(settings: Settings) -> str | None:
    longest = settings.suspicion_alpha * settings.suspicion_beta * settings.probe_interval
    if longest <= settings.remember_departed:
        return None
    return (
        f"{settings.remember_departed!r} is shorter than the longest suspicion, suspicion_alpha x suspicion_beta x "
        f"probe_interval = {longest:g}: a member would be forgotten while others still suspect it"
    )


def _last_round(settings: Settings) -> str | None:
    last = settings.gossip_gap * settings.gossip_growth ** (settings.gossip_transmissions - 1)
    if last <= settings.remember_departed:
        return None
    return (
        f"{settings.gossip_transmissions!r} transmissions at gossip_gap {settings.gossip_gap!r} and gossip_growth "
        f"{settings.gossip_growth!r} end after {last:g} s: later than remember_departed, {settings.remember_departed!r}"
    )


#: What must hold between the protocol's settings.
RELATIONS: Final = (
    at_most("probe_timeout", "probe_interval", "a probe must be over before the next begins"),
    at_most("probe_timeout_min", "probe_timeout", "it is the least that the timeout is shortened to"),
    at_most(
        "gossip_coalesce", "gossip_coalesce_max", "it is the longer of the two waits", unless_zero="gossip_coalesce_max"
    ),
    at_most("join_retry", "join_retry_max", "the wait begins with it and doubles up to the other"),
    at_most("reconnect_interval", "remember_departed", "a failed member would be forgotten before it is tried again"),
    at_most("damping_base", "damping_max", "the wait begins with it and doubles up to the other"),
    at_most(
        "damping_max", "damping_memory", "a return would be forgotten while its wait lasts", unless_zero="damping_base"
    ),
    Relation(
        ("remember_departed", "suspicion_alpha", "suspicion_beta", "probe_interval"),
        "`remember_departed` is at least `suspicion_alpha` x `suspicion_beta` x `probe_interval`: a member would be "
        "forgotten while others still suspect it",
        _longest_suspicion,
    ),
    Relation(
        ("gossip_transmissions", "gossip_gap", "gossip_growth", "remember_departed"),
        "`gossip_gap` x `gossip_growth`^(`gossip_transmissions` - 1), the last gap, is at most `remember_departed`",
        _last_round,
    ),
)


def _read_name(text: str) -> None:
    if not is_name(text):
        raise ConfigError(f"{shown(text)} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'")


def _read_name_or_nothing(text: str) -> None:
    if text:
        _read_name(text)


def _read_address(text: str) -> None:
    Address.parse(text, default_port=DEFAULT_PORT)


def _read_called_address(text: str) -> None:
    flaw = hosts.flaw(Address.parse(text, default_port=DEFAULT_PORT).host)
    if flaw is not None:
        raise ConfigError(f"the host of {shown(text)} is {flaw}")


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


def _read_domain(text: str) -> None:
    if len(text) > _DOMAIN_CHARS_MAX or not _DOMAIN.fullmatch(text):
        raise ConfigError(
            f"{shown(text)} is not a domain: use up to {_DOMAIN_CHARS_MAX} characters, "
            "labels of letters, digits and inner '-' with dots between"
        )


def _some_domains(domains: tuple[str, ...]) -> None:
    if not domains:
        raise ConfigError("name at least one domain, or turn DNS off with dns = off")


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


def _read_key(text: str) -> None:
    _key_bytes(text)


_SECRET: Final = Text(read=_read_key, optional=True, secret=True)
_SEEDS: Final = Texts(read=_read_called_address)


def _same_port(one: str, other: str) -> Relation:
    """Two listeners may not want the same port of the same address."""

    def wrong(config: Any) -> str | None:
        mine, others = (_listener(getattr(config, name), name) for name in (one, other))
        if mine is None or mine != others:
            return None
        return f"{mine} is that of {other} too: give each a port of its own"

    return Relation((one, other), f"`{one}` and `{other}` have ports of their own", wrong)


def _listener(text: str, name: str) -> Address | None:
    """Where a setting would have the node listen, if at a port that is taken by that."""
    if text == "off" or text.startswith("unix:"):
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


def _seeds(value: str | Iterable[str]) -> tuple[str, ...]:
    converted: tuple[str, ...] = _SEEDS.converted(value)
    return converted


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
    protocol: Settings = attrs.field(
        factory=Settings,
        metadata={"doc": "The protocol's knobs; see below.", "kind": OfClass(Settings)},
    )

    def __attrs_post_init__(self) -> None:
        check(self, self._relations())

    @classmethod
    def _relations(cls) -> tuple[Relation, ...]:
        return (_one_of("key", "key_file"), _one_of("credential_key", "credential_key_file"))


@attrs.frozen(kw_only=True)
class AgentConfig(Config):
    """What a user tells a standalone agent: a node's settings and its listeners'."""

    http: str = setting(Text(_read_http), DEFAULT_HTTP, "Address for the HTTP API: HOST:PORT, unix:/path, or off.")
    tokens_file: Path | None = setting(
        OptionalPath(),
        None,
        "TOML file with the tokens of those who may use the HTTP API, and what each is for; read again on SIGHUP. "
        "Default: every client that reaches it may do everything.",
    )
    compatibility_apis: tuple[str, ...] = setting(
        Texts(whole=_api_names),
        COMPATIBILITY_APIS,
        "Compatibility APIs that the HTTP listener serves beside its own; off: none.",
    )
    dns: str = setting(Text(_read_dns), DEFAULT_DNS, "Address for DNS, UDP and TCP: HOST:PORT, or off.")
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

    @classmethod
    def _relations(cls) -> tuple[Relation, ...]:
        ports = (_same_port("http", "bind"), _same_port("dns", "bind"), _same_port("dns", "http"))
        return (*super()._relations(), *ports)


def parse_key(text: str, *, where: str) -> bytes:
    """The 32 bytes of a key written in base64. ``ConfigError`` says ``where`` the key was, not what it was."""
    try:
        return _key_bytes(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _key_bytes(text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("the key is not base64: make one with `gossipreg keygen --out FILE`") from None
    if len(key) != KEY_BYTES:
        raise ConfigError(f"the key has {len(key)} bytes, not {KEY_BYTES}: make one with `gossipreg keygen --out FILE`")
    return key


def encode_key(key: bytes) -> str:
    """A key as `parse_key` reads it."""
    return base64.b64encode(key).decode()


def key_id(key: bytes) -> str:
    """A short public name of a key (hex), safe to log and compare."""
    return hashlib.blake2b(key, digest_size=4, person=b"gossipreg key").hexdigest()
