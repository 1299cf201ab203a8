"""The benchmark of reads measures what it says, and reads are fast, with room for a busy machine."""

from __future__ import annotations

from tests.bench import reads


def test_reads_are_within_reach_of_a_lookup_in_a_dict() -> None:
    figures = reads.run(5, rounds=5)
    assert set(reads.TARGETS) < set(figures)
    assert figures["dict"] / figures["lookup"] < 40
    assert figures["dict"] / figures["pick"] < 80
    assert figures["lookup, trio"] / figures["lookup"] < 3, "a node in a thread is read without its loop"


def test_the_table_has_a_row_for_each_figure() -> None:
    lines = reads.table({"dict": 40e6, "lookup": 4e6, "pick": 2e6}).splitlines()
    assert lines[2:] == [
        "| dict | 40,000,000 | 1/1.0 |  |",
        "| lookup | 4,000,000 | 1/10.0 | ≥ 1,000,000 |",
        "| pick | 2,000,000 | 1/20.0 | ≥ 500,000 |",
    ]
