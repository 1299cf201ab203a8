"""Relays: which members of a cell talk to another cell, elected by rendezvous hashing without a message.

Each node ranks the members of its cell by a hash of the member and the pair of cells (highest random weight, Thaler and
Ravishankar 1998). Nodes that hold the same members elect the same relays; nodes that disagree for a moment have one
relay more, which costs a comparison. A member that goes moves only its own duties. The pair has no order, but each side
ranks its own members.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

#: Relays of each side of a border: the first sends, the second stands by and finds what the first has missed.
RELAYS = 2


def elect(members: Iterable[str], one: str, other: str) -> tuple[str, ...]:
    """The relays among ``members``, names of one cell, for the border between the two cells; the first one first."""
    pair = "\0".join(sorted((one, other)))
    return tuple(sorted(members, key=lambda name: _weight(name, pair), reverse=True)[:RELAYS])


def _weight(member: str, pair: str) -> tuple[bytes, str]:
    return hashlib.blake2b(f"{pair}\0{member}".encode(), digest_size=8, person=b"relay").digest(), member
