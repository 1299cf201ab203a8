"""Demo script: the steps that are done to the cluster, the effects that are waited for, and how long each took."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gossipreg.cli.demo.agents import DemoAgents, RunningAgent
from gossipreg.cli.demo.observers import AgentView, NotObserved, Observers
from gossipreg.cli.show import address_of
from gossipreg.cli.time_format import duration
from gossipreg.errors import GossipregError
from gossipreg.values import frozen

#: The whole demo is over in this time, or has failed (seconds).
TIME_MAX: Final = 30.0

#: How long the last agent may take to see the whole cluster, and a change that gossip spreads at once (seconds).
_FORM_PATIENCE, _SPREAD_PATIENCE = 10.0, 5.0

#: How long the last agent may take to see that a process was killed (seconds).
_NOTICE_PATIENCE: Final = 20.0

#: How long after the last agent is ready all agents hold lifelines for certain (seconds). A lifeline is an idle TCP
#: stream to a neighbour, which ends when that process dies; each node checks three times a second which it must hold.
#: An agent that is killed before it has one is detected by probes, after seconds.
_WATCHED_AFTER: Final = 0.6

#: The agents of the steps. Nothing is done to the first one: the screen shows what it sees.
OBSERVER, LEAVER, VICTIM = "web-1", "web-2", "web-3"


@frozen
class ScriptLine:
    """One line of output: a step, or a measured consequence of the step before it."""

    at: float  # seconds since the start
    text: str
    took: float | None = None  # seconds since the step

    def __str__(self) -> str:
        return f"{self.at:8.3f} s  " + (self.text if self.took is None else f"  {self.text} {duration(self.took)}")


class DemoScript:
    """Runs the steps one after another on real agents, and shows each line as it is measured.

    Raises ``GossipregError`` if something did not happen in time, with the agents that did not see it.
    """

    def __init__(
        self, nodes: int, agents: DemoAgents, observers: Observers, show_line: Callable[[ScriptLine], None]
    ) -> None:
        self._names = [f"web-{number}" for number in range(1, nodes + 1)]
        self._agents, self._observers, self._show_line = agents, observers, show_line
        self._running: dict[str, RunningAgent] = {}
        self._began = self._step_began = self._ready = time.perf_counter()

    def run(self) -> None:
        """All steps: assemble, register, look up, kill, leave, restart."""
        self._assemble()
        self._register()
        self._look_up(asked=self._names[-1])
        self._wait_for_lifelines()
        lost = self._kill(VICTIM)
        self._leave(LEAVER)
        self._restart(VICTIM, lost)

    def _assemble(self) -> None:
        first, *others = self._names
        self._step(f"starting {first} … {others[-1]}")
        self._add(self._agents.ready(first, self._agents.start(first, None)))
        starting = [(name, self._agents.start(name, self._running[first].gossip)) for name in others]
        for name, process in starting:
            self._add(self._agents.ready(name, process))
        self._ready = time.perf_counter()
        self._measured(f"{self._all_agents} is ready, interpreter start included, after", self._ready)
        self._step_began = self._ready
        self._wait(
            {f"{self._all_agents} sees all others after another": lambda view: all(map(view.sees_alive, self._names))},
            _FORM_PATIENCE,
        )

    def _register(self) -> None:
        names = self._names
        places = [("orders", name) for name in names[:3]] + [("billing", name) for name in (*names[2:5], names[0])[:3]]
        for port, (service, name) in enumerate(places, 9101):
            key = f"{service}-{name.removeprefix('web-')}"
            self._step(f"{name} registers {key}")
            self._running[name].agent.put("instances", body={"service": service, "port": port, "id": key})
            self._wait({f"visible on {self._all_agents} after": partial(AgentView.lists, ids=[key])}, _SPREAD_PATIENCE)

    def _look_up(self, asked: str) -> None:
        self._step(f"{asked} is asked for orders")
        found = self._running[asked].agent.get("services", "orders")["instances"]
        self._measured(f"answers {', '.join(address_of(instance) for instance in found)} after", time.perf_counter())

    def _wait_for_lifelines(self) -> None:
        self._step("waiting until all agents hold their lifelines")
        time.sleep(max(0.0, self._ready + _WATCHED_AFTER - time.perf_counter()))

    def _kill(self, name: str) -> list[str]:
        """Kill the process; the ids of the instances that it owned."""
        lost = self._owned_by(name)
        victim = self._running.pop(name)
        self._step(f"{name} is killed (SIGKILL), with its {' and '.join(lost)}")
        victim.process.kill()
        self._wait(
            {
                f"gone from {self._lookups}": partial(AgentView.lists_none, ids=lost),
                f"failed for {self._all_agents} after": partial(AgentView.sees_failed, name=name),
            },
            _NOTICE_PATIENCE,
        )
        self._confirm_gone(lost)
        return lost

    def _leave(self, name: str) -> None:
        lost = self._owned_by(name)
        leaver = self._running.pop(name)
        self._step(f"{name} is asked to leave, with its {' and '.join(lost)}")
        leaver.agent.post("leave")
        self._wait(
            {
                f"drained (weight 0) in {self._lookups}": partial(AgentView.drained, ids=lost),
                f"gone from {self._lookups}": partial(AgentView.lists_none, ids=lost),
            },
            _SPREAD_PATIENCE,
        )
        self._confirm_gone(lost)
        status, moment = self._ended(leaver)
        suspicious = [other for other in self._running if name in self._observers.view_of(other).suspected]
        suspicion = f"suspected by {', '.join(suspicious)}" if suspicious else "suspected by no agent"
        self._measured(f"{suspicion}, its process ends with exit status {status} after", moment)

    def _restart(self, name: str, lost: list[str]) -> None:
        self._step(f"{name} is started again, with the data directory of its earlier run")
        back = self._agents.ready(name, self._agents.start(name, self._running[OBSERVER].gossip))
        self._add(back)
        self._measured("ready, interpreter start included, after", time.perf_counter())
        self._wait(
            {
                f"alive for {self._all_agents} after": partial(AgentView.sees_alive, name=name),
                f"{' and '.join(lost)} back in {self._lookups}": partial(AgentView.lists, ids=lost),
            },
            _FORM_PATIENCE,
        )

    @property
    def _all_agents(self) -> str:
        return f"the last of {len(self._running)} agents"

    @property
    def _lookups(self) -> str:
        return f"the last of {len(self._running)} lookups after"

    def _confirm_gone(self, lost: list[str]) -> None:
        """Check by plain lookups what the event streams have reported."""
        for name, running in self._running.items():
            for service in running.agent.get("services")["services"]:
                listed = {instance["id"] for instance in running.agent.get("services", service)["instances"]}
                if listed & set(lost):
                    raise GossipregError(f"{name} reported that {' and '.join(lost)} had gone, and still lists them")

    def _ended(self, leaver: RunningAgent) -> tuple[int, float]:
        """The exit status of a process that is about to end, and the time at which it ended."""
        patience = self._patience(_SPREAD_PATIENCE)
        try:
            return leaver.process.wait(patience), time.perf_counter()
        except subprocess.TimeoutExpired:
            raise GossipregError(f"{leaver.name} was asked to leave, and runs {duration(patience)} later") from None

    def _add(self, running: RunningAgent) -> None:
        self._running[running.name] = running
        self._observers.follow(running.name, running.agent)

    def _owned_by(self, name: str) -> list[str]:
        instances = self._observers.view_of(OBSERVER).instances.values()
        return sorted(instance["id"] for instance in instances if instance["owner"] == name)

    def _step(self, text: str) -> None:
        self._show_line(ScriptLine(time.perf_counter() - self._began, text))
        self._step_began = time.perf_counter()  # after the line was shown, which may have redrawn a screen

    def _measured(self, text: str, moment: float) -> None:
        self._show_line(ScriptLine(moment - self._began, text, moment - self._step_began))

    def _wait(self, expected: Mapping[str, Callable[[AgentView], bool]], patience: float) -> None:
        """Wait until all running agents see each of these, and show when the last one did."""
        patience = self._patience(patience)
        try:
            for text, moment in self._observers.until(self._running, expected, patience):
                self._measured(text, max(moment, self._step_began))
        except NotObserved as error:
            what = error.what.rpartition(" after")[0]
            raise GossipregError(f"not within {duration(patience)}: {what} (not so for {error.names})") from None

    def _patience(self, patience: float) -> float:
        """``patience``, or what is left of the time of the whole demo if that is less (seconds)."""
        return max(0.0, min(patience, self._began + TIME_MAX - time.perf_counter()))
