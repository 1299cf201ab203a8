"""Answers of agents of other regions: what is beyond a limit is not taken, and nothing is read without end."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from gossipreg import limits
from gossipreg.config import Config
from gossipreg.errors import ConfigError
from gossipreg.federation import Federation
from gossipreg.runtime.regions.agent_connection import AgentConnection, AgentFailed
from gossipreg.runtime.regions.remote_answer import UnusableAnswer, read_answer
from gossipreg.runtime.regions.remote_region import RemoteRequest
from tests.runtime.nodes import PATIENCE

REQUEST = RemoteRequest({"orders": 0}, "", 0.0)


def row(number: int) -> dict[str, Any]:
    return {
        "service": "orders",
        "id": f"o{number}",
        "host": "h",
        "port": 1,
        "owner": "beta",
        "health": "passing",
        "tags": [],
        "meta": {},
        "weight": 1,
        "role": None,
        "term": 0,
        "zone": "",
        "reason": "",
        "stale": False,
    }


def document(*rows: dict[str, Any], services: dict[str, list[str]] | None = None) -> bytes:
    told = {"index": 1, "healthy": rows, "others": [], "members": {}}
    directory = {"digest": "d", "services": {"orders": []} if services is None else services}
    head = {"region": "eu", "node": "beta", "run": "beta/1", "waited": 0, "age": 0, "left_off": []}
    return json.dumps({**head, "directory": directory, "services": {"orders": told}}).encode()


async def test_what_is_beyond_a_limit_makes_the_answer_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGION_SERVICE_INSTANCES_MAX", 3)
    monkeypatch.setattr(limits, "REGION_NAMES_MAX", 3)
    monkeypatch.setattr(limits, "REGION_TAGS_MAX", 3)
    wanted = frozenset({"orders"})
    at_most = document(*map(row, range(3)), services={"a": ["x", "y", "z"], "b": [], "orders": []})
    assert len((await read_answer(at_most, "eu", wanted)).services["orders"].healthy) == 3
    for beyond in (
        document(*map(row, range(4))),
        document(services={name: [] for name in "abcd"}),
        document(services={"orders": ["w", "x", "y", "z"]}),
        document(row(1), row(1)),
    ):
        with pytest.raises(UnusableAnswer):
            await read_answer(beyond, "eu", wanted)


async def answered(said: bytes) -> bytes:
    """What comes of an agent that says so, whatever it is asked, and closes the connection."""
    ours, theirs = memory_stream_pair()

    async def say() -> None:
        await theirs.receive_some()
        for start in range(0, len(said), 65_536):
            await theirs.send_all(said[start : start + 65_536])
        await theirs.send_eof()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            try:
                return await AgentConnection(ours, "h:1", "token", "us").ask(REQUEST, lambda _: None)
            except AgentFailed as failure:
                return str(failure).encode()


async def test_no_more_of_an_answer_is_read_than_may_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGION_ANSWER_BYTES_MAX", 100)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    assert await answered(head % 100 + b"x" * 100) == b"x" * 100
    assert await answered(head % 101 + b"x" * 101) == b"its answer has more than 100 bytes"
    assert await answered(b"HTTP/1.1 503 No\r\n\r\n" + b"x" * 5000) == b"its answer has more than 4096 bytes"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", b"it closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", b"it does not speak HTTP/1.1: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"it does not speak HTTP/1.1: "),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, b"it does not speak HTTP/1.1: "),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", b"it asks for a token with the scope federate (401)"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", b"it is no agent, or one of a release"),
        (b'HTTP/1.1 503 No\r\nContent-Length: 23\r\n\r\n{"error": "\\u001b[31m"}', b"it answers 503:  [31m"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n[]", b"it answers 503"),
    ],
)
async def test_what_is_no_answer_is_said_in_one_line(said: bytes, why: bytes) -> None:
    found = await answered(said)
    assert found.startswith(why)
    assert found.decode().isprintable()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, "region: '' is not a name"),
        ({"region": "eu"}, "agents: name at least one agent of the region"),
        ({"region": "nearest", "agents": ["h:1"]}, "region: 'nearest' stands for"),
        ({"region": "eu", "agents": ["h"]}, "agents: "),
        ({"region": "eu", "agents": ["0.0.0.0:80"]}, "agents: "),
        ({"region": "eu", "agents": "h:1", "x": 1}, "unknown key 'x': the keys are region, agents, token, token_file"),
        ({"region": "eu", "agents": ["h:1"], "imports": ["a"]}, "unknown key 'imports'"),
        ({"region": "eu", "agents": ["h:1"], "import": ["a b"]}, "imports: 'a b' is no pattern of services"),
        ({"region": "eu", "agents": ["h:1"], "token": "a b"}, "token: it is not printable ASCII"),
        ({"region": "eu", "agents": ["h:1"], "token": "t", "token_file": "f"}, "token: token_file is given, too"),
        (
            {"region": "eu", "agents": [f"h{n}:1" for n in range(limits.REGION_AGENTS_MAX + 1)]},
            "65 agents are too many",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_named(table: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Federation.read(table)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_node_follows_no_region_twice_and_not_its_own() -> None:
    def config(*regions: str) -> Config:
        return Config(cluster="us", federate=[Federation(region=each, agents=("h:1",)) for each in regions])

    assert len(config(*(f"r{number}" for number in range(limits.REGIONS_MAX))).federate) == limits.REGIONS_MAX
    for regions, why in (
        (("US",), "the region 'US' is the node's own"),
        (("eu", "EU"), "the region 'EU' is named twice"),
        (tuple(f"r{number}" for number in range(limits.REGIONS_MAX + 1)), "more than 16 regions are named"),
    ):
        with pytest.raises(ConfigError, match=why):
            config(*regions)
