"""What the benchmark of attached processes makes of its figures."""

from __future__ import annotations

import pytest

from tests.bench.attach import Measured, main


def test_a_figure_is_judged_by_its_target() -> None:
    measured = Measured()
    measured.add("start", "ms", [30.0, 60.0, 38.0], 40.0)
    measured.add("memory", "MiB", [5.0], 4.0)
    measured.add("kill", "ms", [7.0])
    _, _, start, memory, kill = measured.as_text().splitlines()
    assert start.endswith("| ≤ 40 ms | met |")
    assert memory.endswith("| ≤ 4 MiB | missed |")
    assert kill.endswith("| 7.00 |  |  |")


@pytest.mark.slow
def test_a_small_run_measures_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--processes", "3", "--rounds", "1", "--kills", "1"]) == 0
    told = capsys.readouterr().out
    for what in ("start, trio: CPU added", "start, threads: resident added", "kill -9 of a member", "bytes read and"):
        assert what in told
    rest = next(line for line in told.splitlines() if "bytes read and written at rest, all that only look up" in line)
    assert "| 0 |" in rest
