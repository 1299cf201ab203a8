"""Healing: the time until a cluster agrees again, measured from the end of each fault and not only from the heal.

Faults that overlap form one fault phase. A *moment* is the end of such a phase, after which no fault holds until the
next one begins. From each moment on the cluster is checked until it has settled: every live node is alive
for all, all see every instance that has been offered for a grace period, and no instance that was withdrawn longer
ago. Changes by users have that grace period to spread. The last moment is the heal; `gossipreg_sim.agreement` defines
what must hold then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Final

import attrs

from gossipreg.policy import Maintenance
from gossipreg_sim.agreement import Agreement
from gossipreg_sim.fault_timing import end_of
from gossipreg_sim.heal_bound import heal_bound, longest_damping
from gossipreg_sim.process import Process
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.world import SECOND, ns

#: How often the cluster is checked until it has settled, and afterwards, while it must stay settled (ns).
_CHECK_GAP: Final = ns(0.05)
_SETTLED_CHECK_GAP: Final = ns(0.25)

#: How long it must stay settled (ns): messages in flight could undo it.
_HOLD: Final = ns(3.0)

#: Grace period (ns): a later registration or removal may still be in flight.
_GRACE: Final = ns(2.0)

_Offer = tuple[str, str, str]  # owner, id, service


@attrs.frozen
class Moment:
    """The end of a fault phase. Times are in seconds after the warm-up."""

    at: float
    until: float  # when the next fault begins; infinity if none does
    ended: tuple[str, ...]  # the faults of the phase, by name


@attrs.frozen
class Heal:
    """The time to agreement after one moment."""

    at: float  # seconds after the warm-up
    ended: tuple[str, ...]  # the faults that had ended by then, by name; may be empty at the heal
    took: float | None  # seconds until all agreed; None if they did not before the next fault began, or at all
    bound: float  # seconds within which all had to agree
    until: float = math.inf  # when the next fault began, in seconds after the warm-up

    @property
    def in_time(self) -> bool:
        """Whether all agreed within the bound, or the next fault came too soon to tell."""
        return self.until - self.at <= self.bound if self.took is None else self.took <= self.bound


def moments(scenario: Scenario) -> Iterator[Moment]:
    """Return the moments of ``scenario`` before the heal, in order. A permanent fault has no end, so no moment."""
    spans = sorted((fault.at, end_of(fault, scenario), fault.name) for fault in scenario.faults)
    ended: list[str] = []
    over = 0.0  # when the phase ends
    for place, (_, end, name) in enumerate(spans):
        following = spans[place + 1][0] if place + 1 < len(spans) else math.inf
        if end < math.inf:
            ended.append(name)
            over = max(over, end)
        if ended and over < following and over < scenario.duration:
            yield Moment(over, following, tuple(ended))
            ended = []


@attrs.define
class Watch:
    """Checks a cluster after each moment of its scenario."""

    scenario: Scenario
    agreement: Agreement
    heals: list[Heal] = attrs.field(factory=list)
    due: int = 1 << 62  # ns, time of the next check
    _moments: Iterator[Moment] = attrs.field(init=False)
    _moment: Moment | None = None
    _began: int = 0  # ns
    _bound: float = math.nan  # seconds; NaN until the moment has come
    _since: int | None = None  # ns, since when it has settled
    _offers: deque[tuple[int, frozenset[_Offer]]] = attrs.field(factory=deque)  # time (ns), all offers

    def __attrs_post_init__(self) -> None:
        self._moments = moments(self.scenario)
        self._next()

    def _next(self) -> None:
        self._moment = next(self._moments, None)
        self._since, self._bound = None, math.nan
        self._offers.clear()
        if self._moment is None:
            self.due = 1 << 62
            return
        starting = 0.0 if self.scenario.together else (self.scenario.nodes - 1) * self.scenario.stagger
        self._began = ns(max(self.scenario.warmup + self._moment.at, starting))
        self.due = self._began - _GRACE

    def check(self) -> None:
        """Check the cluster; the check is ``due``."""
        assert self._moment is not None, "a check is due only before a moment has settled"
        now = self.agreement.cluster.world.now
        if now / SECOND >= self.scenario.warmup + self._moment.until:
            self._end()
            return
        self._offers.append((now, frozenset(self._offered())))
        while len(self._offers) > 1 and self._offers[1][0] <= now - _GRACE:
            self._offers.popleft()
        self.due = now + (_CHECK_GAP if self._since is None else _SETTLED_CHECK_GAP)
        if now < self._began:
            return
        if math.isnan(self._bound):
            self._bound = heal_bound(self.scenario) + longest_damping(self.agreement.cluster.alive)
        if not self.agreement.is_complete():
            self._since = None
        elif self._since is None:
            self._since = now if self._is_seen() else None
        elif now - self._since >= _HOLD:
            self._end()

    def _end(self, agreed: int | None = None) -> None:
        moment = self._moment
        assert moment is not None, "a moment is being checked"
        since = agreed if self._since is None else self._since
        took = None if since is None else (since - self._began) / SECOND
        bound = heal_bound(self.scenario) if math.isnan(self._bound) else self._bound
        self.heals.append(Heal(moment.at, moment.ended, took, bound, moment.until))
        self._next()

    def close(self, healed_in: float | None, bound: float) -> None:
        """Finish: all agreed ``healed_in`` seconds after the heal (None: they did not), within ``bound`` or not."""
        duration = self.scenario.duration
        if self._moment is not None:
            heal = ns(self.scenario.warmup + duration)
            self._end(None if healed_in is None else heal + ns(healed_in))
        counted = [name for heal in self.heals for name in heal.ended]
        ended = [f.name for f in self.scenario.faults if f.name not in counted and end_of(f, self.scenario) < math.inf]
        self.heals.append(Heal(duration, tuple(ended), healed_in, bound))

    # Views

    def _offered(self) -> Iterator[_Offer]:
        outside = self.agreement.outside
        for owner, table in self.agreement.cluster.offered().items():
            if owner not in outside:
                yield from ((owner, id, instance.service) for id, instance in table.items())

    def _is_seen(self) -> bool:
        """Whether all see each instance offered for the grace period, and none that has been withdrawn for as long."""
        offers = [offers for _, offers in self._offers]
        lasting, lately = frozenset.intersection(*offers), frozenset.union(*offers)
        core = self.agreement.core
        out = {offer for offer in self._offered() if any(_is_maintained(process, offer) for process in core)}
        outside = self.agreement.outside
        for process in core:
            views = process.engine.view.services.values()
            seen = {(i.owner, i.id, i.service) for view in views for i in view.healthy if i.owner not in outside}
            if not lasting - out <= seen or not seen <= lately:
                return False
        return True


def _is_maintained(process: Process, offer: _Offer) -> bool:
    _, id, service = offer
    return process.engine.state.policies.rule(f"{Maintenance.kind}:{service}:{id}") is not None
