"""Observers: what every agent of the demo sees, by its own event stream, and when it came to see it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs

from gossipreg.cli.client import AgentClient
from gossipreg.errors import AgentUnreachable


@attrs.define(eq=False, repr=False)
class AgentView:
    """What one agent sees: members by name, healthy instances by id, and the members that it ever suspected."""

    members: dict[str, Any] = attrs.field(factory=dict)
    instances: dict[str, Any] = attrs.field(factory=dict)
    suspected: set[str] = attrs.field(factory=set)
    moment: float = 0.0  # of the last change (time.perf_counter)

    def apply(self, event: str, data: Any) -> None:
        """Apply one event of the agent's stream."""
        self.moment = time.perf_counter()
        if event == "snapshot":
            self.members = {member["name"]: member for member in data["members"]}
            self.instances = {instance["id"]: instance for instance in data["instances"]}
        elif event == "instance-removed":
            self.instances.pop(data["id"], None)
        elif event.startswith("instance"):
            self.instances[data["id"]] = data
        else:
            self.members[data["name"]] = data
            if event == "member-suspect":
                self.suspected.add(data["name"])

    def lists(self, ids: Iterable[str]) -> bool:
        """Whether all these instances are in its lookups."""
        return self.instances.keys() >= set(ids)

    def lists_none(self, ids: Iterable[str]) -> bool:
        """Whether none of these instances is in its lookups."""
        return self.instances.keys().isdisjoint(ids)

    def drained(self, ids: Iterable[str]) -> bool:
        """Whether none of these instances gets work."""
        return all(self.instances[key]["weight"] == 0 for key in ids if key in self.instances)

    def sees_alive(self, name: str) -> bool:
        """Whether it sees this member as alive."""
        return self.status(name) == "alive"

    def sees_failed(self, name: str) -> bool:
        """Whether it sees this member as failed."""
        return self.status(name) == "failed"

    def status(self, name: str) -> str:
        """What the agent believes of a member; nothing if it has never heard of it."""
        return str(self.members[name]["status"]) if name in self.members else ""


class NotObserved(Exception):
    """Some agents did not see in time what they should have."""

    def __init__(self, what: str, names: Iterable[str]) -> None:
        super().__init__(what, ", ".join(sorted(names)))
        self.what, self.names = self.args


class Observers:
    """Follows each agent's events in a thread, and waits for expected views."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._views: dict[str, AgentView] = {}

    def follow(self, name: str, agent: AgentClient) -> None:
        """Follow this agent from now on, until it ends."""
        view = AgentView()
        with self._changed:
            self._views[name] = view
        threading.Thread(target=self._follow, args=(agent, view), daemon=True).start()

    def until(
        self, names: Iterable[str], expected: Mapping[str, Callable[[AgentView], bool]], patience: float
    ) -> Iterator[tuple[str, float]]:
        """Wait until each of these agents has seen everything that is ``expected``, by name.

        Yields each name as it comes true, with the time (``time.perf_counter``) at which the last agent saw it. Raises
        ``NotObserved`` for the first that some had not seen after ``patience`` seconds.
        """
        deadline = time.perf_counter() + patience
        waiting = {what: set(names) for what in expected}
        last = dict.fromkeys(expected, 0.0)
        while waiting:
            with self._changed:
                self._check(expected, waiting, last)
                while all(waiting.values()):
                    if not self._changed.wait(deadline - time.perf_counter()):
                        raise NotObserved(*next(iter(waiting.items())))
                    self._check(expected, waiting, last)
            for what in sorted((what for what in waiting if not waiting[what]), key=last.__getitem__):
                del waiting[what]
                yield what, last[what]

    def _check(
        self,
        expected: Mapping[str, Callable[[AgentView], bool]],
        waiting: Mapping[str, set[str]],
        last: dict[str, float],
    ) -> None:
        """Remove the agents that see it now from ``waiting``, and record when the ``last`` of them did."""
        for what, names in waiting.items():
            for name in tuple(names):
                view = self._views[name]
                if view.moment and expected[what](view):
                    names.remove(name)
                    last[what] = max(last[what], view.moment)

    def view_of(self, name: str) -> AgentView:
        """A copy of what an agent sees now."""
        with self._changed:
            view = self._views.get(name, AgentView())
            return attrs.evolve(
                view, members=dict(view.members), instances=dict(view.instances), suspected=set(view.suspected)
            )

    def _follow(self, agent: AgentClient, view: AgentView) -> None:
        with suppress(AgentUnreachable):  # an agent that does not answer sees nothing, and the wait for it fails
            for event, data in agent.events():
                with self._changed:
                    view.apply(event, data)
                    self._changed.notify_all()
