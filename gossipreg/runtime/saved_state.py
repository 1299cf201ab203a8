"""Saved state: what an earlier run of an agent left in its data directory, read row by row.

A row's checksum tells that it is as it was written, not that this version can use it. `StateRows.read` checks the shape
of each row by itself; the store sets aside a row that has another one, and the agent starts without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from gossipreg.model import Address, is_name
from gossipreg.values import frozen

#: The kinds of rows. A row of any other kind is a later version's: it stays where it is, unread.
IDENTITY: Final = "identity"
PEERS: Final = "peers"
DRAIN: Final = "drain"
INSTANCE: Final = "instance"
POLICY: Final = "policy"
CHECKS: Final = "checks"
TERM: Final = "term"
JOIN_USE: Final = "join_use"

#: Largest generation or index that is taken from disk: the largest whole number that every reader of JSON takes.
_NUMBER_MAX: Final = 2**53 - 1

#: Which row: its kind and its key.
Place = tuple[str, str]


@frozen(kw_only=True)
class SavedState:
    """What an earlier run of the agent left. ``warnings`` are sentences for the log: what was set aside, and where."""

    name: str | None = None
    generation: int = 0  # ms since the epoch; the last that was used, so the next must be higher
    index: int = 0  # no lookup was ever given a higher index
    drained: str | None = None  # why the node drains, if it does; may be empty
    peers: tuple[Address, ...] = ()
    instances: Mapping[str, bytes] = attrs.field(factory=dict)  # packed, by id
    policies: Mapping[str, bytes] = attrs.field(factory=dict)  # the latest version of each, packed, by key
    terms: Mapping[str, bytes] = attrs.field(factory=dict)  # term registers, packed, by service
    checks: Mapping[str, bytes] = attrs.field(factory=dict)  # the state of ttl checks, packed, by the instance's id
    join_uses: Mapping[str, bytes] = attrs.field(factory=dict)  # of join tokens, packed, by token and public key
    warnings: tuple[str, ...] = ()


@attrs.define(eq=False, repr=False)
class StateRows:
    """The rows that were read so far, each in the shape that this version uses."""

    _fields: dict[str, Any] = attrs.field(factory=dict)
    _bodies: dict[str, dict[str, bytes]] = attrs.field(
        factory=lambda: {INSTANCE: {}, POLICY: {}, TERM: {}, CHECKS: {}, JOIN_USE: {}}
    )

    def read(self, kind: bytes, key: bytes, body: bytes) -> str | None:
        """Read one row whose checksum is right. Returns why it cannot be used, if it cannot."""
        try:
            match kind.decode():
                case "identity":
                    self._fields |= _identity(_loads(body))
                case "peers":
                    self._fields["peers"] = tuple(_peers(_loads(body)))
                case "drain":
                    self._fields["drained"] = _text(_loads(body)["reason"])
                case "instance" | "policy" | "term" | "checks" | "join_use" as known:
                    self._bodies[known][key.decode()] = body
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return f"it is of another version: {error}"
        return None

    def saved(self, warnings: Iterable[str]) -> SavedState:
        """All rows together."""
        return SavedState(
            **self._fields,
            instances=self._bodies[INSTANCE],
            policies=self._bodies[POLICY],
            terms=self._bodies[TERM],
            checks=self._bodies[CHECKS],
            join_uses=self._bodies[JOIN_USE],
            warnings=tuple(warnings),
        )


def _identity(said: Any) -> dict[str, Any]:
    name = said.get("name")
    if name is not None and not is_name(_text(name)):
        raise ValueError("a name that no member may have")
    return {
        "name": name,
        "generation": _number(said.get("generation", 0)),
        "index": _number(said.get("index", 0)),
    }


def _peers(said: Any) -> Iterable[Address]:
    if not isinstance(said, list):
        raise TypeError("peers that are not a list")
    for host, port in said:
        if not 0 < _number(port) <= 65_535:
            raise ValueError("a port that is none")
        yield Address(_text(host), port)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _NUMBER_MAX:
        raise ValueError(f"{value!r:.80} is not a whole number from 0 to 2**53 - 1")
    return value


def _loads(body: bytes) -> Any:
    from gossipreg.json_documents import read_json  # only with a data directory: json takes 2 ms to import

    return read_json(body)
