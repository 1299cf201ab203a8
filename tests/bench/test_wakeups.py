"""Wake-ups are counted of processes that run."""

from __future__ import annotations

import sys

from tests.bench.wakeups import measure

SLEEPING = "import time\nwhile True: time.sleep(0.02)"
STILL = "import time\ntime.sleep(600)"


def test_a_process_that_waits_often_wakes_up_often() -> None:
    often, seldom = (
        measure([[sys.executable, "-c", program]], seconds=0.3, settled_after=0.2) for program in (SLEEPING, STILL)
    )
    assert often.wake_ups > seldom.wake_ups
