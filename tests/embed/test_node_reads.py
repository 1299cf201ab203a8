"""The benchmark of reads measures what it says, and a read does next to nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from gossipreg import Config
from gossipreg.embed.threads import open_node
from tests.bench import reads


def calls_of(read: Callable[[], object]) -> int:
    """How many functions one read calls, itself and those written in C included."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    read()  # what is done once is not counted
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read()
    finally:
        sys.setprofile(before)
    return calls - 2  # of `read` itself, and to end the count


def test_a_read_is_a_handful_of_calls_whatever_the_service_holds() -> None:
    """What a machine makes of them a second is for the benchmark to say."""
    for instances in (1, 40):
        with open_node(Config(name="reads", bind="127.0.0.1:0")) as node:
            for port in range(1, instances + 1):
                node.register("orders", port=port)
            rows = reads.rows_of(node)
            calls = {name: calls_of(row) for name, row in rows.items()}
        assert calls["dict"] == 1
        assert calls["lookup, trio"] <= 6
        assert calls["lookup"] == calls["lookup, trio"] + 1, "a node in a thread is read without its loop"
        assert calls["pick"] <= 12, "one draw, and no look at each instance"


@pytest.mark.slow
def test_the_benchmark_has_a_figure_for_each_row() -> None:
    figures = reads.run(5, rounds=1)
    assert set(reads.TARGETS) < set(figures)
    assert min(figures.values()) > 0


def test_the_table_has_a_row_for_each_figure() -> None:
    lines = reads.table({"dict": 40e6, "lookup": 4e6, "pick": 0.4e6}).splitlines()
    assert [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]] == [
        ["dict", "40,000,000", "1", "", ""],
        ["lookup", "4,000,000", "1/10", "≥ 1,000,000", "met"],
        ["pick", "400,000", "1/100", "≥ 500,000", "missed"],
    ]
