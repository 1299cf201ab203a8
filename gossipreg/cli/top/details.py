"""Details of `gossipreg top`: all that is known of one member, or of each instance of one service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from gossipreg.cli import show, tables
from gossipreg.cli.time_format import local
from gossipreg.cli.top.model import Opened, ScreenModel

#: Width of the names of fields (cells).
_NAMES: Final = 12

_STYLES: Final[Mapping[str, str]] = {
    "passing": "green",
    "warning": "yellow",
    "critical": "bold red",
    "maintenance": "magenta",
}

#: Lines of a check's output that are shown.
_OUTPUT_LINES: Final = 5


def page(model: ScreenModel, opened: Opened, now: float, width: int) -> list[Text]:
    """The lines about what was opened: a heading first. No line is wider than ``width``."""
    kind, name = opened
    lines = _member(model, name, now, width) if kind == "members" else _service(model, name, now, width)
    return list(lines)


def _member(model: ScreenModel, name: str, now: float, width: int) -> Iterator[Text]:
    row = model.members.get(name)
    yield _heading("member", name, width)
    if row is None:
        yield Text("it is no member any more", "yellow")
        return
    told = next((each for each in model.told_members if each["name"] == name), {})
    member = {**row.member, **{key: value for key, value in told.items() if value is not None}}
    state = show.state_of(member)
    yield from _field("status", state, width, tables.STYLES.get(state, ""))
    if row.since is not None:
        yield from _field("since", _since(row.since, now), width)
    yield from _field("address", member["address"], width)
    yield from _field("zone", member.get("zone", ""), width)
    yield from _field("draining", "yes" if member.get("draining") else "no", width)
    yield from _field("started", local(member["generation"] / 1000), width)
    yield from _field("version", member.get("version") or "", width)
    trip = member.get("round_trip")
    yield from _field("round trip", "" if trip is None else f"{1000 * trip:.3g} ms from this agent", width)
    if name == model.node.get("name"):
        yield from _field("local health", str(model.node.get("local_health", "")), width)
    offered = sorted(f"{each['service']}: {each['id']}" for each in model.instances.values() if each["owner"] == name)
    for number, each in enumerate(offered):
        yield from _field("" if number else "offers", each, width)
    about = [each for each in model.problems if name in each.title]
    for number, problem in enumerate(about):
        yield from _field("" if number else "problems", f"{problem.title}: {problem.why}".removesuffix(": "), width)


def _service(model: ScreenModel, name: str, now: float, width: int) -> Iterator[Text]:
    yield _heading("service", name, width)
    told = model.told_instances.get(name)
    found = told if told is not None else [each for each in model.instances.values() if each["service"] == name]
    able = sum(each["health"] in ("passing", "warning") for each in found)
    more = "" if told is not None else "; asking the agent for the others"
    yield Text(f"{able} of {len(found)} can serve{more}" if found else "it has no instance", "dim")
    for each in sorted(found, key=lambda each: (each["health"] in ("passing", "warning"), each["id"], each["owner"])):
        yield Text("")
        yield from _instance(model, each, now, width)


def _instance(model: ScreenModel, instance: Mapping[str, Any], now: float, width: int) -> Iterator[Text]:
    health = str(instance["health"])
    yield from _field("id", instance["id"], width, "bold")
    yield from _field("health", health, width, _STYLES.get(health, ""))
    yield from _field("reason", instance.get("reason", ""), width, _STYLES.get(health, ""))
    since = model.instance_since.get((instance["owner"], instance["id"]))
    if since is not None:
        yield from _field("since", _since(since, now), width)
    yield from _field("address", show.address_of(instance), width)
    stated = instance.get("stated_weight", instance["weight"])
    weight = str(instance["weight"]) + ("" if stated == instance["weight"] else f" (registered with {stated})")
    yield from _field("weight", weight, width)
    role = instance.get("role") or ""
    term = f" of term {instance['term']}" if role and instance.get("term") else ""
    yield from _field("role", role + term, width)
    yield from _field("zone", instance.get("zone", ""), width)
    yield from _field("owner", instance["owner"], width)
    yield from _field("tags", ", ".join(instance.get("tags", ())), width)
    for number, (key, value) in enumerate(sorted(instance.get("meta", {}).items())):
        yield from _field("" if number else "meta", f"{key}={value}", width)
    if instance.get("stale"):
        yield from _field("stale", "its owner is not heard", width, "yellow")
    for check in model.told_checks:
        if check["instance"] == instance["id"] and instance["owner"] == model.node.get("name"):
            yield from _field("check", f"{check['name']}: {check['health']}", width, _STYLES.get(check["health"], ""))
            for line in str(check.get("output") or "").splitlines()[:_OUTPUT_LINES]:
                yield from _field("", line, width, "dim")


def _heading(kind: str, name: str, width: int) -> Text:
    back = "  Esc: back"
    room = max(1, width - cell_len(kind) - 2 - len(back))
    return Text.assemble((kind, "dim"), "  ", (_cut(tables.clean(name), room), "bold underline"), (back, "dim"))


def _since(at: float, now: float) -> str:
    seconds = max(0, int(now - at))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(seconds >= 60) + [f"{seconds % 60} s"]
    return f"{local(at).partition('.')[0]}, {' '.join(parts)} ago"


def _field(name: str, value: object, width: int, style: str = "") -> Iterator[Text]:
    """One line; none for a field that is not set. What is wider than the screen is cut in its middle."""
    if value == "":
        return
    text = tables.clean(str(value))
    names = min(_NAMES, max(0, width // 3))
    yield Text.assemble((set_cell_size(name, names), "dim"), (_cut(text, max(1, width - names)), style))


def _cut(text: str, width: int) -> str:
    """``text``, without its middle where it is too wide: ids and addresses often differ at their ends."""
    if cell_len(text) <= width:
        return text
    if width < 5:
        return set_cell_size(text, max(0, width - 1)) + "…"
    tail = ""
    for character in reversed(text):
        if cell_len(character + tail) > (width - 1) // 2:
            break
        tail = character + tail
    return f"{set_cell_size(text, width - 1 - cell_len(tail)).rstrip()}…{tail}"
