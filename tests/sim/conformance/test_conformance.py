"""The simulator is faithful: in the same scene, the production driver's nodes reach the same beliefs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from gossipreg.policy import Maintenance
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.runtime import driver
from gossipreg_sim.world import EPOCH_MS
from tests.sim.conformance.on_sim import run_on_sim
from tests.sim.conformance.on_trio import run_on_trio
from tests.sim.conformance.scene import Scene, scene

SCENES = [
    scene("five nodes come together", 5, ends=8.0),
    scene(
        "registrations come and go",
        6,
        (3.0, lambda cluster: cluster.offer("n2", "mail")),
        (3.2, lambda cluster: cluster.offer("n4", "mail")),
        (4.0, lambda cluster: cluster.withdraw("n2", "mail")),
        (4.5, lambda cluster: cluster.withdraw("n0", "web")),
        ends=8.0,
    ),
    scene("a process crashes, and its kernel refuses", 6, (4.0, lambda cluster: cluster.crash("n3")), ends=40.0),
    scene("a host falls silent", 7, (4.0, lambda cluster: cluster.silence("n2")), ends=45.0),
    scene(
        "a cluster splits and heals",
        8,
        (4.0, lambda cluster: cluster.cut("n0", "n1", "n2")),
        (20.0, lambda cluster: cluster.offer("n1", "mail")),
        (21.0, lambda cluster: cluster.offer("n6", "mail")),
        (40.0, lambda cluster: cluster.mend()),
        ends=70.0,
    ),
    scene(
        "both sides of a split set maintenance, and one removes it",
        6,
        (4.0, lambda cluster: cluster.cut("n0", "n1", "n2")),
        (5.0, lambda cluster: cluster.rule("n1", Maintenance("web", "web-n4"))),
        (5.5, lambda cluster: cluster.rule("n4", Maintenance("web", "web-n4", "new disk"))),
        (6.0, lambda cluster: cluster.rule("n0", Maintenance("web", "web-n2"))),
        (9.0, lambda cluster: cluster.unrule("n5", "maintenance:web:web-n4")),
        (25.0, lambda cluster: cluster.mend()),
        ends=55.0,
    ),
    scene("a node leaves", 5, (4.0, lambda cluster: cluster.leave("n4")), ends=12.0),
    scene(
        "a process crashes and comes back",
        5,
        (4.0, lambda cluster: cluster.crash("n1")),
        (6.0, lambda cluster: cluster.start("n1", "n0")),
        (6.5, lambda cluster: cluster.offer("n1", "mail")),
        ends=30.0,
    ),
]

#: No two timers are due at one instant: the simulator's timers are a nanosecond late, and the mock clock's are not. A
#: ping-req states its timeout in whole milliseconds, which would be 499 ms in one and 500 ms in the other; and
#: suspicions would end just after, or just before, a probe.
SETTINGS = EngineSettings(probe_timeout=0.4996, suspicion_alpha=4.03)

#: Tolerance for the times of equal events (seconds).
CLOSE = 1e-5


@pytest.mark.parametrize("run", SCENES, ids=lambda run: str(run.title))
async def test_the_driver_and_the_simulator_agree_on_beliefs_and_times(
    run: Scene, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "time", SimpleNamespace(time=lambda: EPOCH_MS / 1000 + trio.current_time()))
    simulated = run_on_sim(run, SETTINGS)
    real = await run_on_trio(run, SETTINGS)
    assert real.packets == simulated.packets > 100
    assert real.beliefs() == simulated.beliefs()
    assert real.times() == pytest.approx(simulated.times(), abs=CLOSE)
