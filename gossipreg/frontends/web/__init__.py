"""The web page: what an operator wants to know of the cluster and do about it, in a browser, at ``/ui/``."""

from __future__ import annotations

from gossipreg.frontends.serving.deferred_api import DeferredApi

__all__ = ["create_page"]


def create_page() -> DeferredApi:
    """Create what the HTTP listener serves the page by."""
    return DeferredApi("gossipreg.frontends.web.page", "WebPage", ("/ui",))
