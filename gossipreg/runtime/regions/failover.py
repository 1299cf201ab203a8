"""Failover: the instances of a service in the first region of a list that has any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gossipreg.errors import RegionUnavailable
from gossipreg.model import Instance, RegionalService


class RegionalSource(Protocol):
    """What a node holds of other regions."""

    @property
    def region(self) -> str:
        """Its own region."""
        ...

    def regional_service(self, service: str, region: str) -> RegionalService:
        """See `Node.regional_service`."""
        ...


def failed_over(
    node: RegionalSource, service: str, here: tuple[Instance, ...], regions: Iterable[str]
) -> tuple[Instance, ...]:
    """``here``, the healthy instances in the node's own region, or those of the first of ``regions`` that has some.

    What is stale comes after all that is fresh. All regions are asked each time, so that they are followed before they
    are needed. An instance without a port, or with the weight 0, can take no work: it holds up no failover.
    """
    fresh: list[tuple[Instance, ...]] = []
    stale: list[tuple[Instance, ...]] = []
    for region in regions:
        if region == node.region:
            continue
        try:
            found = node.regional_service(service, region)
        except RegionUnavailable:
            continue
        (stale if found.stale else fresh).append(found.healthy)
    if _usable(here):
        return here
    return next((each for each in (*fresh, *stale) if _usable(each)), here)


def _usable(instances: tuple[Instance, ...]) -> bool:
    return any(each.weight and each.is_callable for each in instances)
