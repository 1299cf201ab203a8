"""Consul's catalog and health endpoints: services, instances, nodes and checks. Every agent has all of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.catalog_rows import CatalogContext, CatalogInstance, Json
from gossipreg.frontends.consul.context import ConsulContext, constant_response
from gossipreg.frontends.consul.kept import shown_meta
from gossipreg.frontends.serving.response import HttpError, Reply, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.model import Address, Instance, Member, Status
from gossipreg.text import shown

#: An instance with all that one can have, and its node: what can be filtered by.
_MEMBER: Final = Member("n", Address("127.0.0.1", 1), Status.ALIVE, 0, 0, zone="z")
_SEEN: Final = CatalogInstance(
    Instance(id="i", service="s", host="127.0.0.1", port=1, tags=("t",), zone="z", owner="n"), _MEMBER, healthy=True
)
_CLUSTER: Final = CatalogContext("d", {"n": _MEMBER})
_ENTRY: Final = _CLUSTER.entry(_SEEN)
_ROW: Final = _CLUSTER.row(_SEEN)
_CHECK: Final = _ENTRY["Checks"][1]
_NODE: Final = _ENTRY["Node"]


#: The endpoints that answer about other datacenters, too.
REGIONAL: Final = frozenset({"/v1/health/service/{name}", "/v1/catalog/service/{name}", "/v1/catalog/services"})


# Of one service


async def health_service(context: ConsulContext) -> Reply:
    """The instances of a service, with their nodes and checks."""
    passing = context.query.flag("passing")

    def wanted(entry: Json) -> bool:
        return not passing or catalog_rows.worst(entry["Checks"]) == catalog_rows.PASSING

    return await _of_service(
        context,
        "entries",
        passing,
        shape=CatalogContext.entry,
        example=_ENTRY,
        meta=lambda row: row["Node"]["Meta"],
        wanted=wanted,
    )


async def catalog_service(context: ConsulContext) -> Reply:
    """The instances of a service, each beside its node."""
    return await _of_service(context, "rows", shape=CatalogContext.row, example=_ROW, meta=lambda row: row["NodeMeta"])


async def health_checks(context: ConsulContext) -> Reply:
    """The checks of a service's instances."""
    name = context.arguments["name"]
    keep, node_meta = context.filter(_CHECK), context.node_meta()

    async def make(slicer: TimeSlicer) -> bytes:
        cluster = context.cluster()
        return await slicer.json_list(
            check if node_meta(cluster.node_of(seen)["Meta"]) and keep(check) else None
            for seen in await _seen(context, cluster, name)
            for check in cluster.own_checks(seen.instance)
        )

    return await context.answer(name, ("checks", name, *_shaping(context)), make)


async def _of_service(
    context: ConsulContext,
    *key: Hashable,
    shape: Callable[[CatalogContext, CatalogInstance], Json],
    example: Mapping[str, Any],
    meta: Callable[[Json], Json],
    wanted: Callable[[Json], bool] = lambda _row: True,
) -> Reply:
    name = context.arguments["name"]
    keep, node_meta = context.filter(example), context.node_meta()
    tags = {tag.lower() for tag in context.query.all("tag")}
    region = context.region
    if region is not None:

        async def regional() -> tuple[bytes, int, float, bool]:
            found = await context.node.fetch(name, str(region))
            cluster = CatalogContext(str(region), found.members)
            seen = cluster.seen(found.instances, found.healthy)
            rows = (shape(cluster, each) for each in seen if tags <= {tag.lower() for tag in each.instance.tags})
            wanted_rows = (row if wanted(row) and node_meta(meta(row)) and keep(row) else None for row in rows)
            return await TimeSlicer().json_list(wanted_rows), found.index, found.age, found.stale

        return await context.answer_about(name, region, regional)

    async def make(slicer: TimeSlicer) -> bytes:
        cluster, near = context.cluster(), context.near()
        found = [
            each
            async for each in slicer.over(await _seen(context, cluster, name))
            if tags <= {tag.lower() for tag in each.instance.tags}
        ]
        rows = (shape(cluster, each) for each in (sorted(found, key=near) if near is not None else found))
        return await slicer.json_list(
            row if wanted(row) and node_meta(meta(row)) and keep(row) else None for row in rows
        )

    return await context.answer(name, (*key, name, *_shaping(context)), make)


def _shaping(context: ConsulContext) -> tuple[tuple[str, str], ...]:
    """What of the query makes the answer another one."""
    return tuple(pair for pair in context.query.pairs if pair[0] in ("tag", "near", "node-meta", "filter"))


async def _seen(context: ConsulContext, cluster: CatalogContext, service: str) -> Iterator[CatalogInstance]:
    await decoded(context.node, service)
    return _seen_now(context, cluster, service)


async def _all_seen(context: ConsulContext, cluster: CatalogContext) -> Iterable[CatalogInstance]:
    names = list(context.node.services())
    for name in names:
        await decoded(context.node, name)
    return chain.from_iterable(_seen_now(context, cluster, name) for name in names)


def _seen_now(context: ConsulContext, cluster: CatalogContext, service: str) -> Iterator[CatalogInstance]:
    return cluster.seen(context.node.lookup(service, healthy=False), context.node.lookup(service))


# Of everything


async def catalog_services(context: ConsulContext) -> Reply:
    """Every service, with the tags that any of its instances has."""
    region = context.region
    if region is not None:

        async def regional() -> tuple[bytes, int, float, bool]:
            found = await context.node.fetch_directory(str(region))
            return (
                encode({name: found.services[name] for name in sorted(found.services)}),
                found.index,
                found.age,
                found.stale,
            )

        if _shaping(context):
            raise HttpError(400, "the services of another datacenter cannot be filtered")
        return await context.answer_about(None, region, regional)
    keep, node_meta = context.filter(_ROW), context.node_meta()
    shaping = _shaping(context)

    def wanted(cluster: CatalogContext, seen: CatalogInstance) -> bool:
        row = cluster.row(seen)
        return node_meta(row["NodeMeta"]) and keep(row)

    async def make(slicer: TimeSlicer) -> bytes:
        cluster = context.cluster()
        if not shaping:
            return encode(
                {name: piece.tags for name, piece in (await context.state.service_rows.all(cluster, slicer)).items()}
            )
        tags: dict[str, set[str]] = {}
        async for seen in slicer.over(await _all_seen(context, cluster)):
            if wanted(cluster, seen):
                tags.setdefault(seen.instance.service, set()).update(seen.instance.tags)
        return encode({name: sorted(found) for name, found in tags.items()})

    return await context.answer(None, ("services", *shaping), make)


async def catalog_nodes(context: ConsulContext) -> Reply:
    """Every node that has not left, the nearest to ``near`` first."""
    keep, node_meta = context.filter(_NODE), context.node_meta()

    async def make(slicer: TimeSlicer) -> bytes:
        cluster = context.cluster()
        there = [each for each in cluster.members.values() if each.status is not Status.LEFT]
        nearness = context.nearness()
        if nearness is not None:
            there.sort(key=lambda each: (nearness(each.name, each.zone), each.name))
        written = (cluster.written[name] for name in sorted(cluster.written) if name not in cluster.members)
        rows = chain(map(cluster.node, there), map(cluster.written_node, written))
        return await slicer.json_list(row if node_meta(row["Meta"]) and keep(row) else None for row in rows)

    return await context.answer(None, ("nodes", *_shaping(context)), make)


async def catalog_node(context: ConsulContext) -> Reply:
    """One node with what it offers, by id; null if there is none."""
    name, keep = context.arguments["node"], context.filter(_ENTRY["Service"])

    async def make(slicer: TimeSlicer) -> bytes:
        cluster = context.cluster()
        found = _node(cluster, name)
        if found is None:
            return b"null"
        offered = await _offered(context, cluster, found["Node"], slicer)
        rows = [catalog_rows.service(each) async for each in slicer.over(offered)]
        return encode({"Node": found, "Services": {row["ID"]: row for row in rows if keep(row)}})

    return await context.answer(None, ("node", name, *_shaping(context)), make)


async def catalog_node_services(context: ConsulContext) -> Reply:
    """One node with a list of what it offers."""
    name, keep = context.arguments["node"], context.filter(_ENTRY["Service"])

    async def make(slicer: TimeSlicer) -> bytes:
        cluster = context.cluster()
        found = _node(cluster, name)
        if found is None:
            return encode({"Node": None, "Services": []})
        offered = await _offered(context, cluster, found["Node"], slicer)
        shapes = map(catalog_rows.service, offered)
        rows = await slicer.json_list(row if keep(row) else None for row in shapes)
        return b'{"Node":%b,"Services":%b}' % (encode(found), rows)

    return await context.answer(None, ("node-services", name, *_shaping(context)), make)


async def _offered(context: ConsulContext, cluster: CatalogContext, node: str, slicer: TimeSlicer) -> list[Instance]:
    """What one node offers."""
    every = slicer.over(await _all_seen(context, cluster))
    return [each.instance async for each in every if catalog_rows.node_name(each.instance) == node]


async def health_node(context: ConsulContext) -> Reply:
    """The checks of one node and of what it offers."""
    name, keep = context.arguments["node"], context.filter(_CHECK)

    async def make(slicer: TimeSlicer) -> bytes:
        cluster = context.cluster()
        found = _node(cluster, name)
        if found is None:
            return b"[]"
        rows = await _checks(context, cluster, slicer)
        return await slicer.json_list(each if each["Node"] == found["Node"] and keep(each) else None for each in rows)

    return await context.answer(None, ("node-checks", name, *_shaping(context)), make)


async def health_state(context: ConsulContext) -> Reply:
    """Every check that is in a state, or in any."""
    state, keep, node_meta = context.arguments["state"], context.filter(_CHECK), context.node_meta()
    if state not in ("any", "unknown", *catalog_rows.STATES):
        raise HttpError(400, f"{shown(state)} is none of any, unknown, {', '.join(catalog_rows.STATES)}")

    shaping = _shaping(context)

    async def make(slicer: TimeSlicer) -> bytes:
        cluster = context.cluster()
        if state == "any" and not shaping:
            return await _every_check(context, cluster, slicer)
        metas = {name: shown_meta(stated) for name, stated in cluster.written.items()}
        metas |= {name: cluster.meta(member) for name, member in cluster.members.items()}

        def wanted(row: Json) -> bool:
            return state in ("any", row["Status"]) and node_meta(metas.get(row["Node"], {})) and keep(row)

        return await slicer.json_list(
            each if wanted(each) else None for each in await _checks(context, cluster, slicer)
        )

    return await context.answer(None, ("state", state, *shaping), make)


async def _every_check(context: ConsulContext, cluster: CatalogContext, slicer: TimeSlicer) -> bytes:
    """Every check, written down."""
    service_rows = (await context.state.service_rows.all(cluster, slicer)).values()
    checks = _node_checks(cluster, {name for piece in service_rows for name in piece.avoided})
    nodes = [encode(row) async for row in slicer.over(checks)]
    return b"[%b]" % b",".join([*nodes, *(piece.checks for piece in service_rows if piece.checks)])


async def _checks(context: ConsulContext, cluster: CatalogContext, slicer: TimeSlicer) -> Iterator[Json]:
    """Every check, each made as it is asked for."""
    every = [each async for each in slicer.over(await _all_seen(context, cluster))]
    nodes = _node_checks(cluster, {each.instance.owner for each in every if not each.reachable})
    return chain(nodes, (check for seen in every for check in cluster.own_checks(seen.instance)))


def _node_checks(cluster: CatalogContext, avoided: Container[str]) -> Iterator[Json]:
    """The checks of nodes themselves: one fails if it has failed, or if lookups avoid what it offers."""
    for each in cluster.members.values():
        if each.status is not Status.LEFT:
            yield cluster.serf(each.name, reachable=catalog_rows.present(each) and each.name not in avoided)
            yield from cluster.node_checks(each.name)
    for name in sorted(cluster.written):
        if name not in cluster.members:
            yield from cluster.written_checks(name)


def _node(cluster: CatalogContext, name: str) -> Json | None:
    """The node of that name, or of that node id."""
    found = cluster.members.get(name) or next(
        (m for m in cluster.members.values() if catalog_rows.node_id(m.name) == name), None
    )
    if found is not None:
        return None if found.status is Status.LEFT else cluster.node(found)
    return None if name not in cluster.written else cluster.written_node(cluster.written[name])


async def datacenters(context: ConsulContext) -> Reply:
    """Those that there are: this one first, then the others by their round trip."""
    own, *others = context.node.regions()
    others.sort(key=lambda each: (each.round_trip is None, each.round_trip or 0.0, each.name))
    return constant_response([each.name for each in (own, *others)])
