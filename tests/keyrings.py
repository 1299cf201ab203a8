"""Keyrings for tests."""

from __future__ import annotations

from gossipreg.protocol.wire.keyring import GossipKeyring


def ring(*keys: bytes) -> GossipKeyring:
    """A keyring of these keys, the primary one first."""
    return GossipKeyring(keys)


def ring_or_clear(key: bytes | None) -> GossipKeyring | None:
    """A keyring of one key, or none for a node that speaks in clear."""
    return None if key is None else ring(key)
