"""Roles: which instance is shown as a service's primary: at most one, and the same on all nodes that agree.

A claim carries a fencing term, and the highest term wins, even if its instance cannot serve and others could: only a
higher term may succeed it. So a primary that was cut off and comes back with its old term is
not called again, on either side of a healed partition; nor once the instance with the highest term is gone, for the
service's term register remembers it (terms.py). Nothing is elected here (docs/roles.md).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import attrs

from gossipreg.model import FENCED, PRIMARY, Instance
from gossipreg.protocol.registry.rows import Key, key_of
from gossipreg.values import frozen


def fenced(
    instances: tuple[Instance, ...], deprioritized: Container[str] = (), *, term: int = 0
) -> tuple[Instance, ...]:
    """``instances`` of one service, with every claim to be primary shown as `FENCED` but the one that counts, if any.

    A claim below ``term``, the highest of the service, is not the primary. Of equal terms, one that can serve, and
    whose owner is not ``deprioritized``, goes first, then the first by owner and id.
    """
    claims = [instance for instance in instances if instance.role == PRIMARY]
    primary = primary_among(claims, deprioritized, term=term)
    return tuple([as_seen(each, primary) for each in instances]) if claims else instances


def primary_among(claims: Iterable[Instance], deprioritized: Container[str] = (), *, term: int = 0) -> Key | None:
    """The key of the primary among ``claims``, of which each claims to be it; None if none is."""
    first = min(claims, key=lambda each: _rank(each, deprioritized), default=None)
    return None if first is None or first.term < term else key_of(first)


def as_seen(instance: Instance, primary: Key | None) -> Instance:
    """``instance`` as it is seen where the one with the key ``primary`` is the primary."""
    if instance.role != PRIMARY or key_of(instance) == primary:
        return instance
    return attrs.evolve(instance, role=FENCED)


@frozen
class Claims:
    """The claims to be the primary of one service, and which of them counts."""

    by_key: Mapping[Key, Instance] = attrs.field(factory=dict)
    primary: Key | None = None

    def changed(
        self, visible: Mapping[Key, Instance | None], deprioritized: Container[str], *, term: int
    ) -> tuple[Claims, dict[Key, Instance]]:
        """The claims after a change, and the instances beside it that are to be seen in another role.

        ``visible`` are the instances that have changed, None for those that are gone. ``deprioritized`` and ``term`` as
        in `fenced`.
        """
        came = {key: each for key, each in visible.items() if each is not None and each.role == PRIMARY}
        if not self.by_key and not came:
            return self, {}
        kept = {key: each for key, each in self.by_key.items() if key not in visible}
        claims = kept | came
        primary = primary_among(claims.values(), deprioritized, term=term)
        turned = (self.primary, primary) if primary != self.primary else ()
        return Claims(claims, primary), {key: kept[key] for key in turned if key is not None and key in kept}


def _rank(claim: Instance, deprioritized: Container[str]) -> tuple[int, bool, bool, str, str]:
    return -claim.term, not claim.health.can_serve, claim.owner in deprioritized, claim.owner, claim.id


def contenders(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Those of a service's healthy ``instances`` that claim to be its primary, the one shown as primary first.

    More than one is a partition that is healing, a failover under way, or a mistake.
    """
    claims = [instance for instance in instances if instance.role in (PRIMARY, FENCED)]
    return tuple(sorted(claims, key=lambda each: each.role != PRIMARY))
