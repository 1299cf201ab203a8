"""The Consul API: Consul's HTTP API under ``/v1``, from what this node sees."""

from __future__ import annotations

from gossipreg.frontends.serving.deferred_api import DeferredApi

_ROUTINE = frozenset(("PUT", f"/v1/agent/check/{word}/{{id}}") for word in ("pass", "warn", "fail", "update"))


def create_api() -> DeferredApi:
    """The API, with nothing remembered yet."""
    return DeferredApi("gossipreg.frontends.consul.api", "Consul", ("/v1",), _ROUTINE)
