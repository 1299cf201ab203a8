"""The Envoy API: endpoints of clusters, by EDS over REST, v3 of the xDS protocol.

A cluster is a service, and may be narrowed: ``orders|tag=v2|role=primary``. An Envoy gives its other
wishes in its node's metadata, under ``gossipreg``: see `DiscoveryRequest`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from ipaddress import ip_address
from operator import attrgetter
from typing import Any, Final, Self

import attrs
import trio

from gossipreg.errors import GossipregError
from gossipreg.frontends.serving.cache import IndexedCache
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.request import Request, split_target
from gossipreg.frontends.serving.response import DeferredResponse, HttpError, Reply, Response, encode, http_error
from gossipreg.frontends.serving.router import Router
from gossipreg.frontends.serving.scopes import Action
from gossipreg.frontends.serving.settling import is_settling
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.json_documents import read_json
from gossipreg.model import Instance, is_name
from gossipreg.text import shown
from gossipreg.values import frozen

#: What the resources are.
TYPE: Final = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

#: Longest that a poll may be held back (seconds).
WAIT_SECONDS_MAX: Final = 300.0

#: Assignments kept in their final form (bytes): of a thousand services of ordinary size. Clusters and zones are the
#: client's words, so their number bounds nothing.
KEPT_BYTES_MAX: Final = 8 * 1024 * 1024

#: Largest answer (bytes): a hundred thousand endpoints.
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024

#: Bytes digested before others may have their turn: a tenth of a millisecond.
_DIGESTED_AT_ONCE: Final = 65_536

#: The code of gRPC for each of HTTP's that we use; any other is INTERNAL.
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 503: 14}

_PATHS: Final = Router([("POST", "/v3/discovery:endpoints", Action.READ_CLUSTER)])


@frozen
class EnvoyCluster:
    """What one cluster is made of: a service's instances, or those with a tag, in a zone, in a role."""

    name: str  # as Envoy has it
    service: str
    tag: str | None = None
    zone: str | None = None
    role: str | None = None

    @classmethod
    def parse(cls, name: object) -> Self:
        """Read ``SERVICE|tag=TAG|zone=ZONE|role=ROLE``. Raises a 400 ``HttpError``."""
        if not isinstance(name, str):
            raise HttpError(400, f"resource_names: {shown(str(name))} is not a string")
        service, *narrowed = name.split("|")
        wanted = dict(part.partition("=")[::2] for part in narrowed)
        known = wanted.keys() <= {"tag", "zone", "role"} and len(wanted) == len(narrowed)
        if not is_name(service) or not known or not all(wanted.values()):
            raise HttpError(400, f"the cluster {shown(name)} is not SERVICE, with |tag=, |zone= or |role= behind it")
        return cls(name, service, **wanted)


@frozen
class DiscoveryRequest:
    """One poll by an Envoy."""

    clusters: tuple[EnvoyCluster, ...]
    version: str  # of the answer that it has; empty at first
    zone: str  # where it is
    own_zone_first: bool  # metadata gossipreg.priority = "zone": other zones get priority 1
    wait: float  # metadata gossipreg.wait: how long it likes to wait for a change (seconds)
    token: str | None  # metadata gossipreg.token, for Envoy cannot send a header

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a DiscoveryRequest. Raises a 400 ``HttpError``."""
        try:
            value = read_json(body)
        except ValueError as error:
            raise HttpError(400, f"the body is not JSON that can be read: {error}") from None
        if value is None:  # elsewhere null says that there is nothing, as in all JSON that is made of the protocol
            raise HttpError(400, "the body: null is not an object")
        request = _table(value, "the body")
        kind = _either(request, "type_url", TYPE)
        if kind != TYPE:
            raise HttpError(400, f"type_url: {shown(str(kind))} is not served here: there are endpoints only")
        names = _either(request, "resource_names", [])
        version = _either(request, "version_info", "")
        if not isinstance(names, list) or not isinstance(version, str):
            raise HttpError(400, "the body is no DiscoveryRequest: resource_names is a list, and version_info a string")
        node = _table(request.get("node"), "node")
        zone = _table(node.get("locality"), "node.locality").get("zone", "")
        wishes = _table(_table(node.get("metadata"), "node.metadata").get("gossipreg"), "node.metadata.gossipreg")
        return cls(
            tuple(dict.fromkeys(map(EnvoyCluster.parse, names))),  # each once: what is repeated would be written again
            version,
            str(zone),
            own_zone_first=wishes.get("priority") == "zone",
            wait=_seconds(wishes.get("wait", 0)),
            token=_token(wishes.get("token")),
        )


@attrs.define(eq=False, repr=False)
class Envoy:
    """Answers polls. An answer's version is a digest of its content: agents with the same state give the same one."""

    _kept: IndexedCache[bytes] = attrs.field(init=False, factory=lambda: IndexedCache[bytes](KEPT_BYTES_MAX))
    _told: set[str] = attrs.field(init=False, factory=set)  # versions, while the node is young

    @property
    def routes(self) -> tuple[tuple[str, str, Action], ...]:
        """See `CompatibilityApi`."""
        return _PATHS.routes

    def token(self, request: Request) -> str | None:
        """That of the header, or the one in the body."""
        try:
            return request.token or DiscoveryRequest.parse(request.body).token
        except HttpError:
            return None

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """The endpoints of the clusters that are asked for, or 304 if those are known."""
        pattern = ""
        try:
            found = _PATHS.find(request.method, split_target(request.target)[0])
            pattern = found.pattern
            poll = DiscoveryRequest.parse(request.body)
            server.access.permit(request.token or poll.token, found.handler)
            return pattern, await self._reply(poll, server.node)
        except (HttpError, GossipregError) as error:
            refused = http_error(error)
            document = {"code": _CODES.get(refused.status, 13), "message": str(refused)}
            return pattern, Response(refused.status, encode(document), refused.headers)

    async def _reply(self, poll: DiscoveryRequest, node: NodeApi) -> Reply:
        news = await self._news(poll, node)
        if news is not None:
            return news
        if not poll.wait:
            return Response(304)

        async def later(most: float = math.inf) -> Response:
            about = poll.clusters[0].service if len(poll.clusters) == 1 else None
            with trio.move_on_after(min(poll.wait, most)):
                while True:
                    index = node.index(about)
                    news = await self._news(poll, node)
                    if news is not None:
                        return news
                    await node.wait_changed(about, index)
            return Response(304)

        return DeferredResponse(later)

    async def _news(self, poll: DiscoveryRequest, node: NodeApi) -> Response | None:
        """What the Envoy does not have; None if there is nothing, or this node may only not have learnt it yet.

        Raises a 400 ``HttpError`` for more than one answer may hold.
        """
        slicer, resources, size = TimeSlicer(), list[bytes](), 0
        zone = poll.zone if poll.own_zone_first else None
        async with aclosing(slicer.over(poll.clusters)) as clusters:
            async for cluster in clusters:
                resources.append(await self._assignment(cluster, zone, node))
                size += len(resources[-1])
                if size > ANSWER_BYTES_MAX:
                    raise HttpError(400, f"resource_names: they come to over {ANSWER_BYTES_MAX} bytes: ask for fewer")
        body = b"[%b]" % b",".join(resources)
        version = await _digest(body, slicer)
        if version == poll.version:
            return None
        if is_settling(node.info()):
            if poll.version and poll.version not in self._told:
                return None
            self._told.add(version)
        else:
            self._told.clear()
        head = encode({"version_info": version, "type_url": TYPE})[:-1]
        return Response(200, b'%b,"resources":%b}' % (head, body))

    async def _assignment(self, cluster: EnvoyCluster, zone: str | None, node: NodeApi) -> bytes:
        index = node.index(cluster.service)

        async def make() -> tuple[bytes, bool]:
            await decoded(node, cluster.service)
            instances = node.lookup(cluster.service, tag=cluster.tag, zone=cluster.zone, role=cluster.role)
            head = encode({"@type": TYPE, "cluster_name": cluster.name})[:-1]
            made = b'%b,"endpoints":[%b]}' % (head, b",".join(await _localities(instances, zone, TimeSlicer())))
            return made, bool(instances)  # what does not exist is not kept: there is no end of it

        return await self._kept.fetch((cluster, zone), index, make)


async def _digest(body: bytes, slicer: TimeSlicer) -> str:
    """What an answer with these resources is called: agents that know the same call it the same."""
    digest, view = hashlib.sha256(), memoryview(body)
    async for start in slicer.over(range(0, len(body), _DIGESTED_AT_ONCE)):
        digest.update(view[start : start + _DIGESTED_AT_ONCE])
    return digest.hexdigest()[:16]


async def _localities(instances: Iterable[Instance], own_zone: str | None, slicer: TimeSlicer) -> list[bytes]:
    """The instances by zone. Envoy wants priorities without a gap: if its own zone has none, the others get 0."""
    zones: defaultdict[str, list[Instance]] = defaultdict(list)
    async for instance in slicer.over(instances):
        if instance.is_callable and _is_ip(
            instance.host
        ):  # one name, which Envoy cannot use here, would make it refuse all
            zones[instance.zone].append(instance)
    written = []
    for zone in sorted(zones):
        priority = int(own_zone is not None and own_zone in zones and zone != own_zone)
        head = encode({"locality": {"zone": zone}, "priority": priority})[:-1]
        rows = await slicer.json_list(map(_endpoint, sorted(zones[zone], key=attrgetter("id", "owner"))))
        written.append(b'%b,"lb_endpoints":%b}' % (head, rows))
    return written


def _endpoint(instance: Instance) -> Mapping[str, Any]:
    """An instance that can serve. Drained ones keep their connections, and are given no more; Envoy has no weight 0."""
    return {
        "endpoint": {"address": {"socket_address": {"address": instance.host, "port_value": instance.port}}},
        "health_status": "HEALTHY" if instance.weight else "DRAINING",
        "load_balancing_weight": max(1, instance.weight),
    }


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HttpError(400, f"{what}: {shown(json.dumps(value))} is not an object")
    return value


def _either(request: Mapping[str, Any], name: str, default: Any) -> Any:
    """A field by its name in the protocol's definition, or in the JSON that is made of it."""
    first, *others = name.split("_")
    return request.get(name, request.get(first + "".join(map(str.title, others)), default))


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= WAIT_SECONDS_MAX:
        raise HttpError(400, f"node.metadata.gossipreg.wait: not a number of seconds up to {WAIT_SECONDS_MAX:g}")
    return float(value)


def _token(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise HttpError(400, "node.metadata.gossipreg.token: not a string")
    return value
