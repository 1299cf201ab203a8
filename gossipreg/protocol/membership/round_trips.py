"""Round trips: how long members take to answer a ping, and so how long to wait for the next answer."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from gossipreg.values import frozen


@frozen
class _Trip:
    smoothed: float  # seconds
    variation: float  # seconds


@attrs.define(eq=False, repr=False)
class RoundTrips:
    """Smoothed round trips and their variation, by run id, as TCP keeps them (RFC 6298).

    A timeout that follows from measurements is a tenth of one that must do for all. Missing it costs only that others
    are asked, too: it accuses no member.
    """

    shortest: float  # seconds; a process that is scheduled late is not gone
    longest: float  # seconds; for members without a measurement
    _trips: dict[int, _Trip] = attrs.field(factory=dict)

    def measured(self, run_id: int, seconds: float) -> None:
        """An ack came so long after its ping."""
        known = self._trips.get(run_id)
        if known is None:
            self._trips[run_id] = _Trip(seconds, seconds / 2)
        else:
            variation = 0.75 * known.variation + 0.25 * abs(known.smoothed - seconds)
            self._trips[run_id] = _Trip(0.875 * known.smoothed + 0.125 * seconds, variation)

    def timeout(self, run_id: int) -> float:
        """How long to wait for an ack of ``run_id`` (seconds)."""
        trip = self._trips.get(run_id)
        if trip is None:
            return self.longest
        return min(self.longest, max(self.shortest, trip.smoothed + 4 * trip.variation))

    def smoothed(self, run_id: int) -> float | None:
        """The round trip to ``run_id``, smoothed (seconds); None if none was measured."""
        trip = self._trips.get(run_id)
        return None if trip is None else trip.smoothed

    def is_measured(self, run_id: int) -> bool:
        """Whether ``run_id`` has answered a ping of this node."""
        return run_id in self._trips

    def typical(self) -> float | None:
        """The median of the smoothed round trips (seconds); None if none was measured."""
        trips = sorted(trip.smoothed for trip in self._trips.values())
        return trips[len(trips) // 2] if trips else None

    def keep(self, known: Callable[[int], bool]) -> None:
        """Forget the runs that are not ``known`` any more."""
        self._trips = {run_id: trip for run_id, trip in self._trips.items() if known(run_id)}
