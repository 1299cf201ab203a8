"""History of a run: the records from which the checker works. Each record is a line of JSON on disk.

Times are seconds of the run's progress (see `tests.chaos.progress`), unless said otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

import attrs

from tests.chaos.plan import Operation

#: ok: acknowledged. refused: answered with an error, or never sent. unknown: it may have happened, or may still happen.
Outcome = Literal["ok", "refused", "unknown"]


@attrs.frozen
class Row:
    """An instance as one agent shows it. ``op`` is the number of the registration that made it, from its meta."""

    owner: str
    id: str
    service: str
    op: int
    port: int
    weight: int
    health: str
    role: str
    term: int


@attrs.frozen
class Begun:
    """The client starts an operation."""

    at: float
    operation: Operation


@attrs.frozen
class Done:
    """An operation has ended. ``stamp`` is the time in a policy's answer (seconds since the epoch), or 0."""

    at: float
    begin: float
    operation: Operation
    outcome: Outcome
    status: int = 0
    answer: str = ""  # the error, in the agent's or the kernel's words
    term: int = 0  # of a claim that was answered
    stamp: float = 0.0


@attrs.frozen
class Started:
    """An agent starts; its name is its host's."""

    at: float
    host: str


@attrs.frozen
class Leaving:
    """An agent is asked to leave: it withdraws its instances before it exits."""

    at: float
    host: str


@attrs.frozen
class Ended:
    """An agent has exited: none of its pending requests can happen any more."""

    at: float
    host: str


@attrs.frozen
class Wiped:
    """A host lost its disk while its agent was down."""

    at: float
    host: str


@attrs.frozen
class Listing:
    """All instances of one service that an agent showed, including those that cannot serve."""

    at: float
    begin: float
    host: str
    service: str
    rows: tuple[Row, ...]
    index: int = 0  # of the service, at that agent


@attrs.frozen
class SelfReport:
    """What an agent reported about itself and the other members."""

    at: float
    begin: float
    host: str
    isolated: bool
    members: Mapping[str, str] = attrs.field(factory=dict)  # name -> status


@attrs.frozen
class FaultChanged:
    """A fault begins (``on``) or ends. ``hosts``: the affected hosts; none: all.

    ``cut_off``: hosts without any connection while it lasts. ``skewed``: their clocks are wrong. ``full``: their disks
    are.
    """

    at: float
    what: str
    on: bool
    hosts: tuple[str, ...] = ()
    cut_off: tuple[str, ...] = ()
    skewed: bool = False
    full: bool = False


@attrs.frozen
class UnexpectedExit:
    """An agent did not exit as it should, or exited by itself."""

    at: float
    host: str
    how: str


@attrs.frozen
class TracebackWritten:
    """An agent wrote a traceback."""

    at: float
    host: str
    line: str


@attrs.frozen
class View:
    """The whole view of an agent when the client is idle and no fault is active."""

    host: str
    members: Mapping[str, str]  # name -> status
    fingerprint: str
    rows: tuple[Row, ...]  # of all services, including those that cannot serve
    offered: frozenset[tuple[str, str]]  # owner and id of the instances in a plain lookup
    policies: Mapping[str, int]  # key -> number of the operation that set it


@attrs.frozen
class Agreed:
    """A check passed: the next phase starts from what these views show."""

    at: float
    views: tuple[View, ...]


Record = (
    Begun
    | Done
    | Started
    | Leaving
    | Ended
    | Wiped
    | Listing
    | SelfReport
    | FaultChanged
    | UnexpectedExit
    | TracebackWritten
    | Agreed
)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


@attrs.define
class Writer:
    """Writes records to a file, a JSON object a line."""

    file: TextIO

    @classmethod
    def open(cls, path: Path) -> Writer:
        """Create a file, written line by line."""
        return cls(path.open("w", buffering=1))

    def write(self, record: Record) -> None:
        """Write one record."""
        fields = attrs.asdict(record, value_serializer=lambda _, __, value: _plain(value))
        self.file.write(json.dumps({"record": type(record).__name__, **fields}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self.file.close()
