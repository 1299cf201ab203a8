"""Consul's ``/v1/agent`` endpoints about services: the instances of this agent's own host."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterable
from typing import Final

import attrs
import trio

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.errors import ConfigError, GossipregError, JoinFailed, MemberPresent, UnknownMember
from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.agent_checks import (
    ANY,
    by_id,
    entry,
    kept_checks,
    own,
    permit,
    release_ids,
    spec_of,
    state_maintenance,
)
from gossipreg.frontends.consul.catalog_rows import Json
from gossipreg.frontends.consul.context import ConsulContext, error_response, text_response
from gossipreg.frontends.consul.kept import KEPT
from gossipreg.frontends.consul.posted import PostedService
from gossipreg.frontends.serving import joint_registration
from gossipreg.frontends.serving.response import DeferredResponse, HttpError, Reply, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import NODE_SERVICE, Instance
from gossipreg.text import shown
from gossipreg.values import frozen

_NO_REASON: Final = (
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
)

_HTTP_STATUS: Final = {catalog_rows.PASSING: 200, catalog_rows.WARNING: 429, catalog_rows.CRITICAL: 503}


# What it offers


async def register_service(context: ConsulContext) -> Response:
    """Register an instance, in place of the one of that id.

    Checks that are not named again stay, unless the query has ``replace-existing-checks``.
    """
    posted = PostedService.parse(context.request.body)
    permit(context, posted.checks, posted.host)
    async with context.server.turn:
        there = context.node.own(posted.id)
        checks: dict[str, Check] = {}
        if there is not None and not context.query.flag("replace-existing-checks"):
            checks = {each.name: each for each in joint_registration.checks_of(context.node, there, KEPT)}
        before = {} if there is None else kept_checks(context.node, there)
        checks |= {each.check.name: each.check for each in posted.checks}
        names = before | {each.check.name: each.kept for each in posted.checks}
        kept = attrs.evolve(posted.kept, checks={name: names[name] for name in checks})
        await release_ids(context, posted.id, posted.checks)
        spec = spec_of(posted, checks, kept)
        twin = joint_registration.twin(context.node, KEPT, spec)
        await joint_registration.register(context.node, KEPT, spec, (there, twin))
        context.state.check_ids.keep(context.node, posted.id, posted.checks)
    return text_response(200)


async def deregister_service(context: ConsulContext) -> Response:
    """Deregister an instance."""
    id_ = context.arguments["id"]
    async with context.server.turn:
        there = None if id_ == NODE_SERVICE else context.node.own(id_)
        if there is None:
            raise HttpError(
                404, f'Unknown service ID "{id_}". Ensure that the service ID is passed, not the service name.'
            )
        await joint_registration.deregister(context.node, KEPT, there)
    return text_response(200)


async def service_maintenance(context: ConsulContext) -> Response:
    """Take an instance out, or back in."""
    id_, enable = context.arguments["id"], _enable(context)
    if id_ == NODE_SERVICE or context.node.own(id_) is None:
        raise HttpError(404, f'Unknown service ID "{id_}". Ensure that the service ID is passed, not the service name.')
    await context.node.set_maintenance(id_, _reason(context, _NO_REASON) if enable else None)
    return text_response(200)


async def maintenance(context: ConsulContext) -> Response:
    """Drain this node, or end that."""
    if _enable(context):
        reason = _reason(context, catalog_rows.NO_NODE_REASON)
        await context.node.drain(reason)
        await state_maintenance(context, reason)
    else:
        await context.node.undrain()
        await state_maintenance(context, "")
    return text_response(200)


async def force_leave(context: ConsulContext) -> Response:
    """Have every node forget a member that failed; ``?prune`` asks for no more, since what is left is a tombstone.

    As with Consul, nothing comes of it for a member that is there, and a name that no member has is 500; so is that of
    a member of another cell, which only its cell can forget.
    """
    name = context.arguments["node"]
    if all(each.name != name for each in context.node.region_members()):
        raise HttpError(500, f"No node found with name {shown(name)}")
    try:
        with contextlib.suppress(MemberPresent):
            await context.node.forget(name)
    except UnknownMember as error:
        raise HttpError(500, str(error)) from None
    return text_response(200)


async def join(context: ConsulContext) -> Response:
    """Join the member at an address; 500 with the reason if that fails, as by Consul's agent."""
    if context.query.flag("wan"):
        raise HttpError(501, "gossipreg joins no datacenters over a WAN: a cluster is one datacenter")
    try:
        await context.node.join([context.arguments["address"]])
    except ConfigError as error:
        raise HttpError(400, str(error)) from None
    except JoinFailed as error:
        raise HttpError(500, str(error)) from None
    return text_response(200)


async def leave(context: ConsulContext) -> Response:
    """Make the node leave."""
    await context.server.audit.write("leave", "done")
    context.server.leave()
    return text_response(200)


def _enable(context: ConsulContext) -> bool:
    text = context.query.first("enable").lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise HttpError(400, "Missing value for enable: write ?enable=true or ?enable=false")
    return context.query.flag("enable")


def _reason(context: ConsulContext, default: str) -> str:
    return (context.query.first("reason") or default)[: limits.REASON_CHARS_MAX]


# What it offers, and how that is


async def services(context: ConsulContext) -> Response:
    """What this node offers, by id."""
    keep = context.filter(catalog_rows.service(ANY))
    rows: dict[str, bytes | None] = {}
    async for each in TimeSlicer().over(own(context)):
        row = catalog_rows.own_service(each, context.state.datacenter)
        rows[each.id] = entry(each.id, row) if keep(row) else None
    return by_id(rows)


async def service(context: ConsulContext) -> Reply:
    """One of those; with ``?hash=``, once its digest is another than that, or the time is over."""
    id_ = context.arguments["id"]
    mine = None if id_ == NODE_SERVICE else context.node.own(id_)
    if mine is None:
        raise HttpError(404, f'unknown service ID: "{id_}"')
    found, index = _hashed(context, mine.service, id_), context.node.index(mine.service)
    wanted = context.query.first("hash")
    if found.digest != wanted:
        return found.response()

    async def later(most: float = math.inf) -> Response:
        shown, seen = found, index
        with trio.move_on_after(min(context.wait(), most)):
            while shown.digest == wanted:
                await context.node.wait_changed(mine.service, seen)
                seen = context.node.index(mine.service)
                shown = _hashed(context, mine.service, id_)
        return shown.response()

    async def answered(most: float = math.inf) -> Response:
        try:
            return await later(most)
        except (HttpError, GossipregError) as error:
            return error_response(error)

    return DeferredResponse(answered)


@frozen
class _HashedService:
    """One service of this agent, with the digest by which a client waits for it to change."""

    row: Json
    digest: str

    def response(self) -> Response:
        """It as it is answered."""
        body = encode({**self.row, "ContentHash": self.digest})
        return Response(200, body, ((b"x-consul-contenthash", self.digest.encode()),))


def _hashed(context: ConsulContext, service: str, id_: str) -> _HashedService:
    """Raises a 404 ``HttpError``."""
    found = next((each for each in own(context, service) if each.id == id_), None)
    if found is None:
        raise HttpError(404, f'unknown service ID: "{id_}"')
    row = catalog_rows.own_service(found, context.state.datacenter)
    return _HashedService(row, hashlib.blake2b(encode(row), digest_size=8).hexdigest())


async def health_by_id(context: ConsulContext) -> Response:
    """How one of its instances is, in the status code too."""
    id_ = context.arguments["id"]
    mine = context.node.own(id_)
    found = (
        [] if mine is None or id_ == NODE_SERVICE else [each for each in own(context, mine.service) if each.id == id_]
    )
    return await _health(context, found, f"ServiceId {id_} not found", alone=True)


async def health_by_name(context: ConsulContext) -> Response:
    """How its instances of a service are; the worst is in the status code."""
    name = context.arguments["name"]
    return await _health(context, own(context, name), f"ServiceName {name} Not Found", alone=False)


async def _health(context: ConsulContext, found: Iterable[Instance], unknown: str, *, alone: bool) -> Response:
    statuses: set[str] = set()
    rows: list[bytes] = []
    cluster = context.cluster()
    nodes = cluster.node_checks(context.node.name)
    async for each in TimeSlicer().over(found):
        checks_of = [*nodes, *cluster.own_checks(each)]
        status = catalog_rows.worst(checks_of)
        statuses.add(status)
        rows.append(encode({"AggregatedStatus": status, "Service": catalog_rows.service(each), "Checks": checks_of}))
    if not rows:
        raise HttpError(404, unknown)
    worst = max(statuses, key=catalog_rows.STATES.index)
    if context.query.first("format") == "text":
        return text_response(_HTTP_STATUS[worst], worst)
    return Response(_HTTP_STATUS[worst], rows[0] if alone else b"[%b]" % b",".join(rows))
