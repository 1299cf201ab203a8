"""Real agents: how drills start them, query them over HTTP, send them signals, and end every one of them.

All asking is done from the one trio process that runs the test. Whatever happens in a test, its agents are killed by
their process ids in the end, and none of them may have written a traceback.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from gossipreg.key_format import KEY_BYTES, parse_key
from tests.drills.asking import Answer, ask, follow
from tests.drills.waiting import PATIENCE, T, eventually, gathered
from tests.hidden import hidden

#: Ports below those that the kernel hands out by itself, so that an address stays free while its agent is down.
_FIXED_PORTS: Final = range(20_000, 32_000)

#: Protocol settings under which a cluster notices in about three seconds what takes it half a minute by default.
QUICK: Final[Mapping[str, float]] = {
    "probe_interval": 0.3,
    "probe_timeout": 0.15,
    "suspicion_beta": 2.0,
    "reconnect_interval": 1.0,
    "reconcile_settle": 0.3,
    "reconcile_gap": 0.3,
    "join_retry_max": 1.0,
}

#: How many of its last lines an agent's log gives to the report of a test that has failed.
_LAST_LINES: Final = 15

#: Takes a sentence about what was measured.
Measured = Callable[[str], None]

_taken = iter(random.sample(_FIXED_PORTS, len(_FIXED_PORTS)))


def fixed_address() -> str:
    """An address on loopback that is free now and that nothing is given by chance."""
    for port in _taken:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        return f"127.0.0.1:{port}"
    raise AssertionError("no fixed port is free")


@attrs.frozen
class Sight:
    """What an agent shows of the cluster at one moment."""

    members: Mapping[str, str]  # name -> status
    fingerprint: str

    def of(self, status: str) -> set[str]:
        """The members of that status."""
        return {name for name, held in self.members.items() if held == status}


@attrs.define(eq=False)
class Agent:
    """One life of one agent."""

    name: str
    flags: tuple[str, ...]  # what it was told beside its name and addresses
    process: trio.Process
    log: Path
    gossip: str
    http: str

    # Asking

    async def get(self, path: str) -> Any:
        """The JSON document at ``/api/v1/path``."""
        answer = await ask(self.http, "GET", path)
        assert answer.status == 200, answer
        return answer.document

    async def node(self) -> dict[str, Any]:
        """The agent about itself."""
        node: dict[str, Any] = await self.get("node")
        return node

    async def sight(self) -> Sight:
        """What it sees."""
        members = {member["name"]: member["status"] for member in (await self.get("members"))["members"]}
        return Sight(members, (await self.node())["fingerprint"])

    async def counters(self) -> Counter[str]:
        """What it has counted."""
        return Counter((await self.node())["counters"])

    async def ids(self, service: str) -> set[str]:
        """The ids of the instances of ``service`` that it would call."""
        return {instance["id"] for instance in (await self.get(f"services/{service}"))["instances"]}

    async def all_ids(self, service: str) -> set[str]:
        """The ids of all instances of ``service`` that it knows, those of failed members too."""
        return {instance["id"] for instance in (await self.get(f"services/{service}?all"))["instances"]}

    async def put(self, service: str, port: int, **fields: Any) -> Answer:
        """Ask it to register an instance."""
        return await ask(self.http, "PUT", "instances", {"service": service, "port": port, **fields})

    async def register(self, service: str, port: int, **fields: Any) -> str:
        """Register an instance with it; returns its id."""
        answer = await self.put(service, port, **fields)
        assert answer.status in (200, 201), answer
        return str(answer.document["id"])

    async def deregister(self, id_: str) -> None:
        """Take an instance back."""
        answer = await ask(self.http, "DELETE", f"instances/{id_}")
        assert answer.status == 204, answer

    def events(self) -> AsyncIterator[tuple[str, Any]]:
        """What it tells as it happens, from its snapshot on, until it ends or is killed."""
        return follow(self.http, "events")

    # What becomes of it

    def stop(self) -> None:
        """Have its kernel run it no more."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it run again."""
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it without a chance to say a word."""
        self.process.kill()
        await self.process.wait()

    async def leave(self) -> int:
        """Ask it to leave; returns its exit status."""
        self.process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """Its exit status, when it has ended by itself."""
        with trio.fail_after(PATIENCE):
            return await self.process.wait()

    def said(self) -> list[str]:
        """The lines on its standard error."""
        return _text(self.log).splitlines()

    def resident(self) -> int:
        """Memory that it holds (bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None, status
        return 1024 * int(found[1])


def read_key(file: str) -> bytes:
    """The key in a file."""
    return parse_key(Path(file).read_text(), where=file)


def key_file(directory: Path, name: str) -> str:
    """The file of that name with a key in it, made when it is first asked for."""
    file = directory / name
    if not file.exists():
        hidden(file, base64.b64encode(os.urandom(KEY_BYTES)))
    return str(file)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Ended:
    """How an agent ended that was not to get ready."""

    status: int
    out: str
    err: str


@attrs.define(eq=False)
class Agents:
    """Every agent of one test. Get it from `open_agents`, which ends them all."""

    directory: Path
    settings: Mapping[str, float] = attrs.field(factory=dict)  # the protocol's, for agents started from now on
    _processes: list[trio.Process] = attrs.field(factory=list)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    async def start(
        self,
        name: str | None,
        *flags: str,
        join: Iterable[Agent | str] = (),
        bind: str = "127.0.0.1:0",
        http: str = "127.0.0.1:0",
        namespace: str = "",
        packages: Path | None = None,
    ) -> Agent:
        """Start an agent, in a network ``namespace`` perhaps, and wait until it is ready.

        Without a name it has the one that it keeps on disk. ``packages`` is a directory with another release, which it
        is then. If the wait is cancelled, the agent is killed.
        """
        named = [] if name is None else ["--name", name]
        joins = [f"--join={seed.gossip if isinstance(seed, Agent) else seed}" for seed in join]
        frontends = ("--http", http, "--dns", "off")
        arguments = (*named, "--bind", bind, *frontends, "--log-format", "json", *joins, *flags)
        log = self.directory / f"{name or 'unnamed'}-{next(self._numbers)}.log"
        with log.open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                _command(arguments, namespace),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self._environment() | ({} if packages is None else {"PYTHONPATH": str(packages)}),
            )
        self._processes.append(process)
        try:
            ready = await _first_line(process, log)
        except trio.Cancelled:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            raise
        return Agent(
            name=ready["name"],
            flags=(*joins, *flags),
            process=process,
            log=log,
            gossip=ready["gossip"],
            http=ready["http"],
        )

    async def start_all(
        self, names: Iterable[str], *flags: str, join: Iterable[Agent | str] = (), namespace: str = ""
    ) -> list[Agent]:
        """Start agents at once and wait until all are ready."""
        seeds = tuple(join)
        return await gathered(
            [partial(self.start, name, *flags, join=seeds, namespace=namespace) for name in names],
        )

    async def cluster(self, *names: str, flags: Sequence[str] = ()) -> list[Agent]:
        """Agents, the first of them the seed of the others, that all see each other."""
        seed = await self.start(names[0], *flags)
        agents = [seed, *await self.start_all(names[1:], *flags, join=[seed])]
        await self.agree(agents)
        return agents

    async def again(self, agent: Agent, *, join: Iterable[Agent | str] = (), packages: Path | None = None) -> Agent:
        """Start an agent that has ended anew: told the same, at the same address, perhaps as another release."""
        return await self.start(agent.name, *agent.flags, join=join, bind=agent.gossip, packages=packages)

    async def agree(
        self,
        agents: Iterable[Agent],
        *,
        alive: Iterable[str] | None = None,
        offers: Mapping[str, Iterable[str]] | None = None,
        within: float = PATIENCE,
    ) -> float:
        """Wait until they show equal fingerprints, just these ``alive`` (by default themselves), and ``offers``.

        ``offers``: for each service, the ids of the instances that every one of them would call. Returns how long
        that took (seconds).
        """
        agents = list(agents)
        expected = {agent.name for agent in agents} if alive is None else set(alive)

        async def check() -> None:
            fingerprints = set()
            for agent in agents:  # one by one, so that asking costs little until they nearly agree
                sight = await agent.sight()
                assert sight.of("alive") == expected, agent.name
                for service, ids in (offers or {}).items():
                    assert await agent.ids(service) == set(ids), agent.name
                fingerprints.add(sight.fingerprint)
                assert len(fingerprints) == 1, agent.name

        return await eventually(check, within=within)

    async def fails(self, name: str, *flags: str, join: Iterable[Agent] = ()) -> Ended:
        """How an agent ends that cannot start, or that must stop."""
        joins = [f"--join={seed.gossip}" for seed in join]
        where = [] if "--bind" in flags else ["--bind", "127.0.0.1:0"]
        with trio.fail_after(PATIENCE):
            ended = await trio.run_process(
                _command(("--name", name, "--http", "127.0.0.1:0", "--dns", "off", *where, *joins, *flags)),
                env=self._environment(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def end(self) -> None:
        """Kill every one that is still there, stopped ones included."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()

    async def buried(self) -> None:
        """Wait for those that were killed."""
        for process in self._processes:
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()

    def tracebacks(self) -> list[str]:
        """What went wrong inside of agents."""
        logs = [_text(log) for log in self.directory.glob("*.log")]
        return [text for text in logs if "Traceback" in text]

    def last_said(self) -> str:
        """The last lines on the standard error of each agent, without its access log, for a test that has failed."""
        logs = {log.stem: _text(log).splitlines() for log in sorted(self.directory.glob("*.log"))}
        kept = {name: [line for line in lines if "access_log" not in line] for name, lines in logs.items()}
        return "\n".join(f"{name} said: {line}" for name, lines in kept.items() for line in lines[-_LAST_LINES:])

    def _environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GOSSIPREG_")}
        return clean | {f"GOSSIPREG_PROTOCOL_{name.upper()}": str(value) for name, value in self.settings.items()}


def _command(arguments: Iterable[str], namespace: str = "") -> list[str]:
    prefix = ("ip", "netns", "exec", namespace) if namespace else ()
    return [*prefix, sys.executable, "-m", "gossipreg", "agent", *arguments]


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


async def _first_line(process: trio.Process, log: Path) -> dict[str, Any]:
    """The ready line of an agent that has just been started."""
    assert process.stdout is not None
    line = b""
    with trio.fail_after(2 * PATIENCE):
        while not line.endswith(b"\n"):
            part = await process.stdout.receive_some()
            assert part, f"it ended before it was ready: {_text(log)}"
            line += part
    ready: dict[str, Any] = json.loads(line)
    return ready


async def asked(agents: Iterable[Agent], question: Callable[[Agent], Awaitable[T]]) -> list[T]:
    """What these agents answer to one question, asked at once."""
    return await gathered([partial(question, agent) for agent in agents])


@asynccontextmanager
async def open_agents(directory: Path, settings: Mapping[str, float] | None = None) -> AsyncIterator[Agents]:
    """A place to start agents in. In the end all are gone, and none has written a traceback."""
    agents = Agents(directory, {} if settings is None else settings)
    try:
        yield agents
    except Exception as error:
        error.add_note(agents.last_said())
        raise
    finally:
        with trio.CancelScope(shield=True):
            agents.end()
            await agents.buried()
        assert not agents.tracebacks(), "\n".join(agents.tracebacks())
