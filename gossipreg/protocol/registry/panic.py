"""Panic threshold: what else of a service may be called when many of its instances were lost at once.

When the owners of most instances of a service fail at once, it is more likely that this node is cut off than that all
of them died. A lookup with a panic threshold then also returns the lost instances, as they were when last heard of:
some failing calls are better than the few that are left under the load of all (cf. Envoy's panic threshold). Instances
that left, were withdrawn, are drained, in maintenance or critical by their own checks are never among them: for those
the state is known, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from gossipreg.model import Health, Instance
from gossipreg.protocol.registry.records import Record

#: Owners that fail within so many seconds of each other have failed at once. In one outage the failures of a large
#: cluster are spread over some 20 s; hosts that die one by one over a day are no outage.
AT_ONCE_SECONDS = 60.0

#: Since when an owner is held failed (seconds); None when it is not.
Since = Callable[[str], float | None]


@attrs.frozen
class Lost:
    """What to call of a service in a panic: all that can serve, and what was lost, marked stale."""

    share: float  # of those that can be reached for certain, among all
    instances: tuple[Instance, ...]  # sorted by id and owner, as all instances of a service are


def lost_at_once(
    instances: Sequence[Instance],
    healthy: Sequence[Instance],
    records: Mapping[tuple[str, str], Record],
    since: Since,
) -> Lost | None:
    """What a lookup of a service in a panic returns; None if that is nothing but those that are ``healthy``.

    ``instances`` are all of the service's, and ``healthy`` those of them that can serve and whose owner is not
    deprioritized. Of the lost ones only the largest set that failed at once counts, of equals the latest.
    """
    able: dict[int, Instance] = {}  # by their place among all
    stale: list[tuple[float, int, Instance]] = []
    for place, each in enumerate(instances):
        if each.health.can_serve:
            able[place] = each
        elif each.stale and each.weight and each.health is Health.CRITICAL:
            record, failed_at = records[each.id, each.owner], since(each.owner)
            if record.instance.health.can_serve and failed_at is not None:
                stale.append((failed_at, place, _as_last_known(each, record)))
    if not stale and len(able) == len(healthy):
        return None
    called = able | _largest(stale)
    reached = sum(1 for each in healthy if each.weight)
    there = sum(1 for each in called.values() if each.weight)
    return Lost(reached / (there or 1), tuple(called[place] for place in sorted(called)))


def _as_last_known(as_owner_failed: Instance, record: Record) -> Instance:
    """The instance with the health that it had, in the role and with the weight that it is seen with."""
    known = record.last_known
    if as_owner_failed is record.as_owner_failed:
        return known
    return attrs.evolve(known, role=as_owner_failed.role, weight=as_owner_failed.weight)


def _largest(stale: list[tuple[float, int, Instance]]) -> dict[int, Instance]:
    """The largest set of instances that were lost at once, by their places."""
    sets: list[dict[int, Instance]] = [{}]
    last = -float("inf")
    for failed_at, place, instance in sorted(stale, key=lambda each: each[0]):
        if failed_at - last > AT_ONCE_SECONDS:
            sets.append({})
        sets[-1][place] = instance
        last = failed_at
    return max(reversed(sets), key=len)
