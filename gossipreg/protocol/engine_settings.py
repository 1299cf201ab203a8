"""Engine settings: the users' protocol settings, and a switch for each mechanism that the simulator can turn off.

The switches are for ablation studies and for the simulator's profiles of other protocols. A node that a user opens
runs with all mechanisms on; no file, variable or flag reaches them.
"""

from __future__ import annotations

from typing import Any

import attrs

from gossipreg.fields import Switch, setting
from gossipreg.settings import Settings
from gossipreg.values import frozen


def _switch(doc: str) -> Any:
    """One mechanism of the protocol that can be turned off."""
    return setting(Switch(), True, f"{doc} Off only to see what it is worth.")


@frozen(kw_only=True)
class EngineSettings(Settings):
    """What one engine runs with. Every node of a cluster should have the same."""

    gossip_tree: bool = _switch("The first transmission of an update goes down a tree of all members, from its origin.")
    gossip_receipts: bool = _switch(
        "What goes down a tree is acknowledged, and repeated only where no receipt comes; table digests follow."
    )
    buddy: bool = _switch("A ping to a suspect carries the suspicion (Lifeguard §IV-C).")
    tell_accused: bool = _switch(
        "A node that receives a message from a suspect or failed member notifies the member at once."
    )
    stream_probe: bool = _switch("A member that misses its direct ping is also probed over a stream.")
    late_acks: bool = _switch("An ack that comes after its probe has ended gives the suspect its full time again.")
    corroborate: bool = _switch("A helper whose indirect ping fails confirms the suspicion at once.")
    verify_failures: bool = _switch("A node pings a suspect itself before it declares, or accepts, its failure.")
    failure_witness: bool = _switch(
        "A node that receives no answer from any other member declares none failed (decision 0005)."
    )


def engine_settings(settings: Settings) -> EngineSettings:
    """``settings`` with all mechanisms on, unless they already say which are."""
    if isinstance(settings, EngineSettings):
        return settings
    return EngineSettings(**{field.name: getattr(settings, field.name) for field in attrs.fields(Settings)})
