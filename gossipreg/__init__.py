"""A service registry with no registry server: nodes find each other, watch each other, and gossip what they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gossipreg.check import Check, CheckReport
from gossipreg.config import Config, Settings
from gossipreg.errors import (
    AgentUnreachable,
    BindError,
    ConfigError,
    GossipregError,
    InsecureError,
    InvalidInstance,
    NameConflict,
    NodeClosed,
    NoInstance,
    RecordTooLarge,
    StorageError,
    UnknownInstance,
)
from gossipreg.model import (
    Address,
    CheckEvent,
    Event,
    Health,
    Instance,
    InstanceEvent,
    Member,
    MemberEvent,
    NodeInfo,
    ServiceChange,
    ServiceCount,
    Snapshot,
    Status,
)

if TYPE_CHECKING:
    from gossipreg.runtime.node import Node
    from gossipreg.runtime.opening import open_node

__version__ = "0.1.0"

__all__ = [
    "Address",
    "AgentUnreachable",
    "BindError",
    "Check",
    "CheckEvent",
    "CheckReport",
    "Config",
    "ConfigError",
    "Event",
    "GossipregError",
    "Health",
    "InsecureError",
    "Instance",
    "InstanceEvent",
    "InvalidInstance",
    "Member",
    "MemberEvent",
    "NameConflict",
    "NoInstance",
    "Node",
    "NodeClosed",
    "NodeInfo",
    "RecordTooLarge",
    "ServiceChange",
    "ServiceCount",
    "Settings",
    "Snapshot",
    "Status",
    "StorageError",
    "UnknownInstance",
    "open_node",
]


def __getattr__(name: str) -> Any:
    """Load the node, and trio with it, when first asked for: command-line tools that need neither start sooner."""
    if name == "Node":
        from gossipreg.runtime.node import Node

        return Node
    if name == "open_node":
        from gossipreg.runtime.opening import open_node

        return open_node
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
