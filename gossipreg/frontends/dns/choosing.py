"""Choosing: the instances that a service's name stands for, in the node's own region or in one that it follows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import attrs

from gossipreg.errors import RegionUnavailable
from gossipreg.frontends.dns.names import ServiceName
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import NODE_SERVICE, Health, Instance
from gossipreg.values import frozen

#: Looked up faster than `Health.can_serve` is called: it is asked of every instance of a service after each change.
_SERVING: Final = frozenset(each for each in Health if each.can_serve)


@frozen
class Chosen:
    """Those that can serve, and whether the name exists: some may be there that cannot, or names below it.

    ``read`` are the services that were looked at, each with its index; "" stands for the list of all.
    """

    able: list[Instance]
    exists: bool
    read: tuple[tuple[str, int], ...] = ()


@frozen
class Unknown:
    """It is not known what there is: soon it may be of these services, which are followed from now on."""

    awaited: tuple[str, ...] = ()


def choose(offered: Sequence[Instance], healthy: Sequence[Instance], zone: str | None, tag: str) -> Chosen:
    """Those of a service's instances that are in the zone, if one is named, and have the tag or the role, if one is.

    ``healthy`` are those that lookups return. The others that can serve, of suspected owners or of cells that are not
    heard, are chosen where the name stands for none of these.
    """
    preferred = _preferred(offered, healthy)
    is_above_tag = False
    if zone is not None:
        offered = [each for each in offered if each.zone.lower() == zone]
    if tag:
        labels = [_labels(each.tags, each.role) for each in offered]
        is_above_tag = any(label.endswith(f".{tag}") for group in set(labels) for label in group)
        offered = [each for each, group in zip(offered, labels, strict=True) if tag in group]
    able = [each for each in offered if each.health in _SERVING and each.weight]
    if preferred is not None:
        able = [each for each in able if (each.owner, each.id) in preferred] or able
    return Chosen(able, exists=is_above_tag or bool(offered))


def _preferred(offered: Sequence[Instance], healthy: Sequence[Instance]) -> set[tuple[str, str]] | None:
    """The owners and ids of those that lookups return; None if these are all that can serve."""
    if len(healthy) == sum(each.health in _SERVING for each in offered):
        return None
    return {(each.owner, each.id) for each in healthy}


def chosen_in_region(node: NodeApi, region: str, asked: ServiceName) -> Chosen | Unknown:
    """Those of a service of a region that the node follows, or that it is not known whether there are any.

    That there are none is known only from what is fresh. What is stale is given as it was last known.
    """
    try:
        listed = node.regional_directory(region).services
    except RegionUnavailable:
        listed = {}
    is_known = True
    read, awaited = {"": node.index(None, region)}, []
    for tag, service in asked.readings:
        for spelling in [name for name in listed if name.lower() == service] or [service]:
            if spelling == NODE_SERVICE:
                continue
            try:
                found = node.regional_service(spelling, region)
            except RegionUnavailable:
                awaited.append(spelling)
                if spelling in listed:
                    return Unknown(tuple(awaited))
                is_known = False
                continue
            read[spelling] = found.index
            chosen = attrs.evolve(choose(found.instances, found.healthy, asked.zone, tag), read=tuple(read.items()))
            is_known = is_known and not found.stale
            if chosen.able:
                return chosen if not awaited else attrs.evolve(chosen, read=())
            if found.instances:
                return chosen if is_known else Unknown(tuple(awaited))
    below = any(name.lower().endswith(f".{asked.suffix}") for name in listed)
    return Chosen([], exists=below) if is_known else Unknown(tuple(awaited))


@lru_cache(maxsize=1024)
def _labels(tags: tuple[str, ...], role: str | None) -> frozenset[str]:
    """What an instance with these can be asked for by, in lower case."""
    return frozenset(label.lower() for label in (*tags, role) if label is not None)
