"""Following: the copies that the agent keeps current for this process, and the numbers under which it does so."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import attrs

from gossipreg.attach import frames
from gossipreg.embed.attached.copies import EventsCopy, ServiceCopy


@attrs.define(eq=False, repr=False)
class Following:
    """What one process follows, over all its streams to the agent: services, and streams of events.

    Any thread may read ``services``. All else happens under the lock of the link, which takes the numbers from the
    same sequence as those of its requests, so that a refusal names one thing.
    """

    services: dict[str, ServiceCopy] = attrs.field(init=False, factory=dict)
    _numbers: dict[str, int] = attrs.field(init=False, factory=dict)  # of the services
    _copies: dict[int, ServiceCopy] = attrs.field(init=False, factory=dict)
    _waiting: dict[int, list[Future[Any]]] = attrs.field(init=False, factory=dict)  # for the first view of a service
    _events: dict[int, tuple[EventsCopy, list[Any]]] = attrs.field(init=False, factory=dict)  # with what was asked

    def __len__(self) -> int:
        return len(self._copies) + len(self._events)

    def frames(self) -> list[list[Any]]:
        """What asks for all of it over a new stream."""
        return [*map(self._ask_for, self._copies), *(asked for _, asked in self._events.values())]

    def copies(self) -> list[ServiceCopy | EventsCopy]:
        """Everything that is followed."""
        return [*self._copies.values(), *(copy for copy, _ in self._events.values())]

    def forget_indexes(self) -> None:
        """Begin with another agent: an index of the last one says nothing until the new one has told its own."""
        for copy in self._copies.values():
            copy.told_index = 0

    # Services

    def add_service(self, service: str, number: int) -> list[Any]:
        """Follow ``service`` under ``number``. Returns the frame that asks for it."""
        self._numbers[service] = number
        self._copies[number] = self.services[service] = ServiceCopy(service)
        return self._ask_for(number)

    def _ask_for(self, number: int) -> list[Any]:
        copy = self._copies[number]
        return [frames.FOLLOW, number, copy.service, copy.told_index]

    def first_view(self, service: str) -> Future[Any]:
        """A future that is settled once the agent has told ``service``, or has refused to."""
        future: Future[Any] = Future()
        number = self._numbers[service]
        self._waiting[number] = [*(each for each in self._waiting.get(number, ()) if not each.done()), future]
        return future

    def service(self, number: int) -> ServiceCopy:
        """The copy under ``number``. Raises ``KeyError``."""
        return self._copies[number]

    def told(self, number: int) -> Sequence[Future[Any]]:
        """Take out the futures that waited for the first view of a service."""
        return self._waiting.pop(number, ())

    # Streams of events

    def add_events(self, number: int, asked: list[Any]) -> EventsCopy:
        """Follow the events that the frame ``asked`` asks for, under ``number``."""
        copy = EventsCopy()
        self._events[number] = copy, asked
        return copy

    def events(self, number: int) -> EventsCopy | None:
        """The copy of a stream of events; None if it was ended."""
        found = self._events.get(number)
        return None if found is None else found[0]

    def end_events(self, number: int) -> EventsCopy | None:
        """Follow that stream of events no longer. Returns its copy, or None if there was none."""
        found = self._events.pop(number, None)
        return None if found is None else found[0]

    # Refusals, and the end

    def drop_service(self, number: int) -> Sequence[Future[Any]]:
        """The agent refuses that service, if it is one: follow it no longer. Returns the futures that waited for it."""
        copy = self._copies.pop(number, None)
        if copy is not None:
            del self.services[copy.service], self._numbers[copy.service]
        return self.told(number)

    def end(self) -> list[Future[Any]]:
        """The link has ended. Returns all futures that waited."""
        waiting = [each for several in self._waiting.values() for each in several]
        self._waiting = {}
        return waiting
