"""The native HTTP API: what the node knows, as JSON over HTTP/1.1, for programs and people on the same machine."""

from gossipreg.frontends.http.server import serve_http
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.node_api import NodeApi

__all__ = ["Access", "NodeApi", "serve_http"]
