"""Results over several sizes: tables, and curves over the number of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gossipreg_sim.report import svg
from gossipreg_sim.report.files import write_file
from gossipreg_sim.reproduce.tables import Cell, Findings, Table
from gossipreg_sim.scale.measures import BURST, Sizes
from gossipreg_sim.scale.memory_use import MemoryUse

_MIB: Final = 1 << 20

_Value = Callable[[Sizes], float | None]


def findings_of(sizes: Sequence[Sizes], weight: MemoryUse, command: str) -> Findings:
    """The tables of all that was measured."""
    return Findings("scale", command, (_rest(sizes), _news(sizes), _deaths(sizes), _weight(weight)))


def _rest(sizes: Sequence[Sizes]) -> Table:
    return Table(
        "At rest",
        ("nodes", "instances", "packets/node/s", "bytes/node/s", "x real time", "MiB", "gathered (s)", "in all (s)"),
        tuple(
            (
                *(size.nodes, size.nodes * size.instances),
                *(size.rest.packets, round(size.rest.bytes), size.rest.speed),
                *(round(size.memory), size.gathered, size.took),
            )
            for size in sizes
        ),
        "x real time, MiB and (s) are of the simulator, all nodes together on one core",
    )


def _news(sizes: Sequence[Sizes]) -> Table:
    def row(size: Sizes) -> Iterator[Cell]:
        yield size.nodes
        for news in (size.registration, size.burst):
            yield from (_ms(news.seconds), news.packets, news.bytes / 1024)
        yield from (_ms(size.join.seconds), size.join.packets, size.join.bytes / 1024)

    columns = ("nodes", "one (ms)", "packets/node", "KiB/node")
    burst = (f"{BURST} (ms)", f"{BURST}: packets/node", f"{BURST}: KiB/node")
    join = ("join (ms)", "join: packets", "join: KiB")
    return Table(
        f"One registration, {BURST} at once, one node joins: until the last node knows",
        (*columns, *burst, *join),
        tuple(tuple(row(size)) for size in sizes),
        "what was sent in 3 s, above what rest costs; that of a join is of the whole cluster",
    )


def _deaths(sizes: Sequence[Sizes]) -> Table:
    return Table(
        "Until the last node knows of a death, or of a split",
        ("nodes", "killed (ms)", "silent: avoided (s)", "silent: failed (s)", "split: all failed (s)", "healed (s)"),
        tuple(
            (size.nodes, _ms(size.crash), size.silence_avoided, size.silence_failed, size.split, size.heal)
            for size in sizes
        ),
        "avoided: lookups prefer others; healed: all states are the same again; -: not measured",
    )


def _weight(weight: MemoryUse) -> Table:
    whole = weight.members * (weight.member_bytes + weight.instances * weight.instance_bytes)
    row = (weight.members, weight.members * weight.instances, weight.member_bytes, weight.instance_bytes, whole / _MIB)
    return Table(
        "The memory of one real node",
        ("members", "instances", "bytes/member", "bytes/instance", "MiB"),
        (row,),
        "Python objects of the engine alone, nothing shared with other nodes",
    )


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def figures_of(sizes: Sequence[Sizes]) -> dict[str, svg.Figure]:
    """Curves over the number of nodes, by the name of the file that they belong in."""
    news = (
        _panel("one registration, on the last node (ms)", sizes, one=lambda s: 1000 * s.registration.seconds),
        _panel(f"{BURST} at once, on the last node (ms)", sizes, burst=lambda s: 1000 * s.burst.seconds),
        _panel("packets for one registration, each node", sizes, one=lambda s: s.registration.packets),
        _panel("a join, all nodes together (KiB)", sizes, join=lambda s: s.join.bytes / 1024),
    )
    deaths = (
        _panel("a process is killed: failed everywhere (ms)", sizes, killed=lambda s: 1000 * s.crash),
        _panel(
            "a host falls silent (s)", sizes, avoided=lambda s: s.silence_avoided, failed=lambda s: s.silence_failed
        ),
        _panel("a split, and its end (s)", sizes, failed=lambda s: s.split, healed=lambda s: s.heal),
    )
    rest = (
        _panel("bytes of a node at rest, each second", sizes, bytes=lambda s: s.rest.bytes),
        _panel("the simulator at rest: x real time", sizes, speed=lambda s: s.rest.speed),
        _panel("the simulator's memory (MiB)", sizes, memory=lambda s: s.memory),
    )
    end = float(max(size.nodes for size in sizes))
    instances = f"{sizes[0].instances} instances a node, 0.5 ms one way, one seed"
    return {
        f"scale-{name}.svg": svg.Figure(title, instances, end, (), panels, unit="nodes")
        for name, title, panels in (
            ("news", "How fast news travels, and what it costs", news),
            ("deaths", "How fast deaths are known", deaths),
            ("rest", "What rest costs", rest),
        )
    }


def _panel(title: str, sizes: Sequence[Sizes], **values: _Value) -> svg.Panel:
    lines = []
    for name, value in values.items():
        points = [(float(size.nodes), of) for size in sizes if (of := value(size)) is not None]
        if points:
            lines.append(svg.Series(name, points))
    return svg.Panel(title, tuple(lines))


def save_figures(sizes: Sequence[Sizes], folder: Path) -> None:
    """Write all curves into ``folder``. Raises `ScenarioError`."""
    for name, figure in figures_of(sizes).items():
        write_file(folder / name, svg.written(figure).encode())
