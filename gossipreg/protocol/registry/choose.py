"""Knows how one instance is chosen among those that can serve."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from random import Random

from gossipreg.model import Instance
from gossipreg.protocol.registry.view import ServiceView


def matching(
    instances: Iterable[Instance], *, tag: str | None, zone: str | None, role: str | None
) -> tuple[Instance, ...]:
    """Those of ``instances`` that have the tag, the zone and the role; None asks for nothing."""
    return tuple(
        instance
        for instance in instances
        if (tag is None or tag in instance.tags)
        and (zone is None or instance.zone == zone)
        and (role is None or instance.role == role)
    )


def by_weight(view: ServiceView, dice: Random) -> Instance | None:
    """One healthy instance, drawn with the odds of its weight; None when all are drained or none is there."""
    return _draw(view.healthy, view.shares, dice)


def by_weight_among(instances: Sequence[Instance], dice: Random) -> Instance | None:
    """One of ``instances``, drawn with the odds of its weight."""
    return _draw(instances, tuple(accumulate(instance.weight for instance in instances)), dice)


def _draw(instances: Sequence[Instance], shares: Sequence[int], dice: Random) -> Instance | None:
    if not shares or shares[-1] == 0:
        return None
    return instances[bisect_right(shares, dice.random() * shares[-1])]
