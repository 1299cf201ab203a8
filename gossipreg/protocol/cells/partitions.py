"""Partitions: a fingerprint for each cell of what its members own, and one of what belongs to no cell.

The fingerprint of a whole node is an xor of all entries, so that of a part is the xor of the part. Two cells compare
one partition at a time, with the machinery by which members compare their whole state (`anti_entropy.reconcile`).

A suspicion does not cross a border: a partition holds a suspected member as if it were alive. Only verdicts cross.
"""

from __future__ import annotations

import attrs

from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.fingerprint import Entry, Fingerprint
from gossipreg.protocol.membership.member_update import MemberUpdate


@attrs.define(eq=False, repr=False)
class Partitions:
    """The fingerprints by partition: the name of a cell, or `cell_head.COMMON`."""

    _fingerprints: dict[str, Fingerprint] = attrs.field(factory=dict)

    def of(self, partition: str) -> Fingerprint:
        """The fingerprint of a partition; one that is not held is empty."""
        found = self._fingerprints.get(partition)
        return Fingerprint() if found is None else found

    def total(self, partition: str) -> int:
        """The sum of a partition; 0 if nothing of it is held."""
        found = self._fingerprints.get(partition)
        return 0 if found is None else found.total

    def replace(self, partition: str, before: Entry | None, after: Entry | None) -> None:
        """An entry of a partition came, went, or took another's place."""
        held = self._fingerprints.get(partition)
        if held is None:
            held = self._fingerprints[partition] = Fingerprint()
        held.replace(_exported(before), _exported(after))

    def drop(self, partition: str) -> None:
        """Forget an empty partition."""
        self._fingerprints.pop(partition, None)


def _exported(entry: Entry | None) -> Entry | None:
    if isinstance(entry, MemberUpdate) and entry.status is Status.SUSPECT:
        return attrs.evolve(entry, status=Status.ALIVE, accuser=0, refused=False, witnesses=())
    return entry
