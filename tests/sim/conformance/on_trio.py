"""Conformance on trio: runs a scene with the production driver, on trio's mock clock and sockets in memory."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import closing
from random import Random
from typing import cast

import attrs
import trio

from gossipreg.config import Config
from gossipreg.events import Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.policy import Rule
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.runtime.joining import Seeds
from gossipreg.runtime.key_files import NodeKeys
from gossipreg.runtime.lifecycle import NodeLifecycle
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import _create
from gossipreg.runtime.sockets import GossipSockets
from gossipreg_sim.world import EPOCH_MS, World
from tests.sim.conformance.diary import Diary
from tests.sim.conformance.memory import DatagramSocket, Factory, Listener, Wires
from tests.sim.conformance.scene import SEED, Scene, address_of, instance_of


@attrs.define
class TrioCluster:
    """Nodes as created by `open_node`, except for their sockets, rng and generation."""

    settings: EngineSettings
    nursery: trio.Nursery
    wires: Wires
    diary: Diary = attrs.field(factory=Diary)
    _lifecycles: dict[str, NodeLifecycle] = attrs.field(factory=dict)
    _births: Counter[str] = attrs.field(factory=Counter)

    def start(self, name: str, *seeds: str) -> None:
        with self.wires.at(name):
            self.nursery.start_soon(self._live, name, seeds)

    async def _live(self, name: str, seeds: tuple[str, ...]) -> None:
        self._births[name] += 1
        with closing(DatagramSocket(self.wires, name)) as udp, closing(Listener(self.wires, name)) as tcp:
            async with trio.open_nursery() as nursery:
                lifecycle = self._lifecycles[name] = _create(
                    config=Config(name=name, cluster="sim", protocol=self.settings),
                    keys=NodeKeys.of(Config()),
                    sockets=GossipSockets(udp, cast("socket.socket", tcp), address_of(name)),
                    store=None,
                    seeds=Seeds(tuple(str(address_of(seed)) for seed in seeds)),
                    name=name,
                    generation=EPOCH_MS + round(trio.current_time() * 1000),
                    index=0,
                    rng=Random(World(SEED).rng("node", name, self._births[name]).bits()),
                    nursery=nursery,
                )
                nursery.start_soon(lifecycle.context.driver.run)
                nursery.start_soon(
                    trio.serve_listeners, lifecycle.context.driver.streams._accept, [trio.SocketListener(tcp)]
                )
                nursery.start_soon(self._watch, Node(lifecycle))

    async def _watch(self, node: Node) -> None:
        """Record the events that the node reports to its user."""
        async for batch in node.events():
            for event in batch:
                self._note(node.name, event)

    def _note(self, observer: str, event: Event) -> None:
        at = trio.current_time()
        match event:
            case Snapshot():
                assert [member.name for member in event.members] == [observer]
            case MemberEvent(member=member) if member.name != observer:
                self.diary.write(at, observer, member.name, f"{member.status} {member.generation}")
            case InstanceEvent():
                self.diary.write(at, observer, event.instance.id, "gone" if event.kind == "removed" else "shown")

    def offer(self, name: str, service: str) -> None:
        context = self._lifecycles[name].context
        with self.wires.at(name):
            context.driver.say(context.engine.register(instance_of(name, service), trio.current_time()))

    def withdraw(self, name: str, service: str) -> None:
        context = self._lifecycles[name].context
        with self.wires.at(name):
            context.driver.say(context.engine.deregister(instance_of(name, service).id, trio.current_time()))

    def rule(self, name: str, rule: Rule) -> None:
        context = self._lifecycles[name].context
        with self.wires.at(name):
            context.driver.say(context.engine.set_policy(rule, trio.current_time()))

    def unrule(self, name: str, key: str) -> None:
        context = self._lifecycles[name].context
        with self.wires.at(name):
            context.driver.say(context.engine.remove_policy(key, trio.current_time()))

    def crash(self, name: str) -> None:
        self._lifecycles[name].context.close()

    def silence(self, name: str) -> None:
        self.wires.silent.add(name)
        self._lifecycles[name].context.close()

    def leave(self, name: str) -> None:
        with self.wires.at(name):
            self.nursery.start_soon(self._lifecycles[name].leave)

    def cut(self, *names: str) -> None:
        self.wires.cut_off = frozenset(names)

    def mend(self) -> None:
        self.wires.cut_off = frozenset()


async def run_on_trio(scene: Scene, settings: EngineSettings) -> Diary:
    """Run ``scene`` and return the beliefs of the production nodes. Needs a clock that jumps."""
    async with trio.open_nursery() as nursery:
        wires = Wires()
        nursery.start_soon(wires.run)
        trio.socket.set_custom_socket_factory(Factory(wires))
        cluster = TrioCluster(settings, nursery, wires)
        for at, act in sorted(scene.acts, key=lambda timed: timed[0]):
            await trio.sleep_until(at)
            act(cluster)
        await trio.sleep_until(scene.ends)
        cluster.diary.packets = wires.sent
        nursery.cancel_scope.cancel()
    return cluster.diary
