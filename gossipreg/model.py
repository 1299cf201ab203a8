"""The values that users receive: instances, members, changes, and a node's description of itself.

All are frozen, and safe to keep, to compare and to pass to any thread.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

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
    "PROTOCOL_VERSION",
    "Address",
    "CheckEvent",
    "Health",
    "Instance",
    "InstanceEvent",
    "JoinFailure",
    "Member",
    "MemberEvent",
    "NodeEvent",
    "NodeInfo",
    "RoleEvent",
    "ServiceChange",
    "ServiceCount",
    "ServiceTerm",
    "Snapshot",
    "SocketFile",
    "Status",
    "check_reason",
    "is_name",
    "place",
]

#: The version of the protocol between nodes: packets and streams begin with it, and those of another are refused.
PROTOCOL_VERSION: Final = 1

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


class LinkState(enum.StrEnum):
    """What passes directly between a node and another member, as far as that node has noticed."""

    DIRECT = "direct"
    STREAMS_ONLY = "streams_only"
    PACKETS_ONLY = "packets_only"
    SMALL_PACKETS = "small_packets"
    OUTGOING_LOST = "outgoing_lost"  # its packets arrive, but to this node's it answers through other members only
    INCOMING_LOST = "incoming_lost"  # it answers through other members only, and nothing of its own arrives


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


@frozen
class MemberObservation:
    """What one node believes of a member, and how it reaches it."""

    name: str
    status: Status
    link: LinkState = LinkState.DIRECT
    round_trip: float | None = None  # smoothed (seconds); None if none was measured
    unanswered: int = 0  # pings in a row that the member itself has not answered in time, 255 at most


@frozen
class ObserverReport:
    """What one member answered when it was asked what it believes of the others.

    ``failure`` is why there is no answer: then the rest is empty.
    """

    name: str
    zone: str
    failure: str = ""
    version: str = ""  # of gossipreg
    problems: tuple[str, ...] = ()  # as in `NodeInfo`
    observed: tuple[MemberObservation, ...] = ()
    is_silent: bool = False  # it was asked, and nothing came: it may be down, paused or cut off


def _text_tuple(value: Iterable[str]) -> tuple[str, ...]:
    """A tuple of what should be strings. Other values are left unchanged: `Instance.check` refuses them by name."""
    if isinstance(value, str):
        return (value,)
    listed = isinstance(value, Iterable) and not isinstance(value, bytes | Mapping)  # callers need not type-check
    return tuple(value) if listed else value  # type: ignore[return-value]  # what is wrong is refused later


def _text_map(value: Mapping[str, str]) -> Mapping[str, str]:
    """A dictionary of what should be strings; other values as in `_text_tuple`."""
    return dict(value) if isinstance(value, Mapping) else value


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
class ServiceChange:
    """One step of a watch: the first is a snapshot (everything is ``added``), the others are diffs.

    ``instances`` is always the whole healthy set after the step, so a watcher may ignore the diff. For a slow watcher,
    steps are merged; applied in order, the diffs always yield ``instances``.
    """

    service: str
    index: int
    instances: tuple[Instance, ...]
    added: tuple[Instance, ...]
    changed: tuple[Instance, ...]
    removed: tuple[Instance, ...]
    snapshot: bool


@frozen
class Snapshot:
    """All that a node knows at one moment: the start of a stream of events."""

    members: tuple[Member, ...]
    instances: tuple[Instance, ...]


@frozen
class InstanceEvent:
    """A healthy instance was added, changed, or removed (also because it can no longer serve)."""

    kind: Literal["added", "changed", "removed"]
    instance: Instance
    before: Instance | None = attrs.field(default=None, eq=False, repr=False)  # of one that changed: what it was


@frozen
class MemberEvent:
    """A member was first seen, or its status changed. ``left`` is also reported for a forgotten member."""

    kind: Literal["joined", "suspect", "alive", "failed", "left"]
    member: Member


@frozen
class CheckEvent:
    """A check of this node's own instance began to flap (fail repeatedly), or is steady again."""

    kind: Literal["flapping", "steady"]
    instance: str  # its id
    service: str
    check: str
    health: Health


@frozen
class RoleEvent:
    """Several healthy instances of a service claim to be its primary, these have changed, or the conflict has ended.

    ``primary`` is the one that all nodes take for the primary: None if it cannot serve, or if none claims to be it.
    """

    kind: Literal["contested", "settled"]
    service: str
    primary: Instance | None
    contenders: tuple[Instance, ...]  # the primary first; the others are shown as fenced


@frozen
class NodeEvent:
    """The node that reports the events has become isolated, or receives messages of a member again.

    ``reachable`` is the share of the other members that it holds alive.
    """

    kind: Literal["isolated", "heard"]
    name: str
    reachable: float


Event = Snapshot | InstanceEvent | MemberEvent | CheckEvent | RoleEvent | NodeEvent


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


@frozen(kw_only=True)
class RegionalService:
    """What a node knows of one service of another region. ``instances`` are sorted by owner and id.

    ``age`` is how long ago an agent there confirmed it at the latest (seconds). If that is too long, ``stale`` is true,
    and so is that of each instance.
    """

    service: str
    region: str
    index: int  # grows whenever anything but the age may differ
    instances: tuple[Instance, ...]
    healthy: tuple[Instance, ...]  # those that can serve
    members: Mapping[str, Member] = attrs.field(factory=dict, hash=False)  # the owners of the instances, by name
    age: float
    stale: bool

    @property
    def exists(self) -> bool:
        """Whether the region has such a service, healthy or not."""
        return bool(self.instances)


@frozen(kw_only=True)
class RegionalDirectory:
    """The services of another region, each with the tags that its instances have."""

    region: str
    index: int
    services: Mapping[str, tuple[str, ...]] = attrs.field(hash=False)
    age: float  # as in `RegionalService`
    stale: bool


@frozen(kw_only=True)
class RegionInfo:
    """A region that a node knows, and how well it can reach it."""

    name: str
    own: bool = False
    agent: str | None = None  # the one that answers, or did last
    agents: tuple[str, ...] = ()  # all that the node was told of
    connected: bool = True  # whether it has answered to the last request
    age: float | None = 0.0  # seconds since the last confirmed moment; None if there was none
    stale: bool = False
    round_trip: float | None = 0.0  # seconds; None if not measured
    services: int = 0  # that the region has, as far as that is told
    followed: int = 0  # services whose instances are held
    instances: int = 0  # held
    problem: str = ""  # why no agent answers


@frozen(kw_only=True)
class CellInfo:
    """A cell of the region, as a node of one of them knows it."""

    name: str
    own: bool = False
    members: int = 0  # present, by the cell's own word
    failed: int = 0
    instances: int = 0  # that its members have registered
    relays: tuple[str, ...] = ()  # members of the node's own cell that connect it to this one
    peers: tuple[Address, ...] = ()  # where the relays of this cell are
    age: float | None = 0.0  # seconds since all of it was known here at the latest; None if it never was
    stale: bool = False
    problem: str = ""  # why it is stale


@frozen
class JoinFailure:
    """Why the last attempt to join through one seed failed."""

    seed: str  # as the user named it, or its address; with the address if a name has several
    reason: str  # a word for programs: see `runtime.joining.JoinFailureReason`
    detail: str  # a sentence for users


@frozen
class JoinResult:
    """How a requested join has ended at each seed that was named."""

    joined: tuple[str, ...]  # the seeds with which the states were compared, as the user named them
    failures: tuple[JoinFailure, ...]  # the others


@frozen(kw_only=True)
class NodeInfo:
    """A node's description of itself."""

    name: str
    cluster: str
    region: str = ""  # of the cluster, as this node was told; its name otherwise
    address: Address
    generation: int  # ms since the epoch at boot
    incarnation: int
    zone: str
    local_health: int  # 0 is healthy; each step lengthens its probes' interval and timeout (Lifeguard §IV-A)
    isolated: bool  # has received nothing for 4 probe intervals, so it declares no member failed
    silence: float = 0.0  # seconds since a message of a member; 0.0 if there is no other
    reachable: float  # share of the other remembered members, without those that left, that are alive; 1.0 when alone
    joined: bool = True  # it owns its name and has the state of a seed, or it was started without seeds
    join_failures: tuple[JoinFailure, ...] = ()  # until then: the seeds at which the last attempt failed
    draining: bool  # wants no new work
    leaving: bool  # is draining and about to leave
    serving_last_known: bool  # it has reached no member yet, and answers from its snapshot
    fingerprint: int  # 64 bits; equal for equal states
    members: Mapping[str, int]  # by status
    forgotten: int = 0  # failed members that an operator had forgotten; counted under left
    services: int
    instances: int
    counters: Mapping[str, int]  # what was sent, received, and dropped for which reason
    paths: Mapping[str, str] = attrs.field(factory=dict)  # for each member that not all traffic reaches: what passes
    clock_skew: float | None = None  # seconds by which its wall clock is ahead of its peers'; None if not known
    send_errors: Mapping[str, int] = attrs.field(factory=dict)  # how often this host's kernel refused to send, by errno
    name_conflict: Address | None = None  # the address of an older node with the same name; see docs/resilience.md
    version: str = ""  # of gossipreg
    protocol: int = PROTOCOL_VERSION  # the version that it speaks with other nodes
    problems: tuple[str, ...] = ()  # between this node and its peers, a sentence each
    warnings: tuple[str, ...] = ()  # about how it is set up, a sentence each with the remedy
