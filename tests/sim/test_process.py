"""States of an unhealthy process, and their effect on the cluster."""

from __future__ import annotations

from collections import Counter
from typing import cast

import attrs
import pytest

from gossipreg.model import Address, Instance, Status
from gossipreg.policy import Split
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import CloseStream, OpenStream, Output, SendFrame, Transmit
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.conditions import Cut, Links
from gossipreg_sim.process import Clock, Process
from gossipreg_sim.world import World, ns
from tests.sim.making import believed, cluster, run_for


@attrs.define
class Watched:
    """The outputs of one node, and their times (seconds)."""

    name: str
    did: list[tuple[float, Output]] = attrs.field(factory=list)

    def see(self, process: Process, output: Output) -> None:
        if process.name == self.name:
            self.did.append((process.world.seconds, output))

    @property
    def sends(self) -> list[float]:
        return [at for at, output in self.did if isinstance(output, Transmit | OpenStream | SendFrame)]


def watch(made: Cluster, name: str) -> Watched:
    watched = Watched(name)
    made.observers.append(watched.see)
    return watched


@attrs.define
class PacketTap:
    """An engine that only records the frames and ends of its streams."""

    frames: list[bytes] = attrs.field(factory=list)
    ended: list[tuple[int, bool]] = attrs.field(factory=list)
    counters: Counter[str] = attrs.field(factory=Counter)

    def receive(self, data: bytes, source: Address, now: float) -> list[Output]:
        return []

    def handle_timeout(self, now: float, *, late: float) -> list[Output]:
        return []

    def wants_timeout(self, now: float) -> bool:
        return False

    def deadline(self) -> float:
        return float("inf")

    def stream_frame(self, stream: int, frame: bytes, source: Address, now: float) -> list[Output]:
        self.frames.append(frame)
        return []

    def stream_ended(self, stream: int, now: float, *, refused: bool = False) -> list[Output]:
        self.ended.append((stream, refused))
        return []


def cluster_with_tap() -> tuple[Cluster, PacketTap]:
    """A cluster of n1, n2 and, in place of n0's engine, a tap."""
    made, tap = cluster(settings=EngineSettings(lifelines=0)), PacketTap()
    made.observers.clear()
    made.processes["n0"].engine = cast("Engine", tap)
    return made, tap


def test_a_cluster_converges() -> None:
    made = cluster(4)
    assert {believed(made, a, b) for a in made.processes for b in made.processes} == {Status.ALIVE}
    assert len({process.engine.fingerprint for process in made.alive}) == 1


def test_a_frozen_process_does_nothing_and_its_packets_wait() -> None:
    made = cluster()
    watched, frozen = watch(made, "n2"), made.processes["n2"]
    received = frozen.engine.counters["packets_received"]
    frozen.freeze()
    run_for(made, 3)
    assert watched.did == []
    assert frozen.engine.counters["packets_received"] == received
    frozen.thaw()
    assert frozen.engine.counters["packets_received"] > received
    assert watched.sends[0] == made.world.seconds


def test_a_thawed_process_learns_its_lag_and_accuses_no_member() -> None:
    made = cluster()
    frozen = made.processes["n2"]
    frozen.freeze()
    run_for(made, 4)
    frozen.thaw()
    assert frozen.engine.counters["lags"] == 1
    run_for(made, 4)
    assert frozen.engine.counters["failures_declared"] == 0
    assert {believed(made, a, b) for a in made.processes for b in made.processes} == {Status.ALIVE}


def test_a_user_call_to_a_frozen_process_runs_when_it_continues() -> None:
    made = cluster()
    made.processes["n1"].freeze()
    made.register("n1", Instance(id="a", service="s", host="198.18.0.1", port=80))
    assert made.offered().get("n1", {}) == {}
    made.processes["n1"].thaw()
    assert list(made.offered()["n1"]) == ["a"]


def test_a_blocked_process_runs_timers_but_neither_sends_nor_receives() -> None:
    made = cluster()
    watched, blocked = watch(made, "n2"), made.processes["n2"]
    received = blocked.engine.counters["packets_received"]
    blocked.block()
    run_for(made, 3)
    assert watched.sends == []
    assert blocked.engine.counters["packets_received"] == received
    assert blocked.engine.counters["probes_missed"] > 0
    blocked.unblock()
    assert watched.sends[0] == made.world.seconds
    assert blocked.engine.counters["packets_received"] > received


def test_a_blocked_and_frozen_process_sends_held_output_after_both_end() -> None:
    made = cluster()
    watched, process = watch(made, "n2"), made.processes["n2"]
    process.block()
    run_for(made, 3)
    process.freeze()
    process.unblock()
    assert watched.sends == []
    process.thaw()
    assert watched.sends[0] == made.world.seconds


def test_a_slow_process_delays_each_arrival() -> None:
    made = cluster(2)
    slow = made.processes["n1"]
    slow.service = ns(0.5)
    heard = slow.counters["packets_wrong_version"]
    for _ in range(3):
        slow.packet(b"\xff" * 60, Address("198.18.255.254", 1))
    counts = []
    for _ in range(4):
        run_for(made, 0.5)
        counts.append(slow.counters["packets_wrong_version"] - heard)
    assert counts[0] <= 1
    assert counts == sorted(counts)
    run_for(made, 3)
    assert slow.counters["packets_wrong_version"] - heard == 3


def test_a_dead_process_refuses_streams_at_once() -> None:
    made, tap = cluster_with_tap()
    made.crash("n2")
    made.processes["n0"].act([OpenStream(900, made.processes["n2"].address, b"hello", 5.0)])
    run_for(made, 0.01)
    assert tap.ended == [(900, True)]


def test_a_dead_host_is_silent_until_the_stream_timeout() -> None:
    made, tap = cluster_with_tap()
    made.crash("n2", host=True)
    made.processes["n0"].act([OpenStream(900, made.processes["n2"].address, b"hello", 5.0)])
    run_for(made, 4.9)
    assert tap.ended == []
    run_for(made, 0.2)
    assert tap.ended == [(900, False)]


@pytest.mark.parametrize(("host", "silence"), [(False, 0.01), (True, 4.9)])
def test_streams_end_soon_with_a_process_but_only_by_timeout_with_a_host(host: bool, silence: float) -> None:
    made, tap = cluster_with_tap()
    made.processes["n2"].act([OpenStream(900, made.processes["n0"].address, b"hello", 5.0)])
    run_for(made, 0.1)
    assert len(tap.frames) == 1
    made.crash("n2", host=host)
    run_for(made, silence - 0.005)
    assert host is False or tap.ended == []
    run_for(made, 0.2)
    assert [refused for _, refused in tap.ended] == [False]


def test_a_restart_without_the_disk_is_a_new_run_without_registrations() -> None:
    made = cluster()
    made.register("n2", Instance(id="a", service="s", host="198.18.0.2", port=80))
    run_for(made, 1)
    before = made.processes["n2"].engine.identity.generation
    made.crash("n2")
    made.start("n2")
    run_for(made, 8)
    assert made.processes["n2"].engine.identity.generation > before
    assert believed(made, "n0", "n2") is Status.ALIVE
    assert made.processes["n0"].engine.view.service("s").instances == ()


def test_a_restart_with_the_disk_restores_registrations() -> None:
    made = cluster()
    made.register("n2", Instance(id="a", service="s", host="198.18.0.2", port=80))
    made.crash("n2", host=True)
    run_for(made, 1)
    made.start("n2", disk=True)
    run_for(made, 8)
    assert [instance.id for instance in made.processes["n0"].engine.view.service("s").healthy] == ["a"]


@pytest.mark.parametrize("disk", [True, False])
def test_all_known_policies_are_on_disk(disk: bool) -> None:
    made = cluster(2)
    made.set_policy("n0", Split("s", {"v1": 1}))
    made.set_policy("n1", Split("t", {"v1": 1}))
    run_for(made, 1)
    made.remove_policy("n0", "split:t")
    run_for(made, 1)
    made.crash("n0")
    made.crash("n1")
    made.start("n0", disk=disk)
    run_for(made, 1)
    policies = {policy.key: policy.payload is not None for policy in made.processes["n0"].engine.state.policies}
    assert policies == ({"split:s": True, "split:t": False} if disk else {})
    made.crash("n0")
    made.start("n0", disk=True)
    assert len(list(made.processes["n0"].engine.state.policies)) == len(policies)


def test_frames_stay_in_order_across_a_stall_and_the_end_comes_last() -> None:
    made, tap = cluster_with_tap()
    n2 = made.processes["n2"]
    n2.act([OpenStream(900, made.processes["n0"].address, b"1", 5.0)])
    run_for(made, 0.1)
    made.network.begin("cut", Cut(Links(("n2",), ("n0",))))
    n2.act([SendFrame(900, b"2")])
    run_for(made, 0.1)
    made.network.end("cut")
    n2.act([SendFrame(900, b"3"), CloseStream(900)])
    assert tap.frames == [b"1"]
    run_for(made, 1)
    assert tap.frames == [b"1", b"2", b"3"]
    assert len(tap.ended) == 1


@pytest.mark.parametrize("drift", [0.01, -0.01])
def test_a_clock_that_drifts_does_not_jump(drift: float) -> None:
    world, clock = World(1), Clock()
    world.run(ns(100))
    clock.run_at(drift, world)
    assert clock.steady(world) == 100
    world.run(ns(200))
    assert clock.steady(world) == pytest.approx(200 + 100 * drift)
    assert clock.true_time(clock.steady(world)) == pytest.approx(200)
    clock.run_at(0.0, world)
    world.run(ns(300))
    assert clock.steady(world) == pytest.approx(300 + 100 * drift)


def test_a_wrong_wall_clock_does_not_affect_the_steady_clock() -> None:
    world = World(1)
    assert Clock(skew=3600).wall(world) - Clock().wall(world) == 3600
    assert Clock(skew=3600).steady(world) == Clock().steady(world)
