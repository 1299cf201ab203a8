"""Answers of an agent that are kept until an event says that they have changed, so that one change costs few requests.

Events come in one thread, requests in another. A service's answer is kept only while the stream of events is whole:
from its snapshot to its end. One that an event overtakes while it is fetched is not kept.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs

from gossipreg.frontends.render.template_data import Fetch


@attrs.define(eq=False, repr=False)
class KeptAnswers:
    """Asks an agent, as `Fetch` does, and keeps the instances of each service until they change."""

    _fetch: Fetch
    _kept: dict[str, Any] = attrs.field(init=False, factory=dict)  # by service
    _changes: Counter[str] = attrs.field(init=False, factory=Counter)  # by service; all of them under ""
    _is_following: bool = attrs.field(init=False, default=False)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __call__(self, *path: str, **query: str | None) -> Any:
        """The document at that path. Raises what the fetch raises."""
        if len(path) != 2 or path[0] != "services" or query:
            return self._fetch(*path, **query)
        service = path[1]
        with self._lock:
            if service in self._kept:
                return self._kept[service]
            before = self._changes[service], self._changes[""]
        answer = self._fetch(*path)
        with self._lock:
            if self._is_following and before == (self._changes[service], self._changes[""]):
                self._kept[service] = answer
        return answer

    def heard(self, event: str, data: Mapping[str, Any]) -> None:
        """Take an event of the agent's stream: a snapshot begins it, and one of an instance changes its service."""
        with self._lock:
            service = data.get("service")
            if event == "snapshot":
                self._forget()
                self._is_following = True
            elif isinstance(service, str):
                self._changes[service] += 1
                self._kept.pop(service, None)
            else:
                self._forget()  # what a member's event changes is not said

    def lost(self) -> None:
        """Forget all answers: the stream has ended, and nothing says any more what changes."""
        with self._lock:
            self._forget()
            self._is_following = False

    def _forget(self) -> None:
        self._changes[""] += 1
        self._kept.clear()
