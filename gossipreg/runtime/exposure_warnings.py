"""Exposure warnings: what a listener exposes to the network that it is bound to, in a sentence with the remedy.

Each function takes the address that a listener got, and returns None where only this machine reaches it.
"""

from __future__ import annotations

from gossipreg.model import Address, SocketFile
from gossipreg.targets import is_loopback


def gossip_warning(bound: Address) -> str | None:
    """Of gossip in clear."""
    return _beyond(
        bound,
        f"gossip at {bound} is in clear: any host that reaches it can join and change what this cluster says: make a "
        "key with `gossipreg keygen` and pass --key-file",
    )


def http_warning(bound: Address | SocketFile, *, asks_tokens: bool, is_tls: bool = False) -> str | None:
    """Of the HTTP API."""
    if asks_tokens and is_tls:
        return None
    if asks_tokens:
        return _beyond(
            bound,
            f"HTTP at {bound} takes tokens in clear: any host on the way can read and use them: pass --tls-cert and "
            "--tls-key, or listen on loopback or at a unix: socket",
        )
    return _beyond(
        bound,
        f"HTTP at {bound} asks for no token: any host that reaches it can read, register and stop this agent: pass "
        "--tokens-file, or listen on loopback",
    )


def dns_warning(bound: Address) -> str | None:
    """Of DNS, which knows no tokens."""
    return _beyond(
        bound,
        f"DNS at {bound} answers any host that reaches it: let only the networks through that should ask, or listen on "
        "loopback",
    )


def balancer_warning(bound: Address, service: str) -> str | None:
    """Of a port that leads to a service."""
    return _beyond(
        bound,
        f"the balancer at {bound} connects any host that reaches it to {service}: let only the networks through that "
        "should call it, or listen on loopback",
    )


def metrics_warning(bound: Address) -> str | None:
    """Of a port for Prometheus, which asks for no token."""
    return _beyond(
        bound,
        f"metrics at {bound} are shown to any host that reaches them: let Prometheus alone through, or listen on "
        "loopback",
    )


def token_warning(agent: Address | SocketFile) -> str | None:
    """Of a token that is sent to an agent."""
    return _beyond(
        agent,
        f"the token goes to the agent at {agent} in clear: any host on the way can read and use it: ask an agent on "
        "this machine",
    )


def _beyond(address: Address | SocketFile, sentence: str) -> str | None:
    is_local = isinstance(address, SocketFile) or is_loopback(address.host)
    return None if is_local else sentence
