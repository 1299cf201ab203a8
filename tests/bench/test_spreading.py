"""The measurement of a registration in a simulated cluster: what it counts, and what it refuses."""

from __future__ import annotations

import statistics

import pytest

from tests.bench import spreading


def test_a_registration_costs_a_record_a_receipt_and_a_digest() -> None:
    spread = spreading.measure(27, 0.0, 3, seed=0)
    assert max(spread.seconds) < 0.006
    assert 2.0 < statistics.median(spread.packets) < 4.0


def test_a_burst_is_measured_as_a_whole() -> None:
    spread = spreading.measure_burst(9, 0.0, 5, seed=0, owners=2)
    assert len(spread.seconds) == 5
    assert max(spread.seconds) < 0.02


def test_the_table_has_a_line_for_each_size_and_loss(capsys: pytest.CaptureFixture[str]) -> None:
    assert spreading.main(["--nodes", "4", "--loss", "0", "--tries", "1"]) == 0
    heading, _, line = capsys.readouterr().out.splitlines()
    assert heading.count("|") == line.count("|")
    assert line.startswith("| 4 ")


@pytest.mark.parametrize("wrong", [["--nodes", "1"], ["--nodes", "x"], ["--loss", "100"], ["--tries", "0"]])
def test_what_cannot_be_measured_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        spreading.arguments(wrong)
    assert ended.value.code == 2
