"""Listeners of an agent (HTTP, DNS, attached processes): what settings and files say of each, and how it is opened.

Each frontend is imported when its listener is opened: an agent without it never loads it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import TYPE_CHECKING

import trio

from gossipreg.agent_config import AgentConfig
from gossipreg.cli import tracing
from gossipreg.counters import Count
from gossipreg.errors import ConfigError
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.model import Address, SocketFile, place
from gossipreg.runtime.bound_instances import BoundInstances
from gossipreg.runtime.node import Node
from gossipreg.values import frozen

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from gossipreg.frontends.serving.access import Access
    from gossipreg.frontends.serving.compatibility_api import CompatibilityApi
    from gossipreg.frontends.serving.prepared_queries import QueryInstances, RunQuery
    from gossipreg.frontends.serving.tls import ServerTls
    from gossipreg.frontends.serving.tracing import RequestTracer
    from gossipreg.prepared_query import PreparedQuery

_log = logging.getLogger("gossipreg.agent")

#: Reads something again on SIGHUP. What it raises is logged, and nothing changes.
Reload = Callable[[], Awaitable[None]]


@frozen
class ListenerParts:
    """The parts of the listeners that files and settings decide before anything is opened."""

    access: Access | None  # None: there is no listener
    attach_access: Access | None  # likewise, of the listener for attached processes
    attach_group: int | None
    tls: ServerTls | None
    dns_tls: ServerTls | None
    apis: tuple[CompatibilityApi, ...]
    spans: SpanProcessor | None  # None: there are no traces

    @classmethod
    def of(cls, config: AgentConfig) -> ListenerParts:
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


async def open_http(
    node: Node,
    config: AgentConfig,
    access: Access,
    leave: trio.Event,
    nursery: trio.Nursery,
    *,
    reloads: list[Reload],
    reload: Reload,
    parts: ListenerParts,
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


async def open_attach(
    node: Node, config: AgentConfig, nursery: trio.Nursery, *, reloads: list[Reload], parts: ListenerParts
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


def _query_runner(node: Node) -> RunQuery:
    """What carries out prepared queries for clients of DNS, imported with the first one: most clusters have none."""

    @cache
    def made() -> RunQuery:
        from gossipreg.frontends.consul.query_execution import QueryRunner

        return QueryRunner(node)

    def run(query: PreparedQuery) -> QueryInstances:
        return made()(query)

    return run


async def open_dns(node: Node, config: AgentConfig, tls: ServerTls | None, nursery: trio.Nursery) -> Address:
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
        run_query=_query_runner(node),
    )
    got: Address = await nursery.start(serve)
    return got
