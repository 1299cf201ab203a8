"""Knows what this node was asked to offer: the instance as it was registered, its checks, whether it is taken out."""

from __future__ import annotations

from typing import Any, Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.check import Check, read_checks
from gossipreg.errors import RecordTooLarge
from gossipreg.model import Health, Instance
from gossipreg.protocol.registry.payload import pack_instance, unpack_instance

_WORST: Final[Any] = {"health": Health.MAINTENANCE, "reason": "\U0001f600" * limits.REASON_CHARS_MAX}


@attrs.frozen
class Offer:
    """One registration of this node's own. Its health is not part of it: that is for the checks to say."""

    instance: Instance
    checks: tuple[Check, ...] = ()
    maintenance: str | None = None  # why it is taken out, if it is

    def check_room(self) -> None:
        """Raise ``RecordTooLarge`` if its record could not say what the checks may find."""
        size = len(pack_instance(attrs.evolve(self.instance, **_WORST)))
        if self.checks and size > limits.RECORD_BYTES_MAX:
            raise RecordTooLarge(
                f"instance {self.instance.id!r}: its record may have {size} bytes when a check fails, "
                f"{limits.RECORD_BYTES_MAX} are allowed: shorten its meta or tags"
            )

    def packed(self) -> bytes:
        """As it is kept on disk: the record, with what only its owner knows beside it."""
        packed = pack_instance(self.instance)
        if not self.checks and self.maintenance is None:
            return packed
        mine = {"checks": [check.stated() for check in self.checks], "maintenance": self.maintenance}
        body: bytes = msgpack.packb(msgpack.unpackb(packed) | mine)
        return body

    @classmethod
    def unpack(cls, body: bytes, *, id: str, owner: str) -> Offer:
        """What an earlier run of the node kept. Raises ``InvalidInstance`` for a check that is not known here."""
        kept = msgpack.unpackb(body)
        checks = read_checks(kept.get("checks", []))
        return cls(unpack_instance(body, id=id, owner=owner), checks, kept.get("maintenance"))
