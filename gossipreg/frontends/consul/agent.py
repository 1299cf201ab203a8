"""Knows what is asked of the agent itself: what it runs for its own host's services, and what they tell it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gossipreg import limits
from gossipreg.check import Check, CheckKind, CheckReport
from gossipreg.frontends.consul import shapes
from gossipreg.frontends.consul.ask import Ask, json, plain
from gossipreg.frontends.consul.posted import PostedCheck, PostedService, Table, read_check
from gossipreg.frontends.consul.shapes import Json
from gossipreg.frontends.http.answers import Answer, Refusal, encode
from gossipreg.frontends.http.checking import outputs_for, permit_checks
from gossipreg.frontends.http.slices import Pace
from gossipreg.model import Health, Instance, Member, Status
from gossipreg.text import shown

#: The version of Consul's API that this is: its clients compare it.
_API: Final = "1.18.0"

_NO_REASON: Final = (
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
)

_NO_NODE_REASON: Final = (
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
)

#: How Serf counts what a member is.
_SERF_STATUS: Final = {Status.ALIVE: 1, Status.SUSPECT: 1, Status.LEFT: 3, Status.FAILED: 4}

_HTTP_STATUS: Final = {shapes.PASSING: 200, shapes.WARNING: 429, shapes.CRITICAL: 503}


# What it offers


async def register_service(ask: Ask) -> Answer:
    """Offer an instance, in place of the one of that id. Checks that are not named again stay, unless told."""
    posted = PostedService.parse(ask.request.body)
    _permit_checks(ask, posted.checks, posted.host)
    async with ask.memory.turn:
        there = ask.node.own(posted.id)
        checks: dict[str, Check] = {}
        if there is not None and not ask.query.flag("replace-existing-checks"):
            checks = {report.check.name: report.check for report in ask.node.checks(posted.id)}
        checks |= {each.check.name: each.check for each in posted.checks}
        await _offer(ask, posted, checks)
        ask.memory.titles.keep(ask.node, posted.id, posted.checks)
    return plain(200)


async def deregister_service(ask: Ask) -> Answer:
    """Withdraw an instance."""
    id_ = ask.arguments["id"]
    if ask.node.own(id_) is None:
        raise Refusal(404, f'Unknown service ID "{id_}". Ensure that the service ID is passed, not the service name.')
    await ask.node.deregister(id_)
    return plain(200)


async def service_maintenance(ask: Ask) -> Answer:
    """Take an instance out, or back in."""
    id_, enable = ask.arguments["id"], _enable(ask)
    if ask.node.own(id_) is None:
        raise Refusal(404, f'Unknown service ID "{id_}". Ensure that the service ID is passed, not the service name.')
    await ask.node.set_maintenance(id_, _reason(ask, _NO_REASON) if enable else None)
    return plain(200)


async def maintenance(ask: Ask) -> Answer:
    """Have everybody send this node's instances no new work, or send work again."""
    await (ask.node.drain(_reason(ask, _NO_NODE_REASON)) if _enable(ask) else ask.node.undrain())
    return plain(200)


async def force_leave(ask: Ask) -> Answer:
    """Have every node forget a member that failed; ``?prune`` asks for no more, since what is left is a tombstone."""
    await ask.node.forget(ask.arguments["node"])
    return plain(200)


async def leave(ask: Ask) -> Answer:
    """Have the node go in good order."""
    ask.room.leave()
    return plain(200)


def _enable(ask: Ask) -> bool:
    text = ask.query.first("enable").lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise Refusal(400, "Missing value for enable: write ?enable=true or ?enable=false")
    return ask.query.flag("enable")


def _reason(ask: Ask, default: str) -> str:
    return (ask.query.first("reason") or default)[: limits.REASON_CHARS_MAX]


# Its checks


async def register_check(ask: Ask) -> Answer:
    """Give an instance one more check, or another one of that id."""
    table = Table.parse(ask.request.body)
    service = table.text("ServiceID")
    title = table.text("Name")
    if not title:
        raise Refusal(400, "Missing check name")
    if not service:
        raise Refusal(400, "ServiceID: is missing: a node has no checks of its own here, they belong to a service")
    posted = read_check(table, table.text("CheckID") or table.text("ID") or title, service)
    async with ask.memory.turn:
        there = _changeable(ask, service)
        _permit_checks(ask, (posted,), there.host)
        checks = {report.check.name: report.check for report in ask.node.checks(service)}
        await _offer(ask, there, {**checks, posted.check.name: posted.check})
        ask.memory.titles.keep(ask.node, service, (posted,))
    return plain(200)


async def deregister_check(ask: Ask) -> Answer:
    """Check something no more."""
    async with ask.memory.turn:
        report = _report(ask)
        there = _changeable(ask, report.instance)
        checks = {each.check.name: each.check for each in ask.node.checks(report.instance)}
        del checks[report.check.name]
        await _offer(ask, there, checks)
    return plain(200)


async def pass_check(ask: Ask) -> Answer:
    """A service says that it is well."""
    return await _heartbeat(ask, Health.PASSING, ask.query.first("note"))


async def warn_check(ask: Ask) -> Answer:
    """A service says that it is not quite well."""
    return await _heartbeat(ask, Health.WARNING, ask.query.first("note"))


async def fail_check(ask: Ask) -> Answer:
    """A service says that it cannot serve."""
    return await _heartbeat(ask, Health.CRITICAL, ask.query.first("note"))


async def update_check(ask: Ask) -> Answer:
    """A service says how it is, and why."""
    table = Table.parse(ask.request.body)
    status = table.text("Status")
    if status not in shapes.STATES:
        raise Refusal(400, f"Invalid check status: {shown(status)} is none of {', '.join(shapes.STATES)}")
    return await _heartbeat(ask, Health(status), table.text("Output"))


async def _heartbeat(ask: Ask, health: Health, note: str) -> Answer:
    report = _report(ask)
    if report.check.kind is not CheckKind.TTL:
        raise Refusal(400, f"CheckID {shown(ask.arguments['id'])} does not have associated TTL")
    await ask.node.heartbeat(report.instance, check=report.check.name, health=health, note=note)
    return plain(200)


def _report(ask: Ask) -> CheckReport:
    """The check that is meant. Raises a 404 ``Refusal``."""
    id_ = ask.arguments["id"]
    report = ask.memory.titles.find(ask.node, id_)
    if report is None:
        raise Refusal(404, f'Unknown check ID "{id_}". Ensure that the check ID is passed, not the check name.')
    return report


def _permit_checks(ask: Ask, posted: tuple[PostedCheck, ...], host: str | None) -> None:
    """Raise a ``Refusal`` for checks that this client may not have run for an instance at ``host``."""
    permit_checks(ask.room.access, ask.token, ask.node, (each.check for each in posted), host)
    if ask.node.command_checks != "api" and any(each.check.kind is CheckKind.COMMAND for each in posted):
        raise Refusal(400, "Scripts are disabled on this agent: start it with --command-checks api to take Args")


def _changeable(ask: Ask, id_: str) -> Instance:
    """This node's own instance of that id, if its checks can be changed. Raises ``Refusal``."""
    there = ask.node.own(id_)
    if there is None:
        raise Refusal(400, f'ServiceID "{id_}" does not exist')
    if there.sealed:
        raise Refusal(409, f"{shown(id_)} has credentials, which would be lost: register it again at /api/v1/instances")
    return there


async def _offer(ask: Ask, said: PostedService | Instance, checks: Mapping[str, Check]) -> None:
    """Offer what was posted, or what is offered already, with these checks."""
    await ask.node.register(
        said.service,
        id=said.id,
        port=said.port,
        host=said.host,
        tags=said.tags,
        meta=said.meta,
        weight=said.weight,
        role=said.role,
        term=said.term,
        zone=said.zone,
        checks=tuple(checks.values()),
    )


# What it knows of itself


async def itself(ask: Ask) -> Answer:
    """The agent about itself."""
    info = ask.node.info()
    me = next(each for each in ask.node.members() if each.name == info.name)
    config = {
        "Datacenter": info.cluster,
        "PrimaryDatacenter": info.cluster,
        "NodeName": info.name,
        "NodeID": shapes.node_id(info.name),
        "Revision": "gossipreg",
        "Server": True,
        "Version": _API,
    }
    stats = {name: str(count) for name, count in info.counters.items()}
    member = _member(me, info.cluster)
    meta = {"zone": info.zone} if info.zone else {}
    return json(
        {
            "Config": config,
            "DebugConfig": {},
            "Coord": None,
            "Member": member,
            "Meta": meta,
            "Stats": {"gossipreg": stats},
        }
    )


async def members(ask: Ask) -> Answer:
    """Every member that is remembered."""
    cluster = ask.node.info().cluster
    return Answer(200, await Pace().json_list(_member(each, cluster) for each in ask.node.members()))


def _member(member: Member, datacenter: str) -> Json:
    return {
        "Name": member.name,
        "Addr": member.address.host,
        "Port": member.address.port,
        "Tags": {"role": "node", "dc": datacenter, "id": shapes.node_id(member.name), "zone": member.zone},
        "Status": _SERF_STATUS[member.status],
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    }


async def services(ask: Ask) -> Answer:
    """What this node offers, by id."""
    keep = ask.filter(shapes.service(_ANY))
    rows: dict[str, bytes | None] = {}
    async for each in Pace().over(_own(ask)):
        row = shapes.service(each)
        rows[each.id] = _entry(each.id, row) if keep(row) else None
    return _by_id(rows)


async def service(ask: Ask) -> Answer:
    """One of those."""
    id_ = ask.arguments["id"]
    mine = ask.node.own(id_)
    found = None if mine is None else next((each for each in _own(ask, mine.service) if each.id == id_), None)
    if found is None:
        raise Refusal(404, f'unknown service ID: "{id_}"')
    return json(shapes.service(found))


async def checks(ask: Ask) -> Answer:
    """The checks that this node runs, by id."""
    keep = ask.filter(shapes.own_checks(_ANY)[0])
    rows: dict[str, bytes | None] = {}
    pace, example = Pace(), shapes.own_checks(_ANY)[0]
    output = outputs_for(ask.room.access, ask.token)
    own = {each.id: each async for each in pace.over(_own(ask))}
    async for report in pace.over(ask.node.checks()):
        id_, title, notes = ask.memory.titles.of(report)
        there = own.get(report.instance)
        row = {
            **example,
            "Node": ask.node.name,
            "CheckID": id_,
            "Name": title,
            "Status": str(report.health),
            "Notes": notes,
            "Output": output(report) or report.reason,
            "ServiceID": report.instance,
            "ServiceName": report.service,
            "ServiceTags": [] if there is None else list(there.tags),
            "Type": report.check.kind if report.check.kind is not CheckKind.COMMAND else "script",
        }
        rows[id_] = _entry(id_, row) if keep(row) else None
    if ask.node.drained is not None:
        out = shapes.node_maintenance(ask.node.name, ask.node.drained or _NO_NODE_REASON)
        rows[out["CheckID"]] = _entry(out["CheckID"], out) if keep(out) else None
    async for instance in pace.over(own.values()):
        for row in shapes.own_checks(instance):
            if row["Type"] == "maintenance":
                rows[row["CheckID"]] = _entry(row["CheckID"], row) if keep(row) else None
    return _by_id(rows)


def _entry(id_: str, row: Json) -> bytes:
    """A row below its id, as it stands in an object."""
    return b"%b:%b" % (encode(id_), encode(row))


def _by_id(entries: Mapping[str, bytes | None]) -> Answer:
    """An object of ``entries`` by their ids; without those that a filter left out."""
    return Answer(200, b"{%b}" % b",".join(filter(None, entries.values())))


async def health_by_id(ask: Ask) -> Answer:
    """How one of its instances is, in the status code too."""
    id_ = ask.arguments["id"]
    mine = ask.node.own(id_)
    found = [] if mine is None else [each for each in _own(ask, mine.service) if each.id == id_]
    return await _health(ask, found, f"ServiceId {id_} not found", alone=True)


async def health_by_name(ask: Ask) -> Answer:
    """How its instances of a service are; the worst is in the status code."""
    name = ask.arguments["name"]
    return await _health(ask, _own(ask, name), f"ServiceName {name} Not Found", alone=False)


async def _health(ask: Ask, found: Iterable[Instance], unknown: str, *, alone: bool) -> Answer:
    statuses: set[str] = set()
    rows: list[bytes] = []
    async for each in Pace().over(found):
        checks_of = shapes.own_checks(each)
        status = shapes.worst(checks_of)
        statuses.add(status)
        rows.append(encode({"AggregatedStatus": status, "Service": shapes.service(each), "Checks": checks_of}))
    if not rows:
        raise Refusal(404, unknown)
    worst = max(statuses, key=shapes.STATES.index)
    if ask.query.first("format") == "text":
        return plain(_HTTP_STATUS[worst], worst)
    return Answer(_HTTP_STATUS[worst], rows[0] if alone else b"[%b]" % b",".join(rows))


def _own(ask: Ask, service: str | None = None) -> Iterator[Instance]:
    """What this node offers, of ``service`` or of all, as everybody sees it."""
    for name in ask.node.services() if service is None else (service,):
        for each in ask.node.lookup(name, healthy=False):
            if each.owner == ask.node.name:
                yield each


_ANY: Final = Instance(id="i", service="s", host="127.0.0.1", port=1, zone="z", owner="n")
