"""A sweep adds up its runs, whoever made them in whatever order."""

from __future__ import annotations

from itertools import islice

from gossipreg_sim.fault import KINDS
from gossipreg_sim.fuzz.generation import generated
from gossipreg_sim.fuzz.sweep import SOMETIMES, Sweep, seeds_from
from gossipreg_sim.fuzz.verdict import Verdict
from tests.sim.fuzz.working import plain


def swept(*seeds: int) -> Sweep:
    made = Sweep()
    for seed in seeds:
        made.add(seed, plain(seed))
    return made


def test_seeds_are_as_many_as_asked_for() -> None:
    assert list(seeds_from(7, 3, None)) == [7, 8, 9]
    assert list(islice(seeds_from(7, None, 60.0), 3)) == [7, 8, 9]


def test_no_seed_begins_when_time_is_up() -> None:
    assert list(seeds_from(7, 3, -1.0)) == []


def test_the_hash_of_all_traces_does_not_depend_on_their_order() -> None:
    assert swept(1, 2, 3).digest == swept(3, 1, 2).digest
    assert swept(1, 2, 3).digest != swept(1, 2).digest


def test_the_hash_of_all_traces_is_another_when_one_trace_is() -> None:
    other = swept(1, 2)
    other.add(3, Verdict(digest="otherwise"))
    assert other.digest != swept(1, 2, 3).digest


def test_faults_are_counted_as_often_as_they_were_drawn() -> None:
    sweep = swept(*range(20))
    assert sum(sweep.kinds.values()) == sum(len(generated(seed).scenario.faults) for seed in range(20))


def test_a_mark_that_no_play_made_is_named() -> None:
    sweep = swept(1, 2)
    assert sweep.marks["alive"] == 2
    assert sweep.never == [mark for mark in SOMETIMES if mark != "alive"]
    assert f"never      {', '.join(sweep.never)}" in sweep.as_lines()


def test_oracles_are_counted_where_they_had_occasion_to_judge_a_new_one_like_the_others() -> None:
    sweep = Sweep()
    for seed in range(20):
        sweep.add(seed, Verdict(digest="", judged={"MonotonicBeliefs": True, "Brandnew": seed == 7}))
    assert sweep.shares == {"MonotonicBeliefs": 1.0, "Brandnew": 0.05}
    lines = list(sweep.as_lines())
    assert "oracles    MonotonicBeliefs judged in      20 runs, 100%" in lines
    assert "           Brandnew         judged in       1 runs,   5%, seldom: less than 10%" in lines
    assert sweep.as_document()["oracles"]["Brandnew"] == {"judged": 1, "share": 0.05}


def test_the_rate_is_that_of_one_core() -> None:
    assert round(swept(1, 2).per_core) == 10
    assert Sweep().per_core == 0.0


def test_what_failed_is_counted() -> None:
    sweep = swept(1)
    sweep.add(5, Verdict.without_trace("slow run", "took longer than 60 s"))
    assert sweep.failures == [5]
    assert "failures   1" in sweep.as_lines()
    assert sweep.as_document()["good"] is False
    assert list(sweep.as_document()["faults"]) == list(KINDS)
