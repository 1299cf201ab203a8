"""Liveness: instances of a process that does not answer are critical until it does."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.counters import Count
from tests.frontends.attach.processes import FakeAgent, Process, agent
from tests.frontends.fake_node import FakeNode

ORDERS = {"service": "orders", "port": 80}
ID = "orders-alpha-80"
REASON = "its process has not answered its agent for 4 s"

Clock = trio.testing.MockClock


def silences(where: FakeAgent) -> dict[str, str | None]:
    return where.server.bindings.registry.silences  # type: ignore[attr-defined,no-any-return]


async def offering(where: FakeAgent, *, patience: float = 4, session: bytes = b"s" * 16, grace: float = 0) -> Process:
    process = await where.attach(session=session, patience=patience, grace=grace)
    await process.ask(1, "register_many", specs=[ORDERS])
    return process


async def answer(process: Process) -> None:
    _, number = await process.hear_of(frames.PING)
    await process.say(frames.PONG, number)
    await trio.testing.wait_all_tasks_blocked()


async def test_a_process_that_does_not_answer_in_its_patience_is_critical_until_it_does(
    fake: FakeNode, autojump_clock: Clock
) -> None:
    async with agent(fake) as where:
        process = await offering(where)
        for _ in range(3):
            await answer(process)
        await trio.sleep(8.0)  # until the next ping, and the patience
        assert not silences(where).get(ID)
        await trio.sleep(0.2)
        assert silences(where) == {ID: REASON}
        assert where.counters[Count.ATTACH_SILENT] == 1
        await trio.sleep(1000)
        assert silences(where) == {ID: REASON}
        assert fake.lookup("orders"), "it stays registered"
        await answer(process)
        assert silences(where) == {ID: None}
        await answer(process)
        assert where.counters[Count.ATTACH_SILENT] == 1


async def test_what_a_silent_process_registers_is_critical_too_and_what_another_takes_over_is_not(
    fake: FakeNode, autojump_clock: Clock
) -> None:
    async with agent(fake) as where:
        process = await offering(where)
        await trio.sleep(5)
        answered = await process.ask(2, "register_many", specs=[{"service": "orders", "port": 81}])
        [[shown, _own]] = answered[2]
        assert shown.health == "critical"
        assert silences(where)["orders-alpha-81"] == REASON
        await offering(where, session=b"o" * 16)
        assert silences(where)[ID] is None
        await process.ask(3, "deregister", id="orders-alpha-81")
        assert silences(where)["orders-alpha-81"] is None


async def test_what_users_have_taken_over_follows_its_silence_no_more_and_is_not_its_own(
    fake: FakeNode, autojump_clock: Clock
) -> None:
    async with agent(fake) as where:
        process = await offering(where)
        await process.ask(2, "register_many", specs=[{"service": "orders", "port": 81}])
        registry = where.server.bindings.registry
        registry.taken.add(ID)  # type: ignore[attr-defined]
        assert (await process.ask(3, "set_maintenance", id=ID, reason="why"))[2] == "unknown_instance"
        assert (await process.ask(4, "checks"))[0] == frames.DONE
        await trio.sleep(5)
        assert not silences(where).get(ID)
        assert silences(where)["orders-alpha-81"] == REASON
        registry.taken.add("orders-alpha-81")  # type: ignore[attr-defined]
        await process.say(frames.PONG, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert not any(silences(where).values())


async def test_a_process_whose_instances_users_have_all_taken_over_is_asked_no_more(
    fake: FakeNode, autojump_clock: Clock
) -> None:
    async with agent(fake) as where:
        process = await offering(where)
        await process.hear_of(frames.PING)
        where.server.bindings.registry.taken.add(ID)  # type: ignore[attr-defined]
        await trio.sleep(5)
        assert where.counters[Count.ATTACH_SILENT] == 0
        await process.say(frames.PONG, 1)
        with trio.move_on_after(1000) as waiting:
            await process.hear_of(frames.PING)
        assert waiting.cancelled_caught


async def test_a_process_that_has_registered_nothing_or_has_no_patience_is_not_asked(
    fake: FakeNode, autojump_clock: Clock
) -> None:
    async with agent(fake) as where:
        reader = await where.attach(session=b"r" * 16, patience=4)
        offerer = await offering(where, patience=0)
        of_before = await where.attach(session=b"b" * 16)  # of a release that had none
        await of_before.ask(1, "register_many", specs=[ORDERS])
        await trio.sleep(100)
        assert not any(silences(where).values())
        for each in (reader, offerer, of_before):
            await each.stream.aclose()
            heard = []
            while each._received:
                heard.append(await each.hear())
            assert frames.PING not in [frame[0] for frame in heard if frame]


async def test_patience_is_bounded(fake: FakeNode, autojump_clock: Clock) -> None:
    async with agent(fake) as where:
        process = await offering(where, patience=0.001)  # its agent would do nothing else
        begun = trio.current_time()
        for _ in range(3):
            await answer(process)
        assert trio.current_time() - begun == pytest.approx(2 * limits.ATTACH_PATIENCE_SECONDS_MIN, abs=0.5)
        for wrong in (-1, limits.ATTACH_PATIENCE_SECONDS_MAX + 1, "4", None):
            wronged = await where.attach(session=b"w" * 16, patience=wrong)
            assert await wronged.hear() is None
        assert where.counters[Count.ATTACH_JUNK] == 4


async def test_pings_of_many_processes_wake_their_agent_together(fake: FakeNode, autojump_clock: Clock) -> None:
    pinged: list[float] = []
    async with agent(fake) as where, trio.open_nursery() as nursery:

        async def live(session: bytes) -> None:
            process = await where.attach(session=session, patience=4)
            await process.ask(1, "register_many", specs=[{"service": "orders", "port": 1 + session[0]}])
            while True:
                await answer(process)
                pinged.append(trio.current_time())

        for number in range(40):
            nursery.start_soon(live, bytes([number]) * 16)
            await trio.sleep(0.1)
        await trio.sleep(10)
        pinged.clear()
        await trio.sleep(8)
        nursery.cancel_scope.cancel()
    assert len(pinged) >= 40
    assert len({round(each, 2) for each in pinged}) <= 4 * 8 + 1


async def test_answers_to_other_pings_do_not_count(fake: FakeNode, autojump_clock: Clock) -> None:
    async with agent(fake) as where:
        process = await offering(where)
        _, number = await process.hear_of(frames.PING)
        await process.say(frames.PONG, number + 1)
        await trio.sleep(5)
        assert silences(where) == {ID: REASON}


async def test_a_process_whose_requests_the_agent_does_not_read_is_not_silent(
    fake: FakeNode, autojump_clock: Clock
) -> None:
    async with agent(fake) as where:
        process = await offering(where)
        for number in range(100, 140):  # of which the agent works on 32
            await process.say(frames.ASK, number, "wait_changed", {"index": fake.index()})
        await trio.sleep(100)
        assert not any(silences(where).values())


async def test_an_agent_that_was_stopped_itself_blames_no_process(fake: FakeNode, autojump_clock: Clock) -> None:
    async with agent(fake) as where:
        process = await offering(where)
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(50)
        await trio.sleep(3.9)
        assert not any(silences(where).values())
        await answer(process)
        await trio.sleep(5)
        assert not any(silences(where).values())


async def test_over_a_new_stream_a_silent_process_is_so_until_it_answers_there(
    fake: FakeNode, autojump_clock: Clock
) -> None:
    async with agent(fake) as where:
        process = await offering(where, grace=30)
        await trio.sleep(5)
        again = await where.attach(patience=4, grace=30)
        await trio.sleep(1)
        assert await process.hear_of(frames.PING)
        assert silences(where) == {ID: REASON}
        await answer(again)
        assert silences(where) == {ID: None}
        await trio.sleep(9)
        assert silences(where) == {ID: REASON}
        await where.attach(grace=30)  # without patience
        await trio.testing.wait_all_tasks_blocked()
        assert silences(where) == {ID: None}
