"""Output of commands: a table on a terminal, tab-separated lines in a pipe, a JSON document on request.

Values from the cluster are not trusted: nothing in them can break a line, a column or a terminal.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gossipreg.cli.tables import STYLES, TextTable, clean, print_table
from gossipreg.cli.time_format import local, utc

if TYPE_CHECKING:
    from rich.console import Console

#: Columns of an event on a terminal (characters): time, event, id or name, state, address, service, owner, weight.
_EVENT_WIDTHS: Final = (12, 16, 18, 11, 21, 10, 10, 1)


def members(document: Any) -> TextTable:
    """The table of ``GET /api/v1/members``, or of the members in a snapshot.

    With columns of the cell, if it is about all cells, and of what members prove of themselves, if the agent has an
    identity.
    """
    has_cells = any(member.get("cell") for member in document["members"])
    has_identity = any("identity" in member for member in document["members"])
    return TextTable(
        (
            *("name", "address", "status", "zone", "started", "incarnation", "draining", "version", "protocol"),
            *(("cell", "heard") if has_cells else ()),
            *(("ready", "until", "authority") if has_identity else ()),
        ),
        [
            (
                member["name"],
                member["address"],
                member["status"],
                member["zone"],
                local(member["generation"] / 1000),
                str(member["incarnation"]),
                "draining" if state_of(member) == "draining" else "",
                member.get("version") or "",
                str(member.get("protocol", "")),
                *((member["cell"], "stale" if member["stale"] else "fresh") if has_cells else ()),
                *(_identity(member.get("identity")) if has_identity else ()),
            )
            for member in document["members"]
        ],
        spare=("incarnation", "protocol", "authority", "started"),
    )


def _identity(identity: Any) -> tuple[str, str, str]:
    """Whether a node that requires identity believes a member; the UTC day on which its certificate ends; by whom."""
    if identity is None or identity["until"] is None:
        return "no", "", ""
    return "yes" if identity["ready"] else "no", utc(identity["until"])[:10], identity["authority"]


def cells(document: Any) -> TextTable:
    """The table of ``GET /api/v1/cells``."""
    return TextTable(
        ("name", "members", "failed", "instances", "age", "state", "relays", "peers"),
        [
            (
                cell["name"],
                str(cell["members"]),
                str(cell["failed"]),
                str(cell["instances"]),
                "" if cell["own"] or cell["age"] is None else f"{cell['age']:.1f}",
                "own" if cell["own"] else "stale" if cell["stale"] else "fresh",
                " ".join(cell["relays"]),
                " ".join(cell["peers"]),
            )
            for cell in document["cells"]
        ],
        spare=("peers", "relays"),
    )


def services(document: Any) -> TextTable:
    """The table of ``GET /api/v1/services``."""
    return TextTable(
        ("service", "healthy", "instances"),
        [
            (name, *("" if count[key] is None else str(count[key]) for key in ("healthy", "instances")))
            for name, count in document["services"].items()
        ],
    )


def instances(document: Any, *, reasons: bool = False) -> TextTable:
    """The table of ``GET /api/v1/services/NAME``, or of one instance in a list; why one is not passing if asked."""
    return TextTable(
        (
            "address",
            "id",
            "health",
            "weight",
            "role",
            "zone",
            "owner",
            "tags",
            "meta",
            *(["reason"] if reasons else []),
        ),
        [
            (
                address_of(instance),
                instance["id"],
                instance["health"],
                str(instance["weight"]),
                instance["role"] or "",
                instance["zone"],
                instance["owner"],
                ",".join(instance["tags"]),
                ",".join(f"{key}={value}" for key, value in instance["meta"].items()),
                *([instance.get("reason", "")] if reasons else []),
            )
            for instance in document["instances"]
        ],
    )


def checks(document: Any) -> TextTable:
    """The table of ``GET /api/v1/checks``; of the output, the first line."""
    return TextTable(
        ("instance", "check", "kind", "health", "flapping", "since (s)", "runs", "target", "output"),
        [
            (
                check["instance"],
                check["name"],
                check["kind"],
                check["health"],
                "flapping" if check["flapping"] else "",
                f"{check['health_age']:.0f}",
                str(check["runs"]),
                check["target"],
                (check["output"] or "").partition("\n")[0] or check["reason"],
            )
            for check in document["checks"]
        ],
    )


def policies(document: Any) -> TextTable:
    """The table of ``GET /api/v1/policies``."""
    return TextTable(
        ("key", "service", "instance", "rule", "set by", "at"),
        [
            (
                policy["key"],
                policy["service"],
                policy.get("instance", "") + (f" of {policy['owner']}" if policy.get("owner") else ""),
                _rule(policy),
                policy["writer"],
                local(policy["at"]),
            )
            for policy in document["policies"]
        ]
        + [
            (policy["key"], "", "", "cannot be read by this version", policy["writer"], local(policy["at"]))
            for policy in document.get("unreadable", ())
        ],
    )


def roles(document: Any) -> TextTable:
    """The table of ``GET /api/v1/roles``."""
    return TextTable(
        ("service", "claimed", "seen", "primary", "owner", "reset by", "at"),
        [
            (
                role["service"],
                str(role["claimed"]),
                str(role["seen"]),
                (role["primary"] or {}).get("id", ""),
                (role["primary"] or {}).get("owner", ""),
                role["reset_by"] or "",
                "" if role["reset_at"] is None else local(role["reset_at"]),
            )
            for role in document["roles"]
        ],
    )


def keys(document: Any) -> TextTable:
    """The table of ``GET /api/v1/keys``."""
    return TextTable(
        ("key", "primary", "held by", "used by", "given up", "not held by"),
        [
            (
                key["id"],
                "primary" if key["primary"] else "",
                str(key["held_by"]),
                str(key["used_by"]),
                "" if key["until"] is None else local(key["until"]),
                ", ".join(key["not_held_by"]),
            )
            for key in document["keys"]
        ],
    )


def tokens(document: Any) -> TextTable:
    """The table of ``GET /api/v1/tokens``."""
    return TextTable(
        ("token", "scopes", "from", "expires", "accepted", "created by"),
        [
            (
                token["name"],
                ", ".join(token["scopes"]),
                token["from"],
                "" if token["expires"] is None else local(token["expires"]),
                "yes" if token["accepted"] else "no",
                token.get("writer", ""),
            )
            for token in document["tokens"]
        ],
    )


def _rule(policy: Mapping[str, Any]) -> str:
    if policy["kind"] == "split":
        shares = ", ".join(f"{label}={share}" for label, share in policy["shares"].items())
        return f"split {shares} by {policy['by']}"
    if policy["kind"] == "weight":
        return f"weight {policy['weight']}"
    if policy["kind"] == "query":
        return f"query {policy.get('name', '')}".rstrip() + ("*" if policy.get("template") else "")
    return f"{policy['kind']}: {policy.get('reason', '')}".removesuffix(": ")


def facts(document: Mapping[str, Any]) -> TextTable:
    """One row for each fact of ``GET /api/v1/node``; those in groups have the group's name before them.

    Counters at 0 are left out: there are many, and most count what should not happen.
    """
    rows: list[tuple[str, ...]] = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            rows += [
                (f"{key}.{inner}", _plain(number)) for inner, number in value.items() if number or key != "counters"
            ]
        elif isinstance(value, list):
            rows += [(key, _plain(each)) for each in value]
        else:
            rows.append((key, local(value / 1000) if key == "generation" else _plain(value)))
    return TextTable(("fact", "value"), rows)


def event(name: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """One line of a watch: time, event, id or name, state, address, service, owner, weight."""
    return (local(time.time()), name, *about(name, data))


def about(name: str, data: Mapping[str, Any]) -> tuple[str, str, str, str, str, str]:
    """What an event is about: id or name, state, address, service, owner, weight."""
    if name.startswith("instance"):
        health = "" if name == "instance-removed" else data["health"]  # it no longer matters
        where = address_of(data) if data["host"] else ""  # what an agent remembers of the last hour has none
        return (data["id"], health, where, data["service"], data["owner"], str(data["weight"]))
    if name.startswith("check"):
        return (f"{data['instance']} {data['check']}", data["health"], "", data["service"], "", "")
    if name.startswith("role"):
        primary = data["primary"]
        where = "" if primary is None else address_of(primary)
        ids = ",".join(each["id"] for each in data["contenders"])
        return (ids, name.partition("-")[2], where, data["service"], "" if primary is None else primary["owner"], "")
    if name.startswith("node"):
        return (data["name"], name.partition("-")[2], "", "", "", "")
    return (data["name"], state_of(data), data["address"], "", "", "")


def write(table: TextTable, document: Any, *, as_json: bool) -> None:
    """Write an answer: the ``document`` if JSON was requested, else the table, formatted for standard output."""
    if as_json:
        print(json.dumps(document, indent=2))
    elif not sys.stdout.isatty():
        for row in table.rows:
            print("\t".join(map(clean, row)))
    elif table.rows:
        print_table(table, console())


def say(sentence: str, document: Any, *, as_json: bool) -> None:
    """Write a short answer: the ``document`` if JSON was requested, else the sentence."""
    print(json.dumps(document, indent=2) if as_json else clean(sentence))


def write_event(name: str, data: Mapping[str, Any]) -> None:
    """Write one line of a watch at once: aligned on a terminal, with the time of day only, else tab-separated."""
    row = event(name, data)
    if sys.stdout.isatty():
        from rich.text import Text

        time_of_day = row[0].split()[1]
        cells = [clean(cell).ljust(width) for cell, width in zip((time_of_day, *row[1:]), _EVENT_WIDTHS, strict=True)]
        while cells[-1].strip() == "-":
            cells.pop()
        line = Text("  ").join(Text(cell, STYLES.get(cell.strip(), "")) for cell in cells)
        console().print(line, soft_wrap=True)
    else:
        print("\t".join(map(clean, row)), flush=True)


def note(text: str) -> None:
    """Write a note for people to standard error; it is not part of the answer."""
    print(f"gossipreg: {clean(text)}", file=sys.stderr, flush=True)


def show_note_on(instance: Mapping[str, Any]) -> None:
    """Write the agent's note on an instance that was just written, if there is one."""
    if instance.get("note"):
        note(f"{instance['id']}: {instance['note']}")


def console() -> Console:
    """The terminal. Its package is imported only here: scripts and pipes do not wait for it."""
    from rich.console import Console

    return Console(highlight=False)


def address_of(instance: Mapping[str, Any]) -> str:
    """Where to call an instance: ``host:port``, IPv6 in brackets."""
    host = instance["host"]
    return f"[{host}]:{instance['port']}" if ":" in host else f"{host}:{instance['port']}"


def state_of(member: Mapping[str, Any]) -> str:
    """A member's status, or that it is about to leave."""
    return "draining" if member["draining"] and member["status"] == "alive" else str(member["status"])


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(map(_plain, value.values()))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
