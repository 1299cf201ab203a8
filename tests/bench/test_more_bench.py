from __future__ import annotations

import argparse
import math

import pytest

from tests.bench.http_reads import OURS, Round, lua, read_wrk
from tests.bench.http_reads import table as reads_table
from tests.bench.long_lists import QUESTIONS as LIST_QUESTIONS
from tests.bench.long_lists import ListCost
from tests.bench.long_lists import measure as measure_lists
from tests.bench.long_lists import table as lists_table
from tests.bench.offers import spread
from tests.bench.processes import BenchError
from tests.bench.reconciliation import Repair, Talk, repair_table, repairs
from tests.bench.simulated import churn, cluster, percentile
from tests.bench.tables import markdown
from tests.bench.watchers import Heard
from tests.bench.watchers import table as watchers_table

WRK = """\
Running 1s test @ http://127.0.0.1:1/
  1 threads and 16 connections
  5230 requests in 1.01s, 8.10MB read
Requests/sec:   5198.21
Transfer/sec:      8.02MB
"""


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_a_table_is_ruled_below_its_head_and_aligned() -> None:
    assert markdown([["what", "s"], ["a join", "1.5"]]) == "| what   | s   |\n| ------ | --- |\n| a join | 1.5 |"


def test_wrk_tells_how_many_were_answered_and_how_many_a_second() -> None:
    assert read_wrk(WRK) == (5230, 5198.21)


@pytest.mark.parametrize("trouble", ["  Non-2xx or 3xx responses: 3", "  Socket errors: connect 0, read 1"])
def test_rounds_in_which_a_request_failed_do_not_count(trouble: str) -> None:
    with pytest.raises(BenchError, match="not every request"):
        read_wrk(f"{WRK}{trouble}\n")


def test_text_goes_into_a_script_of_wrk_as_it_is() -> None:
    assert lua('{"key":"b3"}') == '[[{"key":"b3"}]]'


def test_each_round_is_compared_with_its_neighbour() -> None:
    ours = [Round(6000, 6100), Round(3000, 6000), Round(6000, 6200)]
    etcd = [Round(3000, 3100), Round(1500, 3000), Round(6000, 3200)]
    _, _, first, second = cells(reads_table({OURS: ours, "etcd": etcd}))
    assert first == [OURS, "6000 (3000 to 6000, n=3)", "6100", "", "≥ 5000", "met"]
    assert second == ["etcd", "3000 (1500 to 6000, n=3)", "3100", "2", "> 1", "met"]


def test_watchers_are_timed_from_the_registration() -> None:
    heard = Heard.of(10.0, [10.25, 10.125, 10.5], 0.2)
    assert (heard.first, heard.middle, heard.last, heard.cpu) == (125, 250, 500, 200)


def test_only_the_promised_number_of_watchers_has_a_target() -> None:
    few, many, late = [Heard(1, 2, 3, 1)], [Heard(100, 200, 251, 180)], [Heard(100, 200, 499, 180)]
    found = {
        (10, 0): {"watchers": few, "readers": []},
        (1000, 0): {"watchers": many, "readers": []},
        (0, 1000): {"watchers": [], "readers": late},
        (1000, 1000): {"watchers": many, "readers": late},
    }
    targets = [(row[0], *row[-2:]) for row in cells(watchers_table(found))[2:]]
    assert targets == [
        ("10 watchers", "", ""),
        ("1,000 watchers", "≤ 250 ms", "missed"),
        ("1,000 readers", "≤ 500 ms", "met"),
        ("1,000 watchers beside 1,000 readers", "", ""),
        ("1,000 readers beside 1,000 watchers", "", ""),
    ]


def test_differing_records_lie_at_equal_distances() -> None:
    assert spread(range(10), 5) == [0, 2, 4, 6, 8]
    assert spread(range(10), 0) == []


def test_a_repair_costs_more_the_more_differs_and_much_less_than_everything() -> None:
    found = repairs(300, [0, 1, 10])
    everything, nothing, one, ten = (each.cost for each in found)
    assert nothing.bytes < one.bytes < ten.bytes < everything.bytes / 3
    assert (nothing.trips, one.trips) == (1, 2)


def test_repairs_are_set_against_a_full_exchange() -> None:
    full, ten = Repair(None, Talk(1000, 1000, 2)), Repair(10, Talk(60, 40, 2))
    _, _, small, large = cells(repair_table([full, ten]))
    assert small == ["10", "100", "10", "2", "1/20", "≤ 1/20", "met"]
    assert large[:4] == ["all: it has none", "2,000", "", "2"]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_least_value_that_is_enough(share: float, value: float) -> None:
    assert percentile([float(each) for each in range(100, 0, -1)], share) == value


def test_of_one_value_every_percentile_is_that_value() -> None:
    assert math.isclose(percentile([7.0], 0.99), 7.0)


def test_a_crowd_of_newcomers_is_full_and_agrees() -> None:
    said = cluster(argparse.Namespace(records=100, newcomers=4, seed=1))
    assert ["equal fingerprints everywhere after 10 s", "yes"] in cells(said)


def test_churn_is_seen_by_all() -> None:
    said = cells(churn(argparse.Namespace(nodes=5, changes=20, seconds=1, seed=1)))
    assert ["changes seen by all", "20 of 20"] in said
    assert ["rumors dropped", "0"] in said


def test_a_long_turn_of_the_loop_misses_the_target_of_long_lists() -> None:
    costs = {"first list": [ListCost(11, 20, 30)], "whole list": [ListCost(9, 1, 30), ListCost(3, 1, 30)]}
    found = [row[:4] for row in cells(lists_table(costs))[2:]]
    assert found == [
        ["first list", "11.0", "≤ 10", "missed"],
        ["whole list", "6.00 (3.00 to 9.00, n=2)", "≤ 10", "met"],
    ]


@pytest.mark.slow
async def test_long_lists_are_measured_of_two_nodes() -> None:
    costs = await measure_lists(300, 1)
    assert {name: len(each) for name, each in costs.items()} == {"first list": 1, **dict.fromkeys(LIST_QUESTIONS, 1)}
    assert all(0 < each.size < 1 for [each] in costs.values())
