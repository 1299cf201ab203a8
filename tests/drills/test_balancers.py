"""A real HAProxy and our own balancer under constant load while the owner of their instances is killed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from tests.drills.agents import Measured, fixed_address
from tests.drills.asking import NoAnswer
from tests.peers.stage import Front, Stage, adapted, fetch, open_stage, running, serve_name, written

WITH_HAPROXY: Final = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="haproxy is not installed (Debian: haproxy)"
)

#: Callers at once, and the pause of each between two requests (seconds).
_CALLERS: Final = 4
_PAUSE: Final = 0.01


@attrs.define
class Load:
    """Callers that ask without end, and what came of each request."""

    address: str
    answers: list[tuple[float, str]] = attrs.field(
        factory=list
    )  # when it was sent, and which instance answered; "" for none

    async def call(self) -> None:
        """Ask, and ask again."""
        while True:
            began, name = trio.current_time(), ""
            with suppress(NoAnswer):
                name = await fetch(self.address, "/")
            self.answers.append((began, name))
            await trio.sleep(_PAUSE)

    def last(self, name: str, since: float) -> float:
        """How long after that moment the last request was sent that went to ``name`` (seconds); 0 if none was."""
        return max((began - since for began, who in self.answers if who == name and began > since), default=0.0)


@asynccontextmanager
async def haproxy(stage: Stage, directory: Path, front: str) -> AsyncIterator[None]:
    """HAProxy, configured as its page says."""
    config = directory / "haproxy.cfg"
    places = {"127.0.0.1:8600": stage.dns, "127.0.0.1:9000": front}
    config.write_text(adapted(written("clients/haproxy.md", "haproxy"), places))
    async with running(directory / "haproxy.log", "haproxy", "-db", "-f", config):
        yield


@asynccontextmanager
async def proxy(stage: Stage, directory: Path, front: str) -> AsyncIterator[None]:
    """Our own, asking the same agent."""
    what = ("--listen", front, "--service", "orders", "--http", stage.alpha.http)
    async with running(directory / "proxy.log", sys.executable, "-m", "gossipreg", "proxy", *what):
        yield


Balancer = Callable[[Stage, Path, str], AbstractAsyncContextManager[None]]


@pytest.mark.parametrize(
    "balancer",
    [pytest.param(haproxy, id="haproxy", marks=[pytest.mark.peer, WITH_HAPROXY]), pytest.param(proxy, id="proxy")],
)
async def test_a_second_after_an_owner_is_killed_no_caller_is_sent_to_what_it_offered_and_no_request_fails(
    request: pytest.FixtureRequest, balancer: Balancer, tmp_path: Path, measured: Measured, nursery: trio.Nursery
) -> None:
    """Of what it offers, one dies with it, as with an embedded node, and one lives on and would still answer."""
    dying = trio.CancelScope()

    async def serve_dying(*, task_status: trio.TaskStatus[int]) -> None:
        with dying:
            await serve_name("dying", task_status=task_status)

    address = fixed_address()
    async with open_stage(tmp_path) as stage:
        stage.ports["dying"] = await nursery.start(serve_dying)
        await stage.offer(stage.beta, "staying")
        for name in ("dying", "orphan"):
            await stage.offer(stage.gamma, name)
        await stage.reaches_alpha("staying", "dying", "orphan")
        async with balancer(stage, tmp_path, address), trio.open_nursery() as callers:
            await Front(address).reaches("staying", "dying", "orphan")
            load = Load(address)
            for _ in range(_CALLERS):
                callers.start_soon(load.call)
            await trio.sleep(0.5)
            killed = trio.current_time()
            dying.cancel()
            await stage.gamma.kill()
            await trio.sleep(3)
            callers.cancel_scope.cancel()
    later = [name for began, name in load.answers if began > killed + 1]
    assert len(later) > 100, "there was hardly any load"
    assert set(later) == {"staying"}
    failed = [began for began, name in load.answers if began > killed and not name]
    measured(
        f"{request.node.callspec.id}, owner killed: last request to what it offered after "
        f"{1000 * load.last('orphan', killed):.0f} ms, {len(failed)} failed, {len(later) / 2:.0f} requests/s"
    )
