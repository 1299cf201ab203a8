"""Consul's ``/v1/agent`` endpoints: the instances and checks of this agent's own host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gossipreg import limits
from gossipreg.check import Check, CheckKind, CheckReport
from gossipreg.errors import MemberPresent
from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.catalog_rows import Json
from gossipreg.frontends.consul.context import ConsulContext, json_response, text_response
from gossipreg.frontends.consul.posted import JsonObject, PostedCheck, PostedService, read_check
from gossipreg.frontends.serving.check_permissions import outputs_for, permit_checks
from gossipreg.frontends.serving.response import HttpError, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import Health, Instance
from gossipreg.spec import InstanceSpec
from gossipreg.text import shown

_NO_REASON: Final = (
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
)

_NO_NODE_REASON: Final = (
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
)

#: What older clients say, after the paths.
_SHORT_STATES: Final = {"pass": "passing", "warn": "warning", "fail": "critical"}

_HTTP_STATUS: Final = {catalog_rows.PASSING: 200, catalog_rows.WARNING: 429, catalog_rows.CRITICAL: 503}


# What it offers


async def register_service(context: ConsulContext) -> Response:
    """Register an instance, in place of the one of that id.

    Checks that are not named again stay, unless the query has ``replace-existing-checks``.
    """
    posted = PostedService.parse(context.request.body)
    _permit_checks(context, posted.checks, posted.host)
    async with context.state.turn:
        there = context.node.own(posted.id)
        checks: dict[str, Check] = {}
        if there is not None and not context.query.flag("replace-existing-checks"):
            checks = {report.check.name: report.check for report in context.node.checks(posted.id)}
        checks |= {each.check.name: each.check for each in posted.checks}
        await _offer(context, posted, checks)
        context.state.check_ids.keep(context.node, posted.id, posted.checks)
    return text_response(200)


async def deregister_service(context: ConsulContext) -> Response:
    """Deregister an instance."""
    id_ = context.arguments["id"]
    if context.node.own(id_) is None:
        raise HttpError(404, f'Unknown service ID "{id_}". Ensure that the service ID is passed, not the service name.')
    await context.node.deregister(id_)
    return text_response(200)


async def service_maintenance(context: ConsulContext) -> Response:
    """Take an instance out, or back in."""
    id_, enable = context.arguments["id"], _enable(context)
    if context.node.own(id_) is None:
        raise HttpError(404, f'Unknown service ID "{id_}". Ensure that the service ID is passed, not the service name.')
    await context.node.set_maintenance(id_, _reason(context, _NO_REASON) if enable else None)
    return text_response(200)


async def maintenance(context: ConsulContext) -> Response:
    """Drain this node, or end that."""
    await (context.node.drain(_reason(context, _NO_NODE_REASON)) if _enable(context) else context.node.undrain())
    return text_response(200)


async def force_leave(context: ConsulContext) -> Response:
    """Have every node forget a member that failed; ``?prune`` asks for no more, since what is left is a tombstone.

    As with Consul, nothing comes of it for a member that is there.
    """
    with contextlib.suppress(MemberPresent):
        await context.node.forget(context.arguments["node"])
    return text_response(200)


async def leave(context: ConsulContext) -> Response:
    """Make the node leave."""
    context.server.leave()
    return text_response(200)


def _enable(context: ConsulContext) -> bool:
    text = context.query.first("enable").lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise HttpError(400, "Missing value for enable: write ?enable=true or ?enable=false")
    return context.query.flag("enable")


def _reason(context: ConsulContext, default: str) -> str:
    return (context.query.first("reason") or default)[: limits.REASON_CHARS_MAX]


# Its checks


async def register_check(context: ConsulContext) -> Response:
    """Give an instance one more check, or another one of that id."""
    table = JsonObject.parse(context.request.body)
    service = table.text("ServiceID")
    title = table.text("Name")
    if not title:
        raise HttpError(400, "Missing check name")
    if not service:
        raise HttpError(400, "ServiceID: is missing: a node has no checks of its own here, they belong to a service")
    posted = read_check(table, table.text("CheckID") or table.text("ID") or title, service)
    async with context.state.turn:
        there = _changeable(context, service)
        _permit_checks(context, (posted,), there.host)
        checks = {report.check.name: report.check for report in context.node.checks(service)}
        await _offer(context, there, {**checks, posted.check.name: posted.check})
        context.state.check_ids.keep(context.node, service, (posted,))
    return text_response(200)


async def deregister_check(context: ConsulContext) -> Response:
    """Check something no more."""
    async with context.state.turn:
        report = _report(context)
        there = _changeable(context, report.instance)
        checks = {each.check.name: each.check for each in context.node.checks(report.instance)}
        del checks[report.check.name]
        await _offer(context, there, checks)
    return text_response(200)


async def pass_check(context: ConsulContext) -> Response:
    """A service says that it is well."""
    return await _heartbeat(context, Health.PASSING, context.query.first("note"))


async def warn_check(context: ConsulContext) -> Response:
    """A service says that it is not quite well."""
    return await _heartbeat(context, Health.WARNING, context.query.first("note"))


async def fail_check(context: ConsulContext) -> Response:
    """A service says that it cannot serve."""
    return await _heartbeat(context, Health.CRITICAL, context.query.first("note"))


async def update_check(context: ConsulContext) -> Response:
    """A service says how it is, and why."""
    table = JsonObject.parse(context.request.body)
    status = table.text("Status")
    status = _SHORT_STATES.get(status, status)
    if status not in catalog_rows.STATES:
        raise HttpError(400, f"Invalid check status: {shown(status)} is none of {', '.join(catalog_rows.STATES)}")
    return await _heartbeat(context, Health(status), table.text("Output"))


async def _heartbeat(context: ConsulContext, health: Health, note: str) -> Response:
    report = _report(context)
    if report.check.kind is not CheckKind.TTL:
        raise HttpError(400, f"CheckID {shown(context.arguments['id'])} does not have associated TTL")
    await context.node.heartbeat(report.instance, check=report.check.name, health=health, note=note)
    return text_response(200)


def _report(context: ConsulContext) -> CheckReport:
    """The check that is meant. Raises a 404 ``HttpError``."""
    id_ = context.arguments["id"]
    report = context.state.check_ids.find(context.node, id_)
    if report is None:
        raise HttpError(404, f'Unknown check ID "{id_}". Ensure that the check ID is passed, not the check name.')
    return report


def _permit_checks(context: ConsulContext, posted: tuple[PostedCheck, ...], host: str | None) -> None:
    """Raise a ``HttpError`` for checks that this client may not have run for an instance at ``host``."""
    permit_checks(context.server.access, context.token, context.node, (each.check for each in posted), host)
    if context.node.command_checks != "api" and any(each.check.kind is CheckKind.COMMAND for each in posted):
        raise HttpError(400, "Scripts are disabled on this agent: start it with --command-checks api to take Args")


def _changeable(context: ConsulContext, id_: str) -> Instance:
    """This node's own instance of that id, if its checks can be changed. Raises ``HttpError``."""
    there = context.node.own(id_)
    if there is None:
        raise HttpError(400, f'ServiceID "{id_}" does not exist')
    if there.sealed:
        raise HttpError(
            409, f"{shown(id_)} has credentials, which would be lost: register it again at /api/v1/instances"
        )
    return there


async def _offer(context: ConsulContext, said: PostedService | Instance, checks: Mapping[str, Check]) -> None:
    """Offer what was posted, or what is offered already, with these checks."""
    spec = InstanceSpec(
        service=said.service,
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
    await context.node.register_spec(spec)


# What it offers, and how that is


async def services(context: ConsulContext) -> Response:
    """What this node offers, by id."""
    keep = context.filter(catalog_rows.service(_ANY))
    rows: dict[str, bytes | None] = {}
    async for each in TimeSlicer().over(_own(context)):
        row = catalog_rows.service(each)
        rows[each.id] = _entry(each.id, row) if keep(row) else None
    return _by_id(rows)


async def service(context: ConsulContext) -> Response:
    """One of those."""
    id_ = context.arguments["id"]
    mine = context.node.own(id_)
    found = None if mine is None else next((each for each in _own(context, mine.service) if each.id == id_), None)
    if found is None:
        raise HttpError(404, f'unknown service ID: "{id_}"')
    return json_response(catalog_rows.service(found))


async def checks(context: ConsulContext) -> Response:
    """The checks that this node runs, by id."""
    keep = context.filter(catalog_rows.own_checks(_ANY)[0])
    rows: dict[str, bytes | None] = {}
    slicer, example = TimeSlicer(), catalog_rows.own_checks(_ANY)[0]
    output = outputs_for(context.server.access, context.token)
    own = {each.id: each async for each in slicer.over(_own(context))}
    async for report in slicer.over(context.node.checks()):
        id_, title, notes = context.state.check_ids.of(report)
        there = own.get(report.instance)
        row = {
            **example,
            "Node": context.node.name,
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
    if context.node.drained is not None:
        out = catalog_rows.node_maintenance(context.node.name, context.node.drained or _NO_NODE_REASON)
        rows[out["CheckID"]] = _entry(out["CheckID"], out) if keep(out) else None
    async for instance in slicer.over(own.values()):
        for row in catalog_rows.own_checks(instance):
            if row["Type"] == "maintenance":
                rows[row["CheckID"]] = _entry(row["CheckID"], row) if keep(row) else None
    return _by_id(rows)


def _entry(id_: str, row: Json) -> bytes:
    """A row below its id, as it stands in an object."""
    return b"%b:%b" % (encode(id_), encode(row))


def _by_id(entries: Mapping[str, bytes | None]) -> Response:
    """An object of ``entries`` by their ids; without those that a filter left out."""
    return Response(200, b"{%b}" % b",".join(filter(None, entries.values())))


async def health_by_id(context: ConsulContext) -> Response:
    """How one of its instances is, in the status code too."""
    id_ = context.arguments["id"]
    mine = context.node.own(id_)
    found = [] if mine is None else [each for each in _own(context, mine.service) if each.id == id_]
    return await _health(context, found, f"ServiceId {id_} not found", alone=True)


async def health_by_name(context: ConsulContext) -> Response:
    """How its instances of a service are; the worst is in the status code."""
    name = context.arguments["name"]
    return await _health(context, _own(context, name), f"ServiceName {name} Not Found", alone=False)


async def _health(context: ConsulContext, found: Iterable[Instance], unknown: str, *, alone: bool) -> Response:
    statuses: set[str] = set()
    rows: list[bytes] = []
    async for each in TimeSlicer().over(found):
        checks_of = catalog_rows.own_checks(each)
        status = catalog_rows.worst(checks_of)
        statuses.add(status)
        rows.append(encode({"AggregatedStatus": status, "Service": catalog_rows.service(each), "Checks": checks_of}))
    if not rows:
        raise HttpError(404, unknown)
    worst = max(statuses, key=catalog_rows.STATES.index)
    if context.query.first("format") == "text":
        return text_response(_HTTP_STATUS[worst], worst)
    return Response(_HTTP_STATUS[worst], rows[0] if alone else b"[%b]" % b",".join(rows))


def _own(context: ConsulContext, service: str | None = None) -> Iterator[Instance]:
    """What this node offers, of ``service`` or of all, as lookups show it."""
    for name in context.node.services() if service is None else (service,):
        for each in context.node.lookup(name, healthy=False):
            if each.owner == context.node.name:
                yield each


_ANY: Final = Instance(id="i", service="s", host="127.0.0.1", port=1, zone="z", owner="n")
