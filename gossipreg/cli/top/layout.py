"""Layout of the screen at any size: problems come first, and rows that do not fit are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from gossipreg.cli import show, tables
from gossipreg.cli.time_format import local
from gossipreg.cli.top.details import page
from gossipreg.cli.top.model import MemberRow, ScreenModel, ServiceRow
from gossipreg.cli.top.problems import LEVELS
from gossipreg.cli.top.view import KEYS, SORTS, ScreenView

#: From this width on (cells), members and services are beside each other; from that on, with addresses.
_SIDE_BY_SIDE_WIDTH: Final = 70
_ADDRESSES_WIDTH: Final = 110

#: Lines that events keep when members and services want more than there are.
_EVENTS_MIN: Final = 6
_EVENTS_MIN_NARROW: Final = 4

_GAP: Final = "   "

#: Cells that the bars of services have at least, however long the names are.
_BARS_LEAST: Final = 8

_BY_SEVERITY: Final = ("failed", "suspect", "draining", "alive", "left")
_BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_SIGNS: Final = {"bad": "x", "warn": "!", "early": "?", "note": "-"}
_PLAIN_BARS: Final = "_.:-=+*#"

_Row = TypeVar("_Row")

#: One line's cells, each with its style.
Row = Sequence[tuple[str, str]]


def layout(
    model: ScreenModel, now: float, width: int, height: int, *, plain: bool = False, view: ScreenView | None = None
) -> list[Text]:
    """The lines of a screen of that many cells and lines; ``plain`` where the terminal knows only ASCII.

    ``view`` is what the viewer wants to see; by default everything.
    """
    view = view or ScreenView()
    is_wide = width >= _SIDE_BY_SIDE_WIDTH
    problems, least = (height // 4, _EVENTS_MIN) if is_wide else (height // 6, _EVENTS_MIN_NARROW)
    lines = [*_head(model, now, width, view), *_problems(model, now, width, problems, view, plain=plain), Text("")]
    if view.is_help:
        return [_cut(line, width) for line in [*lines[:2], Text(""), *_help(plain=plain)][:height]]
    if view.opened is not None:
        shown = [*lines[:2], Text(""), *_details(model, now, width, height - 3, view)]
        return [_cut(line, width) for line in shown[:height]]
    room = height - len(lines) - 1 - min(least, 1 + max(1, len(model.events)))
    if is_wide:
        share = 0.6 if width >= _ADDRESSES_WIDTH else 0.5
        half = int(share * (width - len(_GAP)))
        left = _members(model, now, half, room, view)
        right = _services(model, width - len(_GAP) - half, room, view, plain=plain)
        blank = Text(" " * half)
        for place in range(max(len(left), len(right))):
            line = Text.assemble(left[place] if place < len(left) else blank, _GAP)
            lines.append(line + right[place] if place < len(right) else line)
    else:
        half = (room - 1) // 2  # for each; what one does not need goes to the other
        lines += [*_members(model, now, width, max(half, room - 2 - len(model.services)), view), Text("")]
        lines += _services(model, width, max(half, room - 2 - len(model.members)), view, plain=plain)
    lines.append(Text(""))
    lines += _events(model, width, height - len(lines), view)
    return [_cut(line, width) for line in lines[:height]]


def _head(model: ScreenModel, now: float, width: int, view: ScreenView) -> Iterator[Text]:
    node = model.node
    clock = local(now).split()[1].partition(".")[0]
    name = Text.assemble((tables.clean(node["name"]), "bold"), f"  {tables.clean(node['cluster'])}  {node['address']}")
    right = Text.assemble((clock, ""), ("  ? keys  q quits", "dim"))
    name.truncate(max(0, width - cell_len(right.plain) - 2), overflow="ellipsis")
    yield Text.assemble(name, " " * max(1, width - cell_len(name.plain) - cell_len(right.plain)), right)
    failures = [Text(tables.clean(sentence), "bold red") for sentence in model.failed.values()]
    state = failures[0] if failures else Text("  ").join([*_view(view), *_state(model)])
    state.truncate(width, overflow="ellipsis")
    yield state


def _details(model: ScreenModel, now: float, width: int, height: int, view: ScreenView) -> list[Text]:
    """The heading, and as many of the other lines as fit, from those that were scrolled to."""
    assert view.opened is not None, "something is opened"
    heading, *rest = page(model, view.opened, now, width)
    room = max(0, height - 1)
    if len(rest) <= room or room < 2:
        return [heading, *rest[:room]]
    above = view.lines_above = min(view.lines_above, len(rest) - room + 1)
    below = len(rest) - above - (room - 1)
    words = [f"{above} above"] * bool(above) + [f"{below} more"] * bool(below)
    return [heading, *rest[above : above + room - 1], Text(f"… and {', '.join(words)}", "dim")]


def _cut(line: Text, width: int) -> Text:
    line.truncate(width)
    return line


def _help(*, plain: bool) -> Iterator[Text]:
    yield Text("keys", "bold underline")
    for keys, what in KEYS:
        yield Text.assemble((keys.replace("↑ ↓", "Up Down") if plain else keys).ljust(21), (what, ""))


def _view(view: ScreenView) -> Iterator[Text]:
    """What is not shown as usual."""
    if view.is_typing or view.filter:
        yield Text(f"/{tables.clean(view.filter)}{'_' if view.is_typing else ''}", "bold")
    if view.sort != SORTS[0]:
        yield Text(f"by {view.sort}", "bold")


def _problems(
    model: ScreenModel, now: float, width: int, most: int, view: ScreenView, *, plain: bool
) -> Iterator[Text]:
    """A line for each problem, gravest first: what it is, why, and for how long."""
    found = [each for each in model.problems if view.shows(each.title, each.why)]
    shown = found[: max(1, most)]
    for each in shown:
        sign, style = LEVELS[each.level]
        age = "" if each.since is None else _age(now - each.since)
        room = max(0, width - len(age) - 4)
        why = f"  {tables.clean(each.why)}" if each.why else ""
        said = _fitted(tables.clean(each.title) + why, room)
        yield Text.assemble(
            (_PLAIN_SIGNS[each.level] if plain else sign, style), " ", (said, style), "  ", (age, "dim")
        )
    if more := len(found) - len(shown):
        yield Text(f"… and {more} more problem{'' if more == 1 else 's'}", "dim")


def _state(model: ScreenModel) -> Iterator[Text]:
    node = model.node
    if node["isolated"]:
        yield Text("isolated: it hears no other member", "bold red")
    if node.get("serving_last_known"):
        yield Text("serving what it last knew", "yellow")
    if node["draining"]:
        yield Text("leaving" if node.get("leaving") else "draining", "yellow")
    yield Text(f"reachable {node['reachable']:.0%}", "" if node["reachable"] == 1 else "yellow")
    yield Text(f"local health {node['local_health']}", "yellow" if node["local_health"] else "")
    yield Text(f"{_number(model.packets)} packets/s")
    yield Text(f"{_bytes(model.bytes)}/s")


def _members(model: ScreenModel, now: float, width: int, most: int, view: ScreenView) -> list[Text]:
    """A heading and a line for each, members with problems first unless another order is wanted."""
    with_address = width >= 0.6 * (_ADDRESSES_WIDTH - len(_GAP)) - 1
    shown = (row for row in model.members.values() if view.shows(row.member["name"], row.member["address"]))
    rows = sorted(shown, key=lambda row: (_member_rank(row, view.sort), row.member["name"]))
    counts = {status: sum(1 for row in rows if show.state_of(row.member) == status) for status in _BY_SEVERITY}
    said = [(f"{count} {status}", tables.STYLES.get(status, "")) for status, count in counts.items() if count]
    longest = max([cell_len(tables.clean(row.member["name"])) for row in rows], default=0)
    with_address = with_address and width - (8 + 5 + 21) - 3 * len(_GAP) >= longest
    widths = [0, 8, 5] + ([21] if with_address else [])
    widths[0] = width - sum(widths) - 2 * (len(widths) - 1)
    view.listed["members"] = [str(row.member["name"]) for row in rows]
    draw = _drawn(lambda row: _line(_member(row, now), widths), rows, view.chosen("members"))
    return _table(_title("members", said, width), rows, most, draw, offset=view.offset, chosen=view.chosen("members"))


def _member(row: MemberRow, now: float) -> Row:
    member, state = row.member, show.state_of(row.member)
    since = _member_since(row)
    return [
        (member["name"], "dim" if state == "left" else ""),
        (state, tables.STYLES.get(state, "")),
        ("" if since is None else _age(now - since), "dim"),
        (member["address"], "dim"),
    ]


def _member_since(row: MemberRow) -> float | None:
    """Since when a member is as it is; one that is simply alive, at the latest since it was started."""
    if row.since is None and row.member["status"] == "alive":
        return float(row.member["generation"] / 1000)
    return row.since


def _member_rank(row: MemberRow, sort: str) -> float:
    return {"trouble": float(_severity(row)), "name": 0.0, "age": -(_member_since(row) or 0.0)}[sort]


def _severity(row: MemberRow) -> int:
    return _BY_SEVERITY.index(show.state_of(row.member))


def _services(model: ScreenModel, width: int, most: int, view: ScreenView, *, plain: bool) -> list[Text]:
    """A heading and a line for each, services that lack instances first unless another order is wanted."""
    shown = (item for item in model.services.items() if view.shows(item[0]))
    rows = sorted(shown, key=lambda item: (_service_rank(item[1], view.sort), item[0]))
    healthy, total = (sum(count) for count in zip((0, 0), *((len(s.healthy), s.total) for _, s in rows), strict=True))
    said = [(f"{len(rows)}", ""), (f"{healthy}/{total} healthy", "" if healthy == total else "yellow")]
    counts = max([5, *(len(_count(service)) for _, service in rows)])
    longest = max([cell_len(tables.clean(name)) for name, _ in rows], default=0)
    room = width - counts - 2 * len(_GAP)
    bars = max(0, min(60, room // 2))
    bars = max(min(bars, _BARS_LEAST), min(bars, room - longest))  # a whole name is worth more than a longer past
    widths = [width - counts - bars - 4, counts, bars]

    def draw(row: tuple[str, ServiceRow]) -> Text:
        return _line(_service(*row, bars, plain=plain), widths)

    view.listed["services"] = [name for name, _ in rows]
    chosen = view.chosen("services")
    return _table(
        _title("services", said, width), rows, most, _drawn(draw, rows, chosen), offset=view.offset, chosen=chosen
    )


def _drawn(draw: Callable[[_Row], Text], rows: Sequence[_Row], chosen: int | None) -> Callable[[_Row], Text]:
    """``draw``, with the row that is chosen in reverse."""

    def drawn(row: _Row) -> Text:
        line = draw(row)
        if chosen is not None and chosen < len(rows) and row is rows[chosen]:
            line.stylize("reverse")
        return line

    return drawn


def _service_rank(service: ServiceRow, sort: str) -> float:
    share = _share(len(service.healthy), service.total)
    return {"trouble": share, "name": 0.0, "age": -(service.since or 0.0)}[sort]


def _service(name: str, service: ServiceRow, bars: int, *, plain: bool) -> Row:
    share = _share(len(service.healthy), service.total)
    style = "green" if share == 1 else "yellow" if share else "bold red"
    recent = list(service.samples)[-bars:] if bars else []
    drawn = "".join((_PLAIN_BARS if plain else _BARS)[round(_share(*sample) * 7)] for sample in recent)
    return [(name, ""), (_count(service), style), (drawn.rjust(bars), style)]


def _count(service: ServiceRow) -> str:
    return f"{len(service.healthy)}/{service.total}"


def _share(healthy: int, total: int) -> float:
    return healthy / total if total else 0.0


def _events(model: ScreenModel, width: int, room: int, view: ScreenView) -> Iterator[Text]:
    """A heading and the latest, the last below."""
    if room < 2:
        return
    recent = [each for each in model.events if view.shows(*show.about(each.name, each.data))][-(room - 1) :]
    yield _title("events", [] if recent else [("nothing has happened in the last hour", "dim")], width)
    for event in recent:
        yield _event(event.at, event.name, event.data, width)


def _event(at: float, name: str, data: Mapping[str, Any], width: int) -> Text:
    subject, state, address, service, owner, weight = show.about(name, data)
    weighs = f"weight {weight}" if weight and name == "instance-changed" else ""  # usually what has changed
    rest = "  ".join(tables.clean(each) for each in (weighs, service, address, owner) if each)
    when, style = local(at).split()[1], tables.STYLES.get(state, "")
    cells = [(when, "dim"), (name, ""), (subject, ""), (state, style), (rest, "dim")]
    widths = [12, 16, 18, 11, max(0, width - 12 - 16 - 18 - 11 - 8)]
    if width < _SIDE_BY_SIDE_WIDTH:
        cells = [(when.partition(".")[0], "dim"), *cells[1:4]]
        widths = [8, 16, max(6, width - 8 - 16 - 11 - 6), 11]
    return _line(cells, widths)


def _title(title: str, said: Row, width: int) -> Text:
    line = Text.assemble((title, "bold underline"), *(part for each in said for part in ("  ", each)))
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


def _line(cells: Row, widths: Sequence[int]) -> Text:
    """The cells, each cut or filled to its width, with two blanks between; cells without a width are left out."""
    parts: list[Any] = []
    for (text, style), width in zip(cells, widths, strict=False):
        if width > 0:
            parts += ["  "] * bool(parts) + [(_fitted(tables.clean(text) if text else "", width), style)]
    return Text.assemble(*parts)


def _fitted(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def _table(
    title: Text,
    rows: Sequence[_Row],
    most: int,
    draw: Callable[[_Row], Text],
    *,
    offset: int = 0,
    chosen: int | None = None,
) -> list[Text]:
    """The title and a line for each row; of more than ``most`` lines, the last is how many are not shown.

    ``offset`` rows are above; no more than leaves the last ones on the screen. The row ``chosen`` is on it.
    """
    most = max(2, most)
    if len(rows) < most:
        return [title, *map(draw, rows)]
    if chosen is not None:
        offset = max(0, chosen - (most - 3))
    above = min(offset, len(rows) - most + 2)
    below = len(rows) - most + 2 - above
    words = [f"{above} above"] * bool(above) + [f"{below} more"] * bool(below)
    more = Text(f"… and {', '.join(words)}", "dim")
    more.truncate(cell_len(title.plain), pad=True)
    return [title, *map(draw, rows[above : above + most - 2]), more]


def _age(seconds: float) -> str:
    """``7s``, ``12m``, ``3h``, ``8d``: never longer than five cells."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "-"
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
