"""Playground: agents whose page is open in a browser, and faults that are played on request."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from gossipreg.cli.demo.agents import DemoAgents, RunningAgent
from gossipreg.cli.demo.switch import PacketSwitch
from gossipreg.errors import GossipregError

#: The agent that serves the page. Nothing is done to it.
HOST: Final = "web-1"

#: The zones of the agents, in turn.
ZONES: Final = ("north", "south")

#: How long `slow` delays a packet unless it is said, and at most (ms).
SLOW: Final = 200
SLOW_MAX: Final = 10_000

#: What may be asked for, each with what it does.
FAULTS: Final = (
    ("kill NAME", "end an agent's process with SIGKILL, as a crash does"),
    ("pause NAME", "have an agent's process run no more (SIGSTOP), as a frozen host does"),
    ("resume NAME", "let it run again"),
    ("start NAME", "start a killed agent again, with its data directory"),
    ("cut NAME NAME", "lose what the first sends to the second; not the other way"),
    ("slow NAME [MS]", "delay all that an agent sends and receives, by 200 ms or as many as are said; 0: no more"),
    ("mend", "have everything pass again, without delay"),
    ("fail ID", "have an instance report that it is critical"),
    ("heal ID", "have it report that it is passing"),
    ("quit", "end all of it"),
)


@attrs.define(eq=False, repr=False)
class Playground:
    """Starts ``nodes`` agents with some services. Raises ``GossipregError`` if one does not start."""

    _nodes: int
    _agents: DemoAgents
    _switch: PacketSwitch
    _show: Callable[[str], None]
    _running: dict[str, RunningAgent] = attrs.field(init=False, factory=dict)
    _killed: dict[str, None] = attrs.field(init=False, factory=dict)
    _owners: dict[str, str] = attrs.field(init=False, factory=dict)  # of each instance
    _places: dict[str, tuple[str, str, str]] = attrs.field(init=False, factory=dict)  # to bind, to advertise, zone

    def open(self) -> str:
        """Start everything; returns the page's address."""
        names = [f"web-{number}" for number in range(1, self._nodes + 1)]
        for number, name in enumerate(names):
            self._places[name] = (*self._switch.add(name), ZONES[number % len(ZONES)])
        self._ready(HOST, self._start(HOST))
        for name, process in [(name, self._start(name)) for name in names[1:]]:
            self._ready(name, process)
        for port, (service, number) in enumerate(
            ((service, number) for service in ("orders", "billing", "users") for number in range(self._nodes)), 9101
        ):
            self._register(names[number], f"{service}-{number + 1}", service, port)
        return f"http://{self._running[HOST].agent.address}/ui/"

    def _start(self, name: str) -> subprocess.Popen[str]:
        """Start an agent behind the switch; all but the host join there."""
        bind, advertised, zone = self._places[name]
        seed = None if name == HOST else self._places[HOST][1]
        process = self._agents.start(name, seed, "--advertise", advertised, "--zone", zone, bind=bind)
        self._switch.runs(name, process.pid)
        return process

    def _ready(self, name: str, process: subprocess.Popen[str]) -> None:
        self._running[name] = self._agents.ready(name, process)

    def _register(self, name: str, id_: str, service: str, port: int) -> None:
        beats = {"ttl": "1h", "initial": "passing"}  # it reports its health only when it is asked to fail or heal
        tags = [f"v{1 + port % 2}"]
        body = {"service": service, "id": id_, "port": port, "tags": tags, "checks": [beats]}
        self._running[name].agent.put("instances", body=body)
        self._owners[id_] = name

    def play(self, lines: Iterable[str]) -> None:
        """Do what each line asks for, until one is ``quit`` or there are no more. What cannot be done is told."""
        for line in lines:
            words = line.split()
            if words == ["quit"]:
                return
            try:
                self._show(self._do(words) if words else help_text())
            except GossipregError as error:
                self._show(str(error))

    def _do(self, words: list[str]) -> str:
        match words:
            case ["kill", name]:
                self._victim(name).process.kill()
                self._switch.ended(name)
                self._running.pop(name)
                self._killed[name] = None
                return f"{name} is killed"
            case ["pause", name]:
                self._victim(name).process.send_signal(signal.SIGSTOP)
                return f"{name} is paused: it is suspected and declared failed after some seconds"
            case ["resume", name]:
                self._victim(name).process.send_signal(signal.SIGCONT)
                return f"{name} runs again"
            case ["start", name] if name in self._killed:
                self._ready(name, self._start(name))
                del self._killed[name]
                return f"{name} is started"
            case ["fail" | "heal" as what, id_]:
                return self._report(id_, "critical" if what == "fail" else "passing")
            case _:
                return self._change_network(words)

    def _change_network(self, words: list[str]) -> str:
        match words:
            case ["cut", one, other] if one != other:
                self._switch.lost.add((self._known(one), self._known(other)))
                return f"what {one} sends to {other} is lost: both stay alive, as the matrix of the members shows"
            case ["slow", name, *delay] if len(delay) < 2 and all(map(str.isdecimal, delay)):
                milliseconds = min(int(delay[0][:9]), SLOW_MAX) if delay else SLOW
                self._switch.delays[self._known(name)] = milliseconds / 1000
                return f"all that {name} sends and receives takes {milliseconds} ms longer"
            case ["mend"]:
                self._switch.lost.clear()
                self._switch.delays.clear()
                return "everything passes again"
            case _:
                return f"{' '.join(words)!r} is nothing that can be done now\n{help_text()}"

    def _known(self, name: str) -> str:
        if name not in self._places:
            raise GossipregError(f"there is no agent {name!r}: there are {', '.join(sorted(self._places))}")
        return name

    def _victim(self, name: str) -> RunningAgent:
        if name == HOST:
            raise GossipregError(f"{HOST} serves the page: choose another agent")
        if name not in self._running:
            raise GossipregError(f"no agent {name!r} is running: there are {', '.join(sorted(self._running))}")
        return self._running[name]

    def _report(self, id_: str, health: str) -> str:
        owner = self._running.get(self._owners.get(id_, ""))
        if owner is None:
            raise GossipregError(f"no running agent owns an instance {id_!r}: see the page")
        owner.agent.put("heartbeats", id_, health=health, note="as asked in the demo")
        return f"{id_} is {health}"


def help_text() -> str:
    """What may be asked for, a line each."""
    width = max(len(call) for call, _ in FAULTS)
    return "\n".join(f"  {call.ljust(width)}  {what}" for call, what in FAULTS)
