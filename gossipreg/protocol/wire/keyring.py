"""The gossip keyring: the keys that open a cluster's packets and streams, and the primary one, which seals them.

While a key is replaced a cluster has two: every member must hold the new one before any member seals with it, and the
old one is given up last (Serf's keyring works alike). The packet codec and all stream codecs of a node share one
keyring, so a change is in force for the next packet and the next stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gossipreg import limits
from gossipreg.key_format import key_id

#: Bytes of a key's id on the wire.
KEY_ID_BYTES: Final = 4


def id_of(key: bytes) -> bytes:
    """The id of a key, as it is on the wire."""
    return bytes.fromhex(key_id(key))


class GossipKeyring:
    """The keys of one node, the primary one first: 1 to `limits.GOSSIP_KEYS_MAX` of `KEY_BYTES` bytes."""

    __slots__ = ("_keys", "primary", "primary_id")

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.replace(keys)

    def replace(self, keys: Sequence[bytes]) -> None:
        """Hold ``keys`` from now on, in place of those held so far."""
        held = {id_of(key): key for key in keys}
        assert 1 <= len(held) <= limits.GOSSIP_KEYS_MAX, f"{len(held)} keys"
        self._keys = held
        self.primary_id, self.primary = next(iter(held.items()))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys (hex), that of the primary one first."""
        return tuple(key_id.hex() for key_id in self._keys)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the primary one first."""
        return tuple(self._keys.values())

    def get(self, key_id: bytes) -> bytes | None:
        """The key of this id, if it is held."""
        return self._keys.get(key_id)

    def __contains__(self, key_id: bytes) -> bool:
        return key_id in self._keys
