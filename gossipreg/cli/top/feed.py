"""Knows how the board is fed: one thread follows the agent's events, another asks once a second for the rest."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Final, Self

from gossipreg.cli.client import Agent
from gossipreg.cli.top.board import Board
from gossipreg.errors import GossipregError

#: Between two questions, and before an agent that went away is asked again (seconds).
_INTERVAL: Final = 1.0


class Feed:
    """Feeds a board while it is entered. Whoever reads the board holds the ``lock``.

    ``news`` is a descriptor that can be read when the board has changed since `hush`.
    """

    def __init__(self, agent: Agent, board: Board) -> None:
        self.lock = threading.Lock()
        self._agent, self._board = agent, board
        self.news, self._bell = os.pipe()
        os.set_blocking(self.news, False)
        os.set_blocking(self._bell, False)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        for task in (self._follow, self._ask):
            threading.Thread(target=task, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def hush(self) -> None:
        """Ring no more for what has happened until now."""
        with suppress(BlockingIOError):
            while os.read(self.news, 4096):
                pass

    def ring(self) -> None:
        """Say that there is something to look at."""
        with suppress(BlockingIOError):  # then it has been said often enough
            os.write(self._bell, b".")

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                for event, data in self._agent.events():
                    with self.lock:
                        self._board.hear(event, data, time.time())
                    self.ring()
                self._fail("events", f"lost {self._agent.address}: trying again until it answers")
            except GossipregError as error:
                self._fail("events", str(error))
            self._over.wait(_INTERVAL)

    def _ask(self) -> None:
        while not self._over.wait(_INTERVAL):
            try:
                node, services = self._agent.get("node"), self._agent.get("services")["services"]
            except GossipregError as error:
                self._fail("node", str(error))
            else:
                with self.lock:
                    self._board.learn(node, services, time.time())
                self.ring()

    def _fail(self, source: str, sentence: str) -> None:
        with self.lock:
            self._board.failed[source] = sentence
        self.ring()
