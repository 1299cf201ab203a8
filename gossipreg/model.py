"""Instances, members and services, as users receive them.

All are frozen, and safe to keep, to compare and to pass to any thread. `gossipreg.events` has their changes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from gossipreg import hosts, limits
from gossipreg.address import Address, SocketFile, place
from gossipreg.errors import InvalidInstance
from gossipreg.text import is_text, shown
from gossipreg.values import frozen

__all__ = [
    "FENCED",
    "NODE_REASON",
    "NODE_SERVICE",
    "PRIMARY",
    "Address",
    "Health",
    "Instance",
    "Member",
    "ServiceCount",
    "ServiceTerm",
    "SocketFile",
    "Status",
    "check_reason",
    "is_name",
    "place",
]

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_ID: Final = re.compile(r"[!-~]+")


def is_name(text: str) -> bool:
    """Whether ``text`` can name a member, service, zone or role: letters, digits and inner ``. _ -``."""
    return len(text) <= limits.NAME_CHARS_MAX and _NAME.fullmatch(text) is not None


class Status(enum.IntEnum):
    """The status of one run of a member, in order of severity: the more severe of two updates wins."""

    ALIVE = 0
    SUSPECT = 1
    FAILED = 2
    LEFT = 3

    @property
    def is_present(self) -> bool:
        """Whether such a member still takes part: it is probed, receives gossip, and its instances are served."""
        return self <= Status.SUSPECT

    def __str__(self) -> str:
        return self.name.lower()


class Health(enum.StrEnum):
    """Whether an instance can serve, in order of severity: of several checks, the most severe health counts."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"

    @property
    def can_serve(self) -> bool:
        """Whether a lookup returns such an instance by default."""
        return self is Health.PASSING or self is Health.WARNING

    @property
    def gravity(self) -> int:
        """Its severity: 0 for passing, then one more for each that is worse."""
        return _GRAVITY[self]


#: The service, and the id, of the record in which a node states its meta and its own checks. It is not listed.
NODE_SERVICE: Final = "gossipreg.node"

#: How the reason of an instance begins that a check of its node has failed.
NODE_REASON: Final = "node: "

#: The role of at most one instance of a service, and the role with which superseded claims to it are shown.
PRIMARY: Final = "primary"
FENCED: Final = "fenced"

_GRAVITY: Final = {health: gravity for gravity, health in enumerate(Health)}


@frozen
class Member:
    """One member as this node sees it."""

    name: str
    address: Address
    status: Status
    generation: int  # ms since the epoch at boot
    incarnation: int
    zone: str = ""
    draining: bool = False
    cell: str = ""  # empty in a flat cluster
    stale: bool = False  # its cell is another one, which was not heard for a while


def _text_tuple(value: Iterable[str]) -> tuple[str, ...]:
    """A tuple of what should be strings. Other values are left unchanged: `Instance.check` refuses them by name."""
    if type(value) is tuple:
        return value
    if isinstance(value, str):
        return (value,)
    listed = isinstance(value, Iterable) and not isinstance(value, bytes | Mapping)  # callers need not type-check
    return tuple(value) if listed else value  # type: ignore[return-value]  # what is wrong is refused later


def _text_map(value: Mapping[str, str]) -> Mapping[str, str]:
    """A dictionary of what should be strings; other values as in `_text_tuple`."""
    return dict(value) if type(value) is dict or isinstance(value, Mapping) else value


@frozen(kw_only=True)
class Instance:
    """One copy of a service: what its owner registered, and its present state.

    ``port`` is 0 where there is nothing to call, as with a worker that takes its work from a queue: lookups show such
    an instance, and nothing that calls chooses it. ``weight`` is its share of the picks among its service's instances;
    0 means drained. ``term`` orders those that claim to be ``primary``: the one with the highest term is, the others
    are shown as ``fenced``. Do not change ``meta`` in place: register the instance again.
    """

    id: str
    service: str
    host: str
    port: int
    tags: tuple[str, ...] = attrs.field(default=(), converter=_text_tuple)
    meta: Mapping[str, str] = attrs.field(factory=dict, converter=_text_map, hash=False)
    weight: int = 1
    role: str | None = None
    term: int = 0
    zone: str = ""
    health: Health = Health.PASSING
    owner: str = ""
    reason: str = ""  # why it is not passing: the check and its finding when the health last changed
    sealed: bytes = attrs.field(default=b"", repr=False)  # its credentials, readable with the credential key
    stale: bool = False  # last known: its owner cannot be reached any more
    region: str = ""  # of another cluster, if it is in one; its own nodes leave this empty

    @property
    def address(self) -> Address:
        """The address at which to call it."""
        return Address(self.host, self.port)

    @property
    def is_callable(self) -> bool:
        """Whether it has a port to call it at."""
        return self.port != 0

    def check(self) -> None:
        """Raise ``InvalidInstance``, naming the field, unless every field is within its type and limits."""
        _check_name("service", self.service)
        _check_host(self.host)  # before the id: the default id is made of service, host and port
        _check_range("port", self.port, 0, 65_535)
        if not isinstance(self.id, str) or len(self.id) > limits.ID_CHARS_MAX or not _ID.fullmatch(self.id):
            raise InvalidInstance.unusable(
                "id", self.id, f"an id: use 1 to {limits.ID_CHARS_MAX} printable ASCII characters"
            )
        _check_range("weight", self.weight, 0, limits.WEIGHT_MAX)
        if self.role is not None:
            _check_name("role", self.role)
        if self.role == FENCED:
            raise InvalidInstance("role", f"{FENCED!r} is how superseded primaries are shown: choose another word")
        _check_range("term", self.term, 0, limits.TERM_MAX)
        if self.zone != "":
            _check_name("zone", self.zone)
        if self.region != "":
            _check_name("region", self.region)
        _check_tags(self.tags)
        _check_meta(self.meta)
        check_reason(self.reason)
        if not isinstance(self.sealed, bytes) or len(self.sealed) > limits.SEALED_BYTES_MAX:
            raise InvalidInstance("credentials", f"sealed they take more than {limits.SEALED_BYTES_MAX} bytes")


def check_reason(reason: object) -> None:
    """Raise ``InvalidInstance`` unless ``reason`` is a string within the limit."""
    if not is_text(reason, 0, limits.REASON_CHARS_MAX):
        raise InvalidInstance.unusable("reason", reason, f"a string of up to {limits.REASON_CHARS_MAX} characters")


def _check_name(field: str, value: object) -> None:
    if not isinstance(value, str) or not is_name(value):
        raise InvalidInstance.unusable(
            field, value, f"a name: use 1 to {limits.NAME_CHARS_MAX} letters, digits and inner '.', '_', '-'"
        )


def _check_host(value: object) -> None:
    flaw = hosts.flaw(value) if isinstance(value, str) else "not a host name or an IP address"
    if flaw is not None:
        raise InvalidInstance("host", f"{shown(value)} is {flaw}")


def _check_range(field: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidInstance.unusable(field, value, f"a whole number from {low} to {high}")


def _check_tags(tags: object) -> None:
    if not isinstance(tags, tuple):
        raise InvalidInstance.unusable("tags", tags, "a list of strings")
    if len(tags) > limits.TAGS_MAX:
        raise InvalidInstance("tags", f"at most {limits.TAGS_MAX} strings are allowed")
    for tag in tags:
        if not is_text(tag, 1, limits.TAG_CHARS_MAX):
            raise InvalidInstance.unusable("tags", tag, f"a string of 1 to {limits.TAG_CHARS_MAX} characters")


def _check_meta(meta: object) -> None:
    if not isinstance(meta, dict):
        raise InvalidInstance("meta", f"{shown(meta)} does not give strings by name")
    if len(meta) > limits.META_ENTRIES_MAX:
        raise InvalidInstance("meta", f"at most {limits.META_ENTRIES_MAX} entries are allowed")
    for key, value in meta.items():
        if not is_text(key, 1, limits.META_KEY_CHARS_MAX):
            raise InvalidInstance.unusable(
                "meta", key, f"a key: use a string of 1 to {limits.META_KEY_CHARS_MAX} characters"
            )
        if not is_text(value, 0, limits.RECORD_BYTES_MAX):
            raise InvalidInstance("meta", f"the value of {shown(key)} is {shown(value)}, not a string of text")


@frozen
class ServiceCount:
    """How many instances a service has, and how many of them can serve."""

    instances: int
    healthy: int


@frozen
class ServiceTerm:
    """The highest fencing term of a service, which outlives the instances that stated it."""

    service: str
    claimed: int  # by a primary: claims below it are fenced
    seen: int  # in any role: the next term is above it
    primary: Instance | None  # at present
    reset_by: str | None = None  # the member through which an operator last reset it
    reset_at: float | None = None  # when (seconds since the epoch, by that member's clock)
