"""Knows what each service adds to the answers that are about all of them, and works it out again only if it changed.

Such answers are asked for by those who follow everything: with each change of one service among thousands, only that
one is looked at.
"""

from __future__ import annotations

import attrs

from gossipreg.doors.dialects.consul.shapes import Cluster, own_checks
from gossipreg.doors.http.answers import encode
from gossipreg.doors.http.registry import Registry
from gossipreg.doors.http.slices import Pace


@attrs.frozen
class Piece:
    """One service at one moment."""

    index: int
    tags: tuple[str, ...]  # of any of its instances, sorted
    checks: bytes  # the rows of its instances' checks in JSON, separated by commas
    avoided: frozenset[str]  # members whose instances lookups leave alone


@attrs.define(eq=False, repr=False)
class Pieces:
    """Every service that there is."""

    node: Registry
    _kept: dict[str, Piece] = attrs.field(init=False, factory=dict)

    async def all(self, cluster: Cluster, pace: Pace) -> dict[str, Piece]:
        """The pieces by their services' names, as they are now."""
        self._kept = {name: self._piece(name, cluster) async for name in pace.over(self.node.services())}
        return self._kept

    def _piece(self, name: str, cluster: Cluster) -> Piece:
        index = self.node.index(name)
        kept = self._kept.get(name)
        if kept is not None and kept.index == index:
            return kept
        found = cluster.seen(self.node.lookup(name, healthy=False), self.node.lookup(name))
        return Piece(
            index,
            tuple(sorted({tag for each in found for tag in each.instance.tags})),
            b",".join(encode(check) for each in found for check in own_checks(each.instance)),
            frozenset(each.instance.owner for each in found if not each.reachable),
        )
