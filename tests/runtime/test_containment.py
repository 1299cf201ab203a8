"""A mistake of ours costs the task that it befell, and nothing else."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from gossipreg.runtime.containment import RETRY_SECONDS, contained, kept_going


async def fail() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_in_the_middle)


async def fail_in_the_middle() -> None:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("unforeseen")


async def test_what_is_contained_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counter[str]()
    await contained(counters, "the note", fail)
    assert counters == {"tasks_failed": 1}
    assert "the note failed, by a mistake of ours; the node goes on" in caplog.text
    assert "unforeseen" in caplog.text


async def test_what_is_kept_going_is_begun_anew_after_a_while(autojump_clock: MockClock) -> None:
    counters, begun = Counter[str](), list[float]()

    async def work() -> None:
        begun.append(trio.current_time())
        if len(begun) < 3:
            await fail()

    start = trio.current_time()
    await kept_going(counters, "the check", work)
    assert begun == [start, start + RETRY_SECONDS, start + 2 * RETRY_SECONDS]
    assert counters == {"tasks_failed": 2}


async def test_to_be_cancelled_is_no_mistake() -> None:
    counters = Counter[str]()
    for run in (contained, kept_going):
        with trio.move_on_after(0) as scope:
            await run(counters, "the wait", trio.sleep_forever)
        assert scope.cancelled_caught
    assert not counters
