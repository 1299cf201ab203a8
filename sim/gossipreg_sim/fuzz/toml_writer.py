"""TOML form of a scenario: loading it gives an equal scenario."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from gossipreg_sim.scenario import Scenario


def as_toml(scenario: Scenario, comments: Iterable[str] = ()) -> str:
    """Return ``scenario`` in TOML, below ``comments``. Its name is left out: it is the file's, without ``.toml``."""
    lines = [f"# {' '.join(comment.split())}".rstrip() for comment in comments]
    lines += keys(scenario, ("name", "wiring", "workload", "settings", "faults"))
    for part in ("wiring", "workload", "settings"):
        lines_of_part = list(keys(getattr(scenario, part)))
        lines += ["", f"[{part}]", *lines_of_part] if lines_of_part else []
    for fault in scenario.faults:
        lines += ["", "[[fault]]", *keys(fault)]
    return "\n".join(lines) + "\n"


def keys(value: Any, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a line for each key that differs from its default."""
    for field in attrs.fields(type(value)):
        given = getattr(value, field.name)
        if field.name not in without and given != field.default:
            yield f"{field.name} = {_formatted(given)}"


def _formatted(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return repr(value)
        case str():
            # JSON's escapes are valid in TOML, but TOML also requires one for DEL.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return f"[{', '.join(map(_formatted, value))}]"
