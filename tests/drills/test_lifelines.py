"""A refused connection is no proof of death where a firewall rejects, or where another process has the port."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from gossipreg.model import Address
from tests.drills.agents import QUICK, Agent, Agents, asked, open_agents
from tests.drills.lengths import scaled
from tests.drills.namespaces import Side, cable, needs_firewall, needs_namespaces
from tests.drills.waiting import eventually

#: How long after a refusal no member may be failed for it (seconds). With the quick settings the longest
#: suspicion of four takes 0.9 s; in full, lifelines are tried again meanwhile.
_WATCHED = scaled(2.0, 20.0)

_ESTABLISHED = "01"


def _streams_to(agent: Agent) -> int:
    """How many streams an agent has that others opened to it, as its kernel says."""
    port = f":{Address.parse(agent.gossip).port:04X}"
    lines = Path(f"/proc/{agent.process.pid}/net/tcp").read_text().splitlines()[1:]
    return sum(local.endswith(port) and state == _ESTABLISHED for _, local, _, state, *_ in map(str.split, lines))


async def _hold_lifelines(agents: list[Agent]) -> None:
    """Wait until every one holds a lifeline to every other, and has been told that it is held."""
    looks: list[list[int]] = []

    async def check() -> None:
        assert [_streams_to(agent) for agent in agents] == [len(agents) - 1] * len(agents)
        looks.append(await _counted(agents, "frames_received"))
        assert looks[-3:] == [looks[-1]] * 3, "frames go to and fro"

    await eventually(check)


async def _counted(agents: list[Agent], what: str) -> list[int]:
    return [counters[what] for counters in await asked(agents, Agent.counters)]


def _stop(agents: list[Agent]) -> None:
    for agent in agents:
        agent.stop()


def _resume(agents: list[Agent]) -> None:
    for agent in agents:
        agent.resume()


async def test_one_that_is_back_on_its_port_before_any_recheck_is_failed_by_none(quick_agents: Agents) -> None:
    agents = await quick_agents.cluster("a", "b", "c", "d")
    *watchers, victim = agents
    await _hold_lifelines(agents)
    _stop(watchers)
    await victim.kill()
    back = await quick_agents.again(victim)
    _resume(watchers)
    await quick_agents.agree([*watchers, back])
    assert await _counted(watchers, "refusals") == [0, 0, 0]
    assert await _counted([*watchers, back], "failures_declared") == [0, 0, 0, 0]


@asynccontextmanager
async def _stranger(at: Address) -> AsyncIterator[list[bytes]]:
    """Another program at ``at``: it answers streams with HTTP, and packets with themselves. Yields what it is sent."""
    heard: list[bytes] = []

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            heard.append(await stream.receive_some())
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with trio.socket.socket(type=socket.SOCK_DGRAM) as udp:
        await udp.bind(at)

        async def echo() -> None:
            while True:
                packet, source = await udp.recvfrom(65_536)
                await udp.sendto(packet, source)

        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_tcp, answer, at.port, host=at.host))
            nursery.start_soon(echo)
            yield heard
            nursery.cancel_scope.cancel()


async def test_a_stranger_that_took_the_port_of_the_dead_is_not_taken_for_it_nor_for_a_refusal(
    quick_agents: Agents,
) -> None:
    agents = await quick_agents.cluster("a", "b", "c", "d")
    *watchers, victim = agents
    await _hold_lifelines(agents)
    _stop(watchers)
    await victim.kill()
    async with _stranger(Address.parse(victim.gossip)) as heard:
        _resume(watchers)
        await eventually(partial(_fail_just, "d", watchers))
        assert heard, "a member has rechecked"
        assert await _counted(watchers, "refusals") == [0, 0, 0]
    back = await quick_agents.again(victim)
    await quick_agents.agree([*watchers, back])


async def _fail_just(name: str, agents: list[Agent]) -> None:
    assert [sight.of("failed") for sight in await asked(agents, Agent.sight)] == [{name}] * len(agents)
    assert [sight.of("suspect") for sight in await asked(agents, Agent.sight)] == [set()] * len(agents)


@pytest.mark.netns
@needs_namespaces
@needs_firewall
async def test_a_firewall_that_rejects_one_observer_gets_no_member_failed(tmp_path: Path) -> None:
    with cable() as network:
        async with open_agents(tmp_path, QUICK) as agents:
            seed = await _start(agents, network.left, "a")
            watchers = [seed, await _start(agents, network.left, "b", seed)]
            accused = await _start(agents, network.left, "c", seed)
            observer = await _start(agents, network.right, "d", seed)
            members = [*watchers, accused, observer]
            await agents.agree(members)
            await _hold_lifelines(members)

            network.reject(Address.parse(accused.gossip).port)

            async def is_refused_and_refuted() -> None:
                assert (await _counted([observer], "refusals"))[0] >= 1
                assert (await _counted([accused], "refutations"))[0] >= 1

            await eventually(is_refused_and_refuted)
            await trio.sleep(_WATCHED)
            await agents.agree(members)
            assert await _counted(members, "failures_declared") == [0, 0, 0, 0]
            assert await _counted(watchers, "refusals") == [0, 0]


async def _start(agents: Agents, side: Side, name: str, *join: Agent) -> Agent:
    bind, http = f"{side.gossip_host}:0", f"{side.http_host}:0"
    return await agents.start(name, "--insecure", join=join, bind=bind, http=http, namespace=side.namespace)
