"""Picks: which instances calls would go to now, drawn by the very function that choosers call."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import cast, get_args

from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.http.render import Json
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import (
    Key,
    RoundRobin,
    RoundTrip,
    Strategy,
    key_of,
    matching,
    nearest,
    select,
    usable,
)
from gossipreg.text import shown

#: How many picks are drawn unless the client says so: shares are then percents.
_PICKS = 100


async def picks(context: NativeContext) -> Response:
    """How many of so many calls to a service would go to each instance now."""
    node, service = context.node, context.argument
    strategy, wanted = _strategy(context), _count(context)
    caller_zone, tag, role = context.text("caller_zone") or "", context.text("tag"), context.text("role")
    # A round trip that this node measured says nothing of callers in other zones.
    round_trip = _round_trip(node) if caller_zone and caller_zone == node.info().zone else None
    await decoded(node, service)
    there = tuple(each for each in node.lookup(service, tag=tag, role=role) if each.is_callable)
    rng, turns, drawn = Random(), RoundRobin(), Counter[Key]()
    async for _ in TimeSlicer().over(range(wanted if there else 0)):
        chosen = select(there, strategy, rng, zone=caller_zone, round_trip=round_trip, turns=turns)
        if chosen is not None:
            drawn[key_of(chosen)] += 1
    among = nearest(there, caller_zone, round_trip) if caller_zone else usable(there)
    total = sum(each.weight for each in among)
    rows = [_row(each, drawn[key_of(each)], total, len(among)) for each in among if drawn[key_of(each)]]
    rows.sort(key=lambda row: (-row["picks"], row["owner"], row["id"]))
    reasons = Counter[str]()
    callable_, near = set(map(key_of, there)), set(map(key_of, among))
    async for each in TimeSlicer().over(node.lookup(service, healthy=False)):
        if not drawn[key_of(each)]:
            is_meant = bool(matching((each,), tag=tag, zone=None, role=role))
            reasons[_reason(each, is_meant, key_of(each) in callable_, key_of(each) in near)] += 1
    return Response.of(
        200,
        {
            "service": service,
            "strategy": strategy,
            "caller_zone": caller_zone,
            "picks": sum(drawn.values()),
            "chosen": rows,
            "left_out": [{"reason": reason, "instances": count} for reason, count in reasons.most_common()],
        },
    )


def _strategy(context: NativeContext) -> Strategy:
    text = context.text("strategy") or "random"
    if text not in get_args(Strategy):
        raise HttpError(400, f"strategy: {shown(text)} is none of {', '.join(get_args(Strategy))}")
    return cast("Strategy", text)


def _count(context: NativeContext) -> int:
    text = context.text("count") or str(_PICKS)
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 1 <= count <= limits.PICKS_MAX:
        raise HttpError(400, f"count: {shown(text)} is not a number from 1 to {limits.PICKS_MAX}")
    return count


def _round_trip(node: NodeApi) -> RoundTrip:
    """How long calls from here take at least: an owner that is this node answers at once."""
    return lambda each: 0.0 if each.owner == node.name else node.round_trip(each.owner)


def _row(instance: Instance, picks: int, total: int, among: int) -> Json:
    """What one of ``among`` instances got, beside its share in the long run of a ``total`` of weights."""
    return {
        "owner": instance.owner,
        "id": instance.id,
        "zone": instance.zone,
        "weight": instance.weight,
        "share": round(instance.weight / total if total else 1 / among, 4),
        "picks": picks,
    }


def _reason(instance: Instance, is_meant: bool, is_there: bool, is_near: bool) -> str:
    """Why an instance got no call: the first reason in the order in which choosers sort instances out."""
    if not instance.health.can_serve:
        return str(instance.health)
    if not instance.is_callable:
        return "no port"
    if not is_meant:
        return "another tag or role"
    if not is_there:
        return "not offered"
    if is_near:
        return "not drawn this time"
    return "drained: weight 0" if instance.weight == 0 else "in another zone"
