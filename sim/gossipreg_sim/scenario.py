"""Scenario: nodes, their network, the workload, the faults and their times, and the marks that a run must reach."""

from __future__ import annotations

import math
from collections import Counter
from difflib import get_close_matches
from typing import Any, Final

import attrs

from gossipreg.errors import ConfigError
from gossipreg.protocol.engine_settings import EngineSettings, engine_settings
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg_sim.fault import CERTIFICATES, KINDS, SIGNED, Fault, as_tuple, keys_of, named
from gossipreg_sim.marks import known_marks
from gossipreg_sim.scenario_checks import problem
from gossipreg_sim.wire import WIRES

#: Maximum number of nodes: every node holds the whole view, so memory grows with the square.
NODES_MAX: Final = 4096

#: Maximum length of a phase: a week (virtual seconds).
SECONDS_MAX: Final = 604_800.0

#: Approximate maximum of user actions in one scenario: each instance has a port of its own.
REGISTRATIONS_MAX: Final = 50_000

#: Maximum of any number in a scenario: a rate of 10 Gbit/s.
_NUMBER_MAX: Final = 1.25e9


class ScenarioError(ConfigError):
    """A scenario that cannot be run; the message names the key, the file and the allowed values."""


#: What nodes may ask of statements.
IDENTITIES: Final = tuple(mode.value for mode in IdentityMode)

#: Latency distributions.
WIRINGS: Final = ("constant", "exponential", "lognormal")


@attrs.frozen(kw_only=True)
class Wiring:
    """The one-way latency of packets."""

    kind: str = "constant"  # one of WIRINGS
    seconds: float = 0.0005  # the constant, the minimum, or the median
    mean: float = 0.0  # of the exponential tail
    sigma: float = 0.0  # of the logarithm
    between_zones: float = 0.0  # one-way latency between zones, if it differs

    def slowest(self, deviations: float) -> float:
        """Return the one-way time (seconds) of a packet ``deviations`` standard deviations slower than usual."""
        tail = math.exp(deviations * self.sigma) if self.kind == "lognormal" or self.between_zones else 1.0
        return max(self.seconds, self.between_zones) * tail + deviations * self.mean


@attrs.frozen(kw_only=True)
class Workload:
    """The actions of users."""

    instances: int = 1  # offered by each node from its start
    churn: float = 0.0  # registrations and deregistrations a second, in the whole cluster, while faults last
    policies: float = 0.0  # policies set or removed a second, likewise, from a small set of keys
    primaries: float = 0.0  # promotions and demotions a second, likewise, in one service

    @property
    def rate(self) -> float:
        """User actions a second."""
        return self.churn + self.policies + self.primaries


@attrs.frozen(kw_only=True)
class Scenario:
    """A run in three phases: faults (safety must hold), heal, and quiet (liveness must hold within a bound).

    >>> from gossipreg_sim import Fault, Scenario, run_scenario
    >>> dark = Scenario(title="A zone goes dark", nodes=6, zones=3, warmup=5, duration=20, faults=[
    ...     Fault(kind="crash-host", nodes="zone:zone-2", at=2, lasts=15)])
    >>> outcome = run_scenario(dark, seed=1)
    >>> outcome.is_good
    True
    >>> outcome.marks["crash-host"], outcome.healed_in < outcome.bound
    (2, True)
    """

    name: str = "scenario"
    title: str
    nodes: int
    zones: int = 1
    cells: int = 1  # rings that the nodes are divided into, round-robin; 1: a flat cluster
    seeds: int = 1  # the first nodes (of each cell), which are the seeds of all
    together: bool = True  # whether all start at once, or `stagger` seconds apart
    stagger: float = 0.1
    warmup: float = 10.0  # seconds before the faults
    duration: float = 60.0  # seconds that the faults last
    quiet: float = 60.0  # maximum seconds after the heal in which liveness is awaited
    sealed: bool = False
    identity: str = "off"  # one of IDENTITIES: what nodes ask of statements
    wire: str = "bytes"  # one of WIRES
    wiring: Wiring = Wiring()
    workload: Workload = Workload()
    settings: EngineSettings = attrs.field(default=EngineSettings(), converter=engine_settings)
    faults: tuple[Fault, ...] = attrs.field(default=(), converter=named)
    sometimes: tuple[str, ...] = attrs.field(default=(), converter=as_tuple)  # marks that a run must reach

    def __attrs_post_init__(self) -> None:
        """Raise `ScenarioError` for an invalid scenario."""
        if not 1 <= self.nodes <= NODES_MAX:
            raise ScenarioError(f"nodes: {self.nodes} is not a number from 1 to {NODES_MAX}")
        for key, most in (("zones", self.nodes), ("cells", self.nodes), ("seeds", self.nodes // max(1, self.cells))):
            if not 1 <= getattr(self, key) <= most:
                raise ScenarioError(f"{key}: {getattr(self, key)} is not a number from 1 to {most}")
        for key in ("warmup", "duration", "quiet", "stagger"):
            if not 0 <= getattr(self, key) <= SECONDS_MAX:
                raise ScenarioError(f"{key}: {getattr(self, key)} is not a number from 0 to {SECONDS_MAX:.0f}")
        self._check_parts()
        self._check_starts()
        self._check_wire()
        if self.identity not in IDENTITIES:
            raise ScenarioError(f"identity {self.identity!r}: {nearest(self.identity, list(IDENTITIES))}")
        for name, times in Counter(fault.name for fault in self.faults).items():
            if times > 1:
                raise ScenarioError(f"fault {name}: name: {times} faults have this name: give each its own")
        for place, fault in enumerate(self.faults):
            self._check(fault, self.faults[:place])
        for mark in self.sometimes:
            if mark not in (known := known_marks(KINDS)):
                raise ScenarioError(f"sometimes: no mark {mark!r}: {nearest(mark, known)}")

    def _check_parts(self) -> None:
        if self.wiring.kind not in WIRINGS:
            raise ScenarioError(f"[wiring] kind {self.wiring.kind!r}: {nearest(self.wiring.kind, list(WIRINGS))}")
        for table, part in (("wiring", self.wiring), ("workload", self.workload)):
            for key, value in attrs.asdict(part).items():
                check_number(f"[{table}] {key}", value)
        registrations = self.workload.instances + self.workload.rate * self.duration
        if registrations > REGISTRATIONS_MAX:
            what = "instances + (churn + policies + primaries) x duration"
            raise ScenarioError(f"[workload] {what}: {registrations:.0f} is more than {REGISTRATIONS_MAX}")

    def _check_wire(self) -> None:
        if self.cells > 1 and self.has_identity:
            raise ScenarioError(f"cells: {self.cells}: nodes of several cells have no identity")
        if self.wire not in WIRES:
            raise ScenarioError(f"wire {self.wire!r}: {nearest(self.wire, list(WIRES))}")
        forgeries = [fault.name for fault in self.faults if fault.kind in ("forge", "replay", "impostor")]
        if self.wire == "objects" and (self.sealed or forgeries):
            what = "sealed = true" if self.sealed else f"fault {forgeries[0]}"
            raise ScenarioError(f"wire 'objects': {what} needs sealed packets: write wire = \"bytes\"")

    def _check_starts(self) -> None:
        if self.together:
            return
        last, heal = (self.nodes - 1) * self.stagger, self.warmup + self.duration
        if last >= heal > 0:
            raise ScenarioError(f"stagger: the last node would start at {last:g} s, and the heal comes at {heal:g} s")

    def _check(self, fault: Fault, others: tuple[Fault, ...]) -> None:
        where = f"fault {fault.name}: "
        if fault.kind not in KINDS:
            raise ScenarioError(f"{where}kind {fault.kind!r}: {nearest(fault.kind, list(KINDS))}")
        _check_keys(fault, where)
        for key in KINDS[fault.kind].needs:
            if not getattr(fault, key):
                raise ScenarioError(f"{where}the key {key!r} is missing: a {fault.kind} needs it")
        for key, known in (("certificate", CERTIFICATES), ("identity", IDENTITIES)):
            value = getattr(fault, key)
            if value and value not in known:
                raise ScenarioError(f"{where}{key} {value!r}: {nearest(value, list(known))}")
        for key in ("probability", "spread") if fault.kind == "bursts" else ("probability",):
            if getattr(fault, key) > 1:
                raise ScenarioError(f"{where}{key}: {getattr(fault, key)} is not a number from 0 to 1")
        if fault.drift <= -1:
            raise ScenarioError(f"{where}drift: {fault.drift} would stop the clock")
        for selector in (*fault.nodes, *fault.to):
            if not self._is_node_selector(selector):
                groups = "zone:zone-0, cell:cell-0" if self.cells > 1 else "zone:zone-0"
                allowed = f"n0 to n{self.nodes - 1}, *, {groups}, or random:N, first:N, last:N (N <= {self.nodes})"
                raise ScenarioError(f"{where}{selector!r} names no node: write {allowed}")
        if said := problem(fault, others, self):
            raise ScenarioError(f"{where}{said}")

    def _is_node_selector(self, selector: str) -> bool:
        how, _, which = selector.partition(":")
        if how in ("random", "first", "last"):
            return which.isdecimal() and 0 < int(which) <= self.nodes
        if how == "zone":
            return which in [self.zone_of(name) for name in self.node_names]
        if how == "cell" and self.cells > 1:
            return which in [self.cell_of(name) for name in self.node_names]
        return selector == "*" or selector in self.node_names

    @property
    def has_identity(self) -> bool:
        """Whether nodes have certificates, from the start or after an upgrade."""
        return self.identity != "off" or any(fault.kind == "upgrade" for fault in self.faults)

    @property
    def node_names(self) -> list[str]:
        """The names of the nodes: n0, n1, and so on."""
        return [f"n{number}" for number in range(self.nodes)]

    def zone_of(self, name: str) -> str:
        """Return the zone of a node; zones are assigned round-robin."""
        return f"zone-{int(name[1:]) % self.zones}"

    def cell_of(self, name: str) -> str:
        """Return the cell of a node; cells are assigned round-robin. Empty in a flat cluster."""
        return f"cell-{int(name[1:]) % self.cells}" if self.cells > 1 else ""


def _check_keys(fault: Fault, where: str) -> None:
    """Raise `ScenarioError` for a key that its kind does not have, or that is out of range."""
    allowed = keys_of(fault.kind)
    for field in attrs.fields(Fault):
        value = getattr(fault, field.name)
        if field.name not in allowed and value != field.default:
            raise ScenarioError(f"{where}no key {field.name!r}: {nearest(field.name, list(allowed))}")
        signed = fault.kind in SIGNED and field.name in ("seconds", "drift")
        check_number(f"{where}{field.name}", value, -SECONDS_MAX if signed else 0.0)


def check_number(where: str, value: Any, least: float = 0.0) -> None:
    """Raise `ScenarioError` if ``value`` is a number out of range, or NaN."""
    if isinstance(value, int | float) and not least <= value <= _NUMBER_MAX:
        raise ScenarioError(f"{where}: {value!r} is not a number from {least:g} to {_NUMBER_MAX:g}")


def nearest(name: str, allowed: list[str]) -> str:
    """Return "did you mean ...?" for a name that is not allowed, and the allowed names."""
    near = get_close_matches(name, allowed, n=1)
    if near:
        return f"did you mean {near[0]!r}? Allowed: {', '.join(sorted(allowed))}"
    return f"allowed: {', '.join(sorted(allowed))}"
