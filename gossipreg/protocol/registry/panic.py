"""Panic threshold: which further instances of a service may be called when many were lost at once.

When the owners of most instances of a service fail at once, it is more likely that this node is cut off than that all
of them died. A lookup with a panic threshold then also returns the lost instances, as they were when last heard of:
some failing calls are better than the few remaining instances under the load of all (cf. Envoy's panic threshold).
Instances that left, were withdrawn, are drained, in maintenance or critical by their own checks are never among them:
for those the state is known, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from gossipreg.model import Health, Instance
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.rows import Key, key_of
from gossipreg.values import frozen

#: Owners that fail within so many seconds of each other have failed at once. In one outage the failures of a large
#: cluster are spread over some 20 s; hosts that die one by one over a day are no outage.
AT_ONCE_SECONDS = 60.0

#: Since when an owner is held failed (seconds); None when it is not.
Since = Callable[[str], float | None]


@frozen
class Lost:
    """What to call of a service in a panic: all that can serve, and what was lost, marked stale."""

    share: float  # of those that can be reached for certain, among all
    instances: tuple[Instance, ...]  # sorted by id and owner, as all instances of a service are


@frozen
class Loss:
    """One instance whose owner has failed, as it was before, and when that was (seconds)."""

    failed_at: float
    last_known: Instance


def loss_of(visible: Instance, record: Record, since: Since) -> Loss | None:
    """The loss of an instance that is ``visible`` with its owner's failure; None if the instance is not lost.

    Only if it could serve when it was last heard of, and is neither drained nor in maintenance. It is then called in
    the role and with the weight that it is seen with.
    """
    if not (visible.stale and visible.weight and visible.health is Health.CRITICAL):
        return None
    failed_at = since(visible.owner)
    if failed_at is None or not record.instance.health.can_serve:
        return None
    return Loss(failed_at, attrs.evolve(record.instance, stale=True, role=visible.role, weight=visible.weight))


def largest(losses: Mapping[Key, Loss]) -> dict[Key, Instance]:
    """The largest set of instances that were lost at once; of equal ones the latest."""
    sets: list[dict[Key, Instance]] = [{}]
    last = -float("inf")
    for key, loss in sorted(losses.items(), key=lambda each: (each[1].failed_at, each[0])):
        if loss.failed_at - last > AT_ONCE_SECONDS:
            sets.append({})
        sets[-1][key] = loss.last_known
        last = loss.failed_at
    return max(reversed(sets), key=len)


def lost_at_once(able: Iterable[Instance], healthy: Iterable[Instance], lost: Mapping[Key, Instance]) -> Lost:
    """What a lookup of a service in a panic returns: all that are ``able`` to serve, and those that were ``lost``.

    ``healthy`` are those of the able that are called without a panic.
    """
    called = sorted((*able, *lost.values()), key=key_of)
    reached = sum(1 for each in healthy if each.weight)
    there = sum(1 for each in called if each.weight)
    return Lost(reached / (there or 1), tuple(called))
