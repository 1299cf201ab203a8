"""Consul's ``/v1/agent`` endpoints about checks: those that this agent runs, and what services say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from gossipreg.check import Check, CheckKind, CheckReport
from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.catalog_rows import Json
from gossipreg.frontends.consul.check_ids import CheckIdMap
from gossipreg.frontends.consul.context import ConsulContext, text_response
from gossipreg.frontends.consul.kept import KEPT, KeptCheck, KeptService, kept_of, shown_meta
from gossipreg.frontends.consul.posted import JsonObject, PostedCheck, PostedService, read_check
from gossipreg.frontends.serving.check_permissions import outputs_for, permit_checks
from gossipreg.frontends.serving.joint_registration import checks_of
from gossipreg.frontends.serving.node_api import NodeApi, each_check
from gossipreg.frontends.serving.response import HttpError, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import NODE_SERVICE, Health, Instance
from gossipreg.spec import InstanceSpec
from gossipreg.text import shown

#: What older clients say, after the paths.
_SHORT_STATES: Final = {"pass": "passing", "warn": "warning", "fail": "critical"}

#: An instance with all that one can have: what can be filtered by.
ANY: Final = Instance(id="i", service="s", host="127.0.0.1", port=1, zone="z", owner="n")


async def register_check(context: ConsulContext) -> Response:
    """Give an instance one more check, or another one of that id; without ``ServiceID``, the node itself."""
    table = JsonObject.parse(context.request.body)
    service = table.text("ServiceID")
    title = table.text("Name")
    if not title:
        raise HttpError(400, "Missing check name")
    service = service or NODE_SERVICE
    posted = read_check(table, table.text("CheckID") or table.text("ID") or title, service)
    async with context.server.turn:
        there = node_record(context.node) if service == NODE_SERVICE else _changeable(context, service)
        if service == NODE_SERVICE:
            posted = attrs.evolve(posted, check=attrs.evolve(posted.check, deregister_after=None))
        permit(context, (posted,), there.host)
        is_new = context.node.own(service) is None
        checks = {} if is_new else {report.check.name: report.check for report in context.node.checks(service)}
        kept = KeptService() if is_new else kept_service(context.node, there)
        kept = attrs.evolve(kept, checks={**kept.checks, posted.check.name: posted.kept})
        await release_ids(context, service, (posted,))
        await offer(context, there, {**checks, posted.check.name: posted.check}, kept)
        context.state.check_ids.keep(context.node, service, (posted,))
    return text_response(200)


async def deregister_check(context: ConsulContext) -> Response:
    """Check something no more."""
    async with context.server.turn:
        report = _report(context)
        there = _changeable(context, report.instance)
        await _drop_check(context, there, report)
    return text_response(200)


async def _drop_check(context: ConsulContext, there: Instance, report: CheckReport) -> None:
    """Offer an instance without one of its checks."""
    checks = {each.check.name: each.check for each in context.node.checks(there.id)}
    checks.pop(report.check.name, None)
    kept = kept_service(context.node, there)
    if there.id == NODE_SERVICE:
        await offer_node(context, there, checks, kept)
        return
    kept = attrs.evolve(kept, checks={name: each for name, each in kept.checks.items() if name in checks})
    await offer(context, there, checks, kept)


async def release_ids(context: ConsulContext, instance: str, posted: Iterable[PostedCheck]) -> None:
    """Take the checks of other instances away whose ids are posted for this one, as Consul does."""
    for each in posted:
        report = context.state.check_ids.taken_from(context.node, each, instance)
        there = None if report is None else context.node.own(report.instance)
        if report is not None and there is not None and not there.sealed:
            await _drop_check(context, there, report)


def node_record(node: NodeApi) -> Instance:
    """What this node states of itself, or would."""
    return node.own(NODE_SERVICE) or Instance(
        id=NODE_SERVICE, service=NODE_SERVICE, host=node.address.host, port=0, owner=node.name
    )


async def state_maintenance(context: ConsulContext, reason: str) -> None:
    """Have the node state why it drains, for clients of other agents; empty: it does not."""
    async with context.server.turn:
        there = node_record(context.node)
        own = context.node.own(NODE_SERVICE)
        checks = {} if own is None else {each.check.name: each.check for each in context.node.checks(NODE_SERVICE)}
        kept = KeptService() if own is None else kept_service(context.node, there)
        if kept.maintenance != reason:
            await offer_node(context, there, checks, attrs.evolve(kept, maintenance=reason))


async def offer_node(context: ConsulContext, there: Instance, checks: Mapping[str, Check], kept: KeptService) -> None:
    """Have the node state its checks and why it drains; nothing is stated once there is nothing to state."""
    if checks or kept.maintenance:
        await offer(context, there, checks, kept)
        return
    meta = shown_meta(there)
    if meta:
        await context.node.register_spec(InstanceSpec(service=there.service, id=there.id, port=0, meta=meta))
    elif context.node.own(NODE_SERVICE) is not None:
        await context.node.deregister(NODE_SERVICE)


def kept_checks(node: NodeApi, instance: Instance) -> dict[str, KeptCheck]:
    """What clients call the checks of an own instance, by our names; those of Eureka's clients are not among them."""
    mine = {check.name for check in checks_of(node, instance, KEPT)}
    return {
        report.check.name: CheckIdMap.of(node, report)
        for report in node.checks(instance.id)
        if report.check.name in mine
    }


def kept_service(node: NodeApi, instance: Instance) -> KeptService:
    """What is kept of an own instance, whichever API registered it."""
    return attrs.evolve(kept_of(instance) or KeptService(), checks=kept_checks(node, instance))


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


def permit(context: ConsulContext, posted: tuple[PostedCheck, ...], host: str | None) -> None:
    """Raise a ``HttpError`` for checks that this client may not have run for an instance at ``host``."""
    permit_checks(context.server.access, context.token, context.node, (each.check for each in posted), host)
    if context.node.command_checks != "api" and any(each.check.kind is CheckKind.COMMAND for each in posted):
        raise HttpError(400, "Scripts are disabled on this agent: start it with --command-checks api to take Args")


def _changeable(context: ConsulContext, id_: str) -> Instance:
    """This node's own instance of that id, if its checks can be changed. Raises ``HttpError``."""
    there = context.node.own(id_)
    if there is None:
        raise HttpError(404, f'ServiceID "{id_}" does not exist')
    if there.sealed:
        raise HttpError(
            409, f"{shown(id_)} has credentials, which would be lost: register it again at /api/v1/instances"
        )
    return there


async def offer(context: ConsulContext, there: Instance, checks: Mapping[str, Check], kept: KeptService) -> None:
    """Offer what is offered already with these checks, and keep what no field holds."""
    await context.node.register_spec(spec_of(there, checks, kept))


def spec_of(said: PostedService | Instance, checks: Mapping[str, Check], kept: KeptService) -> InstanceSpec:
    """How an instance is offered that was posted, or is offered already, with these checks."""
    return InstanceSpec(
        service=said.service,
        id=said.id,
        port=said.port,
        host=said.host,
        tags=said.tags,
        meta={**said.meta, KEPT: kept.text()},
        weight=said.weight,
        role=said.role,
        term=said.term,
        zone=said.zone,
        checks=tuple(checks.values()),
    )


# What there is


async def checks(context: ConsulContext) -> Response:
    """The checks that this node runs, by id."""
    keep = context.filter(catalog_rows.own_checks(ANY)[0])
    rows: dict[str, bytes | None] = {}
    slicer, example = TimeSlicer(), catalog_rows.own_checks(ANY)[0]
    output = outputs_for(context.server.access, context.token)
    mine = {each.id: each async for each in slicer.over(own(context))}
    async for report in slicer.over(each_check(context.node)):
        if report.instance not in mine and report.instance != NODE_SERVICE:
            continue  # of a node that no agent runs on
        called = CheckIdMap.of(context.node, report)
        there = mine.get(report.instance)
        is_the_nodes = report.instance == NODE_SERVICE
        row = {
            **example,
            "Node": context.node.name,
            "CheckID": called.id,
            "Name": called.title,
            "Status": str(report.health),
            "Notes": called.notes,
            "Output": output(report) or report.reason,
            "ServiceID": "" if is_the_nodes else report.instance,
            "ServiceName": "" if is_the_nodes else report.service,
            "ServiceTags": [] if there is None else list(there.tags),
            "Type": called.type,
        }
        rows[called.id] = entry(called.id, row) if keep(row) else None
    if context.node.drained is not None:
        out = catalog_rows.node_maintenance(context.node.name, context.node.drained or catalog_rows.NO_NODE_REASON)
        rows[out["CheckID"]] = entry(out["CheckID"], out) if keep(out) else None
    async for instance in slicer.over(mine.values()):
        for row in catalog_rows.own_checks(instance, draining=context.node.drained is not None):
            if row["Type"] == "maintenance":
                rows[row["CheckID"]] = entry(row["CheckID"], row) if keep(row) else None
    return by_id(rows)


def entry(id_: str, row: Json) -> bytes:
    """A row below its id, as it stands in an object."""
    return b"%b:%b" % (encode(id_), encode(row))


def by_id(entries: Mapping[str, bytes | None]) -> Response:
    """An object of ``entries`` by their ids; without those that a filter left out."""
    return Response(200, b"{%b}" % b",".join(filter(None, entries.values())))


def own(context: ConsulContext, service: str | None = None) -> Iterator[Instance]:
    """What this node offers, of ``service`` or of all, as lookups show it."""
    for name in context.node.services() if service is None else (service,):
        for each in context.node.lookup(name, healthy=False):
            if each.owner == context.node.name and catalog_rows.node_name(each) == each.owner:
                yield each
