"""Attach frontend: processes of this host that are no members use the agent's node over a stream each."""

from gossipreg.frontends.attach.server import serve_attach

__all__ = ["serve_attach"]
