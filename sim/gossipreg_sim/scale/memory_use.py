"""Memory use of one real node: bytes per known member and per known instance.

Objects are shared only within the node: each update and record is decoded from its own bytes, as one that came over the
network.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence
from random import Random

import attrs

from gossipreg.model import Address, Instance, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_creation import create_engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.wire.messages import message_of, pack
from gossipreg_sim.scale.large_cluster import SERVICE_SIZE


@attrs.frozen
class MemoryUse:
    """Bytes of Python objects in one engine."""

    members: int
    instances: int
    member_bytes: float  # per member
    instance_bytes: float  # per instance, including its owner's table


def measure_memory(members: int, instances: int) -> MemoryUse:
    """Measure an engine that knows ``members`` other members, each with ``instances`` instances."""
    return _measured(members, instances, [""])


def measure_remote_memory(members: int, instances: int, cells: int) -> MemoryUse:
    """Measure an engine that knows ``members`` of ``cells`` other cells, each with ``instances`` instances."""
    return _measured(members, instances, [f"cell-{number}" for number in range(cells)])


def _measured(members: int, instances: int, cells: Sequence[str]) -> MemoryUse:
    engine = create_engine(
        name="self",
        generation=1,
        address=Address("10.255.0.1", 7940),
        zone="",
        cell="own" if cells[0] else "",
        settings=EngineSettings(),
        rng=Random(0),
        has_seeds=False,
        packet_room=1400,
        now=0.0,
    )
    updates = [
        pack(
            MemberUpdate(
                f"n{number}",
                1,
                0,
                Status.ALIVE,
                Address(f"10.0.{number // 256}.{number % 256}", 7940),
                cell=cells[number % len(cells)],
            )
        )
        for number in range(members)
    ]
    records = [pack(record) for number in range(members) for record in _records(number, instances, members)]
    return MemoryUse(
        members,
        instances,
        _growth(engine, updates) / members,
        _growth(engine, records) / len(records) if records else 0.0,
    )


def _records(number: int, instances: int, members: int) -> list[Record]:
    registry = Registry(f"n{number}")
    services = max(1, members * instances // SERVICE_SIZE)
    offered = (
        Instance(
            id=f"n{number}-{which}",
            service=f"service-{(number * instances + which) % services}",
            host="10.0.0.1",
            port=1024 + which,
        )
        for which in range(instances)
    )
    return [registry.offer(instance, 1)[0] for instance in offered]


def _growth(engine: Engine, said: list[bytes]) -> int:
    """Return how much the engine grows by receiving the messages in ``said`` (bytes)."""
    gc.collect()
    tracemalloc.start()
    for raw in said:
        message = message_of(raw)
        if isinstance(message, MemberUpdate) and message.cell:
            engine.state.believe_remote(message, 0.0, spread=False)
        elif isinstance(message, MemberUpdate):
            engine.state.believe(message, 0.0, spread=False)
            engine.detector.prober.trips.measured(message.run_id, 0.001)
        else:
            assert isinstance(message, Record), "only records are sent here"
            engine.state.take(message, 0.0, spread=False)
    engine.state.refresh()
    del message
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held
