"""The application of a Eureka client: it is found, it finds another one, its agent is killed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.drills.agents import Agent
from tests.drills.waiting import eventually
from tests.peers.eureka.views import owner, shows
from tests.peers.stage import Stage


async def is_put_through(stage: Stage, id_: str, finds: Callable[[str], Awaitable[None]]) -> float:
    """Put ``orders`` through that, which registers as ``id_`` at beta, then at alpha, and looks for ``billing``.

    ``finds`` fails unless the instance of that id is what it finds. Returns how long the application took to find
    another one than before (seconds).
    """
    alpha, beta, gamma = stage.alpha, stage.beta, stage.gamma

    async def is_owned_by(agent: Agent) -> None:
        assert await owner(alpha, "orders", id_) == agent.name

    await eventually(lambda: is_owned_by(beta))
    await shows(gamma, "ORDERS", {id_: "UP"})
    [found] = (await alpha.get("services/orders"))["instances"]
    assert (found["weight"], found["host"], found["port"]) == (3, "127.0.0.1", 8080)
    await eventually(lambda: finds("one"))
    await beta.kill()
    await eventually(lambda: is_owned_by(alpha))
    await shows(gamma, "ORDERS", {id_: "UP"})
    await stage.offer(gamma, "two", service="billing")
    await gamma.deregister("one")
    return await eventually(lambda: finds("two"))
