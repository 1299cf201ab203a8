"""Updates the screen model: one thread follows the agent's events, another polls the rest once a second."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Final, Self

from gossipreg.cli.client import AgentClient
from gossipreg.cli.top.model import ScreenModel
from gossipreg.errors import GossipregError

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

    def __enter__(self) -> Self:
        for task in (self._follow, self._poll):
            threading.Thread(target=task, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def clear(self) -> None:
        """Make ``wakeup`` unreadable until the next change."""
        with suppress(BlockingIOError):
            while os.read(self.wakeup, 4096):
                pass

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
                    self.notify()
                self._fail("events", f"lost {self._agent.address}: trying again until it answers")
            except GossipregError as error:
                self._fail("events", str(error))
            self._over.wait(_INTERVAL)

    def _poll(self) -> None:
        while not self._over.wait(_INTERVAL):
            try:
                node, services = self._agent.get("node"), self._agent.get("services")["services"]
            except GossipregError as error:
                self._fail("node", str(error))
            else:
                with self.lock:
                    self._model.refresh(node, services, time.time())
                self.notify()

    def _fail(self, source: str, sentence: str) -> None:
        with self.lock:
            self._model.failed[source] = sentence
        self.notify()
