"""Tables of docs/benchmarks.md about what one would choose instead: other registries, and memberlist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tests.bench.registries import ROWS
from tests.bench.tables import markdown

if TYPE_CHECKING:
    from tests.bench.page import Print

_REGISTRIES: Final = "python tests/bench/registries.py --nice -15 --sides"
SERVERS: Final = f"{_REGISTRIES} attached,members,etcd,etcd-tight,zookeeper,zookeeper-tight"
LATER: Final = f"{_REGISTRIES} attached,etcd,zookeeper --hurts 2"  # of the same day, after 0098 and 0099
EUREKA: Final = f"{_REGISTRIES} eureka,eureka-tight,attached --hurts 2"
_MEMBERLIST: Final = "python tests/bench/memberlist.py --nice -15 --nodes"
MEMBERLIST: Final = {
    32: f"{_MEMBERLIST} 32 --rows registration,one,kill --registrations 5 --hurts 2",
    64: f"{_MEMBERLIST} 64",
}

#: The commands whose prints are in these tables.
TOLD: Final = frozenset({SERVERS, LATER, EUREKA, *MEMBERLIST.values()})

#: The columns of other registries: the side, its name, and the command that prints it beside ours.
_PEERS: Final = (
    ("etcd", "etcd", LATER),
    ("etcd-tight", "etcd, tight", SERVERS),
    ("zookeeper", "ZooKeeper", LATER),
    ("zookeeper-tight", "ZooKeeper, tight", SERVERS),
    ("eureka", "Eureka", EUREKA),
    ("eureka-tight", "Eureka, tight", EUREKA),
)

#: Rows without a ratio, because the two do not do the same: ours reads its memory, the others ask a server.
_APART: Final = frozenset({"reads"})

#: Rows of memberlist's table: how they begin where they are printed, and what they are called.
_MEMBER_ROWS: Final = (
    ("a registration (memberlist: its metadata), seen", "a registration, seen by the last"),
    ("a registration (memberlist: its metadata): packets", "a registration: packets a node"),
    ("a registration (memberlist: its metadata): traffic", "a registration: traffic a node"),
    ("a registration (memberlist: its metadata): CPU", "a registration: CPU a node"),
    ("`kill -9`: gone", "`kill -9`: gone from the last lookup"),
    ("`kill -9`: failed", "`kill -9`: failed everywhere"),
    ("SIGSTOP: gone", "SIGSTOP: the last lookup prefers others"),
    ("SIGSTOP: failed", "SIGSTOP: failed everywhere"),
    ("idle traffic a node, IP", "idle traffic a node"),
    ("idle packets", "idle packets a node"),
    ("idle CPU", "idle CPU a node"),
    ("memory a node, shared", "memory a node, shared pages divided"),
)


def _middle(figure: str, unit: str) -> str:
    """The median of a printed figure, with its unit; nothing for less than rest, as where changes are only polled."""
    if not figure or figure.startswith("-"):
        return ""
    middle = figure.partition(" (")[0]
    return f"{middle} {unit}".strip() if middle[0].isdigit() else middle


def _beside(figure: str, unit: str, ratio: str) -> str:
    """A peer's median behind the ratio of ours to it, where there is one."""
    middle = _middle(figure, unit)
    return f"**{ratio}** {middle}" if ratio and middle else middle


def registries_table(said: Mapping[str, Print]) -> str:
    """Each row of `registries.py`, one column for each registry."""
    rows = [["what", "attached", "members", *(name for _, name, _ in _PEERS)]]
    for key, (title, unit) in ROWS.items():
        cells = [title]
        for side, told in (("attached", LATER), ("members", SERVERS)):
            cells.append(_middle(said[told].row(f"{title} | etcd |").get(side, ""), unit))
        for side, _, told in _PEERS:
            found = said[told].row(f"{title} | {side} |")
            ratio = "" if key in _APART else found.get("to attached", "")
            cells.append(_beside(found.get("its figure", ""), unit, ratio))
        rows.append(cells)
    return markdown(rows)


def memberlist_table(said: Mapping[str, Print]) -> str:
    """The rows of `memberlist.py` for each size of the cluster."""
    rows = [["what", *(f"{side}, {size}" for size in MEMBERLIST for side in ("memberlist", "gossipreg"))]]
    for begins, title in _MEMBER_ROWS:
        cells = [title]
        for told in MEMBERLIST.values():
            found = said[told].row(begins)
            unit = found.get("unit", "")
            cells.append(_beside(found.get("memberlist", ""), unit, found.get("ratio", "")))
            cells.append(_middle(found.get("gossipreg", ""), unit))
        rows.append(cells)
    return markdown(rows)
