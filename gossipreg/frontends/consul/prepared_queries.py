"""Consul's prepared queries: defining, listing, explaining and executing them.

A client may also execute the name of a service for which no query is defined. It gets the service's instances that can
serve: of this region or, if it cannot serve, of the next region in the agent's setting ``failover``.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.errors import InvalidPolicy, RegionUnavailable
from gossipreg.federation import NEAREST
from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.catalog_rows import CatalogContext, CatalogInstance, Json
from gossipreg.frontends.consul.context import ConsulContext, json_response, text_response
from gossipreg.frontends.consul.posted import JsonObject
from gossipreg.frontends.consul.query_execution import QueryRunner, UnknownInstances
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.frontends.serving.node_api import fetch_each
from gossipreg.frontends.serving.response import HttpError, Reply, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.prepared_query import PreparedQuery
from gossipreg.text import shown

#: The only type of template: of Consul and here.
_TEMPLATE: Final = "name_prefix_match"

#: Digits of ``limit`` that are read, without leading zeros: no service has more instances than these can say.
_LIMIT_DIGITS: Final = 6

#: How long the first execution of a query waits for the data of other regions (seconds).
_PATIENCE_SECONDS: Final = 3.0

#: Fields that Consul's queries may have and ours may not, with the reason: of the query, and of its ``Service``.
_FOREIGN: Final = {
    "Session": "there are no sessions here, so a query cannot end with one: delete it",
}
_FOREIGN_OF_SERVICE: Final = {
    "Connect": "gossipreg is no service mesh: leave it out",
    "SamenessGroup": "there are no sameness groups here: list the datacenters in Failover",
    "Peer": "there are no peers here: list the datacenters in Failover",
}

#: The fields of `PreparedQuery` -> their names in Consul's API, for error messages.
_NAMES: Final = {
    "id": "ID",
    "name": "Name",
    "service": "Service.Service",
    "tags": "Service.Tags",
    "near": "Service.Near",
    "nearest": "Service.Failover.NearestN",
    "regions": "Service.Failover",
    "node_meta": "Service.NodeMeta",
    "service_meta": "Service.ServiceMeta",
    "ttl": "DNS.TTL",
    "template": "Template",
}


# Defining


async def create(context: ConsulContext) -> Reply:
    """Define a new query; the answer contains its id."""
    table = JsonObject.parse(context.request.body)
    if table.text("ID"):
        raise HttpError(400, "ID: must be empty for a new query: it is chosen here")
    query = await _set(context, table, str(uuid.uuid4()))
    return json_response({"ID": query.id})


async def update(context: ConsulContext) -> Reply:
    """Replace the definition of a query."""
    query = _defined(context)
    await _set(context, JsonObject.parse(context.request.body), query.id)
    return text_response(200)


async def delete(context: ConsulContext) -> Reply:
    """Remove a query."""
    await context.node.remove_policy(_defined(context).key)
    return text_response(200)


async def _set(context: ConsulContext, table: JsonObject, id_: str) -> PreparedQuery:
    query = read(table, id_)
    names = (
        each.name.lower() for each in context.state.queries.all if each.id != id_ and each.template == query.template
    )
    if query.name.lower() in names:
        raise HttpError(400, f"Name: there is another query {shown(query.name)}")
    try:
        await context.node.set_policy(query)
    except InvalidPolicy as error:
        if error.field is None:
            raise
        raise HttpError(400, f"{_NAMES.get(error.field, error.field)}: {error.problem}") from None
    return query


def read(table: JsonObject, id_: str) -> PreparedQuery:
    """The query in a client's request. Raises ``HttpError`` 400 for what is invalid or not supported."""
    service, template = table.table("Service"), table.table("Template")
    failover, meta = service.table("Failover"), service.map("NodeMeta")
    for of, foreign in ((table, _FOREIGN), (service, _FOREIGN_OF_SERVICE)):
        for name, why in foreign.items():
            if of.get(name):
                raise HttpError(400, f"{of.where}{name}: {why}")
    if template.text("Type") not in ("", _TEMPLATE):
        raise HttpError(400, f"Template.Type: {shown(template.text('Type'))} is not {_TEMPLATE}")
    if template.text("Regexp"):
        raise HttpError(400, "Template.Regexp: a name is not taken apart here: use ${name.prefix} and ${name.suffix}")
    nearest = failover.whole("NearestN") or 0  # capped below: a node follows no more regions
    targets = failover.tables("Targets")
    if targets and (nearest or failover.texts("Datacenters")):
        raise HttpError(400, "Service.Failover.Targets: cannot be had with NearestN or Datacenters")
    if not service.text("Service"):
        raise HttpError(400, "Service.Service: say which service is meant")
    return PreparedQuery(
        id=id_,
        name=table.text("Name"),
        service=service.text("Service"),
        tags=service.texts("Tags"),
        only_passing=service.truth("OnlyPassing"),
        near=service.text("Near"),
        nearest=min(nearest, limits.REGIONS_MAX),
        regions=tuple(map(_target, targets)) or failover.texts("Datacenters"),
        ignored_checks=service.texts("IgnoreCheckIDs"),
        node_meta=meta,
        service_meta=service.map("ServiceMeta"),
        ttl=table.table("DNS").text("TTL"),
        template=bool(template.text("Type")),
        remove_empty_tags=template.truth("RemoveEmptyTags"),
    )


def _target(table: JsonObject) -> str:
    datacenter = table.text("Datacenter")
    for name in ("Peer", "Partition", "Namespace"):
        if table.text(name):
            raise HttpError(400, f"Service.Failover.{table.where}{name}: only a Datacenter can be a target here")
    if not datacenter:
        raise HttpError(400, f"Service.Failover.{table.where}Datacenter: is missing")
    return datacenter


# Listing


async def list_all(context: ConsulContext) -> Reply:
    """List all queries."""
    return json_response([_document(each) for each in context.state.queries.all])


async def get(context: ConsulContext) -> Reply:
    """Show one query, by its id."""
    return json_response([_document(_defined(context))])


async def explain(context: ConsulContext) -> Reply:
    """Show the query that a name resolves to, with its template filled in."""
    found = context.state.queries.find(context.arguments["query"])
    if found is None:
        raise _not_found(context.arguments["query"])
    return json_response({"Query": _document(found)})


def _defined(context: ConsulContext) -> PreparedQuery:
    id_ = context.arguments["query"].lower()
    found = next((each for each in context.state.queries.all if each.id == id_), None)
    if found is None:
        raise _not_found(id_)
    return found


def _not_found(name: str) -> HttpError:
    return HttpError(404, f"Query not found: {shown(name)}")


def _document(query: PreparedQuery) -> Json:
    """The query as Consul's API shows it, where an empty list is null."""
    template = {"Type": _TEMPLATE if query.template else "", "Regexp": "", "RemoveEmptyTags": query.remove_empty_tags}
    return {
        "ID": query.id,
        "Name": query.name,
        "Session": "",
        "Token": "",
        "Template": template,
        "Service": {
            "Service": query.service,
            "Failover": {"NearestN": query.nearest, "Datacenters": list(query.regions) or None, "Targets": None},
            "OnlyPassing": query.only_passing,
            "IgnoreCheckIDs": list(query.ignored_checks) or None,
            "Near": query.near,
            "Tags": list(query.tags) or None,
            "NodeMeta": query.node_meta or None,
            "ServiceMeta": query.service_meta or None,
            "Connect": False,
        },
        "DNS": {"TTL": query.ttl},
        "CreateIndex": 1,
        "ModifyIndex": 1,
    }


# Executing


async def execute(context: ConsulContext) -> Reply:
    """Run the query of that name or id; if there is none, list the instances of the service of that name."""
    name = context.arguments["query"]
    limit = context.query.first("limit") or "0"
    if not limit.isascii() or not limit.isdigit():
        raise HttpError(400, f"limit: {shown(limit)} is not a whole number")
    most = int(limit.lstrip("0")[:_LIMIT_DIGITS] or "0") or None
    if len(name) > limits.PREPARED_QUERY_NAME_CHARS_MAX:  # no query and no service has so long a name
        raise _not_found(name)
    query = context.state.queries.find(name)
    if query is not None:
        return await _defined_query(context, query, most)
    return await _service_of_that_name(context, name, most)


async def _defined_query(context: ConsulContext, query: PreparedQuery, most: int | None) -> Reply:
    if not context.state.runners:
        context.state.runners.append(QueryRunner(context.node, shows_nodes=True))
    runner = context.state.runners[0]
    await runner.warm(query)
    found = runner.run(query)
    if isinstance(found, UnknownInstances):
        await fetch_each(context.node, found.awaited, _PATIENCE_SECONDS)
        found = runner.run(query)
    if isinstance(found, UnknownInstances):
        raise RegionUnavailable(f"it is not known whether another region has the service {shown(query.service)}")
    near = context.query.first("near") or query.near
    return await _executed(
        query.service,
        runner.by_nearness(found, near),
        most,
        found.cluster,
        failovers=found.failovers,
        ttl=query.ttl,
        age=found.age if found.failovers else None,
        stale=found.stale,
    )


async def _service_of_that_name(context: ConsulContext, name: str, most: int | None) -> Reply:
    failover = context.server.failover
    if failover.regions:
        region = await _region_in_use(context, name, failover)
        if region is not None:
            return await _service_elsewhere(context, name, region, most, failover)
    cluster, near, slicer = context.cluster(), context.near(), TimeSlicer()
    await decoded(context.node, name)
    offered = cluster.seen(context.node.lookup(name, healthy=False), context.node.lookup(name))
    seen = [each async for each in slicer.over(offered)]
    if not seen:
        raise HttpError(
            404,
            f"Query not found: there is neither a query {shown(name)} nor a service of that name, which would be one",
        )
    able = filter(_can_serve(cluster), sorted(seen, key=near) if near is not None else seen)
    return await _executed(name, able, most, cluster)


async def _region_in_use(context: ConsulContext, name: str, failover: FailoverList) -> str | None:
    """The region from which the service is answered, by the node's failover rule; None for its own region."""
    node = context.node
    is_there, unknown = bool(node.lookup(name, healthy=False)), False
    for each in (each.name for each in node.regions() if not each.own):  # which services they have may not be known yet
        try:
            if name in (await node.fetch_directory(each)).services:
                is_there = True
                await node.fetch(name, each)
        except RegionUnavailable:
            unknown = True
    if not is_there:
        if unknown:
            raise RegionUnavailable(f"it is not known whether another region has the service {shown(name)}")
        return None  # so that the node does not follow a service that no region has
    found = node.with_failover(name, failover.regions, threshold=failover.threshold)
    return found[0].region or None if found else None


async def _service_elsewhere(
    context: ConsulContext, name: str, region: str, most: int | None, failover: FailoverList
) -> Reply:
    found = context.node.regional_service(name, region)
    cluster = CatalogContext(region, found.members)
    named = [each for each in failover.regions if each != NEAREST]
    tried = 1 + named.index(region) if region in named else 1
    able = filter(_can_serve(cluster), cluster.seen(found.instances, found.healthy))
    return await _executed(name, able, most, cluster, failovers=tried, age=found.age, stale=found.stale)


async def _executed(
    service: str,
    seen: Iterable[CatalogInstance],
    most: int | None,
    cluster: CatalogContext,
    *,
    failovers: int = 0,
    ttl: str = "",
    age: float | None = None,
    stale: bool = False,
) -> Response:
    """The answer with the first ``most`` of ``seen``. ``age`` of another region's data in seconds; None for our own."""
    nodes = await TimeSlicer().json_list(map(cluster.entry, islice(seen, most)))
    rest = {"DNS": {"TTL": ttl}, "Datacenter": cluster.datacenter, "Failovers": failovers}
    reply = Response(200, b'{"Service":%b,"Nodes":%b,%b' % (encode(service), nodes, encode(rest)[1:]))
    if age is None:
        return reply
    known = (b"x-consul-knownleader", b"false" if stale else b"true")
    return attrs.evolve(reply, headers=(known, (b"x-consul-lastcontact", b"%d" % math.ceil(1000 * age))))


def _can_serve(cluster: CatalogContext) -> Callable[[CatalogInstance], bool]:
    """A predicate: no check of the instance is critical. The rule of Consul's queries without ``OnlyPassing``."""
    return lambda seen: catalog_rows.worst(cluster.checks(seen)) != catalog_rows.CRITICAL
