"""Choosers: how one instance is chosen among those that can serve.

Every way of choosing honours the weights exactly: in the long run an instance gets its share. Weight 0 is drained.
`by_weight` and `by_weight_among`, which `Node.pick` uses, never choose a drained one. The others are for callers that
prefer a drained instance to none: they fall back on the drained, in equal shares, when nothing else is left. What must
not be chosen at all must not be passed in, such as an instance without a port, which the first two leave out.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from random import Random
from typing import Literal, Protocol

import attrs

from gossipreg.model import Instance


class Choices(Protocol):
    """One service at one moment, such as a `ServiceView`."""

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All of it."""

    @property
    def healthy(self) -> tuple[Instance, ...]:
        """Those that can serve."""

    def at(self, lot: float) -> Instance | None:
        """The healthy one on whose weight ``lot``, from 0 up to 1, falls when all are laid side by side.

        What has no port weighs 0. None when all weigh 0, or none is there.
        """


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


def by_weight(view: Choices, rng: Random) -> Instance | None:
    """One healthy instance, drawn with the odds of its weight; None when all are drained or none is there."""
    return view.at(rng.random())


def by_weight_among(instances: Sequence[Instance], rng: Random) -> Instance | None:
    """One of ``instances``, drawn with the odds of its weight."""
    shares = tuple(accumulate(instance.weight if instance.port else 0 for instance in instances))
    return drawn_at(rng.random(), instances, shares)


def drawn_at(lot: float, instances: Sequence[Instance], shares: Sequence[int]) -> Instance | None:
    """The one of ``instances`` on whose weight ``lot``, from 0 up to 1, falls. ``shares``: their running total."""
    if not shares or shares[-1] == 0:
        return None
    return instances[bisect_right(shares, lot * shares[-1])]


#: How an instance is chosen among those that may be called.
Strategy = Literal["random", "round-robin", "least-loaded"]

#: The key of an instance for choosers: its owner and id.
Key = tuple[str, str, str]

#: How long a call to an instance takes at least (seconds); None when that is not known.
RoundTrip = Callable[[Instance], float | None]


def key_of(instance: Instance) -> Key:
    """The key of ``instance``."""
    return instance.region, instance.owner, instance.id


def usable(instances: Sequence[Instance]) -> Sequence[Instance]:
    """Those that are not drained; all of them, to be taken as weighing 1 each, when all are."""
    return [instance for instance in instances if instance.weight] or instances


def at_random(instances: Sequence[Instance], rng: Random) -> Instance | None:
    """One of ``instances``, drawn with the odds of its weight, drained ones as a last resort."""
    instances = usable(instances)
    return drawn_at(rng.random(), instances, list(accumulate(each.weight or 1 for each in instances)))


@attrs.define(eq=False, repr=False)
class RoundRobin:
    """Each in its turn, the turns of the heavy spread evenly among those of the light (nginx's smooth weighting).

    In any run of as many choices as the weights sum up to, each is chosen exactly as often as it weighs.
    """

    _credit: dict[Key, int] = attrs.field(factory=dict)

    def choose(self, instances: Sequence[Instance]) -> Instance | None:
        """The one whose turn it is. Every choice gives each its weight in credit, and the chosen pays for all."""
        instances = usable(instances)
        if not instances:
            return None
        credit = {key_of(each): self._credit.get(key_of(each), 0) + (each.weight or 1) for each in instances}
        chosen = max(instances, key=lambda each: credit[key_of(each)])  # the first among equals
        credit[key_of(chosen)] -= sum(each.weight or 1 for each in instances)
        self._credit = credit  # instances that are gone are forgotten
        return chosen


def less_loaded(instances: Sequence[Instance], load: Callable[[Instance], int], rng: Random) -> Instance | None:
    """The better of two drawn by weight: the one with fewer calls under way for its weight, at a tie the first drawn.

    Two choices are enough to keep the longest queue near the average (Mitzenmacher 1996), and independent choosers do
    not all take the same instance, as they would take the least loaded of all.
    """
    first = at_random(instances, rng)
    if first is None:
        return None
    second = at_random([each for each in usable(instances) if each is not first], rng)
    if second is None:
        return first
    return second if load(second) * (first.weight or 1) < load(first) * (second.weight or 1) else first


def by_key(instances: Sequence[Instance], key: str) -> Instance | None:
    """The one that ``key`` belongs to, the same in every process (weighted rendezvous hashing).

    When an instance goes, only its own keys move, to all others by weight; likewise when one comes.
    """
    return max(usable(instances), key=lambda instance: claim(instance, key, instance.weight or 1), default=None)


def claim(instance: Instance, key: str, weight: float) -> float:
    """The rank of ``instance`` for ``key``: of exponential waits, the one with the highest rate ends first."""
    import hashlib  # it loads OpenSSL where no other module has done so, and few choose by key

    text = f"{instance.owner}\0{instance.id}\0{key}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=8, person=b"rendezvous").digest()
    even = (int.from_bytes(digest, "big") + 0.5) / 2**64  # strictly between 0 and 1 but for rounding up
    return weight / -math.log(min(even, 1 - 2**-53))


def nearest(instances: Sequence[Instance], zone: str, round_trip: RoundTrip | None = None) -> Sequence[Instance]:
    """Those to choose among when near is better: in ``zone``; if none is, in the zone that answers soonest; else all.

    Drained instances count only where all are: traffic crosses zones before it goes to what is about to stop.
    """
    instances = usable(instances)
    here = [instance for instance in instances if zone and instance.zone == zone]
    if here or round_trip is None:
        return here or instances
    known = [(seconds, each.zone) for each in instances if (seconds := round_trip(each)) is not None]
    if not known:
        return instances
    _, closest = min(known)
    return [instance for instance in instances if instance.zone == closest]


def select(
    instances: Sequence[Instance],
    strategy: Strategy,
    rng: Random,
    *,
    zone: str = "",
    round_trip: RoundTrip | None = None,
    key: str | None = None,
    turns: RoundRobin | None = None,
    load: Callable[[Instance], int] = lambda _: 0,
) -> Instance | None:
    """The one of ``instances`` that the next call goes to, as a `Chooser` selects it; None of none.

    ``zone`` and ``round_trip``: see `nearest`; with neither, zones do not matter. With a ``key`` it is the one that the
    key belongs to. ``turns`` are those of earlier calls: without them ``round-robin`` is ``random``. ``load`` gives the
    number of calls that are under way to an instance.
    """
    if zone or round_trip:
        instances = nearest(instances, zone, round_trip)
    if key is not None:
        return by_key(instances, key)
    if strategy == "least-loaded":
        return less_loaded(instances, load, rng)
    if strategy == "round-robin" and turns is not None:
        return turns.choose(instances)
    return at_random(instances, rng)


def why_none(service: str, view: Choices, *, tag: str | None, zone: str | None, role: str | None) -> str:
    """Why `by_weight` or `by_weight_among` chose none of ``service``, as a sentence for users."""
    if not view.instances:
        return f"no instance of {service!r} is registered"
    if not view.healthy:
        count = len(view.instances)
        none_can = f"none of the {count} instances of {service!r} can serve now"
        return none_can if count > 1 else f"the only instance of {service!r} cannot serve now"
    if not any(each.is_callable for each in view.healthy):
        return f"no healthy instance of {service!r} has a port to call it at"
    filters = {"tag": tag, "zone": zone, "role": role}
    stated = ", ".join(f"{name}={value}" for name, value in filters.items() if value is not None)
    if stated and not matching(view.healthy, tag=tag, zone=zone, role=role):
        count = len(view.healthy)
        none_has = f"none of the {count} healthy instances of {service!r} has {stated}"
        return none_has if count > 1 else f"the only healthy instance of {service!r} does not have {stated}"
    return f"every healthy instance of {service!r} is drained (weight 0)"
