"""Observations: what one node believes of the others, and how it reaches them."""

from __future__ import annotations

import enum

from gossipreg.model import Status
from gossipreg.values import frozen


class LinkState(enum.StrEnum):
    """What passes directly between a node and another member, as far as that node has noticed."""

    DIRECT = "direct"
    STREAMS_ONLY = "streams_only"
    PACKETS_ONLY = "packets_only"
    SMALL_PACKETS = "small_packets"
    OUTGOING_LOST = "outgoing_lost"  # its packets arrive, but to this node's it answers through other members only
    INCOMING_LOST = "incoming_lost"  # it answers through other members only, and nothing of its own arrives


@frozen
class MemberObservation:
    """What one node believes of a member, and how it reaches it."""

    name: str
    status: Status
    link: LinkState = LinkState.DIRECT
    round_trip: float | None = None  # smoothed (seconds); None if none was measured
    unanswered: int = 0  # pings in a row that the member itself has not answered in time, 255 at most


@frozen
class ObserverReport:
    """What one member answered when it was asked what it believes of the others.

    ``failure`` is why there is no answer: then the rest is empty.
    """

    name: str
    zone: str
    failure: str = ""
    version: str = ""  # of gossipreg
    problems: tuple[str, ...] = ()  # as in `NodeInfo`
    observed: tuple[MemberObservation, ...] = ()
    is_silent: bool = False  # it was asked, and nothing came: it may be down, paused or cut off
