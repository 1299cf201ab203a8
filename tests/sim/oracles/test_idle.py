"""What an idle cluster sends beyond its probes is seen."""

from __future__ import annotations

import pytest

from gossipreg.protocol.outputs import OpenStream, Transmit
from gossipreg_sim.oracles.idle import IdleLoad
from tests.sim.making import run_for
from tests.sim.oracles.watching import offer, texts, watched


@pytest.mark.parametrize("nodes", [2, 9])
def test_an_idle_cluster_of_any_size_is_well(nodes: int) -> None:
    made, idle = watched(IdleLoad, nodes=nodes, warmup=60.0)
    run_for(made, 15)
    idle.finish()
    assert texts(idle) == []
    assert idle.checks > 10 * nodes


def test_gossip_about_nothing_is_seen() -> None:
    made, idle = watched(IdleLoad, warmup=60.0)
    run_for(made, 15)
    n0 = made.processes["n0"]
    for _ in range(60):
        idle.see(n0, Transmit(b"", n0.address))
    idle.finish()
    assert texts(idle)[0].startswith("an idle node sends ")


def test_a_stream_for_nothing_is_seen() -> None:
    made, idle = watched(IdleLoad, warmup=60.0)
    run_for(made, 15)
    n0 = made.processes["n0"]
    idle.see(n0, OpenStream(1, n0.address, b"", 1.0))
    idle.finish()
    assert texts(idle)[0].endswith("1 streams were opened")


def test_a_busy_cluster_is_not_judged() -> None:
    made, idle = watched(IdleLoad, warmup=60.0)
    for number in range(10):
        run_for(made, 1)
        made.register("n0", offer(f"x{number}"))
    idle.finish()
    assert idle.note == "not applicable here: nothing was new for 0.0 periods, 3 are needed"
