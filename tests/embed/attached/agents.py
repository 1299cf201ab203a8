"""Agents for attached nodes: each is a node with an attach listener, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from gossipreg.config import Attach, Config
from gossipreg.frontends.attach.server import serve_attach
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.tls import ServerTls
from gossipreg.model import Address, SocketFile
from gossipreg.runtime.bound_instances import BoundInstances
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node
from tests.runtime.nodes import PATIENCE, QUICK, config


@attrs.define(eq=False)
class Agent:
    """An agent that runs: call its node with ``do``."""

    where: Address | SocketFile
    node: Node
    _token: trio.lowlevel.TrioToken
    _cut: Callable[[], None]

    def do(self, verb: Callable[..., Any], *arguments: Any) -> Any:
        """Call an async function in the agent's thread."""
        return trio.from_thread.run(verb, *arguments, trio_token=self._token)

    def cut(self) -> None:
        """End the listener and all its streams, and have none until the agent is started again."""
        trio.from_thread.run_sync(self._cut, trio_token=self._token)

    def config(self, **attach: Any) -> Config:
        """What a process attaches with."""
        return Config(attach=Attach(str(self.where), **attach), protocol=QUICK)


@contextmanager
def agent(
    where: Address | SocketFile,
    name: str = "agent",
    *seeds: Node,
    access: Access | None = None,
    tls: ServerTls | None = None,
    **options: Any,
) -> Iterator[Agent]:
    """Run an agent for the length of the block."""
    ready, made, done = threading.Event(), list[Agent](), trio.Event()
    failure: list[BaseException] = []

    async def run() -> None:
        async with open_node(config(name, *seeds, **options)) as node, trio.open_nursery() as nursery:
            listening = await nursery.start(_listen, node, where, access or Access(), tls)
            bound, scope = listening
            made.append(Agent(bound, node, trio.lowlevel.current_trio_token(), scope.cancel))
            ready.set()
            await done.wait()
            await node.leave()
            nursery.cancel_scope.cancel()

    def live() -> None:
        try:
            trio.run(run)
        except BaseException as error:  # noqa: BLE001 - it is raised in the test
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    if failure:
        raise failure[0]
    try:
        yield made[0]
    finally:
        made[0]._token.run_sync_soon(done.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        if failure:
            raise failure[0]


async def _listen(
    node: Node,
    where: Address | SocketFile,
    access: Access,
    tls: ServerTls | None,
    task_status: trio.TaskStatus[tuple[Address | SocketFile, trio.CancelScope]],
) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            serve: Any = serve_attach

            async def start(task_status: trio.TaskStatus[Any]) -> None:
                await serve(
                    node,
                    BoundInstances(node),
                    where,
                    access=access,
                    tls=tls,
                    counters=node.counters,
                    task_status=task_status,
                )

            bound = await nursery.start(start)
            task_status.started((bound, scope))


def socket_file(folder: Path) -> SocketFile:
    """Where an agent may listen."""
    return SocketFile(folder / "attach.sock")
