"""Settling: whether a node was started so recently that it may not have learnt yet what others offer."""

from __future__ import annotations

import time
from typing import Final

from gossipreg.model import NodeInfo

#: How long a node that has just been started may take to learn what there is (seconds). It takes a second or so where
#: it can reach a member.
SETTLE_SECONDS: Final = 5.0


def is_settling(info: NodeInfo) -> bool:
    """Whether the node is that young."""
    return abs(time.time() - info.generation / 1000) < SETTLE_SECONDS
