"""The catalog of the own region: what its rows share, and how near its nodes are to one of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from gossipreg.frontends.consul.catalog_rows import CatalogContext, node_name
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import NODE_SERVICE, Member

#: Whether a node is another than the one that is asked for, and what orders the others.
Nearness = tuple[bool, float, float]

#: Round trips below this are those of one machine room (seconds): they say nothing of distance.
_SAME_ROOM: Final = 0.0005


def catalog_of(node: NodeApi, datacenter: str) -> CatalogContext:
    """What all rows about the own region share, as it is now."""
    stated = node.lookup(NODE_SERVICE, healthy=False)
    return CatalogContext(
        datacenter,
        {each.name: each for each in node.region_members()},
        {each.owner: each for each in stated if each.id == NODE_SERVICE},
        {name: each for each in stated if (name := node_name(each)) != each.owner and not each.stale},
    )


def nearness_to(node: NodeApi, name: str) -> Callable[[str, str], Nearness]:
    """How near a node of a name and zone is to the one called ``name``; ``_agent`` is the own one.

    That node comes first. From this agent the others follow by their round trip, measured by its probes, then by
    whether they are of its zone. From another node, whose round trips are not known here, those of its zone follow,
    then the others by the coordinates that this agent gives: the round trip through it. Round trips count as equal
    within a factor of two, so that the order does not change with each probe.
    """
    name = node.name if name == "_agent" else name
    there: Member | None = next((each for each in node.region_members() if each.name == name), None)
    zone = "" if there is None else there.zone
    is_here = name == node.name

    def rank(owner: str, its_zone: str) -> Nearness:
        is_far = not zone or its_zone != zone
        if there is None or owner == name:
            return owner != name, 0.0, 0.0
        distance = 0.0 if owner == node.name else _distance(node.round_trip(owner))
        return (True, distance, float(is_far)) if is_here else (True, float(is_far), distance)

    return rank


def _distance(round_trip: float | None) -> float:
    """How far a node is, in doublings of the shortest round trip that counts; infinite if none was measured."""
    if round_trip is None:
        return math.inf
    return float(max(0, math.ceil(math.log2(max(round_trip, _SAME_ROOM) / _SAME_ROOM))))
