"""Knows every setting of a node, with its unit, its default and its formula."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg.errors import ConfigError
from gossipreg.model import Address, is_name, place

#: The port that a node listens on, UDP and TCP, unless told otherwise.
DEFAULT_PORT: Final = 7940

#: Where an agent answers HTTP unless told otherwise.
DEFAULT_HTTP: Final = "127.0.0.1:8500"

#: Where an agent answers DNS unless told otherwise.
DEFAULT_DNS: Final = "127.0.0.1:8600"

#: The tables of an agent's file that are no settings: each defines a service that it offers.
SERVICES: Final = "services"

#: The dialects that there are: `gossipreg.doors.dialects` has a package for each.
DIALECTS: Final = ("consul", "eureka", "envoy", "traefik")

KEY_BYTES: Final = 32

#: Letters, digits and inner hyphens between dots; a dot at the end may be.
_DOMAIN: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"
)

#: Longest domain (characters). Whole names end at 253, and a member's name before it may have 63.
_DOMAIN_CHARS_MAX: Final = 128

#: Longest that DNS clients may be told to keep an answer (seconds): a day. RFC 8767 caps a TTL at a week.
_TTL_MAX: Final = 86_400


def _positive(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ConfigError(f"protocol.{attribute.name}: {value!r} is not a number above 0")


def _not_negative(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ConfigError(f"protocol.{attribute.name}: {value!r} is not a number of at least 0")


def _setting(default: Any, doc: str, *, zero: bool = False) -> Any:
    """One protocol knob; ``doc`` goes into the configuration page."""
    return attrs.field(default=default, validator=_not_negative if zero else _positive, metadata={"doc": doc})


def _at_least_one(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 1:
        raise ConfigError(f"protocol.{attribute.name}: {value!r} is not a number of at least 1")


def _switch(doc: str) -> Any:
    """One part of the protocol that can be switched off, as the simulator's profiles of other protocols do."""
    return attrs.field(default=True, metadata={"doc": f"{doc} Off only to see what it is worth."})


@attrs.frozen(kw_only=True)
class Settings:
    """The protocol's knobs. Durations are in seconds. Every node of a cluster should have the same."""

    probe_interval: float = _setting(
        1.0, "Time between probes of a node, T (SWIM §3). Stretched to T x (local health + 1)."
    )
    probe_timeout: float = _setting(
        0.5, "How long an ack may take before others are asked to ping. Stretched like the interval."
    )
    probe_timeout_min: float = _setting(
        0.1, "The least that it may take, where round trips were measured: smoothed + 4 x variation (RFC 6298)."
    )
    probe_early: float = _setting(
        0.5,
        "Share of its interval by which a probe may begin sooner when a ping has woken the node anyway; 0: never.",
        zero=True,
    )
    indirect_probes: int = _setting(3, "How many members are asked to ping one that did not answer, k (SWIM §3.1).")
    nack_fraction: float = _setting(
        0.8, "Share of the patience in a ping-req after which a helper without an ack sends a nack (Lifeguard §IV-A)."
    )
    suspicion_alpha: float = _setting(
        1.5, "Shortest suspicion = alpha x max(1, log10(members)) x probe_interval (Lifeguard §IV-B)."
    )
    suspicion_beta: float = _setting(6.0, "Longest suspicion = beta x the shortest; each confirmation shortens it.")
    suspicion_confirmations: int = _setting(
        3,
        "Independent confirmations K that bring a suspicion to its shortest: max - (max - min) ln(C+1)/ln(K+1). "
        "0: it lasts as long as the longest, whoever confirms it.",
        zero=True,
    )
    local_health_max: int = _setting(8, "Highest local health score; 0 turns local health off.", zero=True)
    gossip_fanout: int = _setting(3, "Members that a fresh rumor is sent to at each of its rounds.")
    gossip_rounds: int = _setting(
        6, "Rounds in which a rumor is sent: at once, then gossip_gap x gossip_growth^i later."
    )
    gossip_gap: float = _setting(0.01, "First gap between two rounds of one rumor.")
    gossip_growth: float = attrs.field(
        default=2.0,
        validator=_at_least_one,
        metadata={"doc": "How many times as long each next gap is; 1 is the fixed tick of SWIM and its children."},
    )
    gossip_tree: bool = _switch("The first round of a rumor goes down a tree of all members, from whoever said it.")
    gossip_tree_gap: float = _setting(
        0.05, "First gap of a rumor that went down a tree: the rounds to come must not hold the first one up."
    )
    gossip_echoes: int = _setting(
        6, "How often a rumor is heard again for one of its rounds to be left out; 0: none is.", zero=True
    )
    gossip_coalesce: float = _setting(0.002, "How long a fresh rumor waits for others to share its packet.", zero=True)
    gossip_company: float = _setting(
        0.25,
        "The longest that it waits for them on a node that is kept from the CPU; 0: never longer than otherwise.",
        zero=True,
    )
    piggyback_rounds: int = _setting(
        6, "How often a rumor also rides on probes and acks that go out anyway.", zero=True
    )
    lifelines: int = _setting(
        3, "Members to which a node holds an idle stream, so that a kernel tells it when they die; 0: none.", zero=True
    )
    reconcile_settle: float = _setting(
        1.0, "How long fingerprints must have differed before two nodes compare: longer than gossip needs."
    )
    reconcile_gap: float = _setting(1.0, "Least time between two comparisons that one node starts.")
    reconnect_interval: float = _setting(
        5.0, "Time between tries to reach one failed member or silent seed, jittered by a half; heals partitions."
    )
    join_retry: float = _setting(0.25, "First wait before the seeds are tried again while nobody was reached; doubles.")
    join_retry_max: float = _setting(1.0, "Longest wait between tries of the seeds while nobody was reached.")
    stream_patience: float = _setting(5.0, "How long a stream may be silent before it is given up.")
    remember_departed: float = _setting(
        86_400.0,
        "How long a member that failed is remembered and tried again; one that left, a little longer (5 %), so that "
        "nobody who takes it for failed can bring it back.",
    )
    drain_time: float = _setting(0.5, "Time between the announcement that a node drains and that it leaves.", zero=True)
    leave_linger: float = _setting(0.7, "Time for the departure to spread before the sockets close.", zero=True)
    lag_tolerance: float = _setting(
        0.25, "A node that wakes later than this after a timer was due was itself stopped: it extends its verdicts."
    )
    calm_base: float = _setting(
        30.0,
        "How long a member that is failed a second time within calm_memory waits before it is back; doubles; 0: never.",
        zero=True,
    )
    calm_max: float = _setting(120.0, "The longest such wait.")
    calm_memory: float = _setting(600.0, "For how long a return counts.")
    buddy: bool = _switch("A ping to a suspect carries the suspicion (Lifeguard §IV-C).")
    tell_accused: bool = _switch("Whoever is heard from while believed suspect or failed is told so at once.")
    stream_probe: bool = _switch("A member that misses its direct ping is also probed over a stream.")
    late_acks: bool = _switch("An ack that comes after its probe has ended gives the suspect its full time again.")
    seconding: bool = _switch("A helper that could not reach a member either confirms its suspicion at once.")
    verdict_witness: bool = _switch("Nobody is declared failed by a node that hears nobody else (decision 0005).")


def _checked_name(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value not in (None, "") and not is_name(str(value)):
        raise ConfigError(
            f"{attribute.name}: {value!r} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'"
        )


def _checked_cluster(_: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if not is_name(value):
        raise ConfigError(
            f"{attribute.name}: {value!r} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'"
        )


def _checked_address(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None:
        try:
            Address.parse(value, default_port=DEFAULT_PORT)
        except ConfigError as error:
            raise ConfigError(f"{attribute.name}: {error}") from None


def _checked_join(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for seed in value:
        _checked_address(_, attribute, seed)


def _checked_log_format(_: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if value not in ("text", "json"):
        raise ConfigError(f"{attribute.name}: {value!r} is neither text nor json")


def _checked_door(_: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if value != "off":
        try:
            Address.parse(value)
        except ConfigError as error:
            raise ConfigError(f"{attribute.name}: {error}, or say off") from None


def _checked_http(_: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if value != "off":
        try:
            place(value)
        except ConfigError as error:
            raise ConfigError(f"{attribute.name}: {error}, or say off") from None


def _checked_domains(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if not value:
        raise ConfigError(f"{attribute.name}: name at least one domain, or turn the door off with dns = off")
    for domain in value:
        if len(domain) > _DOMAIN_CHARS_MAX or not _DOMAIN.fullmatch(domain):
            raise ConfigError(
                f"{attribute.name}: {domain!r} is not a domain: use up to {_DOMAIN_CHARS_MAX} characters, "
                "labels of letters, digits and inner '-' with dots between"
            )


def _checked_ttl(_: Any, attribute: attrs.Attribute[Any], value: int) -> None:
    if not 0 <= value <= _TTL_MAX:
        raise ConfigError(f"{attribute.name}: {value!r} is not a number of seconds from 0 to {_TTL_MAX}")


def _checked_dialects(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if value == ("off",):
        return
    for name in value:
        if name not in DIALECTS:
            raise ConfigError(f"{attribute.name}: {name!r} is none of {', '.join(DIALECTS)}; off alone means none")


def _checked_command_checks(_: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if value not in ("off", "own", "api"):
        raise ConfigError(f"{attribute.name}: {value!r} is neither off, own nor api")


def _texts(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _optional_path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _option(default: Any, doc: str, *, validator: Any = None, converter: Any = None) -> Any:
    return attrs.field(default=default, validator=validator, converter=converter, metadata={"doc": doc})


@attrs.frozen(kw_only=True)
class Config:
    """What a user tells a node. Raises ``ConfigError``, naming the setting, for a value that cannot be used."""

    name: str | None = _option(
        None,
        "This member's name, unique in the cluster. Default: the host's name, with -PORT unless the port is 7940.",
        validator=_checked_name,
    )
    cluster: str = _option(
        "default", "The cluster's name. Nodes of differently named clusters never merge.", validator=_checked_cluster
    )
    bind: str = _option(
        f"127.0.0.1:{DEFAULT_PORT}",
        "Address to listen on, UDP and TCP; port 0 takes any free one.",
        validator=_checked_address,
    )
    advertise: str | None = _option(
        None, "Address that others reach this node at, if not the one it binds.", validator=_checked_address
    )
    join: tuple[str, ...] = attrs.field(  # not by `_option`, which would hide from type checkers that a list will do
        default=(),
        validator=_checked_join,
        converter=_texts,
        metadata={
            "doc": "Seeds: addresses or host names of members to join. Every address of a name is tried, again at "
            "every retry."
        },
    )
    zone: str = _option("", "Where this node is; the default zone of its instances.", validator=_checked_name)
    key: str | None = attrs.field(
        default=None,
        repr=False,
        metadata={"doc": "Key that seals the gossip: 32 bytes in base64, as `gossipreg keygen` prints."},
    )
    key_file: Path | None = _option(None, "File that holds the key.", converter=_optional_path)
    insecure: bool = _option(False, "Allow gossip in clear, and HTTP without tokens, beyond loopback.")
    credential_key: str | None = attrs.field(
        default=None,
        repr=False,
        metadata={"doc": "Key that seals and opens credentials of instances: another one, written like `key`."},
    )
    credential_key_file: Path | None = _option(
        None,
        "File that holds it. It may hold several, one a line: the first seals, all open.",
        converter=_optional_path,
    )
    data_dir: Path | None = _option(
        None,
        "Directory in which all that is set at the node outlives a crash. Default: nothing is kept.",
        converter=_optional_path,
    )
    snapshot: Path | None = _option(
        None,
        "File that keeps what could be called lately. A node that starts while it can reach nobody answers from it, "
        "marked stale. Default: none.",
        converter=_optional_path,
    )
    command_checks: str = _option(
        "off",
        "Whether health checks may run commands here: off, own (those of the program itself, of files that define "
        "services, and those kept on disk) or api (also those registered over HTTP).",
        validator=_checked_command_checks,
    )
    protocol: Settings = attrs.field(factory=Settings, metadata={"doc": "The protocol's knobs; see below."})


@attrs.frozen(kw_only=True)
class AgentConfig(Config):
    """What a user tells a standalone agent: a node's settings and its doors'."""

    http: str = _option(
        DEFAULT_HTTP, "Address for the HTTP API: HOST:PORT, unix:/path, or off.", validator=_checked_http
    )
    tokens_file: Path | None = _option(
        None,
        "TOML file with the tokens of those who may use the HTTP API, and what each is for; read again on SIGHUP. "
        "Default: whoever reaches it may do everything.",
        converter=_optional_path,
    )
    dialects: tuple[str, ...] = _option(
        DIALECTS,
        "Whose clients the HTTP door understands, beside those of its own API; off: nobody's.",
        validator=_checked_dialects,
        converter=_texts,
    )
    dns: str = _option(DEFAULT_DNS, "Address for DNS, UDP and TCP: HOST:PORT, or off.", validator=_checked_door)
    dns_domain: tuple[str, ...] = _option(
        ("gossipreg", "consul"),
        "Domains that DNS names are below. Consul's clients expect consul.",
        validator=_checked_domains,
        converter=_texts,
    )
    dns_ttl: int = _option(
        0, "How long DNS clients may keep an answer, in seconds; 0: not at all.", validator=_checked_ttl
    )
    services_dir: Path | None = _option(
        None,
        "Directory whose *.toml files define services that this agent offers, in tables [[services]]; read again on "
        "SIGHUP.",
        converter=_optional_path,
    )
    log_format: str = _option(
        "text",
        "How log lines are written on standard error: text or json.",
        validator=_checked_log_format,
    )


def parse_key(text: str, *, where: str) -> bytes:
    """The 32 bytes of a key written in base64. ``ConfigError`` says ``where`` the key was, not what it was."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"{where}: the key is not base64: make one with `gossipreg keygen`") from None
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{where}: the key has {len(key)} bytes, not {KEY_BYTES}: make one with `gossipreg keygen`")
    return key


def key_id(key: bytes) -> str:
    """A short public name of a key (hex), safe to log and compare."""
    return hashlib.blake2b(key, digest_size=4, person=b"gossipreg key").hexdigest()
