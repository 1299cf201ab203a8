"""The DNS door: what the node knows, as A, AAAA, SRV and TXT records over UDP and TCP, under Consul's names."""

from gossipreg.frontends.dns.node_api import DnsNodeApi
from gossipreg.frontends.dns.server import serve_dns

__all__ = ["DnsNodeApi", "serve_dns"]
