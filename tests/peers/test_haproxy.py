"""A real HAProxy follows a service through `server-template`: what comes, goes, and how much each weighs."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from tests.drills.agents import fixed_address
from tests.drills.waiting import eventually
from tests.peers.clusters import Cluster, open_cluster
from tests.peers.results import record
from tests.peers.stage import Front as HttpFront
from tests.peers.stage import adapted, open_stage, running, version_of, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed (Debian: haproxy)"),
]

_CONFIG = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s

resolvers gossipreg
    nameserver agent {dns}
    accepted_payload_size 8192
    timeout resolve 100ms
    timeout retry 100ms
    hold valid 100ms
    hold obsolete 0s
    hold nx 100ms
    hold other 100ms

frontend front
    bind fd@{listener}
    default_backend orders

backend orders
    balance roundrobin
    server-template orders 5 _orders._tcp.service-x256.consul resolvers gossipreg resolve-prefer ipv4 init-addr none
"""


@attrs.frozen
class Front:
    """HAProxy's own port. Behind it are servers that say their name and hang up."""

    port: int

    async def ask(self) -> str:
        """The name of the server that was chosen; empty if there was none."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            try:
                return b"".join([part async for part in stream]).decode()
            except trio.BrokenResourceError:
                return ""

    async def serves(self, names: dict[str, int]) -> None:
        """Assert that so many of as many connections as the numbers add up to, thrice, go to each."""
        rounds = 3
        answers = Counter([await self.ask() for _ in range(rounds * sum(names.values()))])
        assert answers == {name: rounds * share for name, share in names.items()}


@asynccontextmanager
async def haproxy(cluster: Cluster, directory: Path) -> AsyncIterator[Front]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = directory / "haproxy.cfg"
        config.write_text(_CONFIG.format(dns=cluster.dns, listener=listener.fileno()))
        with (directory / "haproxy.log").open("wb") as log:
            process = await trio.lowlevel.open_process(
                ["haproxy", "-db", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )
        try:
            yield Front(listener.getsockname()[1])
            assert process.poll() is None, (directory / "haproxy.log").read_text()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def serve_name(name: str, *, task_status: trio.TaskStatus[int]) -> None:
    async def say(stream: trio.SocketStream) -> None:
        await stream.send_all(name.encode())

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    await trio.serve_listeners(say, [listener])


async def test_it_follows_instances_and_weights(tmp_path: Path, nursery: trio.Nursery) -> None:
    ports = {name: await nursery.start(serve_name, name) for name in ("one", "two", "three")}
    async with open_cluster() as cluster, haproxy(cluster, tmp_path) as front:
        _, beta, gamma = cluster.nodes
        await beta.register("orders", port=ports["one"], id="one")
        await eventually(partial(front.serves, {"one": 1}))
        await gamma.register("orders", port=ports["two"], id="two")
        await eventually(partial(front.serves, {"one": 1, "two": 1}))
        await gamma.register("orders", port=ports["two"], id="two", weight=3)
        await gamma.register("orders", port=ports["three"], id="three", weight=2)
        await eventually(partial(front.serves, {"one": 1, "two": 3, "three": 2}))
        await beta.deregister("one")
        await eventually(partial(front.serves, {"two": 3, "three": 2}))
        await gamma.register("orders", port=ports["two"], id="two", weight=0)
        await eventually(partial(front.serves, {"three": 1}))
        await gamma.leave()
        await eventually(partial(front.serves, {"": 1}))
        await beta.register("orders", port=ports["one"], id="one")
        await eventually(partial(front.serves, {"one": 1}))


async def test_it_follows_agents_as_the_page_says_and_goes_on_when_its_own_is_gone(tmp_path: Path) -> None:
    front = HttpFront(fixed_address())
    async with open_stage(tmp_path) as stage:
        places = {"127.0.0.1:8600": stage.dns, "127.0.0.1:9000": front.address}
        (tmp_path / "haproxy.cfg").write_text(adapted(written("clients/haproxy.md", "haproxy"), places))
        await stage.offer(stage.beta, "one", weight=3)
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")
        async with running(tmp_path / "haproxy.log", "haproxy", "-db", "-f", tmp_path / "haproxy.cfg"):
            await front.reaches("one", "two")
            await front.divides({"one": 30, "two": 10})
            await stage.gamma.kill()
            seconds = await front.reaches("one")
            await stage.offer(stage.beta, "three")
            await front.reaches("one", "three")
            await stage.alpha.kill()
            await trio.sleep(3)  # three queries without an answer
            await front.reaches("one", "three")
    record(
        client="HAProxy",
        version=await version_of("haproxy", "-v"),
        api="DNS",
        did="follows SRV records, survives its agent",
        weights="30:10 for 3:1",
        seconds=seconds,
    )
