"""What happened in a run, record by record: all that the checker knows. Each record is a line of JSON on disk.

Times are seconds of the run's progress (see `tests.chaos.progress`), unless said otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

import attrs

from tests.chaos.plan import Operation

#: ok: acknowledged. refused: answered with a no, or never sent. unknown: it may have happened, or happen yet.
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
    """The client begins an operation."""

    at: float
    operation: Operation


@attrs.frozen
class Done:
    """An operation is over. ``stamp`` is the time that a policy's answer carries (seconds since the epoch), or 0."""

    at: float
    begin: float
    operation: Operation
    outcome: Outcome
    status: int = 0
    answer: str = ""  # what was wrong, in the agent's or the kernel's words
    term: int = 0  # of a claim that was answered
    stamp: float = 0.0


@attrs.frozen
class Started:
    """An agent's life begins; its name is its host's."""

    at: float
    host: str


@attrs.frozen
class Leaving:
    """An agent is asked to leave: it takes back what it offers before its life ends."""

    at: float
    host: str


@attrs.frozen
class Ended:
    """An agent's life is over: nothing it was asked can happen any more."""

    at: float
    host: str


@attrs.frozen
class Wiped:
    """A host lost its disk while its agent was down."""

    at: float
    host: str


@attrs.frozen
class Seen:
    """All instances of one service that an agent showed, those that cannot serve included."""

    at: float
    begin: float
    host: str
    service: str
    rows: tuple[Row, ...]
    index: int = 0  # of the service, as that agent counts it


@attrs.frozen
class Felt:
    """What an agent said about itself and the others."""

    at: float
    begin: float
    host: str
    isolated: bool
    members: Mapping[str, str] = attrs.field(factory=dict)  # name -> status


@attrs.frozen
class Troubled:
    """A fault begins (``on``) or ends. ``hosts``: those that it befalls; none: it befalls all.

    ``cut_off``: hosts that hear and reach no other while it lasts. ``skewed``: their clocks are wrong. ``full``: their
    disks are.
    """

    at: float
    what: str
    on: bool
    hosts: tuple[str, ...] = ()
    cut_off: tuple[str, ...] = ()
    skewed: bool = False
    full: bool = False


@attrs.frozen
class Died:
    """An agent did not end as it should, or ended although nothing ended it."""

    at: float
    host: str
    how: str


@attrs.frozen
class Complained:
    """An agent wrote a traceback."""

    at: float
    host: str
    line: str


@attrs.frozen
class View:
    """All that an agent shows when the client is quiet and nothing is wrong."""

    host: str
    members: Mapping[str, str]  # name -> status
    fingerprint: str
    rows: tuple[Row, ...]  # of all services, those that cannot serve included
    offered: frozenset[tuple[str, str]]  # owner and id of those that a plain lookup shows
    policies: Mapping[str, int]  # key -> number of the operation that set it


@attrs.frozen
class Settled:
    """A judgement passed: what these views show is where the next phase begins."""

    at: float
    views: tuple[View, ...]


Record = Begun | Done | Started | Leaving | Ended | Wiped | Seen | Felt | Troubled | Died | Complained | Settled


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


@attrs.define
class Writer:
    """Writes records to a file, a JSON object a line."""

    file: TextIO

    @classmethod
    def open(cls, path: Path) -> Writer:
        """Begin a new file, written line by line."""
        return cls(path.open("w", buffering=1))

    def write(self, record: Record) -> None:
        """Add one."""
        fields = attrs.asdict(record, value_serializer=lambda _, __, value: _plain(value))
        self.file.write(json.dumps({"record": type(record).__name__, **fields}) + "\n")

    def close(self) -> None:
        """End the file."""
        self.file.close()
