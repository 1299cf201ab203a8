"""Choosing: the instances that a service's name stands for, in the node's own region or in one that it follows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import attrs

from gossipreg.errors import RegionUnavailable
from gossipreg.frontends.dns.directory import Directory
from gossipreg.frontends.dns.names import ServiceName
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import FENCED, NODE_SERVICE, PRIMARY, Health, Instance
from gossipreg.values import frozen

#: Looked up faster than `Health.can_serve` is called: it is asked of every instance of a service after each change.
_SERVING: Final = frozenset(each for each in Health if each.can_serve)


#: Words that ask for a role where a tag may stand.
ROLES: Final = frozenset({PRIMARY, "replica", FENCED})


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
    """It is not known what there is: soon it may be of these services, each with its region.

    They are followed from now on.
    """

    awaited: tuple[tuple[str, str], ...] = ()


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
    read, awaited = {"": node.index(None, region)}, list[tuple[str, str]]()
    for tag, service in asked.readings:
        for spelling in [name for name in listed if name.lower() == service] or [service]:
            if spelling == NODE_SERVICE:
                continue
            try:
                found = node.regional_service(spelling, region)
            except RegionUnavailable:
                awaited.append((spelling, region))
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


def region_in_use(
    node: NodeApi, directory: Directory, regions: Sequence[str], failover: FailoverList, asked: ServiceName
) -> str | Unknown | None:
    """The region that is to serve ``asked``, by the rule that the node has for all; None for its own.

    ``regions`` are those that the node follows. Only a service that is here, or that one of them lists, is followed:
    there is no end of names that do not exist.
    """
    for tag, service in asked.readings:
        spellings = [each for each in directory.spellings(service) if each != NODE_SERVICE]
        here = any(node.lookup(each, healthy=False) for each in spellings)
        is_known = True
        if not here:
            spellings, is_known = _spelled_elsewhere(node, regions, service)
        label = {} if not tag else {"role": tag} if tag in ROLES else {"tag": tag}
        awaited = []
        for each in spellings:
            found = node.with_failover(each, failover.regions, threshold=failover.threshold, **label)
            if found:
                return found[0].region or None
            awaited += [(each, region) for region in regions if _is_unknown(node, each, region)]
        if awaited or not is_known:
            return Unknown(tuple(awaited))
        if here:
            return None
    return None


def _spelled_elsewhere(node: NodeApi, regions: Sequence[str], service: str) -> tuple[list[str], bool]:
    """The names of a service in regions that is asked for in lower case, and whether the regions are known.

    Where one is not, the service may be there: then it is in lower case, as far as anyone knows.
    """
    found: dict[str, None] = {}
    is_known = True
    for region in regions:
        try:
            names = node.regional_directory(region).services
        except RegionUnavailable:
            is_known = False
            found[service] = None
            continue
        found |= dict.fromkeys([service] if service in names else [each for each in names if each.lower() == service])
    return [each for each in found if each != NODE_SERVICE], is_known


def _is_unknown(node: NodeApi, service: str, region: str) -> bool:
    try:
        node.regional_service(service, region)
    except RegionUnavailable:
        return True
    return False


@lru_cache(maxsize=1024)
def _labels(tags: tuple[str, ...], role: str | None) -> frozenset[str]:
    """What an instance with these can be asked for by, in lower case."""
    return frozenset(label.lower() for label in (*tags, role) if label is not None)
