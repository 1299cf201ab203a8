"""Every attack of a hostile client at once, on a small scale: the agent stays alive for its peer, and recovers.

`python -m tests.bench.siege` is the same in full, with figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
import trio

from gossipreg.model import Address
from tests.bench.siege import attacked, attackers, descriptors, healthy
from tests.drills.agents import fixed_address, key_file, open_agents, read_key
from tests.drills.lengths import scaled
from tests.drills.waiting import PATIENCE, eventually
from tests.fuzz.hostile_client import ATTACKS

#: Share of the connections of each attack: some hundred in all.
_SCALE: Final = scaled(0.02, 0.2)

#: What each flood has to have sent before it is over.
_PACKETS: Final = scaled(5_000, 100_000)

#: How long the attackers may take for that (seconds): the machine may be busy.
_LONG: Final = 180.0

#: How much the agent may grow (bytes): some hundred connections, what they are answered, and what the allocator keeps.
_GROWTH: Final = 64 * 1024 * 1024


@pytest.mark.slow
async def test_a_siege_leaves_the_agent_alive_and_is_over_when_it_is(tmp_path: Path) -> None:
    file = key_file(tmp_path, "key")
    dns = fixed_address()
    async with open_agents(tmp_path) as agents:
        other = await agents.start("other", "--key-file", file)
        agent = await agents.start("besieged", "--key-file", file, "--dns", dns, join=[other])
        await agents.agree([agent, other])
        for number in range(20):
            await agent.register("orders", 1000 + number)
        resident, opened = agent.resident(), descriptors(agent)
        by = attackers(agent, dns, read_key(file), 10, "--scale", str(_SCALE))
        async with attacked(by) as done:

            async def check_all_was_tried() -> None:
                assert (await other.sight()).members["besieged"] != "failed"
                assert not {attack.name for attack in ATTACKS} - done.keys()
                assert min(done["gossip junk"], done["DNS queries"]) >= _PACKETS

            await eventually(check_all_was_tried, within=_LONG)
            with trio.fail_after(PATIENCE):
                assert await healthy(Address.parse(agent.http)), "others are answered meanwhile"

        async def check_it_is_as_before() -> None:
            assert descriptors(agent) <= opened + 2

        await eventually(check_it_is_as_before)
        assert agent.resident() - resident < _GROWTH
        await agents.agree([agent, other])
        await agent.register("stock", 80, id="after")
        await agents.agree([agent, other], offers={"stock": {"after"}})
