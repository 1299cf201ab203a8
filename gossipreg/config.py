"""The configuration of a node: every setting, with its unit and its default."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg import limits
from gossipreg.config_rules import (
    DEFAULT_PORT,
    given_with,
    goes_with,
    needs,
    one_of,
    read_address,
    read_agent,
    read_called_address,
    read_header,
    read_issuer,
    read_name,
    read_name_or_nothing,
    read_node_meta,
    read_region,
    read_seed,
    read_token,
    unique_keys,
)
from gossipreg.errors import ConfigError
from gossipreg.federation import Federation, check_federations
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
    check,
    setting,
)
from gossipreg.key_format import key_bytes
from gossipreg.settings import Settings
from gossipreg.targets import DEFAULT_TARGETS, CheckTargets
from gossipreg.values import frozen

_PATIENCE_MIN: Final = limits.ATTACH_PATIENCE_SECONDS_MIN


def _read_key(text: str) -> None:
    key_bytes(text)


_SECRET: Final = Text(read=_read_key, optional=True, secret=True)
_SEEDS: Final = Texts(read=read_seed)


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


def _patience_flaw(attach: Attach) -> str | None:
    if attach.patience and attach.patience < _PATIENCE_MIN:
        return f"{attach.patience!r} is less than {_PATIENCE_MIN:g}, and not 0"
    return None


@frozen
class Attach:
    """How a process attaches to the agent of its host, where it is no member itself.

    Raises ``ConfigError``, naming the field, for a value that cannot be used.
    """

    agent: str = setting(
        Text(read_agent), attrs.NOTHING, "Where the agent listens (its --attach): unix:/path or HOST:PORT."
    )
    grace: float = setting(
        Number(0.0, limits.ATTACH_GRACE_SECONDS_MAX, "seconds"),
        0.0,
        "How long what the process has registered outlives its stream, in seconds; 0: it goes with the stream.",
    )
    patience: float = setting(
        Number(0.0, limits.ATTACH_PATIENCE_SECONDS_MAX, "seconds"),
        5.0,
        "How long the program may take to answer its agent, and how long after that it is asked again, in seconds. "
        "What it has registered is critical while it does not answer. 0: it is not asked.",
    )
    token: str | None = setting(Text(read_token, optional=True, secret=True), None, "The token.", repr=False)
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
            (
                one_of("token", "token_file"),
                goes_with("tls_cert", "tls_key"),
                needs("tls_cert", "tls_ca"),
                Relation(("patience",), f"`patience` is 0 or at least {_PATIENCE_MIN:g} seconds", _patience_flaw),
            ),
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
        return Text(read_agent).wrong(value)


@frozen(kw_only=True)
class Config:
    """What a user tells a node. Raises ``ConfigError``, naming the setting, for a value that cannot be used."""

    name: str | None = setting(
        Text(read_name_or_nothing, optional=True),
        None,
        "This member's name, unique in the cluster. Default: the host's name, with -PORT unless the port is 7940.",
    )
    cluster: str = setting(
        Text(read_name), "default", "The cluster's name. Nodes of differently named clusters never merge."
    )
    bind: str = setting(
        Text(read_address),
        f"127.0.0.1:{DEFAULT_PORT}",
        "Address to listen on, UDP and TCP; port 0 takes any free one.",
    )
    advertise: str | None = setting(
        Text(read_called_address, optional=True),
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
        Text(read_region),
        "",
        "The region of the whole cluster, which Consul's clients know as the datacenter: the same at all its nodes. "
        "Default: the cluster's name.",
    )
    cell: str = setting(
        Text(read_name_or_nothing),
        "",
        "The cell of this node: nodes of one cell are members of one another, and cells of one cluster share what is "
        "registered. Default: the cluster is one ring.",
    )
    zone: str = setting(Text(read_name_or_nothing), "", "Where this node is; the default zone of its instances.")
    node_meta: tuple[str, ...] = setting(
        Texts(read=read_node_meta, whole=unique_keys),
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
    join_token_file: Path | None = setting(
        OptionalPath(),
        None,
        "File with join tokens, as `gossipreg ca token` writes them: while there is no file `identity_cert`, the node "
        "makes its key and gets its certificate by them, from one of `issuers`.",
    )
    issuers: tuple[str, ...] = setting(
        Texts(read=read_issuer),
        (),
        "HTTP addresses of agents that issue certificates: HOST:PORT, or https://HOST:PORT. They renew this node's "
        "certificate before it ends.",
    )
    issuer_key_file: Path | None = setting(
        OptionalPath(),
        None,
        "File with an issuer's key, as `gossipreg ca request` writes it: over HTTP this agent signs certificates, as "
        "far as its delegation in authority_file allows. Read again on SIGHUP.",
    )
    identity: str = setting(
        Choice(("auto", "off", "prefer", "require")),
        "auto",
        "Whether what members state must be signed: off, prefer (what is signed is verified, and members that signed "
        "must go on) or require (nothing else is believed). auto: prefer with an authority_file, else off. Read again "
        "on SIGHUP, for what is stricter.",
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
        Texts(read=read_header),
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
            one_of("key", "key_file"),
            one_of("credential_key", "credential_key_file"),
            own,
            goes_with("identity_cert", "identity_key"),
            needs("identity_cert", "authority_file"),
            needs("issuer_key_file", "authority_file"),
            needs("issuer_key_file", "data_dir"),
            needs("join_token_file", "identity_cert"),
            given_with("join_token_file", "issuers"),
            given_with("issuers", "identity_cert"),
            Relation(
                ("cell", "authority_file"),
                "`cell` without `authority_file`: cells do not verify what other cells' members have signed",
                lambda config: (
                    "it is given with authority_file: members of several cells cannot have identities"
                    if config.cell and config.authority_file is not None
                    else None
                ),
            ),
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
