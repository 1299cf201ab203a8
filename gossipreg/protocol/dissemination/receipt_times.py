"""Receipt times: how long a receipt may take before its packet is sent again."""

from __future__ import annotations

import attrs

#: Round trips to wait for the first receipt.
_ROUND_TRIPS = 3


@attrs.define(eq=False, repr=False)
class ReceiptTimes:
    """The smoothed time of receipts and its variation, as TCP keeps them (RFC 6298), for all peers together.

    What makes receipts late is mostly this node's own host, or its network, and a node has another few children in
    each tree: it would hardly ever measure the same peer twice. ``least``, ``first`` and ``most`` bound the timeout,
    the second while no receipt was measured (seconds).
    """

    least: float
    first: float
    most: float
    _smoothed: float | None = None
    _variation: float = 0.0

    def measured(self, seconds: float) -> None:
        """A receipt came so long after its packet."""
        if self._smoothed is None:
            self._smoothed, self._variation = seconds, seconds / 2
        else:
            self._variation = 0.75 * self._variation + 0.25 * abs(self._smoothed - seconds)
            self._smoothed = 0.875 * self._smoothed + 0.125 * seconds

    def timeout(self, round_trip: float | None) -> float:
        """How long to wait for a receipt (seconds), where a ping typically takes ``round_trip``, if that is known."""
        if self._smoothed is not None:
            return min(self.most, max(self.least, self._smoothed + 4 * self._variation))
        return self.first if round_trip is None else min(self.first, max(self.least, _ROUND_TRIPS * round_trip))
