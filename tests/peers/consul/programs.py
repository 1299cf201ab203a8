"""The test that every program for Consul's API goes through: it registers, it follows, a node is killed."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.drills.waiting import eventually
from tests.peers.stage import Stage


@attrs.frozen
class Program:
    """A running program of the page: it offers ``billing-1`` and says what it finds of ``orders``."""

    log: Path
    stage: Stage

    async def finds(self, expected: Mapping[str, int]) -> float:
        """Wait until it has found just these, with their weights; returns how long that took (seconds)."""

        async def check() -> None:
            lines = [line for line in self.log.read_text().splitlines() if line.startswith("found ")]
            assert lines
            assert dict(ast.literal_eval(lines[-1].removeprefix("found "))) == expected

        return await eventually(check)

    async def offers(self, *, weight: int = 1, role: str | None = None) -> None:
        """Wait until an agent that it does not know sees what it offers."""

        async def check() -> None:
            instances = (await self.stage.beta.get("services/billing"))["instances"]
            assert [(each["id"], each["weight"], each["role"]) for each in instances] == [("billing-1", weight, role)]
            assert instances[0]["owner"] == "alpha"

        await eventually(check)

    async def is_put_through(self, *, weight: int = 1, role: str | None = None) -> float:
        """The whole play; returns how long it took the program to see a change, at worst (seconds)."""
        stage = self.stage
        await self.offers(weight=weight, role=role)
        await self.finds({"one": 3, "two": 1})
        await stage.gamma.kill()
        noticed = await stage.reaches_alpha("one")
        killed = await self.finds({"one": 3})
        await stage.offer(stage.beta, "three", weight=2)
        came = await self.finds({"one": 3, "three": 2})
        await stage.beta.deregister("one")
        went = await self.finds({"three": 2})
        return max(noticed + killed, came, went)


async def set_the_stage(stage: Stage) -> None:
    """Have beta and gamma offer what the program will find."""
    await stage.offer(stage.beta, "one", weight=3)
    await stage.offer(stage.gamma, "two")
    await stage.reaches_alpha("one", "two")
