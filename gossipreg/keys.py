"""Gossip keys as users see them: their ids, and which members hold and use them; never the keys themselves."""

from __future__ import annotations

from typing import Final

from gossipreg.values import frozen

#: How long every other key stays held by default, when one becomes primary (seconds): a host that was off over a long
#: weekend comes back.
KEPT_SECONDS: Final = 72 * 3600.0


@frozen
class GossipKey:
    """One key that seals, or may seal, the gossip of a cluster."""

    id: str  # 8 hexadecimal digits, made from the key; safe to show
    primary: bool  # whether this node seals with it
    held_by: tuple[str, ...]  # the present members that can open what it seals, sorted by name
    used_by: tuple[str, ...]  # those that seal with it
    not_held_by: tuple[str, ...]  # the other present members
    until: float | None  # when it is given up (seconds since the epoch); None: it is not
