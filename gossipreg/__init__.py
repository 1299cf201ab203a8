"""A service registry with no registry server: nodes find each other, watch each other, and gossip what they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gossipreg.check import Check, CheckReport
from gossipreg.config import Config
from gossipreg.errors import (
    AgentUnreachable,
    BindError,
    ClockWrong,
    ConfigError,
    CredentialsUnavailable,
    GossipInClear,
    GossipregError,
    InsecureError,
    InvalidInstance,
    InvalidPolicy,
    KeyInUse,
    KeyNotHeld,
    MemberPresent,
    NameConflict,
    NodeClosed,
    NoInstance,
    NotJoined,
    RecordTooLarge,
    StorageError,
    TooManyKeys,
    UnknownInstance,
    UnknownKey,
    UnknownMember,
    UnknownPolicy,
    UnknownTerm,
)
from gossipreg.keys import GossipKey
from gossipreg.model import (
    Address,
    CheckEvent,
    Event,
    Health,
    Instance,
    InstanceEvent,
    Member,
    MemberEvent,
    NodeEvent,
    NodeInfo,
    RoleEvent,
    ServiceChange,
    ServiceCount,
    ServiceTerm,
    Snapshot,
    Status,
)
from gossipreg.policy import Maintenance, Policy, Split, UnreadablePolicy, WeightOverride
from gossipreg.settings import Settings

if TYPE_CHECKING:
    from gossipreg.runtime.node import Node
    from gossipreg.runtime.opening import open_node
    from gossipreg.spec import InstanceSpec

__version__ = "0.1.0"

__all__ = [
    "Address",
    "AgentUnreachable",
    "BindError",
    "Check",
    "CheckEvent",
    "CheckReport",
    "ClockWrong",
    "Config",
    "ConfigError",
    "CredentialsUnavailable",
    "Event",
    "GossipInClear",
    "GossipKey",
    "GossipregError",
    "Health",
    "InsecureError",
    "Instance",
    "InstanceEvent",
    "InstanceSpec",
    "InvalidInstance",
    "InvalidPolicy",
    "KeyInUse",
    "KeyNotHeld",
    "Maintenance",
    "Member",
    "MemberEvent",
    "MemberPresent",
    "NameConflict",
    "NoInstance",
    "Node",
    "NodeClosed",
    "NodeEvent",
    "NodeInfo",
    "NotJoined",
    "Policy",
    "RecordTooLarge",
    "RoleEvent",
    "ServiceChange",
    "ServiceCount",
    "ServiceTerm",
    "Settings",
    "Snapshot",
    "Split",
    "Status",
    "StorageError",
    "TooManyKeys",
    "UnknownInstance",
    "UnknownKey",
    "UnknownMember",
    "UnknownPolicy",
    "UnknownTerm",
    "UnreadablePolicy",
    "WeightOverride",
    "open_node",
]


def __getattr__(name: str) -> Any:
    """Load what reads registrations, or the node and trio with it, when it is first used.

    A program that imports this package starts sooner, and so does a command that needs none of them.
    """
    if name == "Node":
        from gossipreg.runtime.node import Node

        return Node
    if name == "open_node":
        from gossipreg.runtime.opening import open_node

        return open_node
    if name == "InstanceSpec":
        from gossipreg.spec import InstanceSpec

        return InstanceSpec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
