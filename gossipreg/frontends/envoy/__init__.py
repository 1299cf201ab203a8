"""The Envoy API: endpoints of clusters, by EDS over REST, v3 of the xDS protocol, under ``/v3``."""

from __future__ import annotations

from gossipreg.frontends.serving.deferred_api import DeferredApi

_ROUTINE = frozenset({("POST", "/v3/discovery:endpoints")})


def create_api() -> DeferredApi:
    """The API, with nothing kept yet."""
    return DeferredApi("gossipreg.frontends.envoy.api", "Envoy", ("/v3",), _ROUTINE)
