"""A registry as migration sees it: its instances, and how copies are written, renewed and taken back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

import attrs

from gossipreg.errors import GossipregError
from gossipreg.values import frozen

#: The meta key that marks an instance as a copy. Its value names the side of the original and the digest of its record.
MARK: Final = "migrated-from"

#: Separates the side's name from the digest in a mark.
_BETWEEN: Final = "#"


class RegistryUnreachable(GossipregError):
    """A registry gives no answer, or one that cannot be read."""


class RegistryRefused(GossipregError):
    """A registry refuses one instance; the migration goes on with the others."""


@frozen(kw_only=True)
class ListedInstance:
    """An instance as a registry lists it. ``record``: the registration that makes a copy of it on the other side."""

    service: str
    id: str
    host: str
    port: int
    health: str = "passing"  # or warning, critical, maintenance
    reason: str = ""  # why it is in that health, if it is known
    origin: str = ""  # the side that it is a copy of; empty if it is none
    copied_digest: str = ""  # of the record that it is a copy of
    node: str = ""  # the node that holds it, where the registry names one
    record: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """Its service and id, which are the same on both sides."""
        return self.service, self.id

    @property
    def place(self) -> tuple[str, str, int]:
        """Its service and address. Two instances of one service at one address are the same instance."""
        return self.service, self.host, self.port

    @property
    def digest(self) -> str:
        """A short digest of its record; a copy is up to date if its mark has the same."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()[:12]

    def mark(self, origin: str) -> str:
        """The value of `MARK` in its copy."""
        return f"{origin}{_BETWEEN}{self.digest}"


def origin_of(mark: object) -> tuple[str, str]:
    """The side and the digest in a mark; both empty for an instance that has none."""
    if not isinstance(mark, str) or not mark:
        return "", ""
    origin, _, digest = mark.rpartition(_BETWEEN)
    return (origin, digest) if origin else (mark, "")


class MigrationSide(Protocol):
    """One side. Its calls raise `RegistryUnreachable` when it gives no answer."""

    @property
    def name(self) -> str:
        """What its instances are marked with where they are copied to, such as ``consul:dc1``."""
        ...

    def instances(self) -> list[ListedInstance]:
        """Everything that it holds, copies too."""
        ...

    def write(self, instance: ListedInstance, mark: str, seconds: float | None) -> None:
        """Register a copy, or replace it. It lapses unless it is renewed within ``seconds``; with None it stays.

        Raises `RegistryRefused` if this instance cannot be registered.
        """
        ...

    def renew(self, instance: ListedInstance, seconds: float | None) -> bool:
        """Renew a copy, with its original's present health. False if the copy is not there any more."""
        ...

    def holds(self, copy: ListedInstance) -> bool:
        """Whether a listed copy can be taken back here: another node's cannot."""
        ...

    def remove(self, copy: ListedInstance) -> bool:
        """Take a copy back. False if it is not here, because it is gone or another node holds it."""
        ...
