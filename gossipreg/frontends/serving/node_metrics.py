"""The node's metrics for Prometheus: names, labels, and where each value comes from.

Nothing is counted for Prometheus's sake. A scrape asks the node what it knows and has counted anyway, in a registry of
its own; so an agent that is never scraped pays nothing, and several nodes in one process do not mix.
"""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from gossipreg import __version__
from gossipreg.counters import Count
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.prometheus import labelled
from gossipreg.identities import IdentityReport
from gossipreg.model import Health
from gossipreg.node_info import NodeInfo
from gossipreg.observations import LinkState
from gossipreg.runtime.joining import JoinFailureReason
from gossipreg.values import frozen

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: The node's counters that have a metric of their own: the metric, what it counts, and the label's value if it has one.
_COUNTERS: Final[Mapping[str, tuple[str, str]]] = {
    Count.PACKETS_RECEIVED: ("packets", "in"),
    Count.PACKETS_SENT: ("packets", "out"),
    Count.BYTES_RECEIVED: ("packet_bytes", "in"),
    Count.BYTES_SENT: ("packet_bytes", "out"),
}


def exposition(node: NodeApi, requests: Mapping[tuple[str, str, int], int]) -> bytes:
    """All metrics in Prometheus's text format. ``requests``: how many, by method, route and status code."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # 40 ms

    registry = CollectorRegistry()
    registry.register(_Collector(node, requests))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


@frozen(eq=False)
class _Collector:
    """One scrape. prometheus-client's own interface is `collect`."""

    node: NodeApi
    requests: Mapping[tuple[str, str, int], int]

    def describe(self) -> list[Metric]:
        """Nothing is asked before the scrape itself."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric but the process's."""
        info = self.node.info()
        yield from _of_node(info)
        yield from _of_services(self.node)
        yield from _of_counters(info.counters)
        yield from _of_identity(self.node.identity())
        yield labelled(
            "http_requests",
            "HTTP requests answered, by method, route and status code.",
            ("method", "route", "code"),
            {(method, route, str(status)): count for (method, route, status), count in self.requests.items()},
            is_counter=True,
        )


def _of_identity(report: IdentityReport) -> Iterator[Metric]:
    """Names without values where there is no identity."""
    is_on = report.mode != "off"
    present = [each for each in report.members if each.present and is_on]
    ready = sum(each.ready for each in present)
    yield labelled(
        "identity_members",
        "Members that are alive or suspect, by whether a node that requires identity believes them.",
        ("ready",),
        {("yes",): ready, ("no",): len(present) - ready} if is_on else {},
    )
    yield labelled(
        "identity_certificate_end_seconds",
        "When the certificate of a present member ends (seconds since the epoch).",
        ("member",),
        {(each.name,): each.until for each in present if each.until is not None},
    )
    yield labelled(
        "identity_revoked", "Certificates known to be revoked.", (), {(): len(report.revoked)} if is_on else {}
    )
    yield labelled(
        "identity_refused",
        "Statements and packets that identity has refused, by the host that they came from.",
        ("source",),
        {(source,): count for source, count in report.refused.items()},
        is_counter=True,
    )


def _of_node(info: NodeInfo) -> Iterator[Metric]:
    yield labelled(
        "build_info",
        "Always 1; the labels say which gossipreg and which Python this is.",
        ("version", "python"),
        {(__version__, platform.python_version()): 1},
    )
    yield labelled(
        "node_info",
        "Always 1; the labels say which member of which cluster this is, and where.",
        ("name", "cluster", "zone", "address"),
        {(info.name, info.cluster, info.zone, str(info.address)): 1},
    )
    yield _plain("boot_time_seconds", "When the node was started, in seconds since 1970.", info.generation / 1e3)
    yield _plain("incarnation", "How often the node has refuted a suspicion since it was started.", info.incarnation)
    yield _plain(
        "local_health", "0 is well; each step makes the node wait longer before it suspects another.", info.local_health
    )
    yield _plain("isolated", "1 while the node hears no other member, so that its answers may be stale.", info.isolated)
    yield _plain("reachable_ratio", "Share of the other members that are alive.", info.reachable)
    held = "1 while an older node bears the name that the node runs under: the others do not see what it offers."
    yield _plain("name_conflict", held, info.name_conflict is not None)
    yield _plain("joined", "1 once the node has joined, or if it was started without seeds.", info.joined)
    failing = Counter({(str(reason),): 0 for reason in JoinFailureReason})
    failing.update((each.reason,) for each in info.join_failures)
    what = "Seeds that the last try to join failed at, by reason; none once the node has joined."
    yield labelled("join_failures", what, ("reason",), failing)
    yield _plain(
        "serving_last_known",
        "1 while the node has not reached a member yet and answers from its snapshot.",
        info.serving_last_known,
    )
    paths = Counter(info.paths.values())
    yield labelled(
        "impaired_paths",
        "Members to which not everything passes, by what does: streams_only, packets_only, small_packets; or is "
        "lost: outgoing_lost, incoming_lost.",
        ("passes",),
        {(str(link),): paths[str(link)] for link in LinkState if link is not LinkState.DIRECT},
    )
    ahead = "Seconds that the node's wall clock is ahead of the median of its peers'; NaN while it has talked to none."
    yield _plain("clock_skew_seconds", ahead, math.nan if info.clock_skew is None else info.clock_skew)
    errors = {(name,): count for name, count in info.send_errors.items()}
    what = "Packets and connections that this host's kernel refused to send, by errno."
    yield labelled("send_errors", what, ("errno",), errors, is_counter=True)
    yield _plain("draining", "1 while the node asks for no new work.", info.draining)
    members = {(status,): count for status, count in info.members.items()}
    forgotten = "Of the members that left, those that had failed and were forgotten by an operator."
    yield _plain("members_forgotten", forgotten, info.forgotten)
    yield labelled("members", "Members that are remembered, this node included, by status.", ("status",), members)


def _of_services(node: NodeApi) -> Iterator[Metric]:
    counts: Counter[tuple[str, str]] = Counter()
    services = sorted(node.services())
    for service in services:
        counts.update({(service, str(health)): 0 for health in Health})
        counts.update((each.service, str(each.health)) for each in node.lookup(service, healthy=False))
    yield _plain("services", "Services that have an instance.", len(services))
    yield labelled("instances", "Instances that are known, by service and health.", ("service", "health"), counts)


def _of_counters(counters: Mapping[str, int]) -> Iterator[Metric]:
    named: dict[str, dict[tuple[str, ...], float]] = {"packets": {}, "packet_bytes": {}}
    rest: dict[tuple[str, ...], float] = {}
    for name, count in sorted(counters.items()):
        if name in _COUNTERS:
            metric, direction = _COUNTERS[name]
            named[metric][direction,] = count
        else:
            rest[name,] = count
    directions = ("direction",)
    packets = "Packets of gossip, received (in) and sent (out)."
    yield labelled("packets", packets, directions, named["packets"], is_counter=True)
    size = "Bytes of gossip packets, sealed, without IP and UDP headers."
    yield labelled("packet_bytes", size, directions, named["packet_bytes"], is_counter=True)
    what = "Whatever else the node has counted, by the name that GET /api/v1/node gives it."
    yield labelled("events", what, ("event",), rest, is_counter=True)


def _plain(name: str, what: str, value: float) -> Metric:
    return labelled(name, what, (), {(): value})
