"""The Consul API: Consul's HTTP API under ``/v1``, from what this node sees."""

from __future__ import annotations

from gossipreg.frontends.consul.api import Consul
from gossipreg.frontends.serving.compatibility_api import CompatibilityApi


def create_api() -> CompatibilityApi:
    """The API, with nothing remembered yet."""
    return Consul()
