"""A service registry with no registry server: nodes find each other, watch each other, and gossip what they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gossipreg.check import Check, CheckReport
    from gossipreg.config import Attach, Config
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
        InvalidToken,
        JoinFailed,
        KeyGivenUp,
        KeyInUse,
        KeyNotHeld,
        MemberOnly,
        MemberPresent,
        NameConflict,
        NodeClosed,
        NoInstance,
        NotJoined,
        RecordTooLarge,
        RegionUnavailable,
        StorageError,
        TooManyKeys,
        TooManyTokens,
        UnknownInstance,
        UnknownKey,
        UnknownMember,
        UnknownPolicy,
        UnknownRegion,
        UnknownTerm,
        UnknownToken,
    )
    from gossipreg.events import (
        CheckEvent,
        Event,
        InstanceEvent,
        MemberEvent,
        NodeEvent,
        RoleEvent,
        ServiceChange,
        Snapshot,
    )
    from gossipreg.federation import Federation
    from gossipreg.keys import GossipKey
    from gossipreg.model import Address, Health, Instance, Member, ServiceCount, ServiceTerm, Status
    from gossipreg.node_info import JoinFailure, JoinResult, NodeInfo
    from gossipreg.policy import Maintenance, Policy, Split, UnreadablePolicy, WeightOverride
    from gossipreg.prepared_query import PreparedQuery
    from gossipreg.regional import CellInfo, RegionalDirectory, RegionalService, RegionInfo
    from gossipreg.runtime.node import Node
    from gossipreg.runtime.opening import open_node  # as type checkers see it; that below also attaches
    from gossipreg.settings import Settings
    from gossipreg.spec import InstanceSpec
    from gossipreg.tokens import ClusterToken

__version__ = "0.1.0"

__all__ = [
    "Address",
    "AgentUnreachable",
    "Attach",
    "BindError",
    "CellInfo",
    "Check",
    "CheckEvent",
    "CheckReport",
    "ClockWrong",
    "ClusterToken",
    "Config",
    "ConfigError",
    "CredentialsUnavailable",
    "Event",
    "Federation",
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
    "InvalidToken",
    "JoinFailed",
    "JoinFailure",
    "JoinResult",
    "KeyGivenUp",
    "KeyInUse",
    "KeyNotHeld",
    "Maintenance",
    "Member",
    "MemberEvent",
    "MemberOnly",
    "MemberPresent",
    "NameConflict",
    "NoInstance",
    "Node",
    "NodeClosed",
    "NodeEvent",
    "NodeInfo",
    "NotJoined",
    "Policy",
    "PreparedQuery",
    "RecordTooLarge",
    "RegionInfo",
    "RegionUnavailable",
    "RegionalDirectory",
    "RegionalService",
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
    "TooManyTokens",
    "UnknownInstance",
    "UnknownKey",
    "UnknownMember",
    "UnknownPolicy",
    "UnknownRegion",
    "UnknownTerm",
    "UnknownToken",
    "UnreadablePolicy",
    "WeightOverride",
    "open_node",
]

#: Each public name, and the module that has it.
_MODULES: Final = {
    "RegionalService": "gossipreg.regional",
    "RegionalDirectory": "gossipreg.regional",
    "RegionInfo": "gossipreg.regional",
    "CellInfo": "gossipreg.regional",
    "UnknownRegion": "gossipreg.errors",
    "RegionUnavailable": "gossipreg.errors",
    "Federation": "gossipreg.federation",
    "Check": "gossipreg.check",
    "CheckReport": "gossipreg.check",
    "ClusterToken": "gossipreg.tokens",
    "Attach": "gossipreg.config",
    "Config": "gossipreg.config",
    "Settings": "gossipreg.settings",
    "AgentUnreachable": "gossipreg.errors",
    "BindError": "gossipreg.errors",
    "ClockWrong": "gossipreg.errors",
    "ConfigError": "gossipreg.errors",
    "CredentialsUnavailable": "gossipreg.errors",
    "GossipInClear": "gossipreg.errors",
    "GossipregError": "gossipreg.errors",
    "InsecureError": "gossipreg.errors",
    "InvalidInstance": "gossipreg.errors",
    "InvalidPolicy": "gossipreg.errors",
    "InvalidToken": "gossipreg.errors",
    "KeyGivenUp": "gossipreg.errors",
    "JoinFailed": "gossipreg.errors",
    "KeyInUse": "gossipreg.errors",
    "KeyNotHeld": "gossipreg.errors",
    "MemberOnly": "gossipreg.errors",
    "MemberPresent": "gossipreg.errors",
    "NameConflict": "gossipreg.errors",
    "NoInstance": "gossipreg.errors",
    "NodeClosed": "gossipreg.errors",
    "NotJoined": "gossipreg.errors",
    "RecordTooLarge": "gossipreg.errors",
    "StorageError": "gossipreg.errors",
    "TooManyKeys": "gossipreg.errors",
    "TooManyTokens": "gossipreg.errors",
    "UnknownInstance": "gossipreg.errors",
    "UnknownKey": "gossipreg.errors",
    "UnknownMember": "gossipreg.errors",
    "UnknownPolicy": "gossipreg.errors",
    "UnknownTerm": "gossipreg.errors",
    "UnknownToken": "gossipreg.errors",
    "GossipKey": "gossipreg.keys",
    "Address": "gossipreg.model",
    "CheckEvent": "gossipreg.events",
    "Event": "gossipreg.events",
    "Health": "gossipreg.model",
    "Instance": "gossipreg.model",
    "InstanceEvent": "gossipreg.events",
    "JoinFailure": "gossipreg.node_info",
    "JoinResult": "gossipreg.node_info",
    "Member": "gossipreg.model",
    "MemberEvent": "gossipreg.events",
    "NodeEvent": "gossipreg.events",
    "NodeInfo": "gossipreg.node_info",
    "RoleEvent": "gossipreg.events",
    "ServiceChange": "gossipreg.events",
    "ServiceCount": "gossipreg.model",
    "ServiceTerm": "gossipreg.model",
    "Snapshot": "gossipreg.events",
    "Status": "gossipreg.model",
    "Maintenance": "gossipreg.policy",
    "Policy": "gossipreg.policy",
    "PreparedQuery": "gossipreg.prepared_query",
    "Split": "gossipreg.policy",
    "UnreadablePolicy": "gossipreg.policy",
    "WeightOverride": "gossipreg.policy",
    "Node": "gossipreg.runtime.node",
    "open_node": "gossipreg.embed.trio",
    "InstanceSpec": "gossipreg.spec",
}


def __getattr__(name: str) -> Any:
    """Load what has a public name when that is first used.

    What only imports the package, such as a command that asks an agent, pays for none of it, and a program that makes a
    configuration loads neither a node nor trio.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
