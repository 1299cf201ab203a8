"""Regions and cells: what a node knows of the services of other regions, and of the other cells of its own."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from gossipreg.address import Address
from gossipreg.model import Instance, Member
from gossipreg.values import frozen


@frozen(kw_only=True)
class RegionalService:
    """What a node knows of one service of another region. ``instances`` are sorted by owner and id.

    ``age`` is how long ago an agent there confirmed it at the latest (seconds). If that is too long, ``stale`` is true,
    and so is that of each instance.
    """

    service: str
    region: str
    index: int  # grows whenever anything but the age may differ
    instances: tuple[Instance, ...]
    healthy: tuple[Instance, ...]  # those that can serve
    members: Mapping[str, Member] = attrs.field(factory=dict, hash=False)  # the owners of the instances, by name
    age: float
    stale: bool

    @property
    def exists(self) -> bool:
        """Whether the region has such a service, healthy or not."""
        return bool(self.instances)


@frozen(kw_only=True)
class RegionalDirectory:
    """The services of another region, each with the tags that its instances have."""

    region: str
    index: int
    services: Mapping[str, tuple[str, ...]] = attrs.field(hash=False)
    age: float  # as in `RegionalService`
    stale: bool


@frozen(kw_only=True)
class RegionInfo:
    """A region that a node knows, and how well it can reach it."""

    name: str
    own: bool = False
    agent: str | None = None  # the one that answers, or did last
    agents: tuple[str, ...] = ()  # all that the node was told of
    connected: bool = True  # whether it has answered to the last request
    age: float | None = 0.0  # seconds since the last confirmed moment; None if there was none
    stale: bool = False
    round_trip: float | None = 0.0  # seconds; None if not measured
    services: int = 0  # that the region has, as far as that is told
    followed: int = 0  # services whose instances are held
    instances: int = 0  # held
    problem: str = ""  # why no agent answers


@frozen(kw_only=True)
class CellInfo:
    """A cell of the region, as a node of one of them knows it."""

    name: str
    own: bool = False
    members: int = 0  # present, by the cell's own word
    failed: int = 0
    instances: int = 0  # that its members have registered
    relays: tuple[str, ...] = ()  # members of the node's own cell that connect it to this one
    peers: tuple[Address, ...] = ()  # where the relays of this cell are
    age: float | None = 0.0  # seconds since all of it was known here at the latest; None if it never was
    stale: bool = False
    problem: str = ""  # why it is stale
