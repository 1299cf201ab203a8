"""A rendered file outlives the agent that it is made from, and is true again when there is one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.drills.agents import fixed_address, open_agents
from tests.drills.waiting import eventually

TEMPLATE = "{% for each in instances('orders') %}{{ each.id }}\n{% endfor %}"

pytestmark = pytest.mark.slow


@asynccontextmanager
async def rendering(directory: Path, http: str) -> AsyncIterator[None]:
    """`gossipreg render` for as long as the block. What it says is in a file."""
    (directory / "template").write_text(TEMPLATE)
    arguments = [str(directory / "template"), "--out", str(directory / "out"), "--http", http, "--interval-min", "10ms"]
    with (directory / "render.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "gossipreg", "render", *arguments], stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        yield
        process.terminate()
        assert await process.wait() == 0
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_it_waits_for_the_agent_and_outlives_its_restart(tmp_path: Path, nursery: trio.Nursery) -> None:
    out, http = trio.Path(tmp_path / "out"), fixed_address()
    seen: set[str] = set()

    async def holds(*ids: str) -> None:
        assert (await out.read_text()).split() == list(ids)

    async def look() -> None:
        while True:
            seen.add(await out.read_text())
            await trio.sleep(0.005)

    async def said(words: str) -> None:
        assert words in await trio.Path(tmp_path / "render.log").read_text()

    (tmp_path / "agents").mkdir()
    (tmp_path / "out").write_text("old")
    async with rendering(tmp_path, http), open_agents(tmp_path / "agents") as agents:
        await eventually(lambda: said("no agent answers"))
        await holds("old")
        beta = await agents.start("beta")
        await beta.register("orders", 8080, id="far")
        alpha = await agents.start("alpha", http=http, join=[beta])
        await alpha.register("orders", 8081, id="near")
        await eventually(lambda: holds("far", "near"))

        nursery.start_soon(look)
        await alpha.kill()
        await eventually(lambda: said("the file stays as it is"))
        alpha = await agents.start("alpha", http=http, join=[beta])
        await alpha.register("orders", 8082, id="new")
        await eventually(lambda: holds("far", "near", "new"))
        await beta.deregister("far")
        await eventually(lambda: holds("near", "new"))
        nursery.cancel_scope.cancel()
    assert all("near" in text for text in seen), seen
