"""Two encodings of packets: sealed, byte for byte as on a real network, or bare, for large runs.

Bare packets have the same length as sealed ones and pass through the same reader, so that a run without forged packets
is the same either way, event for event (a test compares the trace hashes). Bare packets save the digest or the cipher
of each packet, but a forged packet would go unnoticed.
"""

from __future__ import annotations

from typing import Final

import attrs

from gossipreg.protocol.wire.packets import Refusal, Refused

#: The encodings that a scenario may choose.
WIRES: Final = ("bytes", "objects")


@attrs.frozen
class Bare:
    """A packet codec without digest or cipher, with the same overhead as a real one."""

    overhead: int  # bytes
    _padding: bytes = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_padding", b"\x01" * self.overhead)

    def encode(self, payload: bytes, wall: float) -> bytes:  # noqa: ARG002 -- the codec interface
        """Return the packet that carries ``payload``."""
        return payload + self._padding

    def vouch(self, host: str) -> None:
        """Do nothing: every host costs the same."""

    def decode(self, packet: bytes, wall: float, host: str = "") -> bytes | Refused:  # noqa: ARG002 -- the codec interface
        """Return the payload; refuse a `corrupted` packet, as any codec does."""
        if packet.endswith(self._padding):
            return packet[: -self.overhead]
        return Refused(Refusal.WRONG_CLUSTER_OR_CORRUPT)


def corrupted(packet: bytes) -> bytes:
    """Return what arrives in place of a bare packet changed in flight; a real codec would detect the change."""
    return bytes(len(packet))
