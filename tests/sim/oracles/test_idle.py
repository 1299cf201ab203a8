"""Traffic of an idle cluster beyond its probes is reported."""

from __future__ import annotations

import pytest

from gossipreg.protocol.outputs import OpenStream, Transmit
from gossipreg_sim.oracles.idle import IdleLoad
from tests.sim.making import run_for
from tests.sim.oracles.watching import offer, texts, watched


@pytest.mark.parametrize("nodes", [2, 9])
def test_an_idle_cluster_of_any_size_passes(nodes: int) -> None:
    made, idle = watched(IdleLoad, nodes=nodes, warmup=60.0)
    run_for(made, 15)
    idle.finish()
    assert texts(idle) == []
    assert idle.checks > 10 * nodes


def test_gossip_without_a_change_is_reported() -> None:
    made, idle = watched(IdleLoad, warmup=60.0)
    run_for(made, 15)
    n0 = made.processes["n0"]
    for _ in range(60):
        idle.see(n0, Transmit(b"", n0.address))
    idle.finish()
    assert texts(idle)[0].startswith("an idle node sends ")


def test_a_stream_without_a_reason_is_reported() -> None:
    made, idle = watched(IdleLoad, warmup=60.0)
    run_for(made, 15)
    n0 = made.processes["n0"]
    idle.see(n0, OpenStream(1, n0.address, b"", 1.0))
    idle.finish()
    assert texts(idle)[0].endswith("1 streams were opened")


def test_the_oracle_does_not_apply_to_a_busy_cluster() -> None:
    made, idle = watched(IdleLoad, warmup=60.0)
    for number in range(10):
        run_for(made, 1)
        made.register("n0", offer(f"x{number}"))
    idle.finish()
    assert idle.note == "not applicable here: idle for 0.0 periods, 3 are needed"
