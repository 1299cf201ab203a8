"""Events: what has changed at instances, members, checks, primaries and the node, as a watcher receives it."""

from __future__ import annotations

from typing import Literal

import attrs

from gossipreg.model import Health, Instance, Member
from gossipreg.values import frozen


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
