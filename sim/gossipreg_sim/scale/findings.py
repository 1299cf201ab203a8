"""Results over several sizes: tables, and curves over the number of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gossipreg_sim.report import svg
from gossipreg_sim.report.files import write_file
from gossipreg_sim.reproduce.tables import Cell, Findings, Table
from gossipreg_sim.scale.measures import BURST, SizeResult
from gossipreg_sim.scale.memory_use import MemoryUse
from gossipreg_sim.scale.one_node import NEWCOMERS, OneNode
from gossipreg_sim.scale.region_of_cells import CHANGE_SECONDS, RegionResult

_MIB: Final = 1 << 20

_Value = Callable[[SizeResult], float | None]


def findings_of(sizes: Sequence[SizeResult], memory: MemoryUse, one: OneNode, command: str) -> Findings:
    """Return the tables of all measurements. Without ``sizes`` no cluster was simulated as a whole."""
    whole = (_idle(sizes), _changes(sizes), _deaths(sizes)) if sizes else ()
    return Findings("scale", command, (*whole, _memory(memory), _work(one)))


def region_findings_of(regions: Sequence[RegionResult], command: str) -> Findings:
    """Return the tables of measured regions."""
    return Findings("scale", command, (_traffic(regions), _crossing(regions), _remote_memory(regions)))


def _traffic(regions: Sequence[RegionResult]) -> Table:
    return Table(
        "Traffic of a region's nodes",
        (
            *("nodes", "cells", "idle: packets/node/s", "bytes/node/s"),
            *("changing: packets/node/s", "changing: bytes/node/s", "x real time", "total (s)"),
        ),
        tuple(
            (
                *(each.nodes, each.cells, each.idle.packets, round(each.idle.bytes)),
                *(each.changing.packets, round(each.changing.bytes), each.idle.speed, each.took),
            )
            for each in regions
        ),
        f"datagrams and frames, in clear, before IP headers; changing: each node changes one registration every "
        f"{CHANGE_SECONDS:.0f} s",
    )


def _crossing(regions: Sequence[RegionResult]) -> Table:
    return Table(
        "One registration, until the last node knows it; and how many nodes are relays to so many cells",
        ("nodes", "cells", "own cell (ms)", "region (ms)", "slowest (ms)", "relay duties"),
        tuple(
            (
                *(each.nodes, each.cells, _ms(each.own_cell), _ms(each.region), _ms(each.slowest)),
                " ".join(f"{count}:{nodes}" for count, nodes in enumerate(each.duties)),
            )
            for each in regions
        ),
        "medians of five; duties: so many cells, and behind the colon the nodes that are a relay to so many",
    )


def _remote_memory(regions: Sequence[RegionResult]) -> Table:
    def row(each: RegionResult) -> tuple[Cell, ...]:
        memory = each.memory
        whole = memory.members * (memory.member_bytes + memory.instances * memory.instance_bytes)
        return memory.members, each.cells - 1, memory.member_bytes, memory.instance_bytes, whole / _MIB

    return Table(
        "Memory of one real node for the other cells",
        ("members", "cells", "bytes/member", "bytes/instance", "MiB"),
        tuple(map(row, regions)),
        "Python objects of the engine alone, with no state shared between nodes",
    )


def _idle(sizes: Sequence[SizeResult]) -> Table:
    return Table(
        "Idle cluster",
        ("nodes", "instances", "packets/node/s", "bytes/node/s", "x real time", "MiB", "setup (s)", "total (s)"),
        tuple(
            (
                *(size.nodes, size.nodes * size.instances),
                *(size.idle.packets, round(size.idle.bytes), size.idle.speed),
                *(round(size.memory), size.setup, size.took),
            )
            for size in sizes
        ),
        "x real time, MiB and (s) are of the simulator, all nodes together on one core",
    )


def _changes(sizes: Sequence[SizeResult]) -> Table:
    def row(size: SizeResult) -> Iterator[Cell]:
        yield size.nodes
        for cost in (size.registration, size.burst):
            yield from (_ms(cost.seconds), cost.packets, cost.bytes / 1024)
        yield from (_ms(size.join.seconds), size.join.packets, size.join.bytes / 1024)

    columns = ("nodes", "one (ms)", "packets/node", "KiB/node")
    burst = (f"{BURST} (ms)", f"{BURST}: packets/node", f"{BURST}: KiB/node")
    join = ("join (ms)", "join: packets", "join: KiB")
    return Table(
        f"One registration, {BURST} at once, one node joins: until the last node knows",
        (*columns, *burst, *join),
        tuple(tuple(row(size)) for size in sizes),
        "traffic in 3 s above the idle cost; for a join, of the whole cluster",
    )


def _deaths(sizes: Sequence[SizeResult]) -> Table:
    return Table(
        "Time until the last node detects a death, or a split",
        ("nodes", "killed (ms)", "silent: avoided (s)", "silent: failed (s)", "split: all failed (s)", "healed (s)"),
        tuple(
            (size.nodes, _ms(size.crash), size.silence_avoided, size.silence_failed, size.split, size.heal)
            for size in sizes
        ),
        "avoided: lookups prefer others; healed: all states are equal again; -: not measured",
    )


def _memory(memory: MemoryUse) -> Table:
    whole = memory.members * (memory.member_bytes + memory.instances * memory.instance_bytes)
    row = (memory.members, memory.members * memory.instances, memory.member_bytes, memory.instance_bytes, whole / _MIB)
    return Table(
        "Memory of one real node",
        ("members", "instances", "bytes/member", "bytes/instance", "MiB"),
        (row,),
        "Python objects of the engine alone, with no state shared between nodes",
    )


def _work(one: OneNode) -> Table:
    row = (
        one.members,
        *(1e6 * one.learn, 1e6 * one.revise),
        *(1e3 * one.tell, one.told_bytes / 1024),
        *(1e3 * one.longest, one.all_told),
    )
    joins = f"{NEWCOMERS} join at once"
    costs = ("learn one (us)", "revise one (us)", "tell all (ms)", "KiB")
    return Table(
        "Work of one real node",
        ("members", *costs, f"{joins}: longest step (ms)", "all told (s)"),
        (row,),
        "CPU of the engine alone, without its peers; all told: on its own clock, with no limit to streams",
    )


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def figures_of(sizes: Sequence[SizeResult]) -> dict[str, svg.Figure]:
    """Return curves over the number of nodes, by file name."""
    changes = (
        _panel("one registration, until the last node knows (ms)", sizes, one=lambda s: 1000 * s.registration.seconds),
        _panel(f"{BURST} at once, until the last node knows (ms)", sizes, burst=lambda s: 1000 * s.burst.seconds),
        _panel("packets per node for one registration", sizes, one=lambda s: s.registration.packets),
        _panel("a join, whole cluster (KiB)", sizes, join=lambda s: s.join.bytes / 1024),
    )
    deaths = (
        _panel("a process is killed: failed everywhere (ms)", sizes, killed=lambda s: 1000 * s.crash),
        _panel(
            "a host falls silent (s)", sizes, avoided=lambda s: s.silence_avoided, failed=lambda s: s.silence_failed
        ),
        _panel("a split, and its heal (s)", sizes, failed=lambda s: s.split, healed=lambda s: s.heal),
    )
    idle = (
        _panel("bytes per idle node and second", sizes, bytes=lambda s: s.idle.bytes),
        _panel("simulator speed when idle: x real time", sizes, speed=lambda s: s.idle.speed),
        _panel("the simulator's memory (MiB)", sizes, memory=lambda s: s.memory),
    )
    end = float(max(size.nodes for size in sizes))
    instances = f"{sizes[0].instances} instances per node, 0.5 ms one way, one seed"
    return {
        f"scale-{name}.svg": svg.Figure(title, instances, end, (), panels, unit="nodes")
        for name, title, panels in (
            ("news", "Propagation time and cost of changes", changes),
            ("deaths", "Detection time of deaths", deaths),
            ("rest", "Idle cost", idle),
        )
    }


def _panel(title: str, sizes: Sequence[SizeResult], **values: _Value) -> svg.Panel:
    lines = []
    for name, value in values.items():
        points = [(float(size.nodes), of) for size in sizes if (of := value(size)) is not None]
        if points:
            lines.append(svg.Series(name, points))
    return svg.Panel(title, tuple(lines))


def save_figures(sizes: Sequence[SizeResult], folder: Path) -> None:
    """Write all curves into ``folder``. Raises `ScenarioError`."""
    for name, figure in figures_of(sizes).items():
        write_file(folder / name, svg.rendered(figure).encode())
