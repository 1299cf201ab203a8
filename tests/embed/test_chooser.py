"""Which instance the next call goes to, given how the last ones went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

import attrs
import pytest

from gossipreg import ConfigError, Instance, NodeClosed, NoInstance
from gossipreg.embed.chooser import AVOID_SECONDS, AVOID_SECONDS_MAX, Chooser, Strategy
from gossipreg.protocol.registry.choose import by_key
from tests.embed.offering import FakeRegistry, offer


@attrs.define
class Clock:
    """A clock that is set by hand (seconds)."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


A, B, C = offer("a"), offer("b"), offer("c")


def chooser(*instances: Instance, clock: Clock | None = None, strategy: Strategy = "random", zone: str = "") -> Chooser:
    return Chooser(FakeRegistry(instances), strategy=strategy, zone=zone, clock=clock or Clock(), rng=Random(2026))


def choices(chooser: Chooser, number: int = 200) -> Counter[str]:
    return Counter(chooser.choose("orders").id for _ in range(number))


@pytest.mark.parametrize("strategy", ["random", "round-robin", "least-loaded"])
def test_every_strategy_gives_each_its_share_and_the_drained_nothing(strategy: Strategy) -> None:
    found = choices(chooser(offer("a", weight=3), offer("b"), offer("c", weight=0), strategy=strategy), 4_000)
    assert set(found) == {"a", "b"}
    assert (found["a"] - 3_000) ** 2 / 3_000 + (found["b"] - 1_000) ** 2 / 1_000 < 10.83


def test_a_strategy_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"^strategy: 'best' is none of random, round-robin, least-loaded$"):
        Chooser(FakeRegistry(), strategy="best")  # type: ignore[arg-type]


def test_below_its_threshold_it_chooses_what_was_lost_too_and_avoids_what_fails() -> None:
    lost = offer("b", stale=True)
    assert set(choices(chooser(A, lost))) == {"a"}
    calls = Chooser(FakeRegistry((A, lost)), panic=0.5, clock=Clock(), rng=Random(1))
    assert set(choices(calls)) == {"a", "b"}
    calls.report_failure(lost)
    assert set(choices(calls)) == {"a"}


def test_a_threshold_is_a_share() -> None:
    with pytest.raises(ConfigError, match=r"^panic: 50 is not a share from 0 to 1$"):
        Chooser(FakeRegistry(), panic=50)


def test_when_there_is_no_instance_the_refusal_names_the_service() -> None:
    with pytest.raises(NoInstance, match=r"^no instance of 'orders' can be called now$"):
        chooser().choose("orders")
    with pytest.raises(NoInstance, match=r"^no other instance of 'orders' can be called now$"):
        chooser(A, B).choose("orders", excluding=[A, B])


def test_what_was_tried_already_is_not_chosen_again() -> None:
    calls = chooser(A, B, C)
    assert {calls.choose("orders", excluding=[A, C]).id for _ in range(50)} == {"b"}


def test_what_is_asked_for_is_looked_up() -> None:
    calls = chooser(offer("a", tags=["v1"]), offer("b", tags=["v2"], role="primary"))
    assert calls.choose("orders", tag="v1").id == "a"
    assert calls.choose("orders", role="primary").id == "b"


def test_turns_are_taken_among_those_that_were_asked_for_and_not_by_further_attempts() -> None:
    every = [offer(f"{tag}-{number}", tags=[tag]) for tag in ("v1", "v2") for number in range(3)]
    calls = chooser(*every, strategy="round-robin")
    turns = []
    for number in range(12):
        turns.append(calls.choose("orders", tag=f"v{number % 2 + 1}"))
        calls.choose("orders", tag=f"v{number % 2 + 1}", excluding=turns[-1:])
    assert Counter(turns) == dict.fromkeys(every, 2)


def test_a_key_always_goes_to_its_own_instance_and_to_another_only_while_that_fails() -> None:
    clock = Clock()
    calls = chooser(A, B, C, clock=clock)
    owner = by_key((A, B, C), "customer-7")
    assert owner is not None
    assert {calls.choose("orders", key="customer-7") for _ in range(20)} == {owner}
    calls.report_failure(owner)
    [other] = {calls.choose("orders", key="customer-7") for _ in range(20)}
    assert other != owner
    clock.now += AVOID_SECONDS
    assert calls.choose("orders", key="customer-7") == owner


def test_ones_own_zone_comes_first_unless_all_of_it_fails() -> None:
    here, there = offer("here", zone="east"), offer("there", zone="west")
    calls = chooser(here, there, zone="east")
    assert set(choices(calls)) == {"here"}
    calls.report_failure(here)
    assert set(choices(calls)) == {"there"}


def test_an_instance_that_failed_is_avoided_for_longer_each_time_but_not_for_ever() -> None:
    clock = Clock()
    calls = chooser(A, B, clock=clock)
    seconds = AVOID_SECONDS
    for _ in range(10):
        calls.report_failure(A)
        clock.now += seconds - 0.001
        assert set(choices(calls)) == {"b"}
        clock.now += 0.001
        assert set(choices(calls)) == {"a", "b"}
        seconds = min(2 * seconds, AVOID_SECONDS_MAX)


def test_failures_of_calls_that_were_under_way_together_count_once() -> None:
    clock = Clock()
    calls = chooser(A, B, clock=clock)
    for _ in range(10):
        calls.report_failure(A)
    clock.now += AVOID_SECONDS
    assert set(choices(calls)) == {"a", "b"}


def test_a_call_that_goes_well_is_forgiveness_and_so_is_time() -> None:
    clock = Clock()
    calls = chooser(A, B, clock=clock)
    calls.report_failure(A)
    calls.report_success(A)
    assert set(choices(calls)) == {"a", "b"}
    calls.report_failure(A)
    clock.now += 2 * AVOID_SECONDS
    calls.report_failure(A)
    clock.now += AVOID_SECONDS
    assert set(choices(calls)) == {"a", "b"}, "it was a first failure again"


def test_when_all_fail_none_is_avoided() -> None:
    calls = chooser(A, B)
    calls.report_failure(A)
    calls.report_failure(B)
    assert set(choices(calls)) == {"a", "b"}


def test_one_that_fails_is_better_than_one_that_is_drained() -> None:
    calls = chooser(A, offer("drained", weight=0))
    calls.report_failure(A)
    assert set(choices(calls)) == {"a"}


def test_a_call_that_hangs_keeps_others_away_from_its_instance() -> None:
    calls = chooser(A, B, strategy="least-loaded")
    with calls.calling("orders") as busy:
        assert busy.id not in choices(calls)
        calls.begin(B if busy == A else A)
        assert set(choices(calls)) == {"a", "b"}


def test_a_block_tells_how_its_call_went() -> None:
    calls = chooser(A, B, strategy="round-robin")
    with pytest.raises(TimeoutError), calls.calling("orders") as failed:
        raise TimeoutError
    assert failed.id not in choices(calls)
    with pytest.raises(ZeroDivisionError), calls.calling("orders") as well:
        raise ZeroDivisionError
    assert set(choices(calls)) == {well.id}, "that was the caller's mistake"
    with calls.calling("orders", excluding=[well]) as again:
        assert again == failed
    assert set(choices(calls)) == {"a", "b"}


def test_what_is_counted_is_forgotten_when_it_is_over() -> None:
    clock = Clock()
    calls = chooser(A, B, clock=clock)
    with ThreadPoolExecutor(4) as pool:

        def call(_: int) -> None:
            with calls.calling("orders"):
                pass

        list(pool.map(call, range(200)))
    assert calls._under_way == {}
    calls.report_failure(A)
    clock.now += 3600
    calls.report_failure(B)
    assert len(calls._failures) == 1


@attrs.define
class Regional(FakeRegistry):
    """A registry that knows another region."""

    closed: bool = False
    asked: list[tuple[object, ...]] = attrs.field(factory=list)

    def with_failover(
        self,
        service: str,
        failover: Sequence[str],
        *,
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> tuple[Instance, ...]:
        self.asked.append((service, failover, threshold, tag, role))
        if self.closed:
            raise NodeClosed("closed")
        return self.instances or (offer("a", region="eu"), offer("b", region="eu"))


def test_a_list_of_regions_is_failed_over_to_and_equal_ids_of_two_regions_are_two_instances() -> None:
    registry = Regional((A, B))
    calls = Chooser(registry, failover=["eu", "nearest"], failover_threshold=0.5, clock=Clock(), rng=Random(1))
    calls.report_failure(A)
    assert set(choices(calls)) == {"b"}
    registry.instances = ()
    assert {(each.region, each.id) for each in (calls.choose("orders", tag="t", role="r") for _ in range(50))} == {
        ("eu", "a"),
        ("eu", "b"),
    }
    assert registry.asked[-1] == ("orders", ("eu", "nearest"), 0.5, "t", "r")
    calls.begin(offer("a", region="eu"))
    assert list(calls._under_way) == [("eu", "a", "a")]


def test_a_closed_node_fails_over_nowhere_and_answers_what_it_knew_only_if_it_may() -> None:
    registry = Regional((A,), closed=True)
    with pytest.raises(NodeClosed):
        Chooser(registry, failover=["eu"]).choose("orders")
    assert Chooser(registry, failover=["eu"], last_known=True).choose("orders") == A


def test_a_panic_threshold_cannot_be_had_with_failover() -> None:
    with pytest.raises(ConfigError, match=r"^panic: cannot be had with failover"):
        Chooser(FakeRegistry(), panic=0.5, failover=["eu"])
    with pytest.raises(ConfigError, match=r"^failover_threshold: 2"):
        Chooser(FakeRegistry(), failover=["eu"], failover_threshold=2)
