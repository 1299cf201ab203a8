"""Profiles: settings under which this protocol behaves like a published one.

A profile switches off what the published protocol lacks: the witness, the verifying ping, the own-lag rule, streams
beside probes, lifelines, immediate notification of the accused, adaptive timeouts, repeated confirmations, probes sent
with an ack, and growing gaps between gossip transmissions. docs/simulator.md lists the remaining differences.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from gossipreg.protocol.engine_settings import EngineSettings

#: memberlist as measured in the Lifeguard paper, with all three parts of Lifeguard off: SWIM with suspicion. There,
#: full states are exchanged every 90 s at 128 members; here, states are compared and only differences are sent.
_SWIM: Final = EngineSettings(
    probe_interval=1.0,
    probe_timeout=0.5,
    probe_timeout_min=0.5,
    probe_early=0.0,
    indirect_probes=3,
    suspicion_alpha=5.0,
    suspicion_beta=1.0,
    suspicion_confirmations=0,
    local_health_max=0,
    gossip_fanout=3,
    gossip_tree=False,
    gossip_receipts=False,
    gossip_duplicates=0,
    gossip_coalesce_max=0.0,
    reconcile_settle=30.0,
    reconcile_gap=90.0,
    reconnect_interval=30.0,
    lag_tolerance=1e9,
    buddy=False,
    tell_accused=False,
    stream_probe=False,
    late_acks=False,
    corroborate=False,
    failure_witness=False,
    verify_failures=False,
    lifelines=0,
)


@attrs.frozen
class Profile:
    """One published protocol, expressed as settings of this one."""

    name: str
    settings: EngineSettings
    ticks: bool = True  # updates are gossiped on memberlist's tick
    timers_first: bool = True  # a resumed process fires overdue timers before it reads its packets


def _variant(name: str, base: EngineSettings = _SWIM, **changes: Any) -> Profile:
    return Profile(name, attrs.evolve(base, **changes))


def lifeguard(alpha: float, beta: float) -> Profile:
    """Return the profile with all of Lifeguard, with multipliers ``alpha`` and ``beta`` (IV-B)."""
    return _variant(
        "Lifeguard",
        local_health_max=8,
        suspicion_alpha=alpha,
        suspicion_beta=beta,
        suspicion_confirmations=3,
        buddy=True,
    )


SWIM: Final = _variant("SWIM")
LHA_PROBE: Final = _variant("LHA-Probe", local_health_max=8)
LHA_SUSPICION: Final = _variant("LHA-Suspicion", suspicion_beta=6.0, suspicion_confirmations=3)
BUDDY: Final = _variant("Buddy", buddy=True)
LIFEGUARD: Final = lifeguard(5.0, 6.0)

#: SWIM's basic form: a member that does not answer fails at once.
SWIM_WITHOUT_SUSPICION: Final = _variant("infection", suspicion_alpha=1e-6)

#: memberlist with its defaults for a local network: K is the multiplier less 2, helpers send a nack after their
#: whole timeout, and a failed probe is retried over TCP.
MEMBERLIST: Final = _variant(
    "memberlist",
    LIFEGUARD.settings,
    suspicion_alpha=4.0,
    suspicion_confirmations=2,
    local_health_max=7,
    nack_fraction=1.0,
    stream_probe=True,
    damping_base=0.0,
)

#: This protocol with its defaults.
OURS: Final = Profile("gossipreg", EngineSettings(), ticks=False, timers_first=False)

#: The five configurations that the Lifeguard paper compares, in its order.
COMPARED: Final = (SWIM, LHA_PROBE, LHA_SUSPICION, BUDDY, LIFEGUARD)
