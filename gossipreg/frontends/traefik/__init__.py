"""The Traefik API: the dynamic configuration that its ``http`` provider polls, under ``/traefik``."""

from __future__ import annotations

from gossipreg.frontends.serving.deferred_api import DeferredApi


def create_api() -> DeferredApi:
    """The API."""
    return DeferredApi("gossipreg.frontends.traefik.api", "Traefik", ("/traefik",))
