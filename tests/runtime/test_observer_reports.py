"""Observer reports: members are asked over their streams of gossip, also sealed ones, and within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import trio
import trio.testing

from gossipreg import limits
from gossipreg.errors import NodeClosed
from gossipreg.model import Status
from gossipreg.observations import MemberObservation, ObserverReport
from gossipreg.protocol.outputs import ObservationsEnded, Output
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.runtime.node import Node
from gossipreg.runtime.observer_reports import ObserverReports
from gossipreg.runtime.opening import open_node
from tests.protocol.making import engine, introduce, update
from tests.runtime.nodes import PATIENCE, config
from tests.runtime.test_join_request import KEYS, sees


async def observe(node: Node) -> dict[str, dict[str, str]]:
    """What each member believes, by observer and member."""
    with trio.fail_after(PATIENCE):
        reports = await node.observer_reports()
    assert [each.failure for each in reports] == [""] * len(reports)
    return {report.name: {each.name: str(each.status) for each in report.observed} for report in reports}


@pytest.mark.parametrize("key", ["", KEYS[0]], ids=["in clear", "sealed"])
async def test_each_member_tells_what_it_believes(key: str) -> None:
    keyed = {"key": key} if key else {}
    async with (
        open_node(config("a", **keyed)) as a,
        open_node(config("b", a, zone="south", **keyed)) as b,
        open_node(config("c", a, **keyed)) as c,
    ):
        for node in (a, b, c):
            await sees(node, "a", "b", "c")
        assert await observe(a) == {
            "a": {"b": "alive", "c": "alive"},
            "b": {"a": "alive", "c": "alive"},
            "c": {"a": "alive", "b": "alive"},
        }
        mine, south, _ = await a.observer_reports()
        assert (mine.zone, south.zone, south.version) == ("", "south", a.info().version)
    with pytest.raises(NodeClosed):
        await a.observer_reports()


class Asked:
    """What a node is asked to perform: members are answered for when they are among ``answering``."""

    def __init__(self, answering: Sequence[str] = ()) -> None:
        self.node = engine("a", now=0.0)
        introduce(self.node, *(update(f"m{number}", port=7100 + number) for number in range(20)))
        self.answering = answering
        self.open = self.most = self.asked = 0
        self.reports = ObserverReports(self.node, self.perform, Random(1))

    def perform(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, ObservationsEnded):
                self.reports.ended(output.report)

    async def collect(self) -> tuple[ObserverReport, ...]:
        async def answer() -> None:
            while True:
                for name in [name for name in self.reports._open if name in self.answering]:
                    self.reports.ended(ObserverReport(name, "", version="1"))
                self.most = max(self.most, len(self.reports._open))
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            found = await self.reports.collect()
            nursery.cancel_scope.cancel()
        return found


async def test_all_that_ask_at_about_one_time_have_the_members_asked_once(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(answering=[f"m{number}" for number in range(20)])
    collections = 0
    collect = ObserverReports._collect

    async def counted(self: ObserverReports) -> tuple[ObserverReport, ...]:
        nonlocal collections
        collections += 1
        return await collect(self)

    monkeypatch.setattr(ObserverReports, "_collect", counted)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(asked.collect)
    assert collections == 1
    await trio.sleep(2 * limits.OBSERVERS_KEPT_SECONDS)
    await asked.collect()
    assert collections == 2


async def test_of_members_that_are_not_known_here_an_observer_may_name_a_few() -> None:
    asked = Asked()
    names = ["a", "m1", *(f"made-up-{number:05}" for number in range(3 * limits.OBSERVED_STRANGERS_MAX)), "m2"]
    report = ObserverReport("m3", "", observed=tuple(MemberObservation(name, Status.ALIVE) for name in names))
    kept = [each.name for each in asked.reports._bounded(report).observed]
    assert kept == [*names[: 2 + limits.OBSERVED_STRANGERS_MAX], "m2"]
    honest = ObserverReport("m3", "", observed=report.observed[:40])
    assert asked.reports._bounded(honest) is honest


async def test_one_that_gives_up_leaves_the_others_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    asked = Asked(answering=["m3"])
    found: list[int] = []

    async def ask() -> None:
        found.append(len(await asked.collect()))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):
            async with trio.open_nursery() as first:
                first.start_soon(asked.collect)
                await trio.sleep(0.1)
                nursery.start_soon(ask)
    assert found == [21]


async def test_silent_members_hold_up_the_answer_for_a_bounded_time(autojump_clock: trio.testing.MockClock) -> None:
    asked = Asked(answering=["m3"])
    began = trio.current_time()
    reports = await asked.collect()
    assert trio.current_time() - began <= limits.OBSERVERS_SECONDS + 0.1
    assert asked.most <= limits.OBSERVERS_AT_ONCE
    assert [each.name for each in reports if not each.failure] == ["a", "m3"]
    assert {each.failure for each in reports if each.failure} == {"it does not answer in time"}
    assert 0 < sum(each.is_silent for each in reports) < 19, "some have had no time to answer"
    assert asked.reports._open == {}
    left = [session.to.port for _, session in asked.node.sessions.of(Purpose.OBSERVE)]
    assert left == [7103], "that of m3 alone, which only the test has answered"


async def test_one_silent_member_takes_no_longer_than_its_own_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked = Asked(answering=[f"m{number}" for number in range(19)])
    began = trio.current_time()
    reports = await asked.collect()
    assert trio.current_time() - began == pytest.approx(limits.OBSERVER_SECONDS, abs=0.2)
    assert [(each.name, each.is_silent) for each in reports if each.failure] == [("m19", True)]


async def test_a_member_whose_round_trip_is_known_takes_less(autojump_clock: trio.testing.MockClock) -> None:
    least = limits.OBSERVER_SECONDS_MIN + 0.01 * limits.OBSERVER_ROUND_TRIPS
    for trip, patience in ((0.01, least), (9.0, limits.OBSERVER_SECONDS)):
        asked = Asked(answering=[f"m{number}" for number in range(19)])
        last = asked.node.members.get("m19")
        assert last is not None
        asked.node.detector.prober.trips.measured(last.run_id, trip)
        began = trio.current_time()
        assert [each.name for each in await asked.collect() if each.is_silent] == ["m19"]
        assert trio.current_time() - began == pytest.approx(patience, abs=0.1)


async def test_of_too_many_members_some_are_drawn(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OBSERVERS_MAX", 5)
    asked = Asked()
    drawn = []
    for _ in range(4):
        drawn.append({each.name for each in await asked.collect()})
        await trio.sleep(2 * limits.OBSERVERS_KEPT_SECONDS)
    assert {len(each) for each in drawn} == {6}
    assert len(set().union(*drawn)) > 6


async def test_an_answer_that_comes_too_late_is_dropped() -> None:
    asked = Asked()
    asked.reports.ended(ObserverReport("m1", ""))
    assert asked.reports._open == {}
