"""What the benchmark of a siege makes of its figures."""

from __future__ import annotations

import math
from collections import Counter

from tests.bench.siege import Siege, Watch, grown, table


def watch(*latencies: float, resident: tuple[float, ...] = (50.0,)) -> Watch:
    return Watch([*latencies], [*resident], [16], Counter({"alive": 9}), 1.0, 10.0)


def test_a_percentile_is_the_latency_that_so_many_answers_took_at_most() -> None:
    seen = watch(*map(float, range(1, 101)))
    assert (seen.percentile(0.5), seen.percentile(0.99), seen.percentile(1.0)) == (50.0, 99.0, 100.0)
    assert watch().percentile(0.5) == math.inf


def test_growth_is_that_of_the_last_third() -> None:
    assert grown(watch(resident=(50.0, 150.0, 200.0, 210.0, 220.0, 205.0))) == 10.0
    assert grown(watch(resident=(50.0,))) == 0.0


def test_the_table_says_what_was_met() -> None:
    calm, stormy = watch(1.0), watch(1.0, 2.0, math.inf)
    stormy.statuses["suspect"] = 1
    lines = table(Siege(calm, stormy, calm, Counter(), Counter())).splitlines()
    [latency] = [line for line in lines if "99%" in line]
    [eyes] = [line for line in lines if "eyes" in line]
    assert "| none " in latency
    assert latency.rstrip(" |").endswith("missed")
    assert "alive 9, suspect 1" in eyes
    assert eyes.rstrip(" |").endswith("missed")
    assert sum("| met" in line for line in lines) == 2  # memory and descriptors
