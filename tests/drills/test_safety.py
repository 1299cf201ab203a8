"""Unsafe configurations are refused in one line, before anything listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills.agents import Agents, key_file


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1"])
async def test_gossip_in_clear_beyond_loopback_is_refused(host: str, agents: Agents) -> None:
    ended = await agents.fails("a", "--bind", f"{host}:0")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        f"gossipreg: cannot bind {host}:0 without a key: run `gossipreg keygen --out key` and pass --key-file key, "
        "or --insecure on a trusted network\n"
    )


@pytest.mark.parametrize("allowed", ["a key", "--insecure"])
async def test_with_a_key_or_when_told_so_it_starts(allowed: str, agents: Agents, tmp_path: Path) -> None:
    flags = ["--key-file", key_file(tmp_path, "key")] if allowed == "a key" else ["--insecure"]
    agent = await agents.start("a", *flags, "--advertise", "127.0.0.1", bind="0.0.0.0:0")
    assert agent.gossip.startswith("127.0.0.1:")
