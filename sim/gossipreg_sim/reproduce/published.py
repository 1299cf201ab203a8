"""Published results of the papers."""

from __future__ import annotations

from typing import Final

import attrs

#: Runs behind each row of the Lifeguard paper's table: 9 x 6 x 8 settings, 10 runs each.
LIFEGUARD_RUNS: Final = 4320


@attrs.frozen
class Row:
    """One row of the Lifeguard paper's tables; latencies are median, 99 % and 99.9 %, in seconds."""

    fp: int
    fp_healthy: int
    fp_percent: float
    fp_healthy_percent: float
    packets: float
    gibibytes: float
    first: tuple[float, float, float]
    everywhere: tuple[float, float, float]


#: By profile, at alpha 5, beta 6 (arXiv 1707.00788v2).
LIFEGUARD: Final = {
    "SWIM": Row(339_002, 1326, 100, 100, 435.33e6, 149.15, (12.44, 16.96, 19.40), (12.90, 16.93, 20.17)),
    "LHA-Probe": Row(229_574, 436, 67.72, 32.88, 428.62e6, 134.28, (12.42, 17.75, 20.10), (12.90, 17.98, 20.56)),
    "LHA-Suspicion": Row(10_174, 89, 3.00, 6.71, 484.55e6, 158.87, (12.42, 17.47, 25.41), (12.89, 17.33, 23.80)),
    "Buddy": Row(318_935, 591, 94.08, 44.57, 435.62e6, 147.67, (12.45, 17.12, 19.16), (12.92, 17.18, 19.81)),
    "Lifeguard": Row(5193, 25, 1.53, 1.89, 481.42e6, 146.13, (12.45, 17.90, 21.20), (12.91, 18.05, 21.68)),
}

#: By alpha and beta: median first detection, FP and FP at healthy members, in percent of SWIM.
TUNING: Final = {
    (2, 2): (53.14, 98.37, 31.15),
    (2, 6): (54.34, 24.16, 13.65),
    (4, 2): (82.96, 37.72, 20.29),
    (4, 6): (83.12, 3.18, 4.83),
    (5, 6): (100.08, 1.53, 1.89),
}

#: SWIM (DSN 2002): messages a member sends and receives per period; periods to the first detection, e / (e - 1).
SWIM_LOAD: Final = 2.0
SWIM_FIRST: Final = 1.58

#: SWIM: how many of 17 members that join under 10 % loss remain in the final group.
SWIM_STABLE: Final = {"SWIM": 12, "infection": 4}

#: Rapid (ATC 2018): distinct cluster sizes reported by memberlist's and Rapid's members, by number of
#: joining members.
RAPID_SIZES: Final = {1000: (901, 4), 1500: (1383, 8), 2000: (1858, 4)}
