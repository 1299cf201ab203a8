"""Generation of a scenario from a seed: base parameters, a set of disabled fault kinds, and one to six faults.

Swarm testing (Groce et al., ISSTA 2012): a run in which every fault is possible seldom shows a bug that needs a few
faults undisturbed by others. So each seed disables some kinds of fault. Generated scenarios can heal: permanent faults
leave a connected core with all seeds, so that the live nodes can find each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, TypeVar

import attrs

from gossipreg_sim.fault import CERTIFICATES, KINDS, Fault
from gossipreg_sim.fault_timing import DEADLY, RESTARTS, end_of_restart, is_for_good
from gossipreg_sim.fuzz.templates import ScenarioTemplate, template_of
from gossipreg_sim.rng import Rng
from gossipreg_sim.scenario import Scenario, Wiring, Workload
from gossipreg_sim.scenario_checks import fits_identity, problem

#: Number of nodes of a generated scenario (from, to), unless given.
NODES: Final = (3, 16)

#: Of the runs that may have several cells, the share that does, and the least number of nodes.
_CELLS_SHARE: Final = 0.5
CELL_NODES_MIN: Final = 4

#: Of the runs in which a cell is split within, the share without other faults: the law about splits needs to see them
#: alone.
_SPLITS_ONLY_SHARE: Final = 0.5

#: Maximum number of faults in one scenario.
FAULTS_MAX: Final = 6

#: Values of each kind of fault, mild or short first (units as in `gossipreg_sim.scenario.Fault`).
VALUES: Final[Mapping[str, Mapping[str, tuple[float, ...] | tuple[str, ...]]]] = {
    "cut": {},
    "flip-flop": {"off": (0.5, 1, 2, 5, 10), "on": (0.5, 1, 2, 5, 10)},
    "loss": {"probability": (0.02, 0.1, 0.3, 0.6, 0.9)},
    "udp-only-loss": {"probability": (1, 0.5, 0.1)},
    "tcp-only-loss": {"probability": (1, 0.5, 0.1)},
    "mtu": {"size": (1250, 1000, 600)},
    "bursts": {"probability": (0.01, 0.05, 0.2), "spread": (0.5, 0.2, 0.05)},
    "duplicate": {"probability": (0.1, 0.5, 1), "spread": (0.01, 0.5, 5)},
    "reorder": {"probability": (0.1, 0.5, 1), "spread": (0.01, 0.2, 2)},
    "delay": {"seconds": (0.01, 0.1, 0.4, 1.5), "spread": (0, 0.01, 0.1, 0.5)},
    "narrow": {"rate": (50_000, 10_000, 2_000), "buffer": (2_000, 8_000, 32_000)},
    "bit-flips": {"probability": (0.01, 0.1, 0.5)},
    "swizzle": {"every": (10, 4)},
    "forge": {"every": (1, 0.1)},
    "replay": {"every": (1, 0.1), "seconds": (0, 1, 5, 20)},
    "impostor": {"every": (2, 0.5), "certificate": CERTIFICATES, "seconds": (0, 0, 1, 3600)},
    "rotate": {"seconds": (3, 9, 15)},
    "output-rejected": {},
    "clock-skew": {"seconds": (1, -1, 20, -20, 3600, -3600)},
    "clock-skew-at-start": {"seconds": (1, -1, 20, -20, 90, -90, 3600, -3600)},
    "clock-drift": {"drift": (0.01, -0.01, 0.2, -0.2)},
    "block": {"off": (0.2, 1, 5, 15), "on": (0, 0.5, 3)},
    "freeze": {"off": (0.2, 1, 5, 15), "on": (0, 0.5, 3)},
    "slow": {"seconds": (0.001, 0.02, 0.2)},
    "crash": {},
    "crash-host": {},
    "leave": {},
    "restart": {"seconds": (0.1, 1, 5), "every": (0, 0.5, 3), "port": (0, 0, 7950)},
    "revoke": {},
    "upgrade": {"seconds": (0.1, 1), "every": (0.5, 3), "identity": ("prefer", "require")},
    "churn": {"every": (10, 5, 2), "seconds": (0.5, 3, 8)},
}

#: Of a clock's values, the first so many may be permanent: sealed packets of an unknown sender must be fresh.
_PERMANENT: Final = 2

_T = TypeVar("_T")


@attrs.frozen
class GeneratedScenario:
    """The scenario of a seed, the disabled kinds of fault, and the template."""

    scenario: Scenario
    off: tuple[str, ...]
    template: str = ""


def generated(seed: int, nodes: tuple[int, int] = NODES, *, cells: bool = False) -> GeneratedScenario:
    """Return the scenario of ``seed`` with ``nodes`` (from, to); equal on every machine and Python version.

    ``cells``: with several cells, and no template; ``nodes`` are enough for that.
    """
    chance = Rng.of("fuzz", seed, "occasion")
    template = ScenarioTemplate() if cells else template_of(chance)
    base = template.base(_base_scenario(seed, Rng.of("fuzz", seed, "stage"), nodes), chance)
    if type(template) is ScenarioTemplate:
        base = _divided(base, Rng.of("fuzz", seed, "cells"), always=cells)
    splits = _cell_splits(base, Rng.of("fuzz", seed, "splits"))
    if splits and Rng.of("fuzz", seed, "splits-only").chance(_SPLITS_ONLY_SHARE):
        off = tuple(kind for kind in KINDS if kind != "cut")
        return GeneratedScenario(attrs.evolve(base, faults=splits), off, type(template).__name__)
    swarm = Rng.of("fuzz", seed, "swarm")
    possible = [kind for kind in KINDS if fits_identity(kind, base)]
    on = [kind for kind in possible if swarm.chance(0.5)] or [_among(swarm, possible)]
    faults = [
        *template.faults(base, chance),
        *_border_cuts(base, Rng.of("fuzz", seed, "borders")),
        *splits,
    ]
    generator = _FaultGenerator(
        base, dict.fromkeys(name for fault in faults if is_for_good(fault) for name in fault.nodes)
    )
    wanted = 1 + swarm.below(FAULTS_MAX)
    number = 0
    while number < wanted or not faults:
        fault = generator.fault(_among(swarm, on), Rng.of("fuzz", seed, "fault", number))
        is_allowed = number >= wanted or template.allows(fault, base)  # at least one fault, even against the template
        if is_allowed and len(faults) < FAULTS_MAX and not problem(fault, faults, base):
            faults.append(fault)
        number += 1
    kinds = [fault.kind for fault in faults]
    off = tuple(kind for kind in KINDS if kind not in on and kind not in kinds)
    return GeneratedScenario(attrs.evolve(base, faults=faults), off, type(template).__name__)


def _base_scenario(seed: int, rng: Rng, nodes: tuple[int, int]) -> Scenario:
    """Return a scenario without faults. Small clusters are more likely, because they allow more runs per second."""
    least, most = nodes
    share = rng.random()
    count = least + int(share * share * (most - least + 1))
    return Scenario(
        name=f"fuzz-{seed}",
        title=f"Generated from seed {seed}",
        nodes=count,
        zones=1 + rng.below(min(3, count)),
        seeds=1 + rng.below(min(3, count)),
        together=rng.chance(0.7),
        warmup=_among(rng, (0.0, 3.0, 6.0)),
        duration=_among(rng, (20.0, 30.0, 40.0)),
        quiet=120.0,
        sealed=rng.chance(0.4),
        identity=_among(Rng.of("fuzz", seed, "identity"), ("off", "off", "off", "prefer", "require")),
        wiring=_wiring(rng.fork()),
        workload=Workload(
            instances=rng.below(4),
            churn=_among(rng, (0.0, 0.5, 2.0)),
            policies=_among(rng, (0.0, 0.0, 0.5, 2.0)),
            primaries=_among(rng, (0.0, 0.0, 0.5)),
        ),
    )


def _divided(base: Scenario, rng: Rng, *, always: bool) -> Scenario:
    """Return ``base``, or for some seeds (or ``always``) the same nodes in two to four cells, of two or more each."""
    is_chosen = rng.chance(_CELLS_SHARE)
    if base.nodes < CELL_NODES_MIN or not (always or (is_chosen and base.identity == "off")):
        return base
    cells = 2 + rng.below(min(3, base.nodes // 2 - 1))
    return attrs.evolve(base, cells=cells, identity="off", seeds=min(base.seeds, base.nodes // cells))


def _border_cuts(base: Scenario, rng: Rng) -> list[Fault]:
    """Return up to two cuts of one cell from the others, in part one-way; none in a flat cluster."""
    cuts = []
    for number in range(rng.below(3) if base.cells > 1 else 0):
        at, lasts = rng.below(int(base.duration) // 2), 2.0 + rng.below(int(base.duration) // 2)
        nodes = (f"cell:cell-{rng.below(base.cells)}",)
        name = f"border-{number + 1}"
        cuts.append(Fault(kind="cut", name=name, at=at, lasts=lasts, nodes=nodes, both_ways=rng.chance(0.7)))
    return cuts


def _cell_splits(base: Scenario, rng: Rng) -> list[Fault]:
    """Return a cut through the middle of a cell, for a third of the scenarios with cells of three nodes or more."""
    number = rng.below(base.cells)
    members = [name for name in base.node_names if base.cell_of(name) == f"cell-{number}"]
    if base.cells == 1 or len(members) < 3 or not rng.chance(1 / 3):
        return []
    few = rng.sample(members, 1 + rng.below(len(members) // 2))
    many = tuple(name for name in members if name not in few)
    at, lasts = rng.below(int(base.duration) // 2), 5.0 + rng.below(int(base.duration) // 2)
    return [Fault(kind="cut", name="split-1", at=at, lasts=lasts, nodes=tuple(few), to=many, both_ways=rng.chance(0.7))]


def _wiring(rng: Rng) -> Wiring:
    kind = _among(rng, ("constant", "exponential", "lognormal"))
    between_zones = _among(rng, (0.0, 0.02, 0.1))
    return Wiring(
        kind=kind,
        seconds=_among(rng, (0.0005, 0.005, 0.05)),
        mean=_among(rng, (0.001, 0.02)) if kind == "exponential" else 0.0,
        sigma=_among(rng, (0.2, 0.8)) if kind == "lognormal" else 0.0,
        between_zones=between_zones,
    )


def _among(rng: Rng, values: tuple[_T, ...] | list[_T]) -> _T:
    return values[rng.below(len(values))]


@attrs.define
class _FaultGenerator:
    """Generates faults that leave a connected core."""

    base: Scenario
    may_die: dict[str, None] = attrs.field(factory=dict)  # nodes that may die for good: no seeds, at most a third
    bad_links: int = 0  # permanently bad links

    def fault(self, kind: str, rng: Rng) -> Fault:
        """Return a fault of ``kind``."""
        values: dict[str, Any] = {key: _among(rng, some) for key, some in VALUES[kind].items()}
        takes = KINDS[kind].takes
        at = rng.below(2 * int(self.base.duration) - 2) / 2
        lasts = (2 + rng.below(2 * int(self.base.duration) - 4)) / 2 if rng.chance(0.7) else 0.0
        values |= {"kind": kind, "at": at, "lasts": lasts, "nodes": self._affected(rng)}
        if "disk" in takes:
            values["disk"] = rng.chance(0.5)
        if "to" in takes:
            values["both_ways"] = rng.chance(0.7)
            values["to"] = self._affected(rng)
        for_good = rng.chance(0.15)
        if kind in DEADLY:
            values |= self._death_values(rng, lasts, for_good=for_good or not lasts)
        elif "permanent" in takes and for_good:
            values |= self._permanent_values(kind, rng)
        if kind == "revoke":
            values |= self._revocation_values(rng, lasts)
        if kind in RESTARTS:
            return self._shortened(Fault(**(values | {"lasts": 0.0})))
        return Fault(**values)

    def _shortened(self, restart: Fault) -> Fault:
        """Shrink a rolling restart, in time and nodes, until it ends before the heal."""
        names = self.base.node_names if restart.nodes == ("*",) else list(restart.nodes)
        room = self.base.duration - restart.seconds
        fit = len(names) if not restart.every else min(len(names), 1 + int(room / restart.every))
        restart = attrs.evolve(restart, nodes=restart.nodes if fit == len(names) else tuple(names[:fit]))
        late = end_of_restart(restart, self.base) - self.base.duration
        return attrs.evolve(restart, at=restart.at - max(0.0, late))

    def _affected(self, rng: Rng) -> tuple[str, ...]:
        """Return one node, some, or all; by name, so that shrinking can remove each one."""
        names = self.base.node_names
        counts = (1, 1, 1, max(1, len(names) // 3), max(1, len(names) // 2), len(names))
        count = _among(rng, counts)
        return ("*",) if count == len(names) else tuple(rng.sample(names, count))

    def _death_values(self, rng: Rng, lasts: float, *, for_good: bool) -> dict[str, Any]:
        mortal = [name for name in self.base.node_names[self.base.seeds :] if name not in self.may_die]
        room = self.base.nodes // 3 - len(self.may_die)
        if not for_good or not mortal or room < 1:
            return {"lasts": lasts or 5.0}
        victims = rng.sample(mortal, 1 + rng.below(room))
        self.may_die |= dict.fromkeys(victims)
        return {"lasts": 0.0, "nodes": tuple(victims), "disk": False}

    def _revocation_values(self, rng: Rng, lasts: float) -> dict[str, Any]:
        """Return whose certificates are revoked: no seed's, and for good at most those of a third of the nodes."""
        others = self.base.node_names[self.base.seeds :]
        free = [name for name in others if name not in self.may_die]
        room = self.base.nodes // 3 - len(self.may_die)
        if not others:
            return {"nodes": (self.base.node_names[-1],), "lasts": lasts or 5.0}
        if lasts or not free or room < 1:
            return {"nodes": (_among(rng, others),), "lasts": lasts or 5.0}
        victims = rng.sample(free, 1 + rng.below(room))
        self.may_die |= dict.fromkeys(victims)
        return {"nodes": tuple(victims), "disk": False}

    def _permanent_values(self, kind: str, rng: Rng) -> dict[str, Any]:
        """Return the values of a permanent fault: on one link between two non-seed nodes, or a small clock error."""
        if kind.startswith("clock"):
            return {"permanent": True, "lasts": 0.0} | {
                key: _among(rng, some[:_PERMANENT]) for key, some in VALUES[kind].items()
            }
        rest = self.base.node_names[self.base.seeds :]
        pairs = list(pairwise(rng.sample(rest, len(rest))))
        if not pairs or 2 * self.bad_links >= self.base.nodes - 3:
            return {}
        self.bad_links += 1
        one, other = _among(rng, pairs)
        return {"permanent": True, "lasts": 0.0, "nodes": (one,), "to": (other,)}
