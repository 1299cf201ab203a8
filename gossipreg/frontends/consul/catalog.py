"""Knows what is read from the catalog: who offers what, on which node, and how it is. Any agent knows all of it."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final

from gossipreg.frontends.consul import shapes
from gossipreg.frontends.consul.ask import Ask, json, once
from gossipreg.frontends.consul.shapes import Cluster, Json, Seen
from gossipreg.frontends.http.answers import Answer, Refusal, encode
from gossipreg.frontends.http.slices import Pace
from gossipreg.frontends.http.waiting import Waiting
from gossipreg.model import Address, Instance, Member, Status
from gossipreg.text import shown

Reply = Answer | Waiting

#: An instance with all that one can have, and its node: what can be filtered by.
_MEMBER: Final = Member("n", Address("127.0.0.1", 1), Status.ALIVE, 0, 0, zone="z")
_SEEN: Final = Seen(
    Instance(id="i", service="s", host="127.0.0.1", port=1, tags=("t",), zone="z", owner="n"), _MEMBER, healthy=True
)
_CLUSTER: Final = Cluster("d", {"n": _MEMBER})
_ENTRY: Final = _CLUSTER.entry(_SEEN)
_ROW: Final = _CLUSTER.row(_SEEN)
_CHECK: Final = _ENTRY["Checks"][1]
_NODE: Final = _ENTRY["Node"]


# Of one service


async def health_service(ask: Ask) -> Reply:
    """The instances of a service, with their nodes and checks."""
    passing = ask.query.flag("passing")

    def wanted(entry: Json) -> bool:
        return not passing or shapes.worst(entry["Checks"]) == shapes.PASSING

    return await _of_service(
        ask,
        "entries",
        passing,
        shape=Cluster.entry,
        example=_ENTRY,
        meta=lambda row: row["Node"]["Meta"],
        wanted=wanted,
    )


async def catalog_service(ask: Ask) -> Reply:
    """The instances of a service, each beside its node."""
    return await _of_service(ask, "rows", shape=Cluster.row, example=_ROW, meta=lambda row: row["NodeMeta"])


async def health_checks(ask: Ask) -> Reply:
    """The checks of a service's instances."""
    name = ask.arguments["name"]
    keep, node_meta = ask.filter(_CHECK), ask.node_meta()

    async def make(pace: Pace) -> bytes:
        cluster = ask.cluster()
        return await pace.json_list(
            check if node_meta(cluster.node_of(seen)["Meta"]) and keep(check) else None
            for seen in _seen(ask, cluster, name)
            for check in shapes.own_checks(seen.instance)
        )

    return await ask.answer(name, ("checks", name, *_shaping(ask)), make)


async def _of_service(
    ask: Ask,
    *key: Hashable,
    shape: Callable[[Cluster, Seen], Json],
    example: Mapping[str, Any],
    meta: Callable[[Json], Json],
    wanted: Callable[[Json], bool] = lambda _row: True,
) -> Reply:
    name = ask.arguments["name"]
    keep, node_meta = ask.filter(example), ask.node_meta()
    tags = {tag.lower() for tag in ask.query.all("tag")}

    async def make(pace: Pace) -> bytes:
        cluster, near = ask.cluster(), ask.near()
        found = [
            each
            async for each in pace.over(_seen(ask, cluster, name))
            if tags <= {tag.lower() for tag in each.instance.tags}
        ]
        rows = (shape(cluster, each) for each in (sorted(found, key=near) if near is not None else found))
        return await pace.json_list(row if wanted(row) and node_meta(meta(row)) and keep(row) else None for row in rows)

    return await ask.answer(name, (*key, name, *_shaping(ask)), make)


def _shaping(ask: Ask) -> tuple[tuple[str, str], ...]:
    """What of the query makes the answer another one."""
    return tuple(pair for pair in ask.query.pairs if pair[0] in ("tag", "near", "node-meta", "filter"))


def _seen(ask: Ask, cluster: Cluster, service: str) -> Iterator[Seen]:
    return cluster.seen(ask.node.lookup(service, healthy=False), ask.node.lookup(service))


def _all_seen(ask: Ask, cluster: Cluster) -> Iterable[Seen]:
    for name in ask.node.services():
        yield from _seen(ask, cluster, name)


# Of everything


async def catalog_services(ask: Ask) -> Reply:
    """Every service, with the tags that any of its instances has."""
    keep, node_meta = ask.filter(_ROW), ask.node_meta()
    shaping = _shaping(ask)

    def wanted(cluster: Cluster, seen: Seen) -> bool:
        row = cluster.row(seen)
        return node_meta(row["NodeMeta"]) and keep(row)

    async def make(pace: Pace) -> bytes:
        cluster = ask.cluster()
        if not shaping:
            return encode({name: piece.tags for name, piece in (await ask.memory.pieces.all(cluster, pace)).items()})
        tags: dict[str, set[str]] = {}
        async for seen in pace.over(_all_seen(ask, cluster)):
            if wanted(cluster, seen):
                tags.setdefault(seen.instance.service, set()).update(seen.instance.tags)
        return encode({name: sorted(found) for name, found in tags.items()})

    return await ask.answer(None, ("services", *shaping), make)


async def catalog_nodes(ask: Ask) -> Reply:
    """Every node that has not left, those of the zone of ``near`` first."""
    keep, node_meta = ask.filter(_NODE), ask.node_meta()
    near = ask.query.first("near").replace("_agent", ask.node.name)

    async def make(pace: Pace) -> bytes:
        cluster = ask.cluster()
        there = [each for each in cluster.members.values() if each.status is not Status.LEFT]
        if near in cluster.members:
            zone = cluster.members[near].zone
            there.sort(key=lambda each: (each.name != near, not zone or each.zone != zone, each.name))
        rows = map(cluster.node, there)
        return await pace.json_list(row if node_meta(row["Meta"]) and keep(row) else None for row in rows)

    return await ask.answer(None, ("nodes", *_shaping(ask)), make)


async def catalog_node(ask: Ask) -> Reply:
    """One node with what it offers, by id; null if there is none."""
    name = ask.arguments["node"]

    async def make(pace: Pace) -> bytes:
        cluster = ask.cluster()
        found = _node(cluster, name)
        if found is None:
            return b"null"
        offered = await _offered(ask, cluster, found, pace)
        rows = {each.id: shapes.service(each) async for each in pace.over(offered)}
        return encode({"Node": cluster.node(found), "Services": rows})

    return await ask.answer(None, ("node", name), make)


async def catalog_node_services(ask: Ask) -> Reply:
    """One node with a list of what it offers."""
    name = ask.arguments["node"]

    async def make(pace: Pace) -> bytes:
        cluster = ask.cluster()
        found = _node(cluster, name)
        if found is None:
            return encode({"Node": None, "Services": []})
        offered = await _offered(ask, cluster, found, pace)
        rows = await pace.json_list(map(shapes.service, offered))
        return b'{"Node":%b,"Services":%b}' % (encode(cluster.node(found)), rows)

    return await ask.answer(None, ("node-services", name), make)


async def _offered(ask: Ask, cluster: Cluster, node: Member, pace: Pace) -> list[Instance]:
    """What one node offers."""
    every = pace.over(_all_seen(ask, cluster))
    return [each.instance async for each in every if each.instance.owner == node.name]


async def health_node(ask: Ask) -> Reply:
    """The checks of one node and of what it offers."""
    name, keep = ask.arguments["node"], ask.filter(_CHECK)

    async def make(pace: Pace) -> bytes:
        cluster = ask.cluster()
        found = _node(cluster, name)
        if found is None:
            return b"[]"
        rows = await _checks(ask, cluster, pace)
        return await pace.json_list(each if each["Node"] == found.name and keep(each) else None for each in rows)

    return await ask.answer(None, ("node-checks", name, *_shaping(ask)), make)


async def health_state(ask: Ask) -> Reply:
    """Every check that is in a state, or in any."""
    state, keep, node_meta = ask.arguments["state"], ask.filter(_CHECK), ask.node_meta()
    if state not in ("any", *shapes.STATES):
        raise Refusal(400, f"{shown(state)} is none of any, {', '.join(shapes.STATES)}")

    shaping = _shaping(ask)

    async def make(pace: Pace) -> bytes:
        cluster = ask.cluster()
        if state == "any" and not shaping:
            return await _every_check(ask, cluster, pace)
        metas = {name: cluster.node(member)["Meta"] for name, member in cluster.members.items()}

        def wanted(row: Json) -> bool:
            return state in ("any", row["Status"]) and node_meta(metas.get(row["Node"], {})) and keep(row)

        return await pace.json_list(each if wanted(each) else None for each in await _checks(ask, cluster, pace))

    return await ask.answer(None, ("state", state, *shaping), make)


async def _every_check(ask: Ask, cluster: Cluster, pace: Pace) -> bytes:
    """Every check, written down."""
    pieces = (await ask.memory.pieces.all(cluster, pace)).values()
    checks = _node_checks(cluster, {name for piece in pieces for name in piece.avoided})
    nodes = [encode(row) async for row in pace.over(checks)]
    return b"[%b]" % b",".join([*nodes, *(piece.checks for piece in pieces if piece.checks)])


async def _checks(ask: Ask, cluster: Cluster, pace: Pace) -> Iterator[Json]:
    """Every check, each made as it is asked for."""
    every = [each async for each in pace.over(_all_seen(ask, cluster))]
    nodes = _node_checks(cluster, {each.instance.owner for each in every if not each.reachable})
    return chain(nodes, (check for seen in every for check in shapes.own_checks(seen.instance)))


def _node_checks(cluster: Cluster, avoided: Container[str]) -> Iterator[Json]:
    """The checks of nodes themselves: one fails if it has failed, or if lookups avoid what it offers."""
    for each in cluster.members.values():
        if each.status is not Status.LEFT:
            yield shapes.serf(each.name, reachable=shapes.present(each) and each.name not in avoided)


def _node(cluster: Cluster, name: str) -> Member | None:
    """The member of that name, or of that node id."""
    found = cluster.members.get(name) or next(
        (m for m in cluster.members.values() if shapes.node_id(m.name) == name), None
    )
    return None if found is None or found.status is Status.LEFT else found


async def datacenters(ask: Ask) -> Reply:
    """The one that there is: the cluster."""
    return once([ask.node.info().cluster])


# Who leads: nobody, so the agent that is asked


async def leader(ask: Ask) -> Reply:
    """Where to ask: the agent that is asked is as good as any."""
    return json(str(ask.node.info().address))


async def peers(ask: Ask) -> Reply:
    """Every member that is there."""
    return json([str(each.address) for each in ask.node.members() if shapes.present(each)])


# Prepared queries: each service is one


async def execute(ask: Ask) -> Reply:
    """The passing instances of the service that the query is called after."""
    name = ask.arguments["query"]
    limit = ask.query.first("limit") or "0"
    if not limit.isascii() or not limit.isdigit():
        raise Refusal(400, f"limit: {shown(limit)} is not a whole number")
    cluster, near, pace = ask.cluster(), ask.near(), Pace()
    seen = [each async for each in pace.over(_seen(ask, cluster, name))]
    if not seen:
        raise Refusal(404, f"Query not found: there is no service {shown(name)}, and a query here is a service's name")
    entries = map(cluster.entry, sorted(seen, key=near) if near is not None else seen)
    passing = (each for each in entries if shapes.worst(each["Checks"]) == shapes.PASSING)
    nodes = await pace.json_list(islice(passing, int(limit[:6]) or None))
    rest = {"DNS": {"TTL": ""}, "Datacenter": cluster.datacenter, "Failovers": 0}
    return Answer(200, b'{"Service":%b,"Nodes":%b,%b' % (encode(name), nodes, encode(rest)[1:]))
