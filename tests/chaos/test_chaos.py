"""Real agents keep their guarantees under each nemesis alone, and under several at once. Minutes: `pytest -m chaos`."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.__main__ import summary
from tests.chaos.faults import NEMESES, WAITING
from tests.chaos.hosts import missing_for_nemesis, missing_requirement
from tests.chaos.run import QUICK, Result, RunOptions, run

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.netns,
    pytest.mark.skipif(bool(missing_requirement()), reason=missing_requirement() or "it can be run"),
]


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def run_twice_if_violated(options: RunOptions) -> Result:
    """Run, with the timeline in the output of a failed test.

    Real processes are not deterministic, so a violation must occur again with the same plan. The first one is reported
    on standard error, for investigation with `python -m tests.chaos`.
    """
    result = await run(options, say)
    if result.violations:
        say(f"running again, since the machine may be the cause:\n{summary(result)}")
        result = await run(options, say)
    assert not result.violations, summary(result)
    return result


@pytest.mark.parametrize("nemesis", [name for name in NEMESES if name not in WAITING])
async def test_one_nemesis(nemesis: str) -> None:
    if reason := missing_for_nemesis(nemesis):
        pytest.skip(reason)
    seed = 1 + list(NEMESES).index(nemesis)
    options = RunOptions(seed, phases=1, nemeses=(nemesis,), mixed=False, length=12.0, settings=QUICK)
    result = await run_twice_if_violated(options)
    assert result.outcomes["ok"] >= 10


@pytest.mark.parametrize("seed", [1001, 1002])
async def test_mixed_nemeses(seed: int) -> None:
    nemeses = tuple(name for name in NEMESES if name not in WAITING and not missing_for_nemesis(name))
    result = await run_twice_if_violated(RunOptions(seed, phases=3, nemeses=nemeses, length=20.0))
    assert result.phases == 3
