"""What real programs are tried with: three real agents, servers that answer with their name, and a proxy in front.

The servers live in the test, so they go on answering when the agent that offers them is killed: what still reaches
them then shows that a program has not heard of it.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import h11
import trio

from gossipreg.model import Address
from tests.drills.agents import Agent, Agents, fixed_address, open_agents
from tests.drills.asking import NoAnswer
from tests.drills.waiting import PATIENCE, eventually, gathered

DOCS: Final = Path(__file__).parents[2] / "docs"


def written(page: str, language: str, number: int = 0) -> str:
    """A code block of a page of the docs: the so-manieth in that language."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > number, f"docs/{page} has {len(blocks)} blocks of {language}"
    return str(blocks[number])


def adapted(text: str, places: Mapping[str, object]) -> str:
    """A configuration with the test's addresses and paths in place of those that are documented."""
    for documented, here in places.items():
        assert documented in text, f"{documented!r} is not in the configuration"
        text = text.replace(documented, str(here))
    return text


@attrs.define(eq=False)
class Stage:
    """Agents alpha, beta and gamma. Programs ask alpha; the others offer, and are killed."""

    agents: Agents
    alpha: Agent
    beta: Agent
    gamma: Agent
    dns: str  # alpha's listener
    _nursery: trio.Nursery
    ports: dict[str, int] = attrs.field(factory=dict)

    async def offer(self, agent: Agent, name: str, *, service: str = "orders", **fields: object) -> None:
        """Have ``agent`` offer a server that says ``name``; again with other ``fields``, if it does already."""
        if name not in self.ports:
            self.ports[name] = await self._nursery.start(serve_name, name)
        await agent.register(service, self.ports[name], id=name, **fields)

    async def reaches_alpha(self, *names: str, service: str = "orders") -> float:
        """Wait until alpha would call just these; returns how long that took (seconds)."""

        async def check() -> None:
            assert await self.alpha.ids(service) == set(names)

        return await eventually(check)


async def serve_name(name: str, *, task_status: trio.TaskStatus[int]) -> None:
    """Answer every HTTP request with one word."""

    async def say(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = await stream.receive_some(65_536)
                    if not part:
                        return
                    head += part
                answer = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(name)}\r\n\r\n{name}"
                await stream.send_all(answer.encode())
            except trio.BrokenResourceError:
                return

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    await trio.serve_listeners(say, [listener])


@asynccontextmanager
async def open_stage(directory: Path, flags: Sequence[str] = (), *, keep: bool = False) -> AsyncIterator[Stage]:
    """Three agents that see each other; the first has a DNS listener and ``flags``.

    With ``keep`` each has a data directory, below ``directory`` and called as the agent.
    """
    (directory / "agents").mkdir()
    dns = fixed_address()
    async with open_agents(directory / "agents") as agents, trio.open_nursery() as nursery:
        disks = {name: (f"--data-dir={directory / name}",) if keep else () for name in ("alpha", "beta", "gamma")}
        alpha = await agents.start("alpha", "--dns", dns, *flags, *disks["alpha"])
        others = [partial(agents.start, name, *disks[name], join=[alpha]) for name in ("beta", "gamma")]
        beta, gamma = await gathered(others)
        await agents.agree([alpha, beta, gamma])
        yield Stage(agents, alpha, beta, gamma, dns, nursery)
        nursery.cancel_scope.cancel()


async def appears(file: Path) -> None:
    """Wait until there is such a file."""

    async def check() -> None:
        assert await trio.Path(file).exists(), file

    await eventually(check)


@asynccontextmanager
async def running(log: Path, *command: str | Path, env: Mapping[str, str] | None = None) -> AsyncIterator[trio.Process]:
    """A program for as long as the block; it may not end before. What it wrote is in ``log``."""
    with log.open("wb") as output:
        process = await trio.lowlevel.open_process(
            [str(each) for each in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env
        )
    try:
        yield process
        assert process.poll() is None, f"{command[0]} has ended"
    except BaseException as error:
        error.add_note(_end_of(log))
        raise
    finally:
        if process.poll() is None:
            process.terminate()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(5):
                await process.wait()
            process.kill()
            await process.wait()


async def version_of(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """The version that a program says it is, when it is run so."""
    ran = await trio.run_process(
        [str(each) for each in command], capture_stdout=True, stderr=subprocess.STDOUT, check=False, env=env
    )
    found = re.search(r"\d+(?:\.\d+)+", ran.stdout.decode())
    assert found is not None, ran.stdout
    return found[0]


def _end_of(log: Path) -> str:
    return "\n".join([f"{log.name}:", *log.read_text(errors="replace").splitlines()[-20:]])


async def fetch(address: str, target: str, host: str = "localhost") -> str:
    """The body of a good answer to a GET. Raises ``NoAnswer`` if there is none."""
    wire = h11.Connection(h11.CLIENT)
    head = h11.Request(method="GET", target=target, headers=[("Host", host), ("Connection", "close")])
    request = wire.send(head) + wire.send(h11.EndOfMessage())
    body = b""
    try:
        with trio.fail_after(PATIENCE):
            async with await trio.open_tcp_stream(*Address.parse(address)) as stream:
                await stream.send_all(request)
                while not isinstance(event := wire.next_event(), h11.EndOfMessage):
                    match event:
                        case h11.Response(status_code=status) if status != 200:
                            raise NoAnswer(f"{address} answered {target} with {status}")
                        case h11.Data(data=data):
                            body += data
                        case _ if event is h11.NEED_DATA:
                            wire.receive_data(await stream.receive_some(65_536))
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise NoAnswer(f"{address}: {error}") from None
    return body.decode()


@attrs.frozen
class Front:
    """A balancer's own address. Behind it are the servers."""

    address: str
    host: str = "localhost"  # what the request calls it

    async def ask(self) -> str:
        """The name of the server that was chosen; empty if there was none."""
        try:
            return await fetch(self.address, "/", self.host)
        except NoAnswer:
            return ""

    async def share(self, requests: int) -> Counter[str]:
        """How many of so many requests each server got."""
        return Counter([await self.ask() for _ in range(requests)])

    async def reaches(self, *names: str, requests: int = 12) -> float:
        """Wait until a burst of requests goes to just these; returns how long that took (seconds)."""

        async def check() -> None:
            assert set(await self.share(requests)) == set(names)

        return await eventually(check)

    async def divides(self, shares: Mapping[str, int]) -> None:
        """Wait until a burst of requests is divided just so: a balancer that reloads begins its round again."""

        async def check() -> None:
            assert await self.share(sum(shares.values())) == shares

        await eventually(check)
