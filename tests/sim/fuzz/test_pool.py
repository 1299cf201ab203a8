"""Seeds are worked off by processes; one that dies costs its seed only."""

from __future__ import annotations

import multiprocessing
from contextlib import closing

import pytest

from gossipreg_sim.fuzz import pool
from gossipreg_sim.fuzz.pool import run_in_pool
from tests.sim.fuzz.working import brief, deadly, endless, plain, stopped_for_a_while


def test_every_seed_gets_its_verdict() -> None:
    assert dict(run_in_pool(plain, iter(range(10)), 2)) == {seed: plain(seed) for seed in range(10)}
    assert multiprocessing.active_children() == []


def test_there_are_no_more_processes_than_seeds() -> None:
    assert dict(run_in_pool(plain, iter([7]), 3)) == {7: plain(7)}
    assert dict(run_in_pool(plain, iter([]), 3)) == {}


def test_a_process_that_dies_fails_its_seed_and_no_other() -> None:
    verdicts = dict(run_in_pool(deadly, iter(range(5)), 1))
    assert sorted(verdicts) == [0, 1, 2, 3, 4]
    assert [seed for seed, verdict in verdicts.items() if not verdict.is_good] == [2]
    assert verdicts[2].wrong == ("worker died",)
    assert verdicts[2].said == "the worker died, killed by SIGKILL"


def test_a_process_that_hangs_fails_its_seed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_GRACE", 0.0)
    verdicts = dict(run_in_pool(endless, iter(range(4)), 2, 0.25))
    assert sorted(verdicts) == [0, 1, 2, 3]
    assert [seed for seed, verdict in verdicts.items() if not verdict.is_good] == [2]
    assert verdicts[2].wrong == ("slow run",)
    assert verdicts[2].said == "took more than 0.25 s of the processor"


def test_a_process_that_waits_for_the_processor_is_not_taken_to_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_GRACE", 0.0)
    assert dict(run_in_pool(stopped_for_a_while, iter([1]), 1, 0.2)) == {1: plain(1)}


def test_a_sweep_that_is_given_up_leaves_no_process() -> None:
    with closing(run_in_pool(plain, iter(range(1000)), 2)) as verdicts:
        next(verdicts)
        assert multiprocessing.active_children() != []
    assert multiprocessing.active_children() == []


def test_a_play_in_another_process_is_the_same_play() -> None:
    [(_, there)] = run_in_pool(brief, iter([4]), 1)
    here = brief(4)
    assert (there.digest, there.marks) == (here.digest, here.marks)
