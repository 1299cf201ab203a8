"""The course of an application: it registers, it discovers, an owner is killed, its agent restarts."""

from __future__ import annotations

from pathlib import Path

import attrs

from tests.drills.agents import Agent
from tests.drills.waiting import eventually
from tests.peers.stage import Stage


@attrs.frozen
class Application:
    """A running application: it offers ``offered`` at alpha, and prints ``found ID,ID`` of ``orders``, sorted.

    Some only discover; some print addresses in place of ids.
    """

    log: Path
    stage: Stage
    is_registering: bool = True
    shows_addresses: bool = False
    offered: str = "billing-1"  # the id of what it offers, as our own API shows it

    async def finds(self, *ids: str) -> float:
        """Wait until it has found just these; returns how long that took (seconds)."""

        shown = [f"127.0.0.1:{self.stage.ports[id_]}" if self.shows_addresses else id_ for id_ in ids]

        async def check() -> None:
            lines = [line for line in self.log.read_text().splitlines() if line.startswith("found")]
            assert lines
            assert lines[-1].removeprefix("found").strip() == ",".join(sorted(shown))

        return await eventually(check)

    async def calls(self, *ids: str) -> None:
        """Wait until the latest calls of one that prints ``called ID`` have gone to just these."""

        async def check() -> None:
            lines = [line for line in self.log.read_text().splitlines() if line.startswith("called ")]
            assert {line.removeprefix("called ") for line in lines[-8:]} == set(ids)

        await eventually(check)

    async def offers(self) -> None:
        """Wait until an agent that it does not know would call what it offers."""

        async def check() -> None:
            instances = (await self.stage.beta.get("services/billing"))["instances"]
            assert [(each["id"], each["owner"]) for each in instances] == [(self.offered, "alpha")]

        await eventually(check)

    async def is_put_through(self, *flags: str) -> float:
        """The whole course; returns how long the application took to see a change, at worst (seconds).

        ``flags`` are what alpha is started with again.
        """
        stage = self.stage
        if self.is_registering:
            await self.offers()
        await eventually(self._found)
        await self.finds("one", "two")
        await stage.gamma.kill()
        await stage.reaches_alpha("one")
        killed = await self.finds("one")
        await restart_alpha(stage, *flags)
        await stage.offer(stage.beta, "three")
        if self.is_registering:
            await self.offers()
        came = await self.finds("one", "three")
        return max(killed, came)

    async def _found(self) -> None:
        assert "found " in self.log.read_text()


async def restart_alpha(stage: Stage, *flags: str) -> Agent:
    """Kill alpha and start it at the same addresses; returns it."""
    await stage.alpha.kill()
    stage.alpha = await stage.agents.start(
        "alpha", *flags, join=[stage.beta], bind=stage.alpha.gossip, http=stage.alpha.http
    )
    await stage.agents.agree([stage.alpha, stage.beta])
    return stage.alpha


async def offer_orders(stage: Stage) -> None:
    """Have beta and gamma offer what the application will find."""
    await stage.offer(stage.beta, "one")
    await stage.offer(stage.gamma, "two")
    await stage.reaches_alpha("one", "two")
