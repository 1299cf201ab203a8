"""Recordings shared by several tests."""

from __future__ import annotations

import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.report.recording import Recording, record
from tests.sim.making import scenario

#: A mix of everything that changes beliefs.
STORMY = scenario(
    Fault(kind="cut", nodes=("n0", "n1"), lasts=7),
    Fault(kind="loss", probability=0.1),
    Fault(kind="crash", nodes=("n2",), at=2, lasts=3),
    Fault(kind="leave", nodes=("n3",), at=6),
    Fault(kind="freeze", nodes=("n4",), at=3, lasts=4),
    nodes=6,
    duration=14.0,
)

SPLIT = scenario(Fault(kind="cut", nodes=("first:2",)), nodes=5, duration=30.0)


@pytest.fixture(scope="package")
def stormy() -> Recording:
    return record(STORMY, 3)


@pytest.fixture(scope="package")
def split() -> Recording:
    return record(SPLIT, 1)
