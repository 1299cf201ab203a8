"""The DNS door: what the node knows, as A, AAAA, SRV and TXT records over UDP and TCP, under Consul's names."""

from gossipreg.frontends.dns.registry import Registry
from gossipreg.frontends.dns.server import serve_dns

__all__ = ["Registry", "serve_dns"]
