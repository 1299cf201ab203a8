"""Scenarios that reveal the mutations."""

from __future__ import annotations

import attrs

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import Fault
from gossipreg_sim.scenario import Scenario, Workload

#: Short suspicions and fast recovery, so that a run of some seconds covers both.
_FAST = EngineSettings(
    suspicion_alpha=1.0,
    suspicion_beta=3.0,
    local_health_max=1,
    reconnect_interval=2.0,
    stream_patience=2.0,
)

#: Lost, late and duplicated packets, changing services, and a split long enough for failures.
BAD_NETWORK = Scenario(
    name="tangle",
    title="A split on a bad network while services change, and a restart",
    nodes=5,
    seeds=2,
    warmup=4.0,
    duration=11.0,
    quiet=12.0,
    workload=Workload(churn=8.0),
    settings=_FAST,
    faults=(
        Fault(kind="loss", probability=0.1),
        Fault(kind="reorder", probability=0.2, spread=1.5),
        Fault(kind="duplicate", probability=0.2, spread=1.0),
        Fault(kind="cut", nodes=("n0", "n1"), at=0.5, lasts=7.0),
        Fault(kind="restart", nodes=("n3",), at=9.0, seconds=1.0),
    ),
    sometimes=("suspect", "failed", "revived", "crash"),
)

#: A split long enough for failures, while services change; no other fault.
SPLIT = Scenario(
    name="split",
    title="Two nodes on each side of a split",
    nodes=4,
    warmup=4.0,
    duration=10.0,
    quiet=11.0,
    workload=Workload(churn=2.0),
    settings=_FAST,
    faults=(Fault(kind="cut", nodes=("n0", "n1")),),
    sometimes=("failed", "revived"),
)

#: A death and a leave; no other fault.
DEATH = Scenario(
    name="death",
    title="A host falls silent for good, and a node leaves",
    nodes=5,
    warmup=8.0,
    duration=12.0,
    quiet=20.0,
    settings=attrs.evolve(_FAST, remember_departed=30.0),
    faults=(
        Fault(kind="crash-host", nodes=("n4",), permanent=True),
        Fault(kind="leave", nodes=("n3",), at=2.0, permanent=True),
    ),
    sometimes=("suspect", "failed", "left"),
)

#: A departure that one side of a split sees as a leave, and the other as a failure.
LEAVE = Scenario(
    name="goodbye",
    title="A node leaves during a split that is longer than a short retention time",
    nodes=4,
    warmup=4.0,
    duration=16.0,
    quiet=20.0,
    settings=attrs.evolve(_FAST, remember_departed=40.0),
    faults=(
        Fault(kind="cut", nodes=("n0", "n1")),
        Fault(kind="leave", nodes=("n3",), at=5.0, permanent=True),
    ),
    sometimes=("failed", "left", "revived"),
)

#: Two nodes that repeatedly receive nothing.
FLAPPING = Scenario(
    name="flapping",
    title="Packets to two members are lost repeatedly",
    nodes=12,
    warmup=4.0,
    duration=40.0,
    quiet=20.0,
    settings=attrs.evolve(_FAST, damping_base=8.0, damping_max=16.0),
    faults=(Fault(kind="flip-flop", to=("last:2",), both_ways=False, off=8.0, on=4.0),),
    sometimes=("failed", "revived", "returns_put_off"),
)


#: Policies set on both sides of a split, and a node whose clock is ahead after its restart.
POLICIES = Scenario(
    name="words",
    title="All nodes set the same policies and claim the primary role, in a split and with a clock that is ahead",
    nodes=5,
    seeds=2,
    warmup=4.0,
    duration=10.0,
    quiet=12.0,
    workload=Workload(churn=1.0, policies=3.0, primaries=2.0),
    settings=_FAST,
    faults=(
        Fault(kind="clock-skew", nodes=("n4",), seconds=20.0),
        Fault(kind="restart", nodes=("n4",), at=0.2, seconds=1.0, disk=True),
        Fault(kind="cut", nodes=("n0", "n1"), at=2.0),
        Fault(kind="cut", nodes=("n3",), at=3.0),
        Fault(kind="restart", nodes=("n0",), at=7.5, seconds=0.5, disk=True),
        Fault(kind="restart", nodes=("n3",), at=8.5, seconds=1.0, disk=True),
    ),
    sometimes=("policy", "policy removed", "primary", "fenced", "failed", "revived", "crash"),
)

#: Primaries promoted, demoted and withdrawn while nodes leave and restart, most without their disks.
PRIMARIES = Scenario(
    name="succession",
    title="Primaries change with their instances, with leaving nodes and with restarts without disks",
    nodes=5,
    seeds=2,
    warmup=4.0,
    duration=14.0,
    quiet=12.0,
    workload=Workload(primaries=3.0),
    settings=_FAST,
    faults=(
        Fault(kind="leave", nodes=("n4",), at=2.0, lasts=4.0),
        Fault(kind="restart", nodes=("n1", "n2", "n3"), at=4.0, seconds=0.6, every=1.5),
        Fault(kind="restart", nodes=("n0", "n1"), at=9.5, seconds=0.6, every=1.5, disk=True),
        Fault(kind="crash", nodes=("n4",), at=12.0, lasts=1.0),
    ),
    sometimes=("primary", "fenced", "left", "crash", "start"),
)

#: The same with equal clocks, so that two versions can have the same time.
SAME_TIME = attrs.evolve(POLICIES, name="at-once", faults=POLICIES.faults[2:])

#: Policies that only their writers, and the writers' disks, hold.
ISOLATED = Scenario(
    name="alone",
    title="All nodes are isolated, and the writers of policies restart with their disks",
    nodes=4,
    seeds=2,
    warmup=3.0,
    duration=8.0,
    quiet=12.0,
    workload=Workload(policies=1.5),
    settings=_FAST,
    faults=(
        Fault(kind="cut"),
        Fault(kind="restart", nodes=("n1", "n2", "n3"), at=7.0, seconds=0.5, disk=True),
    ),
    sometimes=("policy", "crash"),
)

#: Many changes without faults; random gossip starts only after half a second, so that the tree must do the work.
DISSEMINATION = Scenario(
    name="news",
    title="Services change without faults",
    nodes=24,
    seeds=2,
    warmup=4.0,
    duration=12.0,
    quiet=12.0,
    workload=Workload(churn=8.0),
    settings=attrs.evolve(_FAST, gossip_tree_gap=0.5),
)

#: The same with lost packets, and with the usual gaps.
LOSSY_DISSEMINATION = attrs.evolve(
    DISSEMINATION,
    name="lossy-news",
    title="Services change while packets are lost",
    settings=_FAST,
    faults=(Fault(kind="loss", probability=0.1),),
)

#: Two of eight nodes are cut off repeatedly, each time long enough for failures on both sides.
MINORITY = Scenario(
    name="few",
    title="Two of eight are cut off three times",
    nodes=8,
    seeds=2,
    warmup=4.0,
    duration=60.0,
    quiet=20.0,
    settings=_FAST,
    faults=tuple(Fault(kind="cut", nodes=("n6", "n7"), at=20.0 * turn, lasts=8.0) for turn in range(3)),
    sometimes=("failed", "revived"),
)

#: One node's own kernel repeatedly rejects its output, so that it only receives.
OUTPUT_REJECTED = attrs.evolve(
    MINORITY,
    name="mute",
    title="The kernel of one of six refuses its output three times",
    nodes=6,
    faults=tuple(Fault(kind="output-rejected", nodes=("n4",), at=20.0 * turn, lasts=10.0) for turn in range(3)),
    sometimes=("failed", "revived"),
)

#: No packet passes between two nodes and the others, while services change.
STREAMS_ONLY = Scenario(
    name="streams",
    title="All packets to and from two nodes are lost, and streams pass",
    nodes=6,
    seeds=2,
    warmup=4.0,
    duration=40.0,
    quiet=20.0,
    workload=Workload(churn=1.0),
    settings=_FAST,
    faults=(Fault(kind="udp-only-loss", nodes=("n4", "n5"), probability=1.0),),
    sometimes=("udp-only-loss begins",),
)

#: Clocks that are wrong from the start, in a sealed cluster.
CLOCKS = Scenario(
    name="clocks",
    title="Two of five start with a clock that is 90 s ahead",
    nodes=5,
    seeds=2,
    warmup=4.0,
    duration=12.0,
    quiet=20.0,
    sealed=True,
    settings=_FAST,
    faults=(Fault(kind="clock-skew-at-start", nodes=("n3", "n4"), seconds=90.0),),
    sometimes=("clock", "streams_clock_skew"),
)

#: Records that spread; no fault.
STEADY = Scenario(
    name="calm",
    title="Three nodes offer a service each",
    nodes=3,
    warmup=2.0,
    duration=2.0,
    quiet=8.0,
    settings=_FAST,
    sometimes=("service",),
)

#: Enough deaths of hosts for a meaningful mean time to the first probe.
DEATHS = Scenario(
    name="deaths",
    title="Of twelve hosts four are silent for a while, and then four others",
    nodes=12,
    seeds=2,
    warmup=6.0,
    duration=98.0,
    quiet=20.0,
    faults=tuple(
        Fault(
            kind="crash-host", nodes=tuple(f"n{(4 * turn + one) % 12}" for one in range(4)), at=14.0 * turn, lasts=12.0
        )
        for turn in range(7)
    ),
    sometimes=("failed", "crash-host"),
)

#: Random packet loss; no other fault.
LOSSES = Scenario(
    name="losses",
    title="Three packets in ten are lost",
    nodes=8,
    seeds=2,
    warmup=4.0,
    duration=30.0,
    quiet=20.0,
    faults=(Fault(kind="loss", probability=0.3),),
    sometimes=("loss begins",),
)

#: An impostor with each kind of certificate.
IMPOSTORS = Scenario(
    name="impostors",
    title="Impostors with each kind of certificate",
    nodes=4,
    warmup=3.0,
    duration=6.0,
    quiet=12.0,
    identity="require",
    workload=Workload(instances=2, churn=2.0, policies=2.0, primaries=1.0),
    settings=_FAST,
    faults=tuple(
        Fault(kind="impostor", certificate=certificate, every=0.25)
        for certificate in ("none", "foreign", "other", "revoked", "ended")
    ),
    sometimes=("impostor", "statements_refused", "statements_unsigned", "policy"),
)

#: What a stolen issuer signs beyond its delegation, and with the serial number of a node's certificate.
STOLEN_ISSUER = attrs.evolve(
    IMPOSTORS,
    name="stolen-issuer",
    title="A stolen issuer",
    faults=tuple(Fault(kind="impostor", certificate=certificate, every=0.25) for certificate in ("issued", "numbered")),
    sometimes=("impostor", "statements_refused", "statements_ended", "policy"),
)

#: A revocation, and a node that is clean again.
EXPULSION = Scenario(
    name="expulsion",
    title="A certificate is revoked, its holder goes on, and another one gets a new certificate",
    nodes=5,
    warmup=3.0,
    duration=10.0,
    quiet=12.0,
    identity="require",
    workload=Workload(instances=2, churn=2.0, policies=3.0),
    settings=_FAST,
    faults=(
        Fault(kind="revoke", nodes=("n4",), at=3.0),
        Fault(kind="revoke", nodes=("n3",), at=4.0, lasts=3.0),
    ),
    sometimes=("revoke", "members_expelled", "crash", "start", "policy"),
)

#: An impostor that hears of records before most nodes do.
LATE_RECORDS = attrs.evolve(
    IMPOSTORS,
    name="late-records",
    title="An impostor knows of records before nodes that miss packets do",
    workload=Workload(instances=2, churn=20.0),
    faults=(
        Fault(kind="impostor", certificate="other", every=0.05),
        Fault(kind="loss", probability=0.3),
    ),
    sometimes=("impostor", "statements_refused"),
)
