"""Conformance on the simulator: runs a scene on a simulated cluster."""

from __future__ import annotations

from functools import partial

import attrs

from gossipreg.policy import Rule
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.conditions import Cut, Links
from gossipreg_sim.process import Process
from gossipreg_sim.rng import Rng
from gossipreg_sim.world import World, ns
from tests.sim.conformance.diary import Diary
from tests.sim.conformance.scene import SEED, Scene, address_of, instance_of, latency


@attrs.define
class _Latency:
    world: World

    def draw(self, sender: str, receiver: str, rng: Rng) -> int:
        return latency(sender, receiver, self.world.seconds)


@attrs.define
class SimCluster:
    """A simulated cluster."""

    settings: EngineSettings
    diary: Diary = attrs.field(factory=Diary)
    cluster: Cluster = attrs.field(init=False)
    _seen: dict[tuple[str, str], str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        world = World(SEED)
        self.cluster = Cluster(world, self.settings, _Latency(world), is_open=True)
        self.cluster.touched.append(self._look)

    def _look(self, process: Process) -> None:
        """Record the node's beliefs about members, and the instances that it would return."""
        at = process.world.seconds
        for update in process.engine.members:
            if update.name != process.name:
                self.diary.write(at, process.name, update.name, f"{update.status} {update.generation}")
        shown = {i.id: "shown" for view in process.engine.view.services.values() for i in view.healthy}
        before = {about for observer, about in self._seen if observer == process.name}
        for about in sorted({*shown, *before}):
            belief = shown.get(about, "gone")
            if self._seen.get((process.name, about), "gone") != belief:
                self._seen[process.name, about] = belief
                self.diary.write(at, process.name, about, belief)

    def start(self, name: str, *seeds: str) -> None:
        self._seen = {key: belief for key, belief in self._seen.items() if key[0] != name}  # a new run has no beliefs
        process = self.cluster.start(name, seeds=seeds)
        assert process.address == address_of(name)

    def offer(self, name: str, service: str) -> None:
        self.cluster.register(name, instance_of(name, service))

    def withdraw(self, name: str, service: str) -> None:
        self.cluster.deregister(name, instance_of(name, service).id)

    def rule(self, name: str, rule: Rule) -> None:
        self.cluster.set_policy(name, rule)

    def unrule(self, name: str, key: str) -> None:
        self.cluster.remove_policy(name, key)

    def crash(self, name: str) -> None:
        self.cluster.crash(name)

    def silence(self, name: str) -> None:
        self.cluster.crash(name, host=True)

    def leave(self, name: str) -> None:
        process, world = self.cluster.processes[name], self.cluster.world
        process.do(lambda engine, now: engine.drain(now))
        world.after(ns(self.settings.drain_time), partial(process.do, Engine.leave))
        gone = self.settings.drain_time + self.settings.leave_linger
        world.after(ns(gone), partial(self.cluster.crash, name))

    def cut(self, *names: str) -> None:
        others = [name for name in self.cluster.processes if name not in names]
        self.cluster.network.begin("cut", Cut(Links(names, others)))

    def mend(self) -> None:
        self.cluster.network.end("cut")


def run_on_sim(scene: Scene, settings: EngineSettings) -> Diary:
    """Run ``scene`` and return the beliefs of the simulated nodes."""
    cluster = SimCluster(settings)
    for at, act in scene.acts:
        cluster.cluster.world.at(ns(at), partial(act, cluster))
    cluster.cluster.world.run(ns(scene.ends))
    cluster.diary.packets = cluster.cluster.counters["packets"]
    return cluster.diary
