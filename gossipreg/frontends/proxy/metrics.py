"""The balancer's metrics for Prometheus, at ``/metrics`` of a port of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

import trio

from gossipreg.counters import Count
from gossipreg.errors import BindError
from gossipreg.frontends.proxy.backend import Backend
from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.frontends.proxy.proxy import Proxy
from gossipreg.frontends.proxy.upstream import Upstream
from gossipreg.frontends.serving.acceptor import Acceptor
from gossipreg.frontends.serving.guard import Guard
from gossipreg.frontends.serving.listening import explain
from gossipreg.frontends.serving.prometheus import MEDIA, labelled
from gossipreg.frontends.serving.request import Request, split_target
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.model import Address
from gossipreg.runtime.accepting import serve
from gossipreg.text import shown
from gossipreg.values import frozen

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: What of each port is which label of all its metrics.
_LABELS: Final = ("listen", "service")

#: How a connection that was accepted can end.
_OUTCOMES: Final = (
    ForwardCount.FINISHED,
    ForwardCount.DRAINED,
    ForwardCount.IDLE,
    ForwardCount.FAILED,
    ForwardCount.NO_INSTANCE,
    ForwardCount.NOT_CONNECTED,
    ForwardCount.UNKNOWN_NAME,
    ForwardCount.BAD_HELLO,
    ForwardCount.BAD_HEADER,
    ForwardCount.TOO_LATE,
)


async def open_metrics(address: Address) -> list[trio.SocketListener]:
    """Listeners for Prometheus. Raises ``BindError``."""
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as error:
        reason, remedy = explain(error, flag="--metrics")
        raise BindError(f"cannot listen on {address} for metrics: {reason}: {remedy}") from None


async def serve_metrics(
    proxies: Sequence[Proxy],
    address: Address,
    listeners: Sequence[trio.SocketListener] | None = None,
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Show ``proxies`` to Prometheus until cancelled; starts with the address it got. Raises ``BindError``.

    With ``listeners``, which it closes in the end, it does not open its own.
    """
    if listeners is None:
        listeners = await open_metrics(address)
    bound = Address(*listeners[0].socket.getsockname()[:2])
    task_status.started(bound)
    acceptor = Acceptor(_MetricsHandler(proxies, Guard(asked=address, bound=bound)))
    await serve(acceptor.accept, listeners, Counter(), Count.HTTP_NOT_ACCEPTED)  # which no metric of a balancer shows


@frozen(eq=False)
class _MetricsHandler:
    """Answers one path."""

    proxies: Sequence[Proxy]
    guard: Guard

    async def answer(self, request: Request, name: bytes) -> Response:  # noqa: ARG002 -- for a log that is not kept here
        """The metrics, or why not."""
        try:
            request = request.at_our_own_name()
            self.guard.check(request)
            path, _ = split_target(request.target)
        except HttpError as refusal:
            return refusal.answer
        if path != "/metrics":
            return Response.error(404, f"there is nothing at {shown(path)}: the metrics are at /metrics")
        if request.method not in ("GET", "HEAD"):
            allowed = ((b"allow", b"GET, HEAD"),)
            return Response.error(405, f"/metrics is not for {shown(request.method)}: use GET, HEAD", allowed)
        return Response(200, exposition(self.proxies, trio.current_time()), media=MEDIA)


def exposition(proxies: Sequence[Proxy], now: float) -> bytes:
    """All metrics in Prometheus's text format."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # 40 ms

    registry = CollectorRegistry()
    registry.register(_Collector(proxies, now))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


@frozen(eq=False)
class _Row:
    """What has the same labels: a port, and a service behind it, or the callers that have not come to one."""

    listen: str
    service: str
    counters: Mapping[str, int]
    open: int
    upstream: Upstream | None = None


def _rows(proxy: Proxy) -> Iterator[_Row]:
    listen = str(proxy.bound or proxy.forward.listen)
    default = proxy.forward.service
    for service, upstream in proxy.upstreams.items():
        open_ = upstream.open + (proxy.unrouted if service == default else 0)
        yield _Row(listen, service, upstream.counters, open_, upstream)
    if default is None:
        yield _Row(listen, "", proxy.counters, proxy.unrouted)


@frozen(eq=False)
class _Collector:
    """One scrape. prometheus-client's own interface is `collect`."""

    proxies: Sequence[Proxy]
    now: float

    def describe(self) -> list[Metric]:
        """Nothing is asked before the scrape itself."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric but the process's."""
        yield self._each("open", "Connections that are being served.", lambda row: row.open)
        yield self._each("panic", "1 while the last known instances are used.", _is_in_panic)
        yield self._by("instances", "Instances, by how they stand.", "state", self._states)
        yield self._count(ForwardCount.ACCEPTED)
        yield self._by("ended", "Connections that are over, by how they ended.", "outcome", _outcomes, is_counter=True)
        yield self._by("bytes", "Bytes from callers (in) and to them (out).", "direction", _bytes, is_counter=True)
        yield self._count(ForwardCount.CONNECTS_FAILED)
        yield self._count(ForwardCount.EXHAUSTED)
        yield self._count(ForwardCount.FAILOVERS)
        yield self._each("failed_over", "1 while the instances of another region are used.", _is_failed_over)

    def _rows(self) -> Iterator[_Row]:
        return chain.from_iterable(map(_rows, self.proxies))

    def _states(self, row: _Row) -> Mapping[str, float]:
        states = dict.fromkeys(("ready", "warming", "resting", "suspect", "drained"), 0.0)
        if row.upstream is not None:
            for backend in row.upstream.balancer.backends.values():
                states[_state(backend, self.now, row.upstream.forward.slow_start)] += 1
        return states

    def _each(self, name: str, what: str, value: Callable[[_Row], float], *, is_counter: bool = False) -> Metric:
        values = {(row.listen, row.service): value(row) for row in self._rows()}
        return labelled(f"proxy_{name}", what, _LABELS, values, is_counter=is_counter)

    def _count(self, counter: ForwardCount) -> Metric:
        return self._each(counter, counter.help, lambda row: row.counters[counter], is_counter=True)

    def _by(
        self,
        name: str,
        what: str,
        label: str,
        values: Callable[[_Row], Mapping[str, float]],
        *,
        is_counter: bool = False,
    ) -> Metric:
        found = {(row.listen, row.service, key): value for row in self._rows() for key, value in values(row).items()}
        return labelled(f"proxy_{name}", what, (*_LABELS, label), found, is_counter=is_counter)


def _is_in_panic(row: _Row) -> bool:
    return row.upstream is not None and row.upstream.balancer.in_panic


def _is_failed_over(row: _Row) -> bool:
    return row.upstream is not None and row.upstream.region != ""


def _outcomes(row: _Row) -> Mapping[str, float]:
    return {str(outcome): row.counters[outcome] for outcome in _OUTCOMES}


def _bytes(row: _Row) -> Mapping[str, float]:
    return {"in": row.counters[ForwardCount.BYTES_IN], "out": row.counters[ForwardCount.BYTES_OUT]}


def _state(backend: Backend, now: float, slow_start: float) -> str:
    if not backend.instance.weight:
        return "drained"
    if backend.is_resting(now):
        return "resting"
    if backend.deprioritized:
        return "suspect"
    return "ready" if backend.warmth(now, slow_start) == 1 else "warming"
