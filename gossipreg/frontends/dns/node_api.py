"""Knows what the DNS door needs of a node, and nothing else of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from gossipreg.model import Address, Event, Instance


class DnsEventBatches(Protocol):
    """Events in batches, for ``async for``."""

    def __aiter__(self) -> AsyncIterator[tuple[Event, ...]]: ...


class DnsNodeApi(Protocol):
    """The part of a node that the door calls."""

    @property
    def address(self) -> Address:
        """Where other members reach this node."""
        ...

    def lookup(self, service: str, *, healthy: bool = True) -> tuple[Instance, ...]:
        """The service's instances; none for an unknown service."""
        ...

    def index(self, service: str) -> int:
        """The service's change index: it never falls, and rises whenever any lookup of the service may differ."""
        ...

    def events(self) -> DnsEventBatches:
        """Batches of events: first a ``Snapshot`` alone, then what changes. Ends, or raises, when the node closes."""
        ...
