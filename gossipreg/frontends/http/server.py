"""The HTTP frontend: listens at an address or a socket file, and serves the native and the compatibility APIs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from gossipreg.counters import Count
from gossipreg.errors import InsecureError
from gossipreg.frontends.http.change_history import ChangeHistory
from gossipreg.frontends.http.event_encoder import EventEncoder
from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.http.native_api import NativeApi
from gossipreg.frontends.http.rates import RateHistory
from gossipreg.frontends.serving.acceptor import Acceptor
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.compatibility_api import CompatibilityApi
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.frontends.serving.guard import Guard
from gossipreg.frontends.serving.listening import listen, listen_at_file
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import Address, SocketFile
from gossipreg.runtime.accepting import serve
from gossipreg.runtime.supervision import run_contained
from gossipreg.targets import is_loopback

if TYPE_CHECKING:
    from gossipreg.frontends.serving.tls import ServerTls
    from gossipreg.frontends.serving.tracing import RequestTracer

log = logging.getLogger(__name__)


async def serve_http(
    node: NodeApi,
    address: Address | SocketFile,
    *,
    leave: Callable[[], None],
    reload: Callable[[], Awaitable[None]] | None = None,
    access: Access | None = None,
    insecure: bool = False,
    tls: ServerTls | None = None,
    audit: AuditLog | None = None,
    compatibility_apis: tuple[CompatibilityApi, ...] = (),
    counters: Counter[str] | None = None,
    tracer: RequestTracer | None = None,
    failover: FailoverList | None = None,
    task_status: trio.TaskStatus[Address | SocketFile] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer HTTP at ``address`` until cancelled; port 0 takes any free one. Start it with ``nursery.start``.

    Starts with the address that it really listens on. ``leave`` is called, and must return at once, whenever a client
    asks the node to leave; ``reload`` is awaited when one asks for files to be read again. ``access`` says who may do
    what; by default all may. With ``tls`` it speaks HTTPS. ``audit`` records what clients change.
    ``compatibility_apis`` answer at paths of their own. What the listener counts goes into ``counters``. ``tracer``
    makes a span of each request. ``failover`` is for clients of APIs that cannot name one. Raises
    ``BindError`` if the address cannot be had, and ``InsecureError`` if clients of other machines would need no token,
    unless ``insecure`` is set.
    """
    access = Access() if access is None else access
    counters = Counter() if counters is None else counters
    audit = AuditLog() if audit is None else audit
    access.follow(node.tokens_with)
    server = ServerContext(node, leave, access, reload, audit, failover or FailoverList())
    history, rates = ChangeHistory(), RateHistory()
    follow = (partial(history.follow, node), partial(rates.follow, node, server.requests))

    def dispatcher(bound: Address | SocketFile) -> Dispatcher:
        native = NativeApi(LookupCache(node), EventEncoder(), history, rates)
        return Dispatcher(server, Guard(address, bound, access), native, compatibility_apis, tracer)

    if isinstance(address, SocketFile):
        with listen_at_file(address) as listener:
            await _serve(dispatcher(address), [listener], address, counters, task_status, follow=follow, tls=tls)
        return
    listeners = await listen(address)
    bound = [Address(*listener.socket.getsockname()[:2]) for listener in listeners]
    access.is_exposed = not all(is_loopback(each.host) for each in bound)
    try:
        for each in bound:
            check_safety(each, access, asked=address, insecure=insecure)
    except InsecureError:
        for listener in listeners:
            await trio.aclose_forcefully(listener)
        raise
    await _serve(dispatcher(bound[0]), listeners, bound[0], counters, task_status, follow=follow, tls=tls)


def check_safety(
    address: Address | SocketFile, access: Access, *, asked: Address | SocketFile | None = None, insecure: bool
) -> None:
    """Raise ``InsecureError`` if clients of other machines would need no token, unless that is wanted.

    A host name passes: its address is known only once it is listened at.
    """
    if insecure or not access.is_open or isinstance(address, SocketFile):
        return
    try:
        is_local = ip_address(address.host.partition("%")[0]).is_loopback
    except ValueError:
        return
    if not is_local:
        raise InsecureError(
            f"cannot answer HTTP at {asked or address} to every caller: pass --tokens-file FILE with the tokens of "
            "those who may, or --insecure on a trusted network"
        )


async def _serve(
    handler: Dispatcher,
    listeners: list[trio.SocketListener],
    bound: Address | SocketFile,
    counters: Counter[str],
    task_status: trio.TaskStatus[Address | SocketFile],
    *,
    follow: Iterable[Callable[[], Awaitable[None]]],
    tls: ServerTls | None,
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_contained, counters, "the wait for the node's end", handler.close_with_node)
        for each in follow:
            nursery.start_soon(run_contained, counters, "the record of changes and rates", each)
        task_status.started(bound)
        acceptor = Acceptor(handler, counters, tls)
        waiting = acceptor.waiting_to_be_served
        await serve(acceptor.accept, listeners, counters, Count.HTTP_NOT_ACCEPTED, waiting)
