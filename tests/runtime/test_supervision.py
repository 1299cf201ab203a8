"""An unforeseen exception ends the task that raised it, and no other."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from gossipreg.errors import GossipregError
from gossipreg.runtime.supervision import RETRY_SECONDS, run_contained, run_restarting, start_restarting


async def fail() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_in_the_middle)


async def fail_in_the_middle() -> None:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("unforeseen")


async def test_what_is_contained_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counter[str]()
    await run_contained(counters, "the note", fail)
    assert counters == {"tasks_failed": 1}
    assert "the note failed, by a bug in gossipreg; the node goes on" in caplog.text
    assert "unforeseen" in caplog.text


async def test_what_is_kept_going_is_begun_anew_after_a_while(autojump_clock: MockClock) -> None:
    counters, begun = Counter[str](), list[float]()

    async def work() -> None:
        begun.append(trio.current_time())
        if len(begun) < 3:
            await fail()

    start = trio.current_time()
    await run_restarting(counters, "the check", work)
    assert begun == [start, start + RETRY_SECONDS, start + 2 * RETRY_SECONDS]
    assert counters == {"tasks_failed": 2}


async def test_the_same_mistake_is_logged_ever_more_rarely_and_always_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counters, others = Counter[str](), Counter[str]()
    for _ in range(20):
        await run_contained(counters, "the note", fail)
    assert counters == {"tasks_failed": 20}
    assert len(caplog.records) == 5  # the 1st, 2nd, 4th, 8th and 16th
    caplog.clear()
    await run_contained(others, "the note", fail)
    assert len(caplog.records) == 1, "another node tells of it itself"


async def test_what_is_followed_starts_once_and_goes_on(autojump_clock: MockClock) -> None:
    counters, begun = Counter[str](), list[float]()

    async def follow(*, task_status: trio.TaskStatus[None]) -> None:
        begun.append(trio.current_time())
        if len(begun) == 1:
            raise ZeroDivisionError
        task_status.started()
        if len(begun) == 2:
            await fail()
        await trio.sleep_forever()

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(start_restarting, counters, "the directory", follow)
        await trio.sleep(11)
        nursery.cancel_scope.cancel()
    assert begun == [start, start + RETRY_SECONDS, start + 2 * RETRY_SECONDS]
    assert counters == {"tasks_failed": 2}


async def test_what_is_followed_may_come_to_an_end_or_refuse() -> None:
    async def end(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async def refuse(*, task_status: trio.TaskStatus[None]) -> None:
        raise GossipregError("there is no agent")

    counters = Counter[str]()
    async with trio.open_nursery() as nursery:
        await nursery.start(start_restarting, counters, "the directory", end)
    with pytest.RaisesGroup(pytest.RaisesExc(GossipregError), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(start_restarting, counters, "the agent", refuse)
    assert not counters


async def test_to_be_cancelled_is_no_mistake() -> None:
    counters = Counter[str]()
    for run in (run_contained, run_restarting):
        with trio.move_on_after(0) as scope:
            await run(counters, "the wait", trio.sleep_forever)
        assert scope.cancelled_caught
    assert not counters
