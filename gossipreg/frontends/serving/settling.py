"""Settling: whether a node was started so recently that it may not have learnt yet what others offer."""

from __future__ import annotations

import time
from typing import Final

from gossipreg.node_info import NodeInfo

#: How long after its start a node may not know yet what other members offer (seconds). Where it reaches a member, that
#: takes about a second.
SETTLE_SECONDS: Final = 5.0


def is_settling(info: NodeInfo) -> bool:
    """Whether the node was started less than `SETTLE_SECONDS` ago."""
    return abs(time.time() - info.generation / 1000) < SETTLE_SECONDS
