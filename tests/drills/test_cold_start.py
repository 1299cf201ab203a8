"""A cluster that is started all at once is whole within seconds."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.drills.agents import Agents, Measured, fixed_address, open_agents
from tests.drills.lengths import scaled
from tests.drills.waiting import eventually, gathered

_AGENTS = scaled(16, 64)
_ROUNDS = scaled(1, 10)

#: From the last ready line until every view is full and all are equal (seconds).
_WHOLE_WITHIN = 5.0

#: Processor time that an agent may have used when it is ready, in times of what importing its libraries takes here and
#: now: a second of a busy machine is not always the same.
_IMPORTS_UNTIL_READY = 3.5


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

        took = await eventually(check_all_are_whole, within=_WHOLE_WITHIN)
    measured(f"cold start {round_}: {_AGENTS} agents whole {took:.2f} s after the last was ready")


async def test_an_agent_is_ready_after_little_work(agents: Agents, measured: Measured) -> None:
    used, imports = [], []
    for name in "abc":
        imports.append(await trio.to_thread.run_sync(_cpu_of_imports))
        used.append((await agents.start(name)).cpu)
    measured(f"processor time until ready: {used} s; of the imports alone: {imports} s")
    assert min(used) < _IMPORTS_UNTIL_READY * min(imports)


def _cpu_of_imports() -> float:
    """Processor time of a Python that imports what an agent is made of, and ends (seconds)."""
    program = "import resource, attrs, h11, msgpack, trio; print(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))"
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout)
