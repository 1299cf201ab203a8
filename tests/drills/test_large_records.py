"""Large records: forty times what a packet holds reaches every agent, and a larger one is refused at once."""

from __future__ import annotations

from tests.drills.agents import Agent, Agents, Measured, asked
from tests.drills.waiting import eventually

_AGENTS = 16
_LARGE = 40 * 1024


async def test_a_record_of_forty_kib_reaches_all_agents(agents: Agents, measured: Measured) -> None:
    members = await agents.cluster(*(f"node-{number}" for number in range(_AGENTS)))
    text = "".join(chr(ord("a") + number % 26) for number in range(_LARGE))
    await members[-1].register("orders", 8080, id="large", meta={"text": text})

    async def check_all_have_it() -> None:
        found = await asked(members, _orders)
        assert [[each["meta"]["text"] == text for each in instances] for instances in found] == [[True]] * _AGENTS

    took = await eventually(check_all_have_it)
    await agents.agree(members)
    measured(f"a record of {_LARGE} bytes: on all {_AGENTS} after {took:.2f} s")


async def test_a_record_that_is_too_large_is_refused_with_its_size_and_the_limit(agents: Agents) -> None:
    agent = await agents.start("a")
    answer = await agent.put("orders", 8080, id="huge", meta={"one": "x" * 33_000, "two": "x" * 33_000})
    assert answer.status == 400
    assert answer.document == {
        "error": "instance 'huge': its record has 66085 bytes, 65536 are allowed: shorten its meta or tags",
        "code": "record_too_large",
    }
    assert await agent.all_ids("orders") == set()


async def _orders(agent: Agent) -> list[dict[str, dict[str, str]]]:
    instances: list[dict[str, dict[str, str]]] = (await agent.get("services/orders"))["instances"]
    return instances
