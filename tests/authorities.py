"""Two authorities, a node, an issuer, and documents that they sign."""

from __future__ import annotations

from typing import Any

from gossipreg.authority import AuthorityKey, new_node_key
from gossipreg.certificate import Certificate
from gossipreg.delegation import Delegation

AUTHORITY = AuthorityKey.new("prod")
OTHER = AuthorityKey.new("prod")
NODE = new_node_key()
ISSUER = new_node_key()
FROM, UNTIL = 1_790_000_000, 1_800_000_000

#: A certificate that the delegation allows.
BY_ISSUER: dict[str, Any] = {
    "names": ("web-1",),
    "services": ("orders",),
    "roles": (),
    "not_before": FROM + 700,
    "not_after": FROM + 1000 + 3600,
}


def certificate(by: AuthorityKey = AUTHORITY, **fields: Any) -> Certificate:
    given_: dict[str, Any] = {"names": ("web-1",), "not_before": FROM, "not_after": UNTIL}
    return by.sign(NODE.public, **{**given_, **fields})


def delegation(by: AuthorityKey = AUTHORITY, **fields: Any) -> Delegation:
    wanted: dict[str, Any] = {
        "agent": "ops-1",
        "names": ("web-*", "db-1"),
        "zones": ("*",),
        "services": ("orders",),
        "roles": ("primary",),
        "grants": ("forget",),
        "not_before": FROM,
        "not_after": UNTIL,
        "lifetime": 3600,
    }
    return by.delegate(ISSUER.public, **{**wanted, **fields})
