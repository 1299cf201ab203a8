"""The protocol's settings: the knobs of every node of a cluster, each with its unit, its default and its formula.

A formula that the protocol and a relation between settings both need is a method of `Settings`, so that there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Self

from gossipreg import limits
from gossipreg.fields import Number, Relation, Whole, at_most, below, check, setting
from gossipreg.values import frozen

#: Shortest and longest time between two runs of a timer (seconds): below, a node would do nothing else; above, it is
#: a slip of the pen.
_TIMER: Final = (0.001, 3600.0)

_DAY: Final = 86_400.0


def _timer(default: float, doc: str) -> Any:
    return setting(Number(*_TIMER, "seconds"), default, doc)


def _seconds(default: float, doc: str, *, most: float = 3600.0) -> Any:
    """A time that may be 0, which says: not at all, or at once."""
    return setting(Number(0.0, most, "seconds"), default, doc)


def _whole(low: int, high: int, default: int, doc: str) -> Any:
    return setting(Whole(low, high), default, doc)


@frozen(kw_only=True)
class Settings:
    """The protocol's knobs. Durations are in seconds. Every node of a cluster should have the same."""

    probe_interval: float = _timer(
        1.0, "Time between probes of a node, T (SWIM §3). Stretched to T x (local health + 1)."
    )
    probe_timeout: float = _timer(
        0.5, "How long an ack may take before others are asked to ping. Stretched like the interval."
    )
    probe_timeout_min: float = _timer(
        0.1, "The least that it may take, where round trips were measured: smoothed + 4 x variation (RFC 6298)."
    )
    probe_early: float = setting(
        Number(0.0, 1.0),
        0.5,
        "Share of its interval by which a probe may begin sooner when a ping has woken the node anyway; 0: never.",
    )
    indirect_probes: int = _whole(
        1, 64, 3, "How many members are asked to ping one that did not answer, k (SWIM §3.1)."
    )
    nack_fraction: float = setting(
        Number(0.0, 1.0, above=True),
        0.8,
        "Share of the patience in a ping-req after which a helper without an ack sends a nack (Lifeguard §IV-A).",
    )
    suspicion_alpha: float = setting(
        Number(0.0, 1000.0, above=True),
        1.5,
        "Shortest suspicion = alpha x max(1, log10(members)) x probe_interval (Lifeguard §IV-B).",
    )
    suspicion_beta: float = setting(
        Number(1.0, 1000.0), 6.0, "Longest suspicion = beta x the shortest; each confirmation shortens it."
    )
    suspicion_confirmations: int = _whole(
        0,
        64,
        3,
        "Independent confirmations K that bring a suspicion to its shortest: max - (max - min) ln(C+1)/ln(K+1). "
        "0: confirmations do not shorten it.",
    )
    local_health_max: int = _whole(0, 64, 8, "Highest local health score; 0 turns local health off.")
    gossip_fanout: int = _whole(1, 64, 3, "Members that each transmission of a new update is sent to.")
    gossip_transmissions: int = _whole(
        1, 64, 6, "How often an update is sent: at once, then gossip_gap x gossip_growth^i later."
    )
    gossip_gap: float = _timer(0.01, "First gap between two transmissions of one update.")
    gossip_growth: float = setting(
        Number(1.0, 100.0),
        2.0,
        "How many times as long each next gap is; 1 is the fixed tick of SWIM and its children.",
    )
    gossip_tree_gap: float = _timer(
        0.05, "First gap of an update that went down a tree: later transmissions must not delay the first one."
    )
    gossip_duplicates: int = _whole(
        0, 1000, 6, "How many duplicates of an update are received for one transmission to be skipped; 0: none is."
    )
    gossip_coalesce: float = _seconds(0.002, "How long a new update waits for others to share its packet.", most=10.0)
    gossip_coalesce_max: float = _seconds(
        0.25,
        "The longest that it waits for them on a node that is short of CPU; 0: never longer than gossip_coalesce.",
        most=10.0,
    )
    piggyback_transmissions: int = _whole(0, 1000, 6, "How often an update is also piggybacked on probes and acks.")
    lifelines: int = _whole(
        0,
        limits.LIFELINES_MAX,
        3,
        "Members to which a node keeps an idle stream, whose end tells it when their process dies; 0: none.",
    )
    reconcile_settle: float = _timer(
        1.0,
        "How long fingerprints must have differed before two nodes compare: longer than gossip needs, which is "
        "gossip_coalesce_max and the gaps between all transmissions.",
    )
    reconcile_gap: float = _timer(1.0, "Least time between two comparisons that one node starts.")
    reconnect_interval: float = _timer(
        5.0, "Time between tries to reach one failed member or silent seed, jittered by a half; heals partitions."
    )
    join_retry: float = _timer(
        0.25, "First wait before the seeds are tried again while no member was reached; doubles."
    )
    join_retry_max: float = _timer(1.0, "Longest wait between tries of the seeds while no member was reached.")
    stream_patience: float = _timer(5.0, "How long a stream may be silent before it is given up.")
    remember_departed: float = setting(
        Number(1.0, 30 * _DAY, "seconds"),
        _DAY,
        "How long a member that failed is remembered and tried again; one that left, a little longer (5 %), so that "
        "no node that holds it failed can bring it back.",
    )
    drain_time: float = _seconds(0.5, "Time between the announcement that a node drains and that it leaves.")
    leave_linger: float = _seconds(0.7, "Time for the departure to spread before the sockets close.")
    lag_tolerance: float = setting(
        Number(0.0, 1e9, "seconds", above=True),
        0.25,
        "A node that wakes later than this after a timer was due was itself stopped: it extends its suspicions.",
    )
    damping_base: float = _seconds(
        30.0,
        "How long a member that fails again within damping_memory waits before it rejoins; doubles; 0: never.",
        most=_DAY,
    )
    damping_max: float = _seconds(120.0, "The longest such wait.", most=_DAY)
    damping_memory: float = _seconds(600.0, "For how long a return counts.", most=_DAY)

    def __attrs_post_init__(self) -> None:
        check(self, RELATIONS, table="protocol.")

    def shortest_suspicion(self, members: int) -> float:
        """How long the most confirmed suspicion lasts in a cluster of ``members`` present (seconds)."""
        return self.suspicion_alpha * max(1.0, math.log10(max(1, members))) * self.probe_interval

    def longest_suspicion(self, members: int) -> float:
        """How long a suspicion lasts that no other member confirms, in a cluster of ``members`` present (seconds)."""
        return self.shortest_suspicion(members) * self.suspicion_beta

    def gossip_gap_after(self, transmissions: int) -> float:
        """The time from the last of ``transmissions`` of an update, one or more, to the next (seconds).

        The first gap of an update that went down a tree is `gossip_tree_gap`.
        """
        return self.gossip_gap * self.gossip_growth ** (transmissions - 1)

    @classmethod
    def lan(cls, **changes: Any) -> Self:
        """For one data centre, round trips below 100 ms: the defaults. ``changes`` are settings that differ."""
        return cls(**changes)

    @classmethod
    def wan(cls, **changes: Any) -> Self:
        """For nodes far apart, round trips up to a second: probes and suspicions take three times as long."""
        return cls(**{**_WAN, **changes})

    @classmethod
    def local(cls, **changes: Any) -> Self:
        """For the processes of one machine: finds a hung one in half the time, and comes together at once."""
        return cls(**{**_LOCAL, **changes})


_WAN: Final[Mapping[str, Any]] = {
    "probe_interval": 3.0,
    "probe_timeout": 1.5,
    "probe_timeout_min": 0.5,
    "gossip_gap": 0.05,
    "gossip_tree_gap": 0.25,
    "reconcile_settle": 3.0,
    "reconcile_gap": 3.0,
    "reconnect_interval": 10.0,
    "join_retry": 1.0,
    "join_retry_max": 5.0,
    "stream_patience": 15.0,
    "leave_linger": 1.5,
}

_LOCAL: Final[Mapping[str, Any]] = {
    "probe_interval": 0.5,
    "probe_timeout": 0.25,
    "probe_timeout_min": 0.05,
    "reconcile_settle": 0.75,
    "reconcile_gap": 0.5,
    "reconnect_interval": 1.0,
    "join_retry": 0.1,
    "join_retry_max": 0.5,
}


def _longest_suspicion(settings: Settings) -> str | None:
    longest = settings.longest_suspicion(limits.MEMBERS_MAX)
    if longest <= settings.remember_departed:
        return None
    return (
        f"{settings.remember_departed!r} is shorter than the longest suspicion, suspicion_alpha x suspicion_beta x "
        f"log10({limits.MEMBERS_MAX} members) x probe_interval = {longest:g}: a member would be forgotten while others "
        "still suspect it"
    )


def _last_gap(settings: Settings) -> str | None:
    if settings.gossip_transmissions == 1:
        return None  # there is no gap
    last = settings.gossip_gap_after(settings.gossip_transmissions - 1)
    if last <= settings.remember_departed:
        return None
    return (
        f"{settings.gossip_transmissions!r} transmissions at gossip_gap {settings.gossip_gap!r} and gossip_growth "
        f"{settings.gossip_growth!r} have a last gap of {last:g} s: more than remember_departed, "
        f"{settings.remember_departed!r}"
    )


#: What must hold between the protocol's settings.
RELATIONS: Final = (
    below(
        "probe_timeout",
        "probe_interval",
        "in the time between them other members are asked to ping the one that did not answer",
    ),
    at_most("probe_timeout_min", "probe_timeout", "it is the least that the timeout is shortened to"),
    at_most(
        "gossip_coalesce", "gossip_coalesce_max", "it is the longer of the two waits", unless_zero="gossip_coalesce_max"
    ),
    at_most("join_retry", "join_retry_max", "the wait begins with it and doubles up to the other"),
    at_most("reconnect_interval", "remember_departed", "a failed member would be forgotten before it is tried again"),
    at_most("damping_base", "damping_max", "the wait begins with it and doubles up to the other"),
    at_most(
        "damping_max", "damping_memory", "a return would be forgotten while its wait lasts", unless_zero="damping_base"
    ),
    Relation(
        ("remember_departed", "suspicion_alpha", "suspicion_beta", "probe_interval"),
        f"`remember_departed` is at least `suspicion_alpha` x `suspicion_beta` x log10({limits.MEMBERS_MAX}) x "
        "`probe_interval`, the longest suspicion in the largest cluster: a member would be forgotten while others "
        "still suspect it",
        _longest_suspicion,
    ),
    Relation(
        ("gossip_transmissions", "gossip_gap", "gossip_growth", "remember_departed"),
        "`gossip_gap` x `gossip_growth`^(`gossip_transmissions` - 2), the last gap, is at most `remember_departed`",
        _last_gap,
    ),
)
