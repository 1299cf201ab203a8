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
    lines = reads.table({"dict": 40e6, "lookup": 4e6, "pick": 0.4e6}).splitlines()
    assert [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]] == [
        ["dict", "40,000,000", "1", "", ""],
        ["lookup", "4,000,000", "1/10", "≥ 1,000,000", "met"],
        ["pick", "400,000", "1/100", "≥ 500,000", "missed"],
    ]
