"""What the benchmark of starts makes of its figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench.processes import BenchError
from tests.bench.startup import COMMANDS, Cost, as_text, cases, cost


def test_what_a_node_adds_is_taken_within_each_round() -> None:
    found = {name: [Cost(100.0, 20.0, 10.0), Cost(900.0, 20.0, 10.0)] for name in (*cases(Path("key")), *COMMANDS)}
    found["open node"] = [Cost(120.0, 45.0, 10.0), Cost(925.0, 45.0, 10.0)]
    told = as_text(found).splitlines()
    assert any(
        "a node in a program that has trio: CPU added | ms | 22.5" in line and "| met |" in line for line in told
    )
    assert any("open node: resident" in line and "| missed |" in line for line in told)


def test_a_process_is_measured_when_it_is_ready(tmp_path: Path) -> None:
    lazy = cost(("-c", "print('ready', flush=True); input()"), os.environ, tmp_path)
    busy = cost(
        ("-c", "sum(range(3_000_000)); x = b'1' * (64 << 20); print('ready', flush=True); input()"),
        os.environ,
        tmp_path,
    )
    assert busy.cpu > lazy.cpu > 0
    assert busy.resident > lazy.resident + 60


def test_one_that_ends_instead_is_an_error_with_its_last_word(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not ready: no time"):
        cost(("-c", "raise SystemExit('no time')"), os.environ, tmp_path)
