"""Roles: which instance is shown as a service's primary: at most one, and the same on all nodes that agree.

A claim carries a fencing term, and the highest term wins, also over those that could serve when it cannot: an owner of
a term was meant to be succeeded by a higher one only. So a primary that was cut off and comes back with its old term is
not called again, on either side of a healed partition; nor once the instance with the highest term is gone, for the
service's term register remembers it (terms.py). Nothing is elected here (docs/roles.md).
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import attrs

from gossipreg.model import FENCED, PRIMARY, Instance


def fenced(
    instances: tuple[Instance, ...], deprioritized: Container[str] = (), *, term: int = 0
) -> tuple[Instance, ...]:
    """``instances`` of one service with all claims to be primary but one, or all, shown as `FENCED`.

    A claim below ``term``, the highest of the service, is not the primary. Of equal terms, one that can serve, and
    whose owner is not ``deprioritized``, goes first, then the first by owner and id.
    """
    claims = [instance for instance in instances if instance.role == PRIMARY]
    if not claims:
        return instances
    primary: Instance | None = min(claims, key=lambda each: _rank(each, deprioritized))
    if primary is not None and primary.term < term:
        primary = None
    elif len(claims) == 1:
        return instances
    return tuple(
        attrs.evolve(each, role=FENCED) if each.role == PRIMARY and each is not primary else each for each in instances
    )


def _rank(claim: Instance, deprioritized: Container[str]) -> tuple[int, bool, bool, str, str]:
    return -claim.term, not claim.health.can_serve, claim.owner in deprioritized, claim.owner, claim.id


def contenders(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Those of a service's healthy ``instances`` that claim to be its primary, the one shown as primary first.

    More than one is a partition that is healing, a failover under way, or a mistake.
    """
    claims = [instance for instance in instances if instance.role in (PRIMARY, FENCED)]
    return tuple(sorted(claims, key=lambda each: each.role != PRIMARY))
