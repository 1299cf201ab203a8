"""A handful of runs of ``python -m tests.drills.signals`` with each framework."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.drills.signals import Outcome, run_one
from tests.peers.frameworks import FRAMEWORKS, write_programs

#: Several at a time wait more than they compute. One run each: all of them take some 25 s of a quiet machine.
_AT_ONCE = 6


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Outcome]]]:
    """One run of each framework that is asked for, at once."""
    folder = tmp_path_factory.mktemp("programs")
    write_programs(folder)
    asked = [item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")]
    names = [name for name in FRAMEWORKS if name in asked and not FRAMEWORKS[name].missing]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {name: pool.submit(run_one, FRAMEWORKS[name], folder, 7, 0) for name in names}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_program_that_gets_a_signal_at_a_random_moment_ends_in_order(
    name: str, runs: dict[str, Future[Outcome]]
) -> None:
    if FRAMEWORKS[name].missing:
        pytest.skip(f"not installed: {', '.join(FRAMEWORKS[name].missing)}")
    outcome = runs[name].result()
    assert outcome.faults == [], outcome.plan.description
