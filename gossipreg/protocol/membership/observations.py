"""Observations: what a member believes of the others, as it tells a peer that asks on a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gossipreg.model import Status
from gossipreg.observations import LinkState, MemberObservation
from gossipreg.values import frozen

#: A link's number on the wire. Numbers are never reused.
LINKS: Final = tuple(LinkState)

#: The longest round trip that can be told (microseconds); 0 stands for none.
_MICROSECONDS_MAX: Final = 0xFFFF_FFFF

#: An observation as a message carries it: name, status, link, round trip (microseconds), and pings in a row that were
#: not answered. The last is left out where it is 0: earlier versions skip it.
Entry = tuple[str, int, int, int] | tuple[str, int, int, int, int]


@frozen
class ObservationRequest:
    """Asks a peer, on a stream, what it believes of every member."""


@frozen
class Observations:
    """What the sender believes of some members: its version, its problems, and an entry for each member.

    A long answer is several messages; ``version`` and ``problems`` are in each of them, or only in the first.
    """

    version: str
    problems: tuple[str, ...]
    entries: tuple[Entry, ...]


def packed(observed: Iterable[MemberObservation]) -> tuple[Entry, ...]:
    """``observed`` as a message carries it."""
    return tuple(map(_entry, observed))


def _entry(each: MemberObservation) -> Entry:
    entry = (each.name, int(each.status), LINKS.index(each.link), _ticks(each.round_trip))
    return (*entry, each.unanswered) if each.unanswered else entry


def _ticks(seconds: float | None) -> int:
    return 0 if seconds is None else max(1, min(_MICROSECONDS_MAX, round(1_000_000 * seconds)))


def unpacked(entries: Iterable[Entry]) -> tuple[MemberObservation, ...]:
    """What a message carried."""
    return tuple(
        MemberObservation(name, Status(status), LINKS[link], ticks / 1_000_000 if ticks else None, *unanswered)
        for name, status, link, ticks, *unanswered in entries
    )
