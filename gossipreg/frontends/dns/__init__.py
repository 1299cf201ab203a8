"""The DNS frontend: A, AAAA, SRV and TXT records over UDP and TCP, under Consul's names."""

from gossipreg.frontends.dns.server import serve_dns
from gossipreg.frontends.serving.node_api import NodeApi

__all__ = ["NodeApi", "serve_dns"]
