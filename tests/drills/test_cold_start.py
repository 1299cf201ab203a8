"""A cluster whose agents start all at once is complete within seconds."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.drills.agents import Measured, fixed_address, open_agents
from tests.drills.lengths import scaled
from tests.drills.waiting import eventually, gathered

_AGENTS = scaled(16, 64)
_ROUNDS = scaled(1, 10)


@pytest.mark.parametrize("round_", range(_ROUNDS))
async def test_agents_started_at_once_have_full_and_equal_views_soon_after_the_last_is_ready(
    round_: int, tmp_path: Path, measured: Measured
) -> None:
    seed = fixed_address()
    async with open_agents(tmp_path) as place:
        first = partial(place.start, "node-0", bind=seed)
        others = [partial(place.start, f"node-{number}", join=[seed]) for number in range(1, _AGENTS)]
        agents = await gathered([first, *others])

        async def check_all_are_whole() -> None:
            fingerprints = set()
            for agent in agents:
                node = await agent.node()
                assert node["members"]["alive"] == _AGENTS, agent.name
                fingerprints.add(node["fingerprint"])
            assert len(fingerprints) == 1

        took = await eventually(check_all_are_whole)
    measured(f"cold start {round_}: {_AGENTS} agents whole {took:.2f} s after the last was ready")
