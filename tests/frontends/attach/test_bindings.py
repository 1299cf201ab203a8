"""Bindings: how long the instances of an attached process live, and whose they are."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gossipreg import limits
from tests.frontends.attach.processes import FakeAgent, Process, agent
from tests.frontends.fake_node import FakeNode

ORDERS = {"service": "orders", "port": 80}


async def offering(where: FakeAgent, *, session: bytes = b"s" * 16, grace: float = 0) -> Process:
    process = await where.attach(session=session, grace=grace)
    await process.ask(1, "register_many", specs=[ORDERS])
    return process


async def ended(process: Process) -> None:
    await process.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()


async def test_they_outlive_the_stream_by_the_grace(fake: FakeNode, autojump_clock: trio.testing.MockClock) -> None:
    async with agent(fake) as where:
        await ended(await offering(where, grace=30))
        await trio.sleep(29)
        assert fake.lookup("orders")
        await trio.sleep(2)
        assert not fake.lookup("orders")
        assert not where.server.bindings._by_session, "and nothing is remembered"


async def test_within_the_grace_the_process_has_them_again(
    fake: FakeNode, autojump_clock: trio.testing.MockClock
) -> None:
    async with agent(fake) as where:
        await ended(await offering(where, grace=30))
        await trio.sleep(20)
        process = await where.attach(grace=30)
        await trio.sleep(20)
        assert fake.lookup("orders")
        await process.ask(1, "deregister", id="orders-alpha-80")
        assert not fake.lookup("orders")


async def test_another_session_does_not_have_them(fake: FakeNode) -> None:
    async with agent(fake) as where:
        await ended(await offering(where, grace=30))
        other = await where.attach(session=b"o" * 16)
        assert (await other.ask(1, "deregister", id="orders-alpha-80"))[2] == "unknown_instance"


async def test_a_process_that_leaves_takes_them_with_it_at_once(fake: FakeNode) -> None:
    async with agent(fake) as where:
        process = await offering(where, grace=30)
        await process.ask(2, "leave")
        assert not fake.lookup("orders")


async def test_the_last_process_to_register_an_id_has_it(fake: FakeNode) -> None:
    async with agent(fake) as where:
        first = await offering(where, session=b"1" * 16)
        second = await offering(where, session=b"2" * 16)
        await ended(first)
        assert fake.lookup("orders"), "the end of the first is not that of the second"
        await ended(second)
        assert not fake.lookup("orders")


async def test_a_stream_whose_end_was_not_heard_of_gives_way(fake: FakeNode) -> None:
    async with agent(fake) as where:
        old = await offering(where)
        new = await where.attach()
        while await old.hear() is not None:
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert fake.lookup("orders"), "they are the new stream's"
        await ended(new)
        assert not fake.lookup("orders")


async def test_no_more_are_kept_than_allowed(
    fake: FakeNode, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ATTACH_KEPT_MAX", 1)
    async with agent(fake) as where:
        for number in (1, 2):
            process = await where.attach(session=bytes([number] * 16), grace=limits.ATTACH_GRACE_SECONDS_MAX)
            await process.ask(1, "register_many", specs=[{"service": "orders", "port": number}])
            await ended(process)
        await trio.sleep(1)
        assert [each.port for each in fake.lookup("orders")] == [2]
