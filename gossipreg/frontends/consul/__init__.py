"""The Consul dialect: Consul's HTTP API under ``/v1``, from what this node sees."""

from __future__ import annotations

from gossipreg.frontends.consul.door import Consul
from gossipreg.frontends.serving.compatibility_api import Dialect


def dialect() -> Dialect:
    """The dialect, with nothing remembered yet."""
    return Consul()
