"""TOML form of a scenario: loaded again, it is the same scenario."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from gossipreg_sim.scenario import Scenario


def as_toml(scenario: Scenario, comments: Iterable[str] = ()) -> str:
    """``scenario`` in TOML, below ``comments``. Its name is not in it: that is the file's, without ``.toml``."""
    lines = [f"# {' '.join(comment.split())}".rstrip() for comment in comments]
    lines += keys(scenario, ("name", "wiring", "workload", "settings", "faults"))
    for part in ("wiring", "workload", "settings"):
        said = list(keys(getattr(scenario, part)))
        lines += ["", f"[{part}]", *said] if said else []
    for fault in scenario.faults:
        lines += ["", "[[fault]]", *keys(fault)]
    return "\n".join(lines) + "\n"


def keys(value: Any, without: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for each key that is not as it would be if it were left out."""
    for field in attrs.fields(type(value)):
        said = getattr(value, field.name)
        if field.name not in without and said != field.default:
            yield f"{field.name} = {_written(said)}"


def _written(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return repr(value)
        case str():
            # JSON's escapes are TOML's, but that TOML wants one for DEL as well.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return f"[{', '.join(map(_written, value))}]"
