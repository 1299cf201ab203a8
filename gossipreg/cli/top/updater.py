"""Updates the screen model: one thread follows the agent's events, another polls the rest once a second."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Self

from gossipreg.cli.client import AgentClient
from gossipreg.cli.top.model import Opened, ScreenModel
from gossipreg.errors import GossipregError

#: Problems are looked for each so many polls: it asks every member what it observes.
_LOOK_TURNS: Final = 3

#: Services of which the instances that cannot serve are asked for; the rest is seen in the table of services.
_HURT_MAX: Final = 8

#: Time between two polls, and before an agent that went away is tried again (seconds).
_INTERVAL: Final = 1.0


class ModelUpdater:
    """Updates a model while it is entered. A reader of the model holds the ``lock``.

    ``wakeup`` is a descriptor that is readable when the model has changed since `clear`.
    """

    def __init__(self, agent: AgentClient, model: ScreenModel) -> None:
        self.lock = threading.Lock()
        self._agent, self._model = agent, model
        self.wakeup, self._wakeup_writer = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(self._wakeup_writer, False)
        self._over = threading.Event()
        self._is_asked = threading.Event()  # something was opened

    def __enter__(self) -> Self:
        for task in (self._follow, self._poll):
            threading.Thread(target=task, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._is_asked.set()

    def clear(self) -> None:
        """Make ``wakeup`` unreadable until the next change."""
        with suppress(BlockingIOError):
            while os.read(self.wakeup, 4096):
                pass

    def open(self, opened: Opened | None) -> None:
        """Have details of what is opened asked for at once, and then at each poll."""
        if opened != self._model.opened:
            with self.lock:
                self._model.opened = opened
            self._is_asked.set()

    def notify(self) -> None:
        """Make ``wakeup`` readable."""
        with suppress(BlockingIOError):  # the pipe is full, so it is readable
            os.write(self._wakeup_writer, b".")

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                for event, data in self._agent.events():
                    with self.lock:
                        self._model.apply(event, data, time.time())
                    if event == "snapshot":
                        self._recall()
                    self.notify()
                self._fail("events", f"lost {self._agent.address}: trying again until it answers")
            except GossipregError as error:
                self._fail("events", str(error))
            self._over.wait(_INTERVAL)

    def _recall(self) -> None:
        """Ask for the last hour. An agent of an earlier release, or one that refuses, tells nothing of it."""
        history = self._get("changes")
        if history is not None:
            with self.lock:
                self._model.recall(history, time.time())

    def _poll(self) -> None:
        turn = 0
        while True:
            self._is_asked.wait(_INTERVAL)
            self._is_asked.clear()
            if self._over.is_set():
                return
            turn += 1
            try:
                node, services = self._agent.get("node"), self._agent.get("services")["services"]
            except GossipregError as error:
                self._fail("node", str(error))
            else:
                with self.lock:
                    self._model.refresh(node, services, time.time())
                self._look_closer()
                if turn % _LOOK_TURNS == 1:
                    self._look(services)
                self.notify()

    def _look_closer(self) -> None:
        """Ask for the details of what is opened."""
        opened = self._model.opened
        if opened is None:
            return
        kind, name = opened
        if kind == "members":
            found = self._get("members", versions="true")
            with self.lock:
                self._model.told_members = [] if found is None else found["members"]
            return
        found, checks = self._get("services", name, all="true", stated="true"), self._get("checks")
        with self.lock:
            self._model.told_instances = {} if found is None else {name: found["instances"]}
            self._model.told_checks = [] if checks is None else checks["checks"]

    def _look(self, services: Mapping[str, Any]) -> None:
        """Find problems: ask for what has no events. What is not answered, or is not for the token, is left out."""
        hurt = [name for name, count in sorted(services.items()) if count["healthy"] < count["instances"]]
        others: list[Mapping[str, Any]] = []
        for name in hurt[:_HURT_MAX]:
            found = self._get("services", name, all="true")
            others += [] if found is None else found["instances"]
        checks, observed = self._get("checks"), self._get("observations")
        with self.lock:
            self._model.find_problems(others, [] if checks is None else checks["checks"], observed, time.time())

    def _get(self, *path: str, **query: str) -> Any:
        try:
            return self._agent.get(*path, **query)
        except GossipregError:
            return None

    def _fail(self, source: str, sentence: str) -> None:
        with self.lock:
            self._model.failed[source] = sentence
        self.notify()
