"""The cost of one change of a service with thousands of instances: `python -m tests.bench.big_service`.

All instances are another member's, as most are. A change is one record of that member: it comes in a packet, and the
view has it afterwards. Measured is the CPU time of the protocol alone; of a node on trio, beside another node of the
same process that makes the changes, per node; and of the first answers after a change, which are made of it. Memory is
what the process grows by while the protocol takes in all instances, of which nothing is looked up.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Final

import attrs
import click
import trio

from gossipreg import Config, open_node
from gossipreg.frontends.http.lookups import LookupCache, LookupQuery
from gossipreg.model import Address, Instance, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_creation import create_engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.records import Record, record_digest
from gossipreg.protocol.wire.messages import Message, pack, pack_sender
from gossipreg.runtime.node import Node
from gossipreg.spec import InstanceSpec
from tests.bench.figures import Figure
from tests.bench.processes import resident_bytes
from tests.bench.tables import machine, markdown, verdict

#: The service.
_SERVICE: Final = "orders"

#: For how long the nodes are watched at rest (seconds).
_REST: Final = 4.0

_GENERATION: Final = 1_767_225_600_000

#: The member that registers all.
_OWNER: Final = MemberUpdate("owner", _GENERATION, 0, Status.ALIVE, Address("10.0.0.2", 7001), "", False, 0, 0)


def made(number: int, weight: int = 1) -> Instance:
    """One of the instances."""
    return Instance(
        id=f"{_SERVICE}-{number:06}",
        service=_SERVICE,
        host=f"10.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}",
        port=8080,
        tags=("v1", "v2") if number % 2 else ("v1",),
        meta={"commit": f"{number * 2654435761 % 2**32:08x}"},
        weight=weight,
        zone="east" if number % 3 else "west",
        owner=_OWNER.name,
    )


@attrs.define(eq=False)
class Told:
    """An engine, and what the member keeps that tells it of instances. That is little: memory is measured beside it."""

    engine: Engine
    now: float = 1.0
    _version: int = 0  # of the member's records
    _xor: int = 0
    _digests: dict[str, int] = attrs.field(factory=dict)  # of its records, if it is to change them

    @classmethod
    def begun(cls) -> Told:
        """An engine that knows the member."""
        engine = create_engine(
            name="told",
            generation=_GENERATION,
            address=Address("10.0.0.1", 7000),
            zone="",
            settings=EngineSettings(lifelines=0, probe_interval=600.0),  # the member answers nothing
            rng=Random(1),
            packet_room=1350,
            has_seeds=False,
            now=0.0,
        )
        told = cls(engine)
        told.hear(_packet(_OWNER))
        return told

    def hear(self, packet: bytes) -> None:
        """Hand in a packet, and run the timers that are due soon after."""
        self.engine.receive(packet, _OWNER.address, self.now)
        self.wait(0.05)

    def wait(self, seconds: float) -> None:
        """Run the timers as they are due, for so long."""
        end = self.now + seconds
        while (due := max(self.now, self.engine.deadline())) <= end:
            self.now = due + 1e-6
            self.engine.handle_timeout(self.now)
        self.now = end

    def packet_of(self, instance: Instance, *, once: bool = False) -> bytes:
        """The packet with which the owner registers an instance, and never changes it if it does that ``once``."""
        payload = pack_instance(instance)
        self._version += 1
        digest = record_digest(_OWNER.name, _GENERATION, instance.id, self._version, payload)
        self._xor ^= digest ^ self._digests.get(instance.id, 0)
        if not once:
            self._digests[instance.id] = digest
        return _packet(Record(_OWNER.name, _GENERATION, self._version, instance.id, self._xor, payload))

    def fill(self, count: int, *, once: bool = False) -> None:
        """Take in so many instances, a packet each, as fast as they can be handed in."""
        for number in range(count):
            self.engine.receive(self.packet_of(made(number), once=once), _OWNER.address, self.now)
            if number % 20 == 19:
                self.wait(0.01)
        self.wait(2.0)
        counts = self.engine.view.counts()[_SERVICE]
        assert counts.instances == counts.healthy == count


def _packet(*messages: Message) -> bytes:
    return pack_sender(_OWNER.run_id) + b"".join(map(pack, messages))


def _milliseconds(told: Told, packet: bytes) -> float:
    began = time.process_time()
    told.hear(packet)
    return 1000 * (time.process_time() - began)


def changes(count: int, total: int) -> Iterator[Instance]:
    """Changes of ``total`` instances, drawn at random, each with a weight that it has not had."""
    rng = Random(total)
    for number in range(count):
        yield made(rng.randrange(total), weight=2 + number)


def protocol(size: int, rounds: int) -> list[float]:
    """CPU milliseconds of the protocol for each change."""
    told = Told.begun()
    told.fill(size)
    packets = [told.packet_of(instance) for instance in changes(rounds, size)]
    return [_milliseconds(told, packet) for packet in packets]


def memory(size: int) -> tuple[float, float]:
    """Bytes that an instance takes while nothing is looked up, and once all are."""
    told = Told.begun()
    gc.collect()
    before = resident_bytes(os.getpid())
    told.fill(size, once=True)
    gc.collect()
    packed = resident_bytes(os.getpid()) - before
    assert len(told.engine.view.service(_SERVICE).instances) == size
    return packed / size, (resident_bytes(os.getpid()) - before) / size


@asynccontextmanager
async def _pair() -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes of one cluster."""
    async with (
        open_node(Config(name=_OWNER.name, bind="127.0.0.1:0")) as owner,
        open_node(Config(name="other", bind="127.0.0.1:0", join=[str(owner.info().address)])) as other,
    ):
        await _until(lambda: len(other.members()) == len(owner.members()) == 2)
        yield owner, other


async def _until(condition: Callable[[], bool]) -> None:
    """Return once it holds; it is looked at so rarely that this costs next to nothing."""
    with trio.fail_after(120):
        while not condition():  # noqa: ASYNC110 -- an event would need a watch, whose cost is not to be measured
            await trio.sleep(0.02)


def _spec(instance: Instance) -> InstanceSpec:
    return InstanceSpec(
        service=instance.service,
        id=instance.id,
        host=instance.host,
        port=instance.port,
        tags=instance.tags,
        meta=instance.meta,
        weight=instance.weight,
    )


def _shows(node: Node, instance: Instance) -> bool:
    """Whether the node shows the instance with that weight."""
    found = node._engine.view.service(_SERVICE).find(instance.id, _OWNER.name)
    return found is not None and found.weight == instance.weight


@attrs.frozen
class NodeCosts:
    """What changes cost two nodes: CPU ms for each and a node; seconds until one has all that the other registers."""

    registered: float
    bare: list[float]
    watched: list[float]
    lists: list[float]


async def nodes(size: int, rounds: int) -> NodeCosts:
    """Measure two nodes of one process: each change is made at one of them, and comes to the other."""
    steps = 0
    async with _pair() as (owner, other), trio.open_nursery() as nursery:
        began = time.perf_counter()
        for number in range(size):
            await owner.register_spec(_spec(made(number)))
        await _until(lambda: other._engine.view.service(_SERVICE).rows.shown_count == size)
        registered = time.perf_counter() - began
        await trio.sleep(1.0)
        before = time.process_time()
        await trio.sleep(_REST)
        at_rest = (time.process_time() - before) / _REST  # of both nodes, in a second
        told = changes(3 * rounds, size)

        async def change() -> float:
            """The cost of ten changes, each alone in its packet, without what the nodes cost at rest."""
            before = time.process_time()
            for _ in range(10):
                instance = next(told)
                await owner.register_spec(_spec(instance))
                await trio.sleep(0.03)
            await _until(lambda: _shows(other, instance))
            spent = time.process_time() - before
            return 1000 * (spent - 10 * 0.03 * at_rest) / 10 / 2

        async def follow(node: Node) -> None:
            nonlocal steps
            async for step in node.watch(_SERVICE):
                steps += len(step.changed)

        bare = [await change() for _ in range(rounds // 10)]
        nursery.start_soon(follow, owner)
        nursery.start_soon(follow, other)
        await trio.sleep(0.1)
        watched = [await change() for _ in range(rounds // 10)]
        assert steps >= rounds, "the watches see the changes"
        cache = LookupCache(other)
        lists = []
        await cache.body(LookupQuery(_SERVICE))
        for instance in told:
            await owner.register_spec(_spec(instance))
            await _until(partial(_shows, other, instance))
            before = time.thread_time()
            await cache.body(LookupQuery(_SERVICE))
            lists.append(1000 * (time.thread_time() - before))
        nursery.cancel_scope.cancel()
    return NodeCosts(registered, bare, watched, lists)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--instances", type=int, default=5000, help="of the service (default: %(default)s)")
    parser.add_argument("--many", type=int, default=100_000, help="for memory; 0: leave it out (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="changes of each kind (default: %(default)s)")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    size, rounds = given.instances, given.rounds
    rows = [["what", "unit", "measured", "target", ""]]

    def row(what: str, unit: str, figure: Figure, target: float | None = None) -> None:
        told = ("", "") if target is None else (f"≤ {target:g}", verdict(figure.middle <= target))
        rows.append([what, unit, str(figure), *told])

    if given.many:
        packed, looked_up = memory(given.many)
        mebibytes = given.many / 2**20
        row(f"memory of {given.many:,} instances", "MiB", Figure.of([packed * mebibytes]), 60 * given.many / 100_000)
        row("the same, once all are looked up", "MiB", Figure.of([looked_up * mebibytes]))
        gc.collect()
    row("a change, the protocol alone", "CPU ms", Figure.of(protocol(size, rounds)), 1.0)
    costs = trio.run(nodes, size, rounds)
    row("a change, a node", "CPU ms", Figure.of(costs.bare), 1.0)
    row("a change, a node with a watch", "CPU ms", Figure.of(costs.watched), 1.0)
    row("a whole list in JSON after a change", "CPU ms", Figure.of(costs.lists))
    row("registering all, until the other node has them", "s", Figure.of([costs.registered]), 15.0)
    click.echo(markdown(rows))
    click.echo(f"\n`python -m tests.bench.big_service`: {size:,} instances; {machine(load_before)}.")


if __name__ == "__main__":
    main()
