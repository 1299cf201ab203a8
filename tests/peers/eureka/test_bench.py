"""Eureka's server is measured by the same acts as our agents (`tests/bench/registries.py`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.test_bench import may_count_packets
from tests.peers.eureka.java import needs_java
from tests.peers.suites.go_module import needs_go

SCRIPT = Path(__file__).parents[2] / "bench" / "registries.py"


@needs_java
@needs_go
@pytest.mark.skipif(not may_count_packets(), reason="counting packets needs CAP_NET_RAW")
def test_a_small_run_has_each_row(eureka_classes: str) -> None:
    words = ["--sides=eureka-tight", "--clients=7", "--hurts=0", "--burst=20", "--registrations=2", "--calm=1"]
    words += ["--idle-seconds=1", "--settle=1", "--seconds=0.1", "--eureka-classes", eureka_classes]
    command = [sys.executable, str(SCRIPT), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    if "cannot be built" in done.stdout:
        pytest.skip(done.stdout.partition("left out: ")[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| a registration, seen by the last" in done.stdout
