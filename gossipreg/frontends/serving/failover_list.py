"""Failover list: the regions that a listener fails over to for clients that cannot name any."""

from __future__ import annotations

from gossipreg.values import frozen


@frozen
class FailoverList:
    """Regions in order, and the share of its instances below which a region cannot serve (0 to 1)."""

    regions: tuple[str, ...] = ()
    threshold: float = 0.0
