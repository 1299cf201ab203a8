"""The DNS server: a UDP socket that is drained in batches, TCP for answers that are too long for UDP, and TLS.

What reads queries and makes answers is imported when the first client comes: many agents are asked by HTTP only.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import dns  # noqa: F401 - the bare package: an agent that lacks it says so at its start
import trio

from gossipreg.counters import Count
from gossipreg.frontends.dns import limits
from gossipreg.frontends.dns.directory import Directory
from gossipreg.frontends.dns.reflection import Reflection, truncated
from gossipreg.frontends.dns.sockets import open_sockets, open_tls_socket
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.prepared_queries import RunQuery
from gossipreg.model import Address
from gossipreg.runtime.accepting import serve
from gossipreg.runtime.supervision import run_restarting, start_restarting

if TYPE_CHECKING:
    from gossipreg.frontends.dns.responder import DnsResponder
    from gossipreg.frontends.serving.tls import ServerTls

log = logging.getLogger(__name__)

_LENGTH_BYTES = 2

_RESPONDER = "gossipreg.frontends.dns.responder"


async def serve_dns(
    node: NodeApi,
    address: Address,
    *,
    domains: Sequence[str],
    ttl: int = 0,
    counters: Counter[str] | None = None,
    tls: tuple[Address, ServerTls] | None = None,
    failover: FailoverList | None = None,
    run_query: RunQuery | None = None,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer DNS at ``address``, UDP and TCP, until cancelled; port 0 takes any free one.

    Start it with ``nursery.start``, which gives the address that it really listens on. The names are below each of
    ``domains``; the cluster's name is Consul's datacenter in them. ``ttl`` (seconds) is how long clients may keep an
    answer. A service that this region cannot serve is answered from the next one of ``failover``. ``run_query`` carries
    out prepared queries. With ``tls`` it answers at another address, too, over TLS (RFC 7858). What comes is counted in
    ``counters``, under names that begin with ``dns_``. Raises ``BindError`` if an address cannot be had.
    """
    sockets = await open_sockets(address)
    try:
        secure = None if tls is None else await open_tls_socket(tls[0])
    except BaseException:
        sockets.udp.close()
        await trio.aclose_forcefully(sockets.tcp)
        raise
    directory = Directory(node)
    others = tuple(each.name for each in node.regions() if not each.own)
    counted = Counter[str]() if counters is None else counters

    @cache
    def made() -> DnsResponder:
        from gossipreg.frontends.dns.responder import DnsResponder
        from gossipreg.frontends.dns.zone import Zone

        zone = Zone(
            node,
            directory,
            sockets.address,
            tuple(domains),
            ttl,
            datacenter=node.region,
            regions=others,
            failover=failover or FailoverList(),
            run_query=run_query,
        )
        return DnsResponder(zone, counted)

    async def over_udp() -> None:
        await trio.lowlevel.wait_readable(sockets.udp)
        await _load()
        await serve_udp(sockets.udp, made())

    async def over_tcp(connections: trio.CapacityLimiter, stream: trio.abc.Stream) -> None:
        await _load()
        await admit(made(), connections, stream)

    with sockets.udp:
        async with sockets.tcp, trio.open_nursery() as nursery:
            await nursery.start(start_restarting, counted, "the directory of DNS names", directory.follow)
            nursery.start_soon(run_restarting, counted, "DNS over UDP", over_udp)
            task_status.started(sockets.address)
            handler = partial(over_tcp, trio.CapacityLimiter(limits.CONNECTIONS_MAX))
            if tls is not None and secure is not None:
                limited = partial(over_tcp, trio.CapacityLimiter(limits.CONNECTIONS_MAX))
                over_tls = partial(_admit_secure, limited, tls[1], counted)
                log.info("answering DNS over TLS at %s", Address(*secure.socket.getsockname()[:2]))
                nursery.start_soon(serve, over_tls, [secure], counted, Count.DNS_NOT_ACCEPTED)
            await serve(handler, [sockets.tcp], counted, Count.DNS_NOT_ACCEPTED)


async def _load() -> None:
    """Import what answers queries in a thread: without kept bytecode that takes hundreds of milliseconds."""
    if _RESPONDER not in sys.modules:
        await trio.to_thread.run_sync(import_module, _RESPONDER)


async def serve_udp(udp: socket.socket, responder: DnsResponder) -> None:
    """Answer what comes on a non-blocking socket, until cancelled."""
    reflection = Reflection()
    async with trio.open_nursery() as waiting:

        async def answer_in_time(packet: bytes, source: Any) -> None:
            answer = await responder.answer_in_time(packet)
            if answer is not None:
                _send(udp, answer, source, responder, reflection, now=trio.current_time())

        def wait(packet: bytes, source: Any) -> bool:
            has_room = len(waiting.child_tasks) < limits.WAITING_MAX
            if has_room:
                waiting.start_soon(answer_in_time, packet, source)
            return has_room

        while True:
            await trio.lowlevel.wait_readable(udp)
            _drain(udp, responder, reflection, trio.current_time(), wait)


def _no_room(_packet: bytes, _source: Any) -> bool:
    return False


def _drain(
    udp: socket.socket,
    responder: DnsResponder,
    reflection: Reflection,
    now: float,
    wait: Callable[[bytes, Any], bool] = _no_room,
) -> None:
    """Answer the packets that are there now, at most a batch of them. ``wait`` answers one later, if there is room."""
    began = time.perf_counter()
    for number in range(limits.BATCH_MAX):
        if number and time.perf_counter() - began >= limits.BATCH_SECONDS:
            return
        try:
            packet, source = udp.recvfrom(limits.QUERY_BYTES_MAX + 1)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error of an earlier answer, handed to us late
            responder.counters[Count.DNS_RECEIVE_ERRORS] += 1
            continue
        answer = responder.answer(packet)
        if answer is not None and not (responder.awaited and wait(packet, source)):
            _send(udp, answer, source, responder, reflection, now=now)


def _send(
    udp: socket.socket,
    answer: bytes,
    source: Any,
    responder: DnsResponder,
    reflection: Reflection,
    *,
    now: float,
) -> None:
    if not reflection.allows(source[0], len(answer), now):
        responder.counters[Count.DNS_UNPROVEN_TRUNCATED] += 1
        answer = truncated(answer)
    try:
        udp.sendto(answer, source)
    except OSError:  # no room in the send buffer, no route, port 0: the client asks again
        responder.counters[Count.DNS_SEND_ERRORS] += 1


async def _admit_secure(
    admit: Callable[[trio.abc.Stream], Awaitable[None]],
    tls: ServerTls,
    counters: Counter[str],
    stream: trio.SocketStream,
) -> None:
    """Serve one connection under TLS to its end. Raises nothing."""
    await admit(tls.serve(stream, counters))


async def admit(responder: DnsResponder, connections: trio.CapacityLimiter, stream: trio.abc.Stream) -> None:
    """Serve one TCP connection to its end, or close it if there are too many. Raises nothing."""
    async with stream:
        try:
            connections.acquire_on_behalf_of_nowait(stream)
        except trio.WouldBlock:
            responder.counters[Count.DNS_CONNECTIONS_REFUSED] += 1
            return
        try:
            await serve_tcp(stream, responder)
        except trio.BrokenResourceError as gone:
            log.debug("a DNS client went in the middle: %r", gone)
        finally:
            connections.release_on_behalf_of(stream)


async def serve_tcp(stream: trio.abc.Stream, responder: DnsResponder) -> None:
    """Answer queries in the order in which they come, until the client goes, idles, or sends what is none."""
    held = bytearray()
    while True:
        packet = None
        with trio.move_on_after(limits.IDLE_SECONDS):
            packet = await _next_query(stream, held)
        answer = None if packet is None else await responder.answer_in_time(packet, tcp=True)
        if answer is None:
            return
        with trio.move_on_after(limits.TAKE_SECONDS) as patience:
            await stream.send_all(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)
        if patience.cancelled_caught:
            return


async def _next_query(stream: trio.abc.Stream, held: bytearray) -> bytes | None:
    """The next packet; None if there will be none, or one longer than any query. ``held`` is what came after it."""
    while True:
        if len(held) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(held[:_LENGTH_BYTES], "big")
            if end > _LENGTH_BYTES + limits.QUERY_BYTES_MAX:
                return None
            if len(held) >= end:
                packet = bytes(held[_LENGTH_BYTES:end])
                del held[:end]
                return packet
        more = await stream.receive_some(limits.QUERY_BYTES_MAX)
        if not more:
            return None
        held += more
