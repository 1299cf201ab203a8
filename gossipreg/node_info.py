"""Node description: what a node says of itself, and why it has not joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from gossipreg.address import Address
from gossipreg.values import frozen

#: The version of the protocol between nodes: packets and streams begin with it, and those of another are refused.
PROTOCOL_VERSION: Final = 1


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
