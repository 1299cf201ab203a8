"""Worker processes run the seeds; a worker that dies fails only its seed."""

from __future__ import annotations

import multiprocessing
from contextlib import closing

import pytest

from gossipreg_sim.fuzz import pool
from gossipreg_sim.fuzz.pool import run_in_pool
from tests.sim.fuzz.working import brief, deadly, endless, plain, stopped_for_a_while


def test_every_seed_gets_its_result() -> None:
    assert dict(run_in_pool(plain, iter(range(10)), 2)) == {seed: plain(seed) for seed in range(10)}
    assert multiprocessing.active_children() == []


def test_there_are_no_more_processes_than_seeds() -> None:
    assert dict(run_in_pool(plain, iter([7]), 3)) == {7: plain(7)}
    assert dict(run_in_pool(plain, iter([]), 3)) == {}


def test_a_dead_worker_fails_only_its_seed() -> None:
    results = dict(run_in_pool(deadly, iter(range(5)), 1))
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert [seed for seed, result in results.items() if not result.is_good] == [2]
    assert results[2].wrong == ("worker died",)
    assert results[2].detail == "the worker died, killed by SIGKILL"


def test_a_hung_worker_fails_only_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_GRACE", 0.0)
    results = dict(run_in_pool(endless, iter(range(4)), 2, 0.25))
    assert sorted(results) == [0, 1, 2, 3]
    assert [seed for seed, result in results.items() if not result.is_good] == [2]
    assert results[2].wrong == ("slow run",)
    assert results[2].detail == "took more than 0.25 s of CPU time"


def test_a_worker_that_waits_for_cpu_time_does_not_count_as_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_GRACE", 0.0)
    assert dict(run_in_pool(stopped_for_a_while, iter([1]), 1, 0.2)) == {1: plain(1)}


def test_an_abandoned_sweep_leaves_no_process() -> None:
    with closing(run_in_pool(plain, iter(range(1000)), 2)) as results:
        next(results)
        assert multiprocessing.active_children() != []
    assert multiprocessing.active_children() == []


def test_a_run_in_another_process_is_the_same_run() -> None:
    [(_, there)] = run_in_pool(brief, iter([4]), 1)
    here = brief(4)
    assert (there.digest, there.marks) == (here.digest, here.marks)
