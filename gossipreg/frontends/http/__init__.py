"""The native HTTP API: what the node knows, as JSON over HTTP/1.1, for programs and people on the same machine."""

from gossipreg.frontends.http.access import Access
from gossipreg.frontends.http.registry import Registry
from gossipreg.frontends.http.server import serve_http

__all__ = ["Access", "Registry", "serve_http"]
