"""The Consul dialect: Consul's HTTP API under ``/v1``, from what this node sees."""

from __future__ import annotations

from gossipreg.doors.dialects.consul.door import Consul
from gossipreg.doors.dialects.dialect import Dialect


def dialect() -> Dialect:
    """The dialect, with nothing remembered yet."""
    return Consul()
