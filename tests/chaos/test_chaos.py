"""Real agents keep what they promise under each nemesis alone, and under some at once. Minutes: `pytest -m chaos`."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.__main__ import told
from tests.chaos.faults import NEMESES, WAITING
from tests.chaos.ground import why_no_nemesis, why_not
from tests.chaos.run import QUICK, Result, Wishes, run

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.netns,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can be run"),
]


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def play(wishes: Wishes) -> Result:
    """A run whose timeline is shown where the test fails.

    Real processes do not do the same twice, so a violation must show again with the same plan: the first one is told
    on standard error, and is for `python -m tests.chaos` to chase.
    """
    result = await run(wishes, say)
    if result.violations:
        say(f"played once more, since this may be of the machine's making:\n{told(result)}")
        result = await run(wishes, say)
    assert not result.violations, told(result)
    return result


@pytest.mark.parametrize("nemesis", [name for name in NEMESES if name not in WAITING])
async def test_one_nemesis(nemesis: str) -> None:
    if reason := why_no_nemesis(nemesis):
        pytest.skip(reason)
    seed = 1 + list(NEMESES).index(nemesis)
    wishes = Wishes(seed, phases=1, nemeses=(nemesis,), mixed=False, length=12.0, settings=QUICK)
    result = await play(wishes)
    assert result.outcomes["ok"] >= 10


@pytest.mark.parametrize("seed", [1001, 1002])
async def test_mixed_nemeses(seed: int) -> None:
    nemeses = tuple(name for name in NEMESES if name not in WAITING and not why_no_nemesis(name))
    result = await play(Wishes(seed, phases=3, nemeses=nemeses, length=20.0))
    assert result.phases == 3
