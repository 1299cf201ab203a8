"""Scenario file: a scenario written in TOML, read with every key and type checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from gossipreg.errors import ConfigError
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import KINDS, SIGNED, Fault, keys_of
from gossipreg_sim.scenario import SECONDS_MAX, Scenario, ScenarioError, Wiring, Workload, check_number, nearest

#: Directory of the scenarios that come with the simulator.
SHIPPED: Final = Path(__file__).parent / "scenarios"

_T = TypeVar("_T")


def load(source: str | Path) -> Scenario:
    """Return the shipped scenario named ``source``, or the one in the file ``source``. Raises `ScenarioError`."""
    path = Path(source)
    if path.suffix != ".toml":
        path = SHIPPED / f"{source}.toml"
        if not path.is_file():
            raise ScenarioError(f"no scenario {str(source)!r}: {nearest(str(source), shipped())}, or a FILE.toml")
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not a text file") from None
    return parse(text, name=path.stem, where=str(path))


def shipped() -> list[str]:
    """Return the names of the scenarios that come with the simulator."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def parse(text: str, *, name: str, where: str) -> Scenario:
    """Parse a scenario from TOML. Raises `ScenarioError`, which names ``where`` and the key."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and errors that tomllib does not convert
        raise ScenarioError(f"{where}: {error}") from None
    allowed = ["fault", *(field.name for field in attrs.fields(Scenario) if field.name not in ("name", "faults"))]
    for key in raw:
        if key not in allowed:
            raise ScenarioError(f"{where}: no key {key!r}: {nearest(key, allowed)}")
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
        raise ScenarioError(f"{where}: fault {number}: kind {kind!r}: {nearest(str(kind), list(KINDS))}")
    allowed = keys_of(kind)
    for key in table:
        if key not in allowed:
            raise ScenarioError(f"{where}: fault {number} ({kind}): no key {key!r}: {nearest(key, list(allowed))}")
    return _built(Fault, table, where, f"fault {number} ({kind}): ", least=-SECONDS_MAX if kind in SIGNED else 0.0)


def _built(
    made: type[_T], table: Any, where: str, what: str, parts: dict[str, Any] | None = None, *, least: float = 0.0
) -> _T:
    """Build an attrs object from untrusted keys and values."""
    if not isinstance(table, dict):
        raise ScenarioError(f"{where}: {what}write it as a table")
    fields = {field.name: field for field in attrs.fields(made) if field.name not in (parts or {})}  # type: ignore[arg-type]  # it is an attrs class
    values: dict[str, Any] = dict(parts or {})
    for key, value in table.items():
        if key not in fields:
            raise ScenarioError(f"{where}: {what}no key {key!r}: {nearest(key, list(fields))}")
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
    """Convert ``value`` to the type named ``wanted``; a single string may stand for a list of strings."""
    match wanted, value:
        case "bool", bool():
            return value
        case ("int", int()) | ("float", int() | float()) if not isinstance(value, bool):
            check_number(where, value, least)
            return float(value) if wanted == "float" else value
        case "str", str():
            return value
        case "tuple[str, ...]", str():
            return (value,)
        case "tuple[str, ...]", list() if all(isinstance(item, str) for item in value):
            return tuple(value)
    shown = {"tuple[str, ...]": "a list of strings", "int": "a whole number", "float": "a number", "str": "a string"}
    raise ScenarioError(f"{where}: {value!r} is not {shown.get(wanted, 'true or false')}")
