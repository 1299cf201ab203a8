"""Two encodings of packets: sealed, byte for byte as on a real network, or bare, for large runs.

Bare packets are as long as sealed ones and are read by the same reader, so that a run without liars is the same
either way, event for event (a test holds the trace hashes against each other). What is saved is the digest or the
cipher over each packet; what is lost is that nothing would notice a forged one.
"""

from __future__ import annotations

from typing import Final

import attrs

from gossipreg.protocol.wire.packets import Refusal, Refused

#: The wires that a scenario may ask for.
WIRES: Final = ("bytes", "objects")


@attrs.frozen
class Bare:
    """A seal that seals nothing, and takes as much room as one that does."""

    overhead: int  # bytes
    _padding: bytes = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_padding", b"\x01" * self.overhead)

    def encode(self, payload: bytes, wall: float) -> bytes:  # noqa: ARG002 -- as every seal
        """The packet that carries ``payload``."""
        return payload + self._padding

    def vouch(self, host: str) -> None:
        """Nothing costs more from one host than from another."""

    def decode(self, packet: bytes, wall: float, host: str = "") -> bytes | Refused:  # noqa: ARG002 -- as every seal
        """What it carries; what is `spoilt` is refused, as by any seal."""
        if packet.endswith(self._padding):
            return packet[: -self.overhead]
        return Refused(Refusal.WRONG_CLUSTER_OR_CORRUPT)


def spoilt(packet: bytes) -> bytes:
    """What arrives instead of a bare packet that was changed on the way: a seal would have noticed."""
    return bytes(len(packet))
