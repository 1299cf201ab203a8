"""Other regions over HTTP: lookups, services and events of regions that the node follows, with their age."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gossipreg.frontends.http import blocking, render
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.http.events import EventStream
from gossipreg.frontends.http.lookups import LookupQuery
from gossipreg.frontends.serving.reliability import AGE, age
from gossipreg.frontends.serving.response import DeferredResponse, HttpError, Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import Instance
from gossipreg.regional import RegionalService

#: The query of what may fail over.
FAILOVER: Final = ("failover", "failover_threshold")


async def regions(context: NativeContext) -> Response:
    """The regions that this node knows, its own first, and how well it can reach each."""
    return Response.of(200, {"regions": [render.region(each) for each in context.node.regions()]})


async def services(context: NativeContext, region: str) -> Response | DeferredResponse:
    """The services of a region that the node follows. How many instances they have is not told there."""

    async def answer() -> Response:
        found = await context.node.fetch_directory(region)
        counts = {"instances": None, "healthy": None}
        body = encode(
            {"region": region, "stale": found.stale, "services": dict.fromkeys(sorted(found.services), counts)}
        )
        return Response(200, body, ((blocking.HEADER, b"%d" % found.index), (AGE, age(found.age))))

    await context.node.fetch_directory(region)
    return await blocking.reply_about(context, None, region, answer)


async def lookup(
    context: NativeContext, asked: LookupQuery, region: str | None, failover: tuple[str, ...]
) -> Response | DeferredResponse:
    """The instances of a service in another region, or here and else in the first of several that has some."""
    for name, given in (("stated", asked.stated), ("panic", asked.panic)):
        if given:
            raise HttpError(400, f"{name}: is known in the agent's own region only: leave out region and failover")
    if region is None:
        return await _failed_over(context, asked, failover)
    if failover:
        raise HttpError(400, "failover: begins in the agent's own region: leave out region")

    async def answer() -> Response:
        found = await context.node.fetch(asked.service, region)
        rows = _matching(found, asked)
        listed = await TimeSlicer().joined(map(context.lookups.rows.of, rows))
        head = encode({"index": found.index, "region": region, "stale": found.stale})
        body = b'%b,"instances":%b}' % (head[:-1], listed)
        return Response(200, body, ((blocking.HEADER, b"%d" % found.index), (AGE, age(found.age))))

    await context.node.fetch(asked.service, region)
    return await blocking.reply_about(context, asked.service, region, answer)


def _matching(found: RegionalService, asked: LookupQuery) -> Iterable[Instance]:
    return (
        each
        for each in (found.healthy if asked.healthy else found.instances)
        if (asked.tag is None or asked.tag in each.tags)
        and (asked.zone is None or asked.zone == each.zone)
        and (asked.role is None or asked.role == each.role)
    )


async def _failed_over(context: NativeContext, asked: LookupQuery, failover: tuple[str, ...]) -> Response:
    """Those here, or else of the first region that has some. It cannot be waited for: several indexes decide it."""
    if asked != LookupQuery(asked.service, tag=asked.tag, role=asked.role):
        raise HttpError(400, "failover: cannot be narrowed by all or zone: leave them out")
    if "index" in context.query or "wait" in context.query:
        raise HttpError(400, "index: a lookup with failover has none: follow /api/v1/events with failover")
    node = context.node
    found = node.with_failover(
        asked.service, failover, threshold=context.share("failover_threshold"), tag=asked.tag, role=asked.role
    )
    where = next((each.region for each in found), "")
    told = node.regional_service(asked.service, where) if where else None
    listed = await TimeSlicer().joined(map(context.lookups.rows.of, found))
    head = encode({"region": where or node.region, "stale": told is not None and told.stale})
    body = b'%b,"instances":%b}' % (head[:-1], listed)
    return Response(200, body, () if told is None else ((AGE, age(told.age)),))


def events(context: NativeContext, region: str | None, failover: tuple[str, ...]) -> EventStream:
    """What happens to the healthy instances of one service in another region, or of a failover."""
    service = context.text("service")
    if service is None:
        raise HttpError(400, "service: is missing: of other regions only the events of one service are told")
    if context.flag("all") or context.share("panic"):
        raise HttpError(400, "all and panic are for the agent's own region: leave out region and failover")
    if region is not None and failover:
        raise HttpError(400, "failover: begins in the agent's own region: leave out region")
    batches = context.node.regional_events(
        service,
        region=region,
        failover=failover,
        threshold=context.share("failover_threshold"),
        tag=context.text("tag"),
        role=context.text("role"),
    )
    return EventStream(
        context.node, service, event_encoder=context.event_encoder, batches=batches, is_admitted=context.is_admitted
    )
