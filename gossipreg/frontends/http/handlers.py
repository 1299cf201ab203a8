"""Handlers: one short function for each route, from a request to its answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterable

import attrs

from gossipreg.check import CheckReport
from gossipreg.frontends.http import bulk, regional, render, roles
from gossipreg.frontends.http.blocking import reply
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.http.events import EventStream
from gossipreg.frontends.http.lookups import LookupQuery
from gossipreg.frontends.serving.check_permissions import outputs_for, permit_checks
from gossipreg.frontends.serving.node_api import NodeApi, each_check
from gossipreg.frontends.serving.response import DeferredResponse, HttpError, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.identities import MemberIdentity
from gossipreg.json_documents import read_json
from gossipreg.model import Health, Member
from gossipreg.node_info import PROTOCOL_VERSION
from gossipreg.spec import FIELDS, NEXT, InstanceSpec
from gossipreg.text import shortened, shown


async def health(context: NativeContext) -> Response:
    """Whether this node is up; load balancers and supervisors ask this. The details need a token that may read them."""
    node = context.node
    status, word = (503, "leaving") if node.leaving else (200, "draining" if node.draining else "ok")
    # The details take some fifty times as long as the rest, so they are gathered only for those that may read them.
    return Response.of(status, {"status": word, **(render.node(node.info()) if _may_know(context) else {})})


async def ready(context: NativeContext) -> Response:
    """Whether what this node answers is the cluster's: it has joined, or was told to be alone, and is not leaving."""
    info = context.node.info()
    if info.leaving:
        return Response.of(503, {"ready": False, "reason": "this node is leaving"})
    if not info.joined:
        why = "; ".join(f"{each.seed}: {each.detail}" for each in info.join_failures) or "no seed has answered"
        return Response.of(
            503, {"ready": False, "reason": f"not joined: {why}" if _may_know(context) else "not joined"}
        )
    return Response.of(200, {"ready": True, "reason": ""})


def _may_know(context: NativeContext) -> bool:
    return context.server.may_read_status(context.request)


async def node(context: NativeContext) -> Response:
    """This node about itself."""
    return Response.of(200, render.node(context.node.info()))


async def cells(context: NativeContext) -> Response:
    """The cells of the region, this node's own first, and how old what is known of each is; none if it is flat."""
    return Response.of(200, {"cells": [render.cell(each) for each in context.node.cells()]})


async def members(context: NativeContext) -> Response | DeferredResponse:
    """Every member that this node remembers, with what it is known to run; ``versions`` asks those not known yet.

    With ``all_cells`` also those of the region's other cells, of which less is known: no round trip, and no version.
    """
    asks, of_all = context.flag("versions"), context.flag("all_cells")

    async def body() -> bytes:
        if asks:
            await context.observations.learn_versions()
        report = context.node.identity()
        proven = {} if report.mode == "off" else {each.name: each for each in report.members}
        there = context.node.region_members() if of_all else context.node.members()
        rows = (
            _member(context, each)
            | _identity(proven.get(each.name))
            | ({"cell": each.cell, "stale": each.stale} if of_all else {})
            for each in there
        )
        return b'{"members":%b}' % await TimeSlicer().json_list(rows)

    return await reply(context, None, body)


def _member(context: NativeContext, member: Member) -> render.Json:
    seconds = context.node.round_trip(member.name)
    return render.member(member) | {
        "round_trip": None if seconds is None else round(seconds, 6),
        "version": context.observations.version(member),
        "protocol": PROTOCOL_VERSION,
    }


def _identity(identity: MemberIdentity | None) -> render.Json:
    """What a member proves of itself, where this node has an identity."""
    return {} if identity is None else {"identity": render.member_identity(identity)}


async def forget(context: NativeContext) -> Response:
    """Have every node forget a member that failed, and what it offered."""
    await context.node.forget(context.argument)
    return Response(204)


async def services(context: NativeContext) -> Response | DeferredResponse:
    """Every service, with how many instances it has."""
    region = context.other_region()
    if region is not None:
        return await regional.services(context, region)

    async def body() -> bytes:
        counts = TimeSlicer().over(sorted(context.node.services().items()))
        rows = [b"%b:%b" % (encode(name), encode(render.service(count))) async for name, count in counts]
        return b'{"services":{%b}}' % b",".join(rows)

    return await reply(context, None, body)


async def lookup(context: NativeContext) -> Response | DeferredResponse:
    """The instances of one service that can serve now."""
    asked = LookupQuery(
        service=context.argument,
        healthy=not context.flag("all"),
        tag=context.text("tag"),
        zone=context.text("zone"),
        role=context.text("role"),
        panic=context.share("panic"),
        stated=context.flag("stated"),
    )
    region, failover = context.other_region(), context.failover()
    if region is not None or failover:
        return await regional.lookup(context, asked, region, failover)
    return await reply(context, asked.service, lambda: context.lookups.body(asked))


async def register(context: NativeContext) -> Response:
    """Register an instance with this node, or replace the one it has under that id."""
    if not context.request.announces_body:
        raise HttpError(411, "an instance is expected as JSON: send it as the body, with a Content-Length")
    if bulk.is_list(context):
        return await bulk.register_many(context)
    wanted = read_spec(context.request.body)
    if context.node.command_checks != "api" and wanted.runs_commands:
        raise HttpError(403, "checks: commands are not taken over HTTP: start the agent with --command-checks api")
    permit_checks(context.server.access, context.request.token, context.node, wanted.checks, wanted.host)
    before = _own_ids(context.node, wanted)
    if wanted.term == NEXT:
        wanted = attrs.evolve(wanted, term=await roles.next_term(context.node, wanted.service))
    registered = await context.node.register_spec(wanted)
    return Response.of(200 if registered.id in before else 201, render.written(context.node, registered))


def read_spec(body: bytes) -> InstanceSpec:
    """The instance that a client wants registered. Raises a 400 ``HttpError``, or ``InvalidInstance``."""
    try:
        document = read_json(body)
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON that can be read: {error}") from None
    if not isinstance(document, dict):
        text = shortened(json.dumps(document))
        raise HttpError(400, f"the body is {text}, not an object with the fields {', '.join(FIELDS)}")
    return InstanceSpec.read(document)


def _own_ids(node: NodeApi, wanted: InstanceSpec) -> set[str]:
    """The ids under which ``node`` may already have what is ``wanted`` now: the one it names, or any it could get."""
    if wanted.id is not None:
        return set() if node.own(wanted.id) is None else {wanted.id}
    return {each.id for each in node.lookup(wanted.service, healthy=False) if each.owner == node.name}


async def deregister(context: NativeContext) -> Response:
    """Remove an instance that this node registered."""
    await context.node.deregister(context.argument)
    return Response(204)


async def every_check(context: NativeContext) -> Response:
    """The checks of all that this node registered, as they stand."""
    return Response(200, b'{"checks":%b}' % await _checks(context, each_check(context.node)))


async def checks_of(context: NativeContext) -> Response:
    """The checks of one instance that this node registered."""
    return Response(200, b'{"checks":%b}' % await _checks(context, context.node.checks(context.argument)))


def _checks(context: NativeContext, reports: Iterable[CheckReport]) -> Awaitable[bytes]:
    """``reports`` in JSON, with the output that the client's token is for."""
    output = outputs_for(context.server.access, context.request.token)
    return TimeSlicer().json_list(render.check(each, output(each)) for each in reports)


async def heartbeat(context: NativeContext) -> Response:
    """The service says how it is."""
    health = context.text("health") or Health.PASSING
    if health not in ("passing", "warning", "critical"):
        raise HttpError(400, f"health: {shown(health)} is neither passing, warning nor critical")
    await context.node.heartbeat(
        context.argument, check=context.text("check"), health=Health(health), note=context.text("note") or ""
    )
    return Response(204)


async def begin_maintenance(context: NativeContext) -> Response:
    """Take an instance out, though its checks may pass."""
    reason = context.text("reason") or ""
    return Response.of(200, render.written(context.node, await context.node.set_maintenance(context.argument, reason)))


async def end_maintenance(context: NativeContext) -> Response:
    """Leave it to the checks of an instance again whether it can serve."""
    return Response.of(200, render.written(context.node, await context.node.set_maintenance(context.argument, None)))


async def events(context: NativeContext) -> EventStream:
    """What happens, as it happens."""
    everything = context.flag("all")
    share = context.share("panic")
    if everything and share:
        raise HttpError(400, "panic: has no meaning with all: give one of the two")
    region, failover = context.other_region(), context.failover()
    if region is not None or failover:
        return regional.events(context, region, failover)
    return EventStream(
        context.node,
        context.text("service"),
        share,
        not everything,
        context.event_encoder,
        is_admitted=context.is_admitted,
    )


async def drain(context: NativeContext) -> Response:
    """Drain this node: its instances get no new work, and it stays."""
    await context.node.drain()
    return Response.of(200, {"draining": True})


async def undrain(context: NativeContext) -> Response:
    """End the drain: instances get work again."""
    await context.node.undrain()
    return Response.of(200, {"draining": False})


async def leave(context: NativeContext) -> Response:
    """Have this node drain, announce that it goes, and close."""
    await context.server.audit.write("leave", "done")
    context.server.leave()
    return Response.of(202, {"status": "leaving"})
