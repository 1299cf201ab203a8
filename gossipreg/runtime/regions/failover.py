"""Failover: which region's instances of a service are used: those of the own region, or of the first that can serve.

The rule is `choose`, the same in every frontend, because a node applies it for all of them. It is pure: what each
region offers, what was used before and the time are passed in.

- A region can serve if an instance there can take work, and no smaller share than the threshold of those that should.
- The first region that can serve is used, the own one before all others, and what is fresh before what is stale.
- A better region than the one in use must have been able to serve for `RETURN_SECONDS` before it is used again; at once
  only if the one in use cannot serve any more, or is stale. So an instance that comes and goes moves no callers.
- If none can serve, the first that has any instance is used, and the own region if none has.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.errors import RegionUnavailable
from gossipreg.model import Health, Instance
from gossipreg.protocol.registry.choose import matching
from gossipreg.protocol.token_bucket import TokenBucket
from gossipreg.regional import RegionalService
from gossipreg.text import escaped
from gossipreg.values import frozen

log = logging.getLogger(__name__)

#: How long a failover that is not asked for is remembered, where there is no room for all (seconds).
_FORGOTTEN_SECONDS: Final = 60.0

#: Lines that are logged at once about regions that come into use, and how often another one is (a second).
_LINES_BURST: Final = 20
_LINES_RATE: Final = 0.1

#: As much of what is asked for is in a line (characters): any client may have made it up.
_SUBJECT_CHARS: Final = 160

#: How long a better region than the one in use must have been able to serve before it is used (seconds).
RETURN_SECONDS: Final = 10.0


@frozen
class RegionalOffer:
    """What one region has of a service: instances that can serve, how many others should, and whether that is stale."""

    region: str
    healthy: tuple[Instance, ...] = ()
    missing: int = 0
    stale: bool = False

    @classmethod
    def of(
        cls,
        region: str,
        healthy: Iterable[Instance],
        instances: Iterable[Instance],
        *,
        stale: bool = False,
        tag: str | None = None,
        role: str | None = None,
    ) -> RegionalOffer:
        """That of ``healthy``, out of all ``instances`` that are known there: those with the tag and the role."""
        able = matching(tuple(healthy), tag=tag, zone=None, role=role)
        known = {(each.owner, each.id) for each in able}
        missing = sum(
            _takes_work(each) and each.health is not Health.MAINTENANCE and (each.owner, each.id) not in known
            for each in matching(tuple(instances), tag=tag, zone=None, role=role)
        )
        return cls(region, able, missing, stale)

    def can_serve(self, threshold: float) -> bool:
        """Whether an instance can take work, and no smaller share of those that should: ``threshold``, from 0 to 1."""
        able = sum(map(_takes_work, self.healthy))
        return able > 0 and able >= threshold * (able + self.missing)


def _takes_work(instance: Instance) -> bool:
    return bool(instance.weight) and instance.is_callable


@frozen
class FailoverState:
    """Which region is in use, and since when each one has been able to serve without a pause (seconds)."""

    region: str = ""  # none yet
    serves_since: Mapping[str, float] = attrs.field(factory=dict)


def choose(
    offers: Sequence[RegionalOffer], threshold: float, before: FailoverState, now: float
) -> tuple[RegionalOffer, FailoverState]:
    """The offer to use out of ``offers``, the own region's first, and the state to pass in the next time.

    ``threshold`` is the share of a region's instances below which it cannot serve, from 0 to 1; ``now`` is in seconds.
    """
    ranked = sorted(offers, key=lambda each: each.stale)  # stable: the order of the list is kept
    serving = [each for each in ranked if each.can_serve(threshold)]
    since = {each.region: before.serves_since.get(each.region, now) for each in serving}
    if not serving:
        best = next((each for each in ranked if each.can_serve(0.0)), offers[0])
    else:
        best = serving[0]
        used = next((each for each in serving if each.region == before.region), None)
        if used is not None and not used.stale:
            steady = (each for each in serving if each is used or now - since[each.region] >= RETURN_SECONDS)
            best = next(steady)
    return best, FailoverState(best.region, since)


class RegionalSource(Protocol):
    """What a node holds of other regions."""

    def regional_service(self, service: str, region: str) -> RegionalService:
        """See `Node.regional_service`."""
        ...


#: What is asked: the service, the list of regions, the threshold, the tag and the role.
Asked = tuple[str, tuple[str, ...], float, str | None, str | None]


@attrs.define(eq=False, repr=False)
class _Remembered:
    """The state of one failover, and how much it is asked for."""

    state: FailoverState
    asks: int  # how often it was asked for
    asked_at: float  # when it was last (seconds)


@attrs.define(eq=False, repr=False)
class Failovers:
    """The failovers that a node was asked for lately, each with its state. Any thread may call it.

    Any client can name services, thresholds and tags without end. So only what is away from the own region is
    remembered: without a state, the own region is used likewise. Where there are too many, one of the service with most
    of them gives way, and of those the one that was asked for least: what a client makes up pushes out none of another
    service, and none that is in use. ``clock`` is steady (seconds).
    """

    clock: Callable[[], float]
    counters: Counter[str] = attrs.field(factory=Counter)
    _lines: TokenBucket = attrs.field(init=False)
    _unsaid: int = attrs.field(init=False, default=0)  # changes that were not logged since the last one that was
    _states: dict[Asked, _Remembered] = attrs.field(init=False, factory=dict)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._lines = TokenBucket(_LINES_BURST, _LINES_RATE, self.clock())

    def used(self, asked: Asked) -> str:
        """The region that is in use for what is ``asked``; empty if none is yet."""
        known = self._states.get(asked)
        return "" if known is None else known.state.region

    def choose(self, asked: Asked, offers: Sequence[RegionalOffer]) -> RegionalOffer:
        """The offer to use."""
        with self._lock:
            now, known = self.clock(), self._states.pop(asked, None)
            found, state = choose(offers, asked[2], FailoverState() if known is None else known.state, now)
            if found.region != offers[0].region:
                if len(self._states) >= limits.FAILOVERS_MAX:
                    self._make_room(now)
                self._states[asked] = _Remembered(state, 1 if known is None else known.asks + 1, now)
            own = offers[0].region
            before = own if known is None else known.state.region
            if found.region != before:
                self._note(asked, found, before, own, now)
        return found

    def forget(self, asked: Asked) -> None:
        """Have what is ``asked`` use the first region that can serve, as if it had not been asked before."""
        with self._lock:
            self._states.pop(asked, None)

    def _note(self, asked: Asked, found: RegionalOffer, before: str, own: str, now: float) -> None:
        """Count and log that another region is in use for what is ``asked``, which any client can make up."""
        if found.region != own:
            self.counters[Count.FAILOVERS] += 1
        if not self._lines.fill(now):
            self._unsaid += 1
            return
        self._lines.tokens -= 1
        service, _, threshold, tag, role = asked
        what = escaped(" ".join((service, *(each for each in (tag, role) if each is not None))))[:_SUBJECT_CHARS]
        more = f" ({self._unsaid} earlier changes were not logged)" if self._unsaid else ""
        self._unsaid = 0
        if found.region == own:
            log.info("%s: the own region %s is used again, after %s%s", what, own, before, more)
        elif before != own:
            log.warning("%s: the region %s is used in place of %s%s", what, found.region, before, more)
        else:
            why = (
                f"fewer than {100 * threshold:g} % of its instances can serve" if threshold else "no instance can serve"
            )
            log.warning("%s: the region %s is used: in the own one, %s, %s%s", what, found.region, own, why, more)

    def _make_room(self, now: float) -> None:
        """Forget what was not asked for lately; if that is none, the least asked for of the service with most."""
        kept = {asked: each for asked, each in self._states.items() if now - each.asked_at <= _FORGOTTEN_SECONDS}
        if len(kept) == len(self._states):
            [(service, _)] = Counter(asked[0] for asked in kept).most_common(1)
            del kept[min((each for each in kept if each[0] == service), key=lambda each: kept[each].asks)]
        self._states = kept


def offers_of(node: RegionalSource, asked: Asked, own: RegionalOffer, regions: Iterable[str]) -> list[RegionalOffer]:
    """``own`` and what ``regions`` offer, as far as the node holds anything of them.

    All are asked each time, so that they are followed before they are needed.
    """
    service, _, _, tag, role = asked
    offers = [own]
    for region in regions:
        if region == own.region:
            continue
        try:
            found = node.regional_service(service, region)
        except RegionUnavailable:
            continue
        offers.append(RegionalOffer.of(region, found.healthy, found.instances, stale=found.stale, tag=tag, role=role))
    return offers
