"""Configuration of nodes for tests: on loopback, any port, quick to probe and to leave."""

from __future__ import annotations

from typing import Any, Final

from gossipreg.config import Config
from gossipreg.runtime.node import Node
from gossipreg.settings import Settings

#: How long anything may take before a test has failed (seconds).
PATIENCE: Final = 60.0

QUICK: Final = Settings(
    probe_interval=0.05,
    probe_timeout=0.025,
    probe_timeout_min=0.025,
    suspicion_beta=1.5,
    reconcile_settle=0.05,
    reconcile_gap=0.05,
    drain_time=0.02,
    leave_linger=0.05,
)


def config(name: str | None = "a", *seeds: Node, **options: Any) -> Config:
    """A node of that name that joins these."""
    join = tuple(str(seed.address) for seed in seeds)
    return Config(**{"name": name, "bind": "127.0.0.1:0", "join": join, "protocol": QUICK} | options)
