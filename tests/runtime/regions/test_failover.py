"""Failover: which region is used, when it is left, and when the better one is used again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.errors import RegionUnavailable
from gossipreg.model import Health, Instance
from gossipreg.regional import RegionalService, RegionInfo
from gossipreg.runtime.regions.failover import (
    RETURN_SECONDS,
    Asked,
    Failovers,
    FailoverState,
    RegionalOffer,
    choose,
    offers_of,
)
from gossipreg.runtime.regions.regions import Regions

HERE, EU, ASIA = "us", "eu", "asia"


def instance(number: int, **more: Any) -> Instance:
    fields: dict[str, Any] = {"id": f"o{number}", "service": "orders", "host": "h", "port": 80, "owner": "a", **more}
    return Instance(**fields)


def offer(region: str, able: int, missing: int = 0, *, stale: bool = False) -> RegionalOffer:
    there = tuple(instance(number, region="" if region == HERE else region) for number in range(able))
    return RegionalOffer(region, there, missing, stale)


def used(offers: Sequence[RegionalOffer], threshold: float = 0.0) -> str:
    found, state = choose(offers, threshold, FailoverState(), 0.0)
    assert state.region == found.region
    return found.region


@pytest.mark.parametrize(
    ("offers", "threshold", "region"),
    [
        ([offer(HERE, 1), offer(EU, 9)], 0.0, HERE),
        ([offer(HERE, 0), offer(EU, 1), offer(ASIA, 9)], 0.0, EU),
        ([offer(HERE, 0), offer(EU, 1, stale=True), offer(ASIA, 1)], 0.0, ASIA),
        ([offer(HERE, 0), offer(EU, 0), offer(ASIA, 1, stale=True)], 0.0, ASIA),
        ([offer(HERE, 0), offer(EU, 0)], 0.0, HERE),
        ([offer(HERE, 5, 5), offer(EU, 1)], 0.5, HERE),
        ([offer(HERE, 4, 6), offer(EU, 1)], 0.5, EU),
        ([offer(HERE, 4, 6), offer(EU, 1, 9)], 0.5, HERE),
        ([offer(HERE, 0, 6), offer(EU, 1, 9), offer(ASIA, 0, 1)], 0.5, EU),
        ([offer(HERE, 4, 6), offer(EU, 1, stale=True), offer(ASIA, 1, 1)], 0.5, ASIA),
    ],
)
def test_the_first_region_that_can_serve_is_used(offers: list[RegionalOffer], threshold: float, region: str) -> None:
    assert used(offers, threshold) == region


def test_what_takes_no_work_counts_for_nothing() -> None:
    drained, uncallable = instance(1, weight=0), instance(2, port=0)
    assert used([RegionalOffer.of(HERE, [drained, uncallable], [drained, uncallable]), offer(EU, 1)]) == EU
    ill, mended, gone = (
        instance(3, health=Health.CRITICAL),
        instance(4, health=Health.MAINTENANCE),
        instance(5, health=Health.CRITICAL, weight=0),
    )
    found = RegionalOffer.of(HERE, [instance(6), drained], [instance(6), drained, ill, mended, gone])
    assert (len(found.healthy), found.missing) == (2, 1)


def test_the_instances_with_the_tag_and_the_role_decide() -> None:
    there = [instance(1, tags=("a",), role="primary"), instance(2, tags=("a",)), instance(3, role="primary")]
    ill = instance(4, tags=("a",), role="primary", health=Health.CRITICAL)
    found = RegionalOffer.of(HERE, there, [*there, ill, instance(5, health=Health.CRITICAL)], tag="a", role="primary")
    assert ([each.id for each in found.healthy], found.missing) == (["o1"], 1)


def test_a_better_region_is_used_again_once_it_could_serve_for_a_while() -> None:
    state = FailoverState()
    seen = []
    for now, able in [(0, 1), (1, 0), (2, 1), (11, 1), (11.5, 0), (12, 1), (21, 1), (22, 1), (23, 1)]:
        found, state = choose([offer(HERE, able), offer(EU, 1)], 0.0, state, now)
        seen.append((now, found.region))
    assert [now for now, region in seen if region == HERE] == [0, 22, 23]


def test_a_region_that_cannot_serve_any_more_or_is_stale_is_left_at_once() -> None:
    _, before = choose([offer(HERE, 0), offer(EU, 1)], 0.0, FailoverState(), 0.0)
    assert choose([offer(HERE, 1), offer(EU, 0)], 0.0, before, 1.0)[0].region == HERE
    assert choose([offer(HERE, 1), offer(EU, 1, stale=True)], 0.0, before, 1.0)[0].region == HERE
    assert choose([offer(HERE, 0), offer(EU, 0), offer(ASIA, 1)], 0.0, before, 1.0)[0].region == ASIA
    assert choose([offer(HERE, 1), offer(EU, 1)], 0.0, before, 1.0)[0].region == EU


@given(pauses=st.lists(st.floats(0.01, RETURN_SECONDS * 0.99), min_size=2, max_size=40))
def test_an_instance_that_comes_and_goes_moves_no_callers(pauses: list[float]) -> None:
    _, state = choose([offer(HERE, 0), offer(EU, 1)], 0.0, FailoverState(), 0.0)
    now = 0.0
    for number, pause in enumerate(pauses):
        now += pause
        found, state = choose([offer(HERE, number % 2), offer(EU, 1)], 0.0, state, now)
        assert found.region == EU


_TOLD = st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans())


@given(
    steps=st.lists(
        st.tuples(
            st.floats(0, 30),
            st.lists(_TOLD, min_size=3, max_size=3),
        ),
        max_size=20,
    ),
    threshold=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_callers_get_no_empty_answer_while_any_region_has_an_instance(
    steps: list[tuple[float, list[tuple[int, int, bool]]]], threshold: float
) -> None:
    state, now = FailoverState(), 0.0
    for pause, told in steps:
        now += pause
        offers = [
            offer(region, able, missing, stale=stale and region != HERE)
            for region, (able, missing, stale) in zip((HERE, EU, ASIA), told, strict=True)
        ]
        found, state = choose(offers, threshold, state, now)
        fresh = [each for each in offers if each.can_serve(threshold) and not each.stale]
        if fresh:
            assert found in fresh
        elif any(each.can_serve(threshold) for each in offers):
            assert found.can_serve(threshold)
        elif any(each.healthy for each in offers):
            assert found.healthy


@attrs.define
class Source:
    there: dict[str, RegionalService]
    asked: list[str] = attrs.field(factory=list)

    def regional_service(self, service: str, region: str) -> RegionalService:
        self.asked.append(region)
        if region not in self.there:
            raise RegionUnavailable("cut")
        return self.there[region]


def test_every_region_is_asked_each_time_and_one_of_which_nothing_is_known_offers_nothing() -> None:
    there = instance(1, region=EU)
    told = RegionalService(
        service="orders", region=EU, index=1, instances=(there,), healthy=(there,), age=0.0, stale=True
    )
    source = Source({EU: told})
    own = offer(HERE, 1)
    offers = offers_of(source, ("orders", (EU, ASIA), 0.0, None, None), own, (HERE, EU, ASIA))
    assert source.asked == [EU, ASIA]
    assert offers == [own, RegionalOffer(EU, (there,), 0, stale=True)]


def test_so_many_failovers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAILOVERS_MAX", 2)
    now = [0.0]
    failovers = Failovers(lambda: now[0])
    for service in ("a", "b", "a", "c"):
        failovers.choose(asked_for(service), away())
    assert [failovers.used(asked_for(service)) for service in "abc"] == [EU, "", EU]
    now[0] += 61.0
    failovers.choose(asked_for("d"), away())
    assert [failovers.used(asked_for(service)) for service in "abcd"] == ["", "", "", EU]


def asked_for(service: str, threshold: float = 0.0) -> Asked:
    return service, (EU,), threshold, None, None


def away() -> list[RegionalOffer]:
    """The own region has nothing, another has."""
    return [offer(HERE, 0), offer(EU, 1)]


def test_whatever_a_client_makes_up_the_failovers_that_are_in_use_are_remembered() -> None:
    failovers = Failovers(lambda: 0.0)
    for _ in range(2):
        failovers.choose(asked_for("orders"), away())
    failovers.choose(asked_for("bank"), away())
    for number in range(2 * limits.FAILOVERS_MAX):
        failovers.choose(asked_for(f"made-up-{number}"), [offer(HERE, 0), offer(EU, 0)])
        failovers.choose(asked_for("orders", number / 10_000), away())
    assert failovers.used(asked_for("bank")) == EU
    assert failovers.used(asked_for("orders")) == EU
    assert len(failovers._states) == limits.FAILOVERS_MAX


def test_what_is_served_by_the_own_region_needs_no_memory() -> None:
    failovers = Failovers(lambda: 0.0)
    assert failovers.choose(asked_for("orders"), [offer(HERE, 1), offer(EU, 1)]).region == HERE
    assert failovers.used(asked_for("orders")) == ""
    assert len(failovers._states) == 0


def info(name: str, round_trip: float | None, *, stale: bool = False) -> RegionInfo:
    return RegionInfo(name=name, services=1, followed=1, instances=1, round_trip=round_trip, stale=stale)


def test_a_region_that_is_hardly_nearer_than_the_one_in_use_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    regions = Regions(HERE, {}, lambda: 0.0)
    trips: dict[str, float | None] = {EU: 0.080, ASIA: 0.070, "africa": None}
    monkeypatch.setattr(Regions, "infos", lambda _: tuple(info(name, trip) for name, trip in trips.items()))
    assert regions.in_order(["nearest"]) == (ASIA, EU, "africa")
    assert regions.in_order(["nearest"], EU) == (EU, ASIA, "africa")
    trips[ASIA] = 0.059
    assert regions.in_order(["nearest"], EU) == (ASIA, EU, "africa")


def test_another_region_in_use_is_logged_once_and_counted_and_so_is_the_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gossipreg.runtime.regions.failover")
    now, counters = [0.0], Counter[str]()
    failovers = Failovers(lambda: now[0], counters)
    asked: Asked = ("orders", ("eu",), 0.0, "v2", None)
    gone, serving, there = RegionalOffer("us"), offer("us", 1), offer("eu", 1)
    for offers in ([serving, there], [gone, there], [gone, there], [gone, offer("asia", 1)]):
        failovers.choose(asked, offers)
    for now[0] in (20.0, 31.0, 31.0):
        failovers.choose(asked, [serving, offer("asia", 1)])
    assert [each.getMessage() for each in caplog.records] == [
        "orders v2: the region eu is used: in the own one, us, no instance can serve",
        "orders v2: the region asia is used in place of eu",
        "orders v2: the own region us is used again, after asia",
    ]
    assert counters == {Count.FAILOVERS: 2}


def test_whatever_a_client_makes_up_not_each_change_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    now, counters = [0.0], Counter[str]()
    failovers = Failovers(lambda: now[0], counters)
    for number in range(100):
        failovers.choose(("orders", ("eu",), number / 1000, None, None), [RegionalOffer("us"), offer("eu", 1)])
    assert (len(caplog.records), counters[Count.FAILOVERS]) == (20, 100)
    now[0] = 10.0
    failovers.choose(("orders", ("eu",), 0.5, None, None), [RegionalOffer("us"), offer("eu", 1)])
    assert caplog.records[-1].getMessage() == (
        "orders: the region eu is used: in the own one, us, fewer than 50 % of its instances can serve "
        "(80 earlier changes were not logged)"
    )
