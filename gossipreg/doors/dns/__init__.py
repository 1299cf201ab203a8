"""The DNS door: what the node knows, as A, AAAA, SRV and TXT records over UDP and TCP, under Consul's names."""

from gossipreg.doors.dns.registry import Registry
from gossipreg.doors.dns.server import serve_dns

__all__ = ["Registry", "serve_dns"]
