"""Scenario: nodes, their network, the workload, the faults and their times, and the marks that a run must reach."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from gossipreg.errors import ConfigError
from gossipreg.protocol.engine_settings import EngineSettings, engine_settings
from gossipreg_sim.marks import known_marks
from gossipreg_sim.scenario_checks import problem
from gossipreg_sim.wire import WIRES

if TYPE_CHECKING:
    from gossipreg_sim.runner import Outcome

#: Where the scenarios that come with the simulator are.
SHIPPED: Final = Path(__file__).parent / "scenarios"

#: Nodes in one scenario: every node holds the whole view, so memory grows with the square.
NODES_MAX: Final = 4096

#: Virtual seconds of one phase: a week.
SECONDS_MAX: Final = 604_800.0

#: What users do in one scenario, about: each instance has a port of its own.
REGISTRATIONS_MAX: Final = 50_000

#: The greatest number that a scenario may have anywhere: a rate of 10 Gbit/s.
_NUMBER_MAX: Final = 1.25e9

_T = TypeVar("_T")


class ScenarioError(ConfigError):
    """A scenario that cannot be run; the sentence names the key, the file and what is allowed."""


#: How latencies may be distributed.
WIRINGS: Final = ("constant", "exponential", "lognormal")


@attrs.frozen(kw_only=True)
class Wiring:
    """How long packets take."""

    kind: str = "constant"  # one of WIRINGS
    seconds: float = 0.0005  # the constant, the least, or the median
    mean: float = 0.0  # of the exponential tail
    sigma: float = 0.0  # of the logarithm
    between_zones: float = 0.0  # one way between two zones, if it differs


@attrs.frozen(kw_only=True)
class Workload:
    """What users do."""

    instances: int = 1  # offered by each node from its start
    churn: float = 0.0  # registrations and deregistrations a second, in the whole cluster, while faults last
    policies: float = 0.0  # policies set or removed a second, likewise, of few keys
    primaries: float = 0.0  # claims a second, likewise, to be the primary of one service, or to be a replica again

    @property
    def rate(self) -> float:
        """What users do a second."""
        return self.churn + self.policies + self.primaries


@attrs.frozen
class Kind:
    """One kind of fault: what it does, the keys that it must have, those that it may have, and the marks it makes.

    A kind that takes `to` marks its beginning and its end besides.
    """

    does: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


#: Each kind of fault. All may have kind, name, at, lasts and nodes; times are in seconds.
KINDS: Final[Mapping[str, Kind]] = {
    "cut": Kind("no packet gets through between `nodes` and `to` (the others)", (), ("to", "both_ways", "permanent")),
    "flip-flop": Kind(
        "cut for `off`, then working for `on`, over and over", ("off", "on"), ("to", "both_ways", "permanent")
    ),
    "loss": Kind("each packet is lost with this `probability`", ("probability",), ("to", "both_ways", "permanent")),
    "udp-only-loss": Kind(
        "each packet is lost with this `probability`, streams pass", ("probability",), ("to", "both_ways")
    ),
    "tcp-only-loss": Kind(
        "streams lose each segment with this `probability`, packets pass", ("probability",), ("to", "both_ways")
    ),
    "mtu": Kind("packets and segments of more than `size` bytes are lost", ("size",), ("to", "both_ways")),
    "bursts": Kind(
        "losses come in bursts: each packet turns a good link bad with `probability`, a bad one good with `spread`",
        ("probability",),
        ("to", "both_ways", "spread", "permanent"),
    ),
    "duplicate": Kind(
        "a packet arrives twice, the second up to `spread` later",
        ("probability",),
        ("to", "both_ways", "spread", "permanent"),
    ),
    "reorder": Kind(
        "a packet is held back for up to `spread`", ("probability",), ("to", "both_ways", "spread", "permanent")
    ),
    "delay": Kind(
        "everything takes `seconds` longer, plus an exponential tail of mean `spread`",
        ("seconds",),
        ("to", "both_ways", "spread", "permanent"),
    ),
    "narrow": Kind(
        "`rate` bytes a second get through; `buffer` bytes may wait",
        ("rate",),
        ("to", "both_ways", "buffer", "permanent"),
    ),
    "bit-flips": Kind("one bit of a packet is flipped", ("probability",), ("to", "both_ways", "permanent")),
    "swizzle": Kind("a third of `nodes` is cut off one after the other, and reconnected in reverse order", ("every",)),
    "forge": Kind(
        "one of `nodes` receives a packet that no member sent: junk, spoilt, or under a wrong key",
        ("every",),
        (),
        ("forge",),
    ),
    "replay": Kind(
        "one of `nodes` receives a copy of a packet that is at least `seconds` old",
        ("every",),
        ("seconds",),
        ("replay",),
    ),
    "output-rejected": Kind(
        "the kernel of `nodes` refuses all their packets and connects at once", (), (), ("output-rejected",)
    ),
    "clock-skew": Kind(
        "the wall clock is wrong by `seconds` (below 0: behind)", ("seconds",), ("permanent",), ("clock",)
    ),
    "clock-skew-at-start": Kind(
        "the wall clock is wrong by `seconds` from the first start until the end", ("seconds",), (), ("clock",)
    ),
    "clock-drift": Kind(
        "both clocks gain `drift` seconds a second (below 0: lose)", ("drift",), ("permanent",), ("drift",)
    ),
    "block": Kind(
        "sending and receiving wait while timers run: for `off`, then working for `on`",
        (),
        ("off", "on"),
        ("block", "unblock"),
    ),
    "freeze": Kind(
        "everything stops, as under SIGSTOP: for `off`, then working for `on`",
        (),
        ("off", "on"),
        ("freeze", "unfreeze"),
    ),
    "slow": Kind("each thing that arrives takes `seconds` to handle", ("seconds",), (), ("slow",)),
    "crash": Kind(
        "the process dies; it comes back after `lasts`, if given", (), ("disk", "permanent"), ("crash", "start")
    ),
    "crash-host": Kind(
        "the host falls silent; it comes back after `lasts`, if given",
        (),
        ("disk", "permanent"),
        ("crash-host", "start"),
    ),
    "leave": Kind(
        "the node says goodbye; it comes back after `lasts`, if given", (), ("disk", "permanent"), ("leave", "start")
    ),
    "restart": Kind(
        "`nodes` die and come back `seconds` later, each `every` after the one before",
        ("seconds",),
        ("disk", "port", "every"),
        ("crash", "start"),
    ),
    "churn": Kind(
        "one of `nodes` dies and comes back `seconds` later, over and over",
        ("every", "seconds"),
        ("disk",),
        ("crash", "crash-host", "start"),
    ),
}
_ALWAYS: Final = ("kind", "name", "at", "lasts", "nodes")

#: Keys that may be below 0, for these kinds.
_SIGNED: Final = ("clock-skew", "clock-skew-at-start", "clock-drift")


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong: from ``at`` on, for ``lasts`` seconds, on ``nodes`` or on links."""

    kind: str
    name: str = ""  # what its rng is named after; by default the kind and a number
    at: float = 0.0
    lasts: float = 0.0  # 0: until the heal
    nodes: tuple[str, ...] = attrs.field(default=("*",), converter=_words)
    to: tuple[str, ...] = attrs.field(default=("*",), converter=_words)
    both_ways: bool = True
    probability: float = 0.0
    spread: float = 0.05
    off: float = 0.0
    on: float = 0.0
    every: float = 0.0
    seconds: float = 0.0
    drift: float = 0.0  # seconds a second
    rate: float = 0.0  # bytes a second
    buffer: int = 65_536  # bytes
    size: int = 0  # bytes
    disk: bool = False
    port: int = 0
    permanent: bool = False


def _named(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """The faults, each with a name that it keeps when others are taken away, so that its draws stay the same."""
    taken = dict.fromkeys(fault.name for fault in faults)
    named = []
    for fault in faults:
        numbered = (f"{fault.kind}-{number}" for number in count(1))
        name = fault.name or next(name for name in numbered if name not in taken)
        taken[name] = None
        named.append(attrs.evolve(fault, name=name))
    return tuple(named)


@attrs.frozen(kw_only=True)
class Scenario:
    """A run in three acts: faults (safety must hold), heal, and quiet (liveness must hold within a bound).

    >>> from gossipreg_sim import Fault, Scenario
    >>> dark = Scenario(title="A zone goes dark", nodes=6, zones=3, warmup=5, duration=20, faults=[
    ...     Fault(kind="crash-host", nodes="zone:zone-2", at=2, lasts=15)])
    >>> outcome = dark.run(seed=1)
    >>> outcome.is_good
    True
    >>> outcome.marks["crash-host"], outcome.healed_in < outcome.bound
    (2, True)
    """

    name: str = "scenario"
    title: str
    nodes: int
    zones: int = 1
    seeds: int = 1  # the first so many nodes are everybody's seeds
    together: bool = True  # all start at once, or one after the other, `stagger` seconds apart
    stagger: float = 0.1
    warmup: float = 10.0  # quiet before the faults
    duration: float = 60.0  # seconds that the faults last
    quiet: float = 60.0  # at most so long after the heal, for liveness
    sealed: bool = False
    wire: str = "bytes"  # one of WIRES
    wiring: Wiring = Wiring()
    workload: Workload = Workload()
    settings: EngineSettings = attrs.field(default=EngineSettings(), converter=engine_settings)
    faults: tuple[Fault, ...] = attrs.field(default=(), converter=_named)
    sometimes: tuple[str, ...] = attrs.field(default=(), converter=_words)  # marks that the run must make

    def __attrs_post_init__(self) -> None:
        """Raise `ScenarioError` for what cannot be run."""
        if not 1 <= self.nodes <= NODES_MAX:
            raise ScenarioError(f"nodes: {self.nodes} is not a number from 1 to {NODES_MAX}")
        for key, least, most in (("zones", 1, self.nodes), ("seeds", 1, self.nodes)):
            if not least <= getattr(self, key) <= most:
                raise ScenarioError(f"{key}: {getattr(self, key)} is not a number from {least} to {most}")
        for key in ("warmup", "duration", "quiet", "stagger"):
            if not 0 <= getattr(self, key) <= SECONDS_MAX:
                raise ScenarioError(f"{key}: {getattr(self, key)} is not a number from 0 to {SECONDS_MAX:.0f}")
        self._check_parts()
        self._check_starts()
        self._check_wire()
        for name, times in Counter(fault.name for fault in self.faults).items():
            if times > 1:
                raise ScenarioError(f"fault {name}: name: {times} faults have it: give each its own")
        for place, fault in enumerate(self.faults):
            self._check(fault, self.faults[:place])
        for mark in self.sometimes:
            if mark not in (known := known_marks(KINDS)):
                raise ScenarioError(f"sometimes: no mark {mark!r}: {_nearest(mark, known)}")

    def _check_parts(self) -> None:
        if self.wiring.kind not in WIRINGS:
            raise ScenarioError(f"[wiring] kind {self.wiring.kind!r}: {_nearest(self.wiring.kind, list(WIRINGS))}")
        for table, part in (("wiring", self.wiring), ("workload", self.workload)):
            for key, value in attrs.asdict(part).items():
                _check_number(f"[{table}] {key}", value)
        registrations = self.workload.instances + self.workload.rate * self.duration
        if registrations > REGISTRATIONS_MAX:
            what = "instances + (churn + policies + primaries) x duration"
            raise ScenarioError(f"[workload] {what}: {registrations:.0f} is more than {REGISTRATIONS_MAX}")

    def _check_wire(self) -> None:
        if self.wire not in WIRES:
            raise ScenarioError(f"wire {self.wire!r}: {_nearest(self.wire, list(WIRES))}")
        liars = [fault.name for fault in self.faults if fault.kind in ("forge", "replay")]
        if self.wire == "objects" and (self.sealed or liars):
            what = "sealed = true" if self.sealed else f"fault {liars[0]}"
            raise ScenarioError(f"wire 'objects': {what} needs packets that are sealed: write wire = \"bytes\"")

    def _check_starts(self) -> None:
        if self.together:
            return
        last, heal = (self.nodes - 1) * self.stagger, self.warmup + self.duration
        if last >= heal > 0:
            raise ScenarioError(f"stagger: the last node would start at {last:g} s, and the heal comes at {heal:g} s")

    def _check(self, fault: Fault, others: tuple[Fault, ...]) -> None:
        where = f"fault {fault.name}: "
        if fault.kind not in KINDS:
            raise ScenarioError(f"{where}kind {fault.kind!r}: {_nearest(fault.kind, list(KINDS))}")
        _check_keys(fault, where)
        for key in KINDS[fault.kind].needs:
            if not getattr(fault, key):
                raise ScenarioError(f"{where}the key {key!r} is missing: a {fault.kind} needs it")
        for key in ("probability", "spread") if fault.kind == "bursts" else ("probability",):
            if getattr(fault, key) > 1:
                raise ScenarioError(f"{where}{key}: {getattr(fault, key)} is not a number from 0 to 1")
        if fault.drift <= -1:
            raise ScenarioError(f"{where}drift: {fault.drift} would stop the clock")
        for word in (*fault.nodes, *fault.to):
            if not self._names_somebody(word):
                allowed = f"n0 to n{self.nodes - 1}, *, zone:zone-0, or random:N, first:N, last:N (N <= {self.nodes})"
                raise ScenarioError(f"{where}{word!r} names no node: write {allowed}")
        if said := problem(fault, others, self):
            raise ScenarioError(f"{where}{said}")

    def _names_somebody(self, word: str) -> bool:
        how, _, which = word.partition(":")
        if how in ("random", "first", "last"):
            return which.isdecimal() and 0 < int(which) <= self.nodes
        if how == "zone":
            return which in [self.zone_of(name) for name in self.node_names]
        return word == "*" or word in self.node_names

    def run(self, seed: int = 0) -> Outcome:
        """What comes of it with the draws of ``seed``; the same seed gives the same outcome, on every machine."""
        from gossipreg_sim.runner import run_scenario  # a run needs a scenario; a scenario can be had without a run

        return run_scenario(self, seed)

    @property
    def node_names(self) -> list[str]:
        """The names of the nodes: n0, n1 and so on."""
        return [f"n{number}" for number in range(self.nodes)]

    def zone_of(self, name: str) -> str:
        """Nodes take the zones in turn."""
        return f"zone-{int(name[1:]) % self.zones}"


def _check_keys(fault: Fault, where: str) -> None:
    """Raise `ScenarioError` for a key that its kind does not have, or that is out of range."""
    allowed = keys_of(fault.kind)
    for field in attrs.fields(Fault):
        value = getattr(fault, field.name)
        if field.name not in allowed and value != field.default:
            raise ScenarioError(f"{where}no key {field.name!r}: {_nearest(field.name, list(allowed))}")
        signed = fault.kind in _SIGNED and field.name in ("seconds", "drift")
        _check_number(f"{where}{field.name}", value, -SECONDS_MAX if signed else 0.0)


def keys_of(kind: str) -> tuple[str, ...]:
    """The keys that a fault of this kind may have."""
    return (*_ALWAYS, *KINDS[kind].needs, *KINDS[kind].takes)


def load(source: str | Path) -> Scenario:
    """The scenario called ``source``, or in the file ``source``. Raises `ScenarioError`."""
    path = Path(source)
    if path.suffix != ".toml":
        path = SHIPPED / f"{source}.toml"
        if not path.is_file():
            raise ScenarioError(f"no scenario {str(source)!r}: {_nearest(str(source), shipped())}, or a FILE.toml")
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not a text file") from None
    return parse(text, name=path.stem, where=str(path))


def shipped() -> list[str]:
    """The names of the scenarios that come with the simulator."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def parse(text: str, *, name: str, where: str) -> Scenario:
    """The scenario written in TOML. Raises `ScenarioError` naming ``where`` and the key."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what its parser does not foresee
        raise ScenarioError(f"{where}: {error}") from None
    allowed = ["fault", *(field.name for field in attrs.fields(Scenario) if field.name not in ("name", "faults"))]
    for key in raw:
        if key not in allowed:
            raise ScenarioError(f"{where}: no key {key!r}: {_nearest(key, allowed)}")
    faults = raw.pop("fault", [])
    if not isinstance(faults, list) or not all(isinstance(fault, dict) for fault in faults):
        raise ScenarioError(f"{where}: write faults as [[fault]] tables")
    parts: dict[str, Any] = {"name": name, "faults": tuple(_fault(f, i, where) for i, f in enumerate(faults, 1))}
    for key, made in (("wiring", Wiring), ("workload", Workload), ("settings", EngineSettings)):
        table = raw.pop(key, None)
        if table is not None:
            parts[key] = _built(made, table, where, f"[{key}] ")
    return _built(Scenario, raw, where, "", parts)


def _fault(table: dict[str, Any], number: int, where: str) -> Fault:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ScenarioError(f"{where}: fault {number}: kind {kind!r}: {_nearest(str(kind), list(KINDS))}")
    allowed = keys_of(kind)
    for key in table:
        if key not in allowed:
            raise ScenarioError(f"{where}: fault {number} ({kind}): no key {key!r}: {_nearest(key, list(allowed))}")
    return _built(Fault, table, where, f"fault {number} ({kind}): ", least=-SECONDS_MAX if kind in _SIGNED else 0.0)


def _built(
    made: type[_T], table: Any, where: str, what: str, parts: dict[str, Any] | None = None, *, least: float = 0.0
) -> _T:
    """An instance of an attrs class from untrusted keys and values."""
    if not isinstance(table, dict):
        raise ScenarioError(f"{where}: {what}write it as a table")
    fields = {field.name: field for field in attrs.fields(made) if field.name not in (parts or {})}  # type: ignore[arg-type]
    values: dict[str, Any] = dict(parts or {})
    for key, value in table.items():
        if key not in fields:
            raise ScenarioError(f"{where}: {what}no key {key!r}: {_nearest(key, list(fields))}")
        lowest = least if key in ("seconds", "drift") else 0.0
        values[key] = _converted(value, str(fields[key].type), f"{where}: {what}{key}", lowest)
    missing = [name for name, field in fields.items() if field.default is attrs.NOTHING and name not in values]
    if missing:
        raise ScenarioError(f"{where}: {what}the key {missing[0]!r} is missing")
    try:
        return made(**values)
    except ConfigError as error:
        raise ScenarioError(f"{where}: {str(error).replace('protocol.', '[settings] ')}") from None


def _converted(value: Any, wanted: str, where: str, least: float) -> Any:
    """``value`` as the type that is written ``wanted``; a lone string will do for a list of strings."""
    match wanted, value:
        case "bool", bool():
            return value
        case ("int", int()) | ("float", int() | float()) if not isinstance(value, bool):
            _check_number(where, value, least)
            return float(value) if wanted == "float" else value
        case "str", str():
            return value
        case "tuple[str, ...]", str():
            return (value,)
        case "tuple[str, ...]", list() if all(isinstance(item, str) for item in value):
            return tuple(value)
    shown = {"tuple[str, ...]": "a list of strings", "int": "a whole number", "float": "a number", "str": "a string"}
    raise ScenarioError(f"{where}: {value!r} is not {shown.get(wanted, 'true or false')}")


def _check_number(where: str, value: Any, least: float = 0.0) -> None:
    """Raise `ScenarioError` if ``value`` is a number that is out of range, or none at all (nan)."""
    if isinstance(value, int | float) and not least <= value <= _NUMBER_MAX:
        raise ScenarioError(f"{where}: {value!r} is not a number from {least:g} to {_NUMBER_MAX:g}")


def _nearest(word: str, allowed: list[str]) -> str:
    near = get_close_matches(word, allowed, n=1)
    if near:
        return f"did you mean {near[0]!r}? Allowed: {', '.join(sorted(allowed))}"
    return f"allowed: {', '.join(sorted(allowed))}"
