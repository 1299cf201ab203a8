"""Running an agent: from its ready line, through the signals it handles, to its leave.

The command imports it when it runs: importing trio takes longer than all other commands take to run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from gossipreg.cli import ports_in_use, tracing
from gossipreg.cli.gc_pauses import keep_pauses_short
from gossipreg.cli.service_manager import ServiceManager
from gossipreg.config import AgentConfig
from gossipreg.config_rules import DEFAULT_PORT
from gossipreg.counters import Count
from gossipreg.errors import BindError, ConfigError, GossipregError
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.model import Address, SocketFile, place
from gossipreg.runtime import exposure_warnings
from gossipreg.runtime.bound_instances import BoundInstances
from gossipreg.runtime.definitions import DefinitionFiles, LocatedSpec, by_id, define
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import check_start, open_node
from gossipreg.runtime.supervision import run_contained, run_restarting
from gossipreg.targets import CheckRules, literal
from gossipreg.values import frozen

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from gossipreg.frontends.serving.access import Access
    from gossipreg.frontends.serving.compatibility_api import CompatibilityApi
    from gossipreg.frontends.serving.tls import ServerTls
    from gossipreg.frontends.serving.tracing import RequestTracer

_log = logging.getLogger("gossipreg.agent")

#: Reads something again on SIGHUP. What it raises is logged, and nothing changes.
Reload = Callable[[], Awaitable[None]]


def run(config: AgentConfig, file: Path | None = None, again: Callable[[], AgentConfig] | None = None) -> None:
    """Run an agent until it has left the cluster, with the services that ``file`` and ``services_dir`` define.

    ``again`` puts the configuration together anew, for SIGHUP; None: as it is.

    Raises ``ConfigError`` for a file that cannot be used or an unknown compatibility API, what ``open_node`` raises,
    and ``BindError`` for a listener's address, alone or in an ``ExceptionGroup``. One ``BindError`` names all addresses
    that other programs use, and free ones.
    """
    files = _files(config, file)
    try:
        again = again or (lambda: config)
        trio.run(_serve, config, files, _read_definitions(files, config), _ListenerParts.of(config), again)
    except (BindError, ExceptionGroup) as error:
        is_bind_error = not isinstance(error, ExceptionGroup) or error.subgroup(BindError)
        taken = ports_in_use.of(config) if is_bind_error else {}
        if not taken:
            raise
        raise BindError(ports_in_use.sentence(taken)) from None


def check(config: AgentConfig, file: Path | None = None) -> str:
    """Check that an agent can start with this, as far as files can tell. Raises ``ConfigError``."""
    check_start(config)
    parts = _ListenerParts.of(config)
    if parts.spans is not None:
        parts.spans.shutdown()
    count = len(_read_definitions(_files(config, file), config))
    return f"ok, with {count} service{'s' if count > 1 else ''} defined" if count else "ok"


def _files(config: AgentConfig, file: Path | None) -> DefinitionFiles:
    return DefinitionFiles(file, config.services_dir, commands=config.command_checks != "off")


def _read_definitions(files: DefinitionFiles, config: AgentConfig) -> tuple[LocatedSpec, ...]:
    """What the files define. Raises ``ConfigError`` for the first thing that is wrong."""
    found = files.read()
    for error in found.wrong:
        raise error
    by_id(found.located, config.name or socket.gethostname().split(".")[0])
    if config.credential_key is None and config.credential_key_file is None:
        for where, definition in found.located:
            if definition.credentials:
                raise ConfigError(f"{where}: credentials: there is no key to seal them: set credential_key_file")
    _check_targets(config, found.located)
    return found.located


def _check_targets(config: AgentConfig, located: Sequence[LocatedSpec]) -> None:
    """Raise ``ConfigError`` for the first health check that the agent would refuse to run.

    The agent's own address may be known at its start only; then each target counts as it.
    """
    rules = CheckRules.of(config.check_targets, config.check_headers)
    bound = Address.parse(config.advertise or config.bind, default_port=DEFAULT_PORT).host
    address = literal(bound)
    is_open = address is None or address.is_unspecified
    for where, spec in located:
        for number, check in enumerate(spec.checks):
            own = (check.host or "",) if is_open else (spec.host or bound, bound)
            flaw = check.flaw(rules, own)
            if flaw is not None:
                raise ConfigError(f"{where}: checks[{number}].{flaw[0]}: {flaw[1]}")


@frozen
class _ListenerParts:
    """The parts of the listeners that files and settings decide before anything is opened."""

    access: Access | None  # None: there is no listener
    attach_access: Access | None  # likewise, of the listener for attached processes
    attach_group: int | None
    tls: ServerTls | None
    dns_tls: ServerTls | None
    apis: tuple[CompatibilityApi, ...]
    spans: SpanProcessor | None  # None: there are no traces

    @classmethod
    def of(cls, config: AgentConfig) -> _ListenerParts:
        """Raises ``ConfigError``."""
        attach = _attach_access(config), _attach_group(config)
        return cls(_access(config), *attach, _tls(config), _dns_tls(config), _apis(config), _spans(config))


def _access(config: AgentConfig) -> Access | None:
    """The access rules of the HTTP API; None if there is no API. Raises ``ConfigError``."""
    if config.http == "off":
        if config.audit_log is not None and config.attach is None:
            raise ConfigError(
                "audit_log: it records what clients of the HTTP API change, and http is off: leave one out"
            )
        return None
    from gossipreg.frontends.http.server import check_safety  # an agent with `--http off` does without

    access = _access_of(config)
    check_safety(place(config.http), access, insecure=config.insecure)
    return access


def _attach_access(config: AgentConfig) -> Access | None:
    """The access rules for attached processes; None if there can be none. Raises ``ConfigError``."""
    if config.attach is None:
        return None
    return _access_of(config)


def _access_of(config: AgentConfig) -> Access:
    """The tokens of a listener. Raises ``ConfigError``."""
    from gossipreg.frontends.serving.access import Access
    from gossipreg.frontends.serving.scopes import Scope

    words = [each for each in config.cluster_token_scopes if each != "off"]
    return Access() if config.tokens_file is None else Access.from_file(config.tokens_file, map(Scope, words))


def _attach_group(config: AgentConfig) -> int | None:
    """The id of the group that may open the socket file for attached processes. Raises ``ConfigError``."""
    if config.attach_group is None:
        return None
    import grp

    try:
        return grp.getgrnam(config.attach_group).gr_gid
    except KeyError:
        raise ConfigError(
            f"attach_group: this host has no group {config.attach_group!r}: name one that it has"
        ) from None


def _tls(config: AgentConfig) -> ServerTls | None:
    """The TLS of the HTTP API; None if it is in clear, or off. Raises ``ConfigError``."""
    is_off = config.http == "off" and config.attach is None
    if is_off or config.tls_cert is None or config.tls_key is None:
        return None
    from gossipreg.frontends.serving.tls import ServerTls  # likewise

    return ServerTls(config.tls_cert, config.tls_key, config.tls_client_ca)


def _dns_tls(config: AgentConfig) -> ServerTls | None:
    """The TLS of DNS; None if it is off. Raises ``ConfigError``."""
    if config.dns_tls == "off" or config.tls_cert is None or config.tls_key is None:
        return None
    from gossipreg.frontends.serving.tls import DNS, ServerTls

    return ServerTls(config.tls_cert, config.tls_key, protocols=DNS, failures=Count.DNS_TLS_FAILED)


def _apis(config: AgentConfig) -> tuple[CompatibilityApi, ...]:
    """The compatibility APIs that are switched on. Raises ``ConfigError`` for one that is not installed."""
    if config.http == "off" or config.compatibility_apis == ("off",):
        return ()
    from gossipreg.frontends.serving.compatibility_api import load

    return load(config.compatibility_apis)


def _spans(config: AgentConfig) -> SpanProcessor | None:
    """What exports the traces of the HTTP API; None if there are none. Raises ``ConfigError``."""
    if config.http == "off" or not tracing.is_wanted(os.environ):
        return None
    return tracing.open_processor()


async def _serve(
    config: AgentConfig,
    files: DefinitionFiles,
    located: Sequence[LocatedSpec],
    parts: _ListenerParts,
    again: Callable[[], AgentConfig],
) -> None:
    access, tls = parts.access, parts.tls
    manager = ServiceManager.of(os.environ, os.getpid())
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with open_node(config) as node, trio.open_nursery() as nursery:
            for error in await define(node, located):
                raise error
            leave = trio.Event()
            reloads: list[Reload] = [node.reread_keys, partial(_require_identity, node, again)]
            reloads.append(partial(_define_again, node, files))
            nursery.start_soon(run_restarting, node.counters, "the watch over pauses", keep_pauses_short)
            nursery.start_soon(_leave_when_told, node, leave, manager)
            nursery.start_soon(manager.keep_informed)
            reload = partial(_reload, reloads, trio.Lock(), manager)
            nursery.start_soon(_handle_signals, node, signals, leave, reload, nursery)
            kept = (access, parts.attach_access, tls, parts.dns_tls)
            reloads += [partial(trio.to_thread.run_sync, each.reload) for each in kept if each is not None]
            http = (
                None
                if access is None
                else await _open_http(node, config, access, leave, nursery, reloads=reloads, reload=reload, parts=parts)
            )
            attach = (
                None
                if parts.attach_access is None
                else await _open_attach(node, config, nursery, reloads=reloads, parts=parts)
            )
            dns = None if config.dns == "off" else await _open_dns(node, config, parts.dns_tls, nursery)
            _warn_of_exposure(node, http, dns, access, is_tls=tls is not None)
            _print_ready(node, http, dns, attach, is_tls=tls is not None, as_json=config.log_format == "json")
            manager.ready(_addresses(node, http, dns, attach, is_tls=tls is not None))
            await node.wait_closed()
            nursery.cancel_scope.cancel()


async def _handle_signals(
    node: Node, signals: AsyncIterator[int], leave: trio.Event, reload: Reload, nursery: trio.Nursery
) -> None:
    """Leave at the first signal; end the process at once at one that comes while the node leaves.

    That is as safe as being killed, which an agent must survive anyway: its data directory is whole at all times.
    SIGHUP only has files read again, unless it reports that the terminal of the agent has closed.
    """
    in_terminal = [stream for stream in (0, 1, 2) if os.isatty(stream)]
    async for number in signals:
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            if 0 not in in_terminal or os.isatty(0):
                nursery.start_soon(run_contained, node.counters, "SIGHUP", reload)
                continue
            _write_to_nothing(in_terminal)
        if leave.is_set():
            _log.warning("%s while leaving: stopping at once", name)
            os._exit(1)
        else:
            _log.info("%s: leaving", name)
            leave.set()


def _write_to_nothing(streams: Iterable[int]) -> None:
    """Connect these standard streams to nothing: what their closed terminal did not take would fail the exit."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        os.dup2(null, stream)
    os.close(null)


async def _reload(reloads: Sequence[Reload], turn: trio.Lock, manager: ServiceManager) -> None:
    """Run all reloads; one that fails does not prevent the others."""
    async with turn:
        with manager.reloading():
            for reload in reloads:
                try:
                    await reload()
                except GossipregError as error:
                    _log.error("%s", error)
        _log.info("files are read again")


async def _require_identity(node: Node, again: Callable[[], AgentConfig]) -> None:
    """Require identity from now on if the configuration does now. Raises ``ConfigError``; then nothing has changed."""
    if (await trio.to_thread.run_sync(again)).identity == "require":
        await node.require_identity()


async def _define_again(node: Node, files: DefinitionFiles) -> None:
    """Register what the files define now; an invalid file stands for its last valid content."""
    found = await trio.to_thread.run_sync(files.read)
    for error in (*found.wrong, *await define(node, found.located)):
        _log.error("%s (what was defined there before stays)", error)


async def _leave_when_told(node: Node, leave: trio.Event, manager: ServiceManager) -> None:
    await leave.wait()
    manager.stopping("draining, then leaving the cluster")
    await node.leave()


async def _open_http(
    node: Node,
    config: AgentConfig,
    access: Access,
    leave: trio.Event,
    nursery: trio.Nursery,
    *,
    reloads: list[Reload],
    reload: Reload,
    parts: _ListenerParts,
) -> Address | SocketFile:
    """Start the HTTP listener; return the address that it got. ``reloads`` gets what has to follow a reload."""
    from gossipreg.frontends.http import serve_http  # an agent with `--http off` does without
    from gossipreg.frontends.serving.audit_log import AuditLog
    from gossipreg.frontends.web import create_page

    _raise_descriptor_limit()
    audit = AuditLog(config.audit_log, node.counters)
    await trio.to_thread.run_sync(audit.open)
    reloads.append(partial(trio.to_thread.run_sync, audit.open))

    def leave_when_asked() -> None:
        _log.info("asked over HTTP: leaving")
        leave.set()

    serve = partial(
        serve_http,
        node,
        place(config.http),
        leave=leave_when_asked,
        reload=reload,
        access=access,
        insecure=config.insecure,
        tls=parts.tls,
        audit=audit,
        compatibility_apis=(*parts.apis, create_page()),
        counters=node.counters,
        tracer=None
        if parts.spans is None
        else await _open_tracer(parts.spans, node, nursery, is_tls=parts.tls is not None),
        failover=FailoverList(config.failover, config.failover_threshold),
    )
    got: Address | SocketFile = await nursery.start(serve)
    return got


async def _open_tracer(spans: SpanProcessor, node: Node, nursery: trio.Nursery, *, is_tls: bool) -> RequestTracer:
    """A tracer of requests. What was not exported yet is exported, in a bounded time, when the agent ends."""
    provider = await trio.to_thread.run_sync(tracing.open_provider, spans, node.name)
    from gossipreg.frontends.serving.tracing import RequestTracer

    async def close() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(tracing.CLOSE_SECONDS, shield=True):
                await trio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)

    nursery.start_soon(close)
    return RequestTracer.of(provider, is_tls=is_tls)


async def _open_attach(
    node: Node, config: AgentConfig, nursery: trio.Nursery, *, reloads: list[Reload], parts: _ListenerParts
) -> Address | SocketFile:
    """Start the listener for attached processes; return the address that it got. ``reloads``: as for HTTP."""
    from gossipreg.frontends.attach import serve_attach  # most agents have none
    from gossipreg.frontends.serving.audit_log import AuditLog

    assert config.attach is not None, "it is asked for"
    assert parts.attach_access is not None, "there is access to it"
    where = place(config.attach)
    audit = AuditLog(config.audit_log, node.counters)  # in the file of the HTTP listener's, which both append to
    await trio.to_thread.run_sync(audit.open)
    reloads.append(partial(trio.to_thread.run_sync, audit.open))
    serve = partial(
        serve_attach,
        node,
        BoundInstances(node),
        where,
        access=parts.attach_access,
        audit=audit,
        insecure=config.insecure,
        tls=None if isinstance(where, SocketFile) else parts.tls,
        group=parts.attach_group,
        counters=node.counters,
    )
    got: Address | SocketFile = await nursery.start(serve)
    return got


def _raise_descriptor_limit() -> None:
    """Raise the descriptor limit to what the HTTP listener may need, or log what there is room for."""
    from gossipreg.frontends.serving.capacity import DESCRIPTORS, Capacity, ask_for_descriptors

    descriptors = ask_for_descriptors()
    if descriptors < DESCRIPTORS:
        room = Capacity.within(descriptors)
        _log.warning(
            "%d descriptors where %d may be needed (see ulimit -Hn): room for %d connections, %d event streams and %d "
            "blocking reads over HTTP",
            *(descriptors, DESCRIPTORS, room.connections.most, room.event_streams.most, room.waiting.most),
        )


async def _open_dns(node: Node, config: AgentConfig, tls: ServerTls | None, nursery: trio.Nursery) -> Address:
    """Start the DNS listener; return the address that it got."""
    from gossipreg.frontends.dns import serve_dns  # an agent with `--dns off` does without

    serve = partial(
        serve_dns,
        node,
        Address.parse(config.dns),
        domains=config.dns_domain,
        ttl=config.dns_ttl,
        counters=node.counters,
        tls=None if tls is None else (Address.parse(config.dns_tls), tls),
        failover=FailoverList(config.failover, config.failover_threshold),
    )
    got: Address = await nursery.start(serve)
    return got


def _warn_of_exposure(
    node: Node, http: Address | SocketFile | None, dns: Address | None, access: Access | None, *, is_tls: bool
) -> None:
    """Warn about listeners beyond this machine."""
    exposed = (
        None
        if http is None or access is None
        else exposure_warnings.http_warning(http, asks_tokens=not access.is_open, is_tls=is_tls),
        None if dns is None else exposure_warnings.dns_warning(dns),
    )
    for sentence in exposed:
        if sentence is not None:
            node.warn(sentence)


def _print_ready(
    node: Node,
    http: Address | SocketFile | None,
    dns: Address | None,
    attach: Address | SocketFile | None,
    *,
    is_tls: bool,
    as_json: bool,
) -> None:
    """Write the ready line to standard output, for the program that started the agent."""
    if as_json:
        ready = {
            "ready": True,
            "name": node.name,
            "gossip": str(node.address),
            "http": None if http is None else str(http),
            **({"tls": True} if is_tls else {}),
            "dns": None if dns is None else str(dns),
            **({} if attach is None else {"attach": str(attach)}),
            "cluster": node.cluster,
        }
        print(json.dumps(ready), flush=True)
    else:
        print(f"gossipreg agent {node.name} ready: {_addresses(node, http, dns, attach, is_tls=is_tls)}", flush=True)


def _addresses(
    node: Node,
    http: Address | SocketFile | None,
    dns: Address | None,
    attach: Address | SocketFile | None,
    *,
    is_tls: bool,
) -> str:
    """Where the agent can be reached, for people."""
    protocol = "https" if is_tls else "http"
    attached = "" if attach is None else f"attach {attach}, "
    return f"gossip {node.address}, {protocol} {http or 'off'}, dns {dns or 'off'}, {attached}cluster {node.cluster}"
