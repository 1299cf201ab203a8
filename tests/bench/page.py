"""Writes the table of docs/benchmarks.md from what the commands have printed: `python -m tests.bench.page`.

docs/measurements.md keeps what each command printed, as it was printed, below the command and a line that says when and
on what machine that was. The table is made of those prints and of nothing else; the tests hold it to that. So after a
run: paste what was printed in the place of the old, change the line above it, and run this.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import attrs

from tests.bench.page_peers import memberlist_table, registries_table
from tests.bench.picture import Bar, drawn
from tests.bench.tables import markdown

PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PRINTS: Final = PAGE.with_name("measurements.md")
PICTURE: Final = PAGE.parent / "pictures" / "benchmarks.svg"

_TABLE: Final = re.compile(r"(?<=<!-- the table -->\n).*?(?=\n<!-- its end -->)", re.DOTALL)
_REGISTRIES: Final = re.compile(r"(?<=<!-- registries -->\n).*?(?=\n<!-- end of registries -->)", re.DOTALL)
_MEMBERLIST: Final = re.compile(r"(?<=<!-- memberlist -->\n).*?(?=\n<!-- end of memberlist -->)", re.DOTALL)
_PRINT: Final = re.compile(
    r"^### `(?P<command>[^`]+)`\n\n(?P<when>[^\n]+)\n\n(?P<said>.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE
)

_SERF: Final = "python tests/bench/serf.py --nodes 64"
_COLD: Final = "python tests/bench/serf.py --nodes 128 --rows cold"
_IDLE: Final = "python tests/bench/serf.py --nodes {} --rows idle"
_LOSS: Final = "python tests/bench/loss.py --nice -15"
_ANOMALIES: Final = "python tests/bench/anomalies.py --nice -15"
_BURST: Final = "python tests/bench/serf.py --nodes 64 --rows burst --nice -15"
_STARTUP: Final = "python tests/bench/startup.py"
_ATTACH: Final = "python tests/bench/attach.py"
_RECONCILIATION: Final = "python -m tests.bench.reconciliation"
_READS: Final = "python -m tests.bench.reads"
_HTTP: Final = "python -m tests.bench.http_reads"
_DNS: Final = "python tests/bench/dns_answers.py"
_PROXY: Final = "python tests/bench/proxy.py"
_WATCHERS: Final = "python -m tests.bench.watchers"
_CONSUL: Final = "python -m tests.bench.consul_watchers"
_CHECKS: Final = "python -m tests.bench.checks"
_TURNS: Final = "python -m tests.bench.turns --instances 5000"
_SIEGE: Final = "python -m tests.bench.siege --seconds 60"
_LISTS: Final = "python -m tests.bench.long_lists"
_BIG: Final = "python -m tests.bench.big_service"
_WAKEUPS: Final = "python -m tests.bench.wakeups"
_CHANGES: Final = "python -m tests.bench.changes --nodes 8 --seconds 6 --burst 0"

#: What the name of a line says where more is better; else less is.
_MORE: Final = "a second"

#: The middle of a figure, and what else it says of itself.
_SPREAD: Final = "median (lowest to highest, number)"


@attrs.frozen
class Cell:
    """Where a figure stands in a print: the beginning of its row, and its column."""

    row: str
    column: str


@attrs.frozen
class Line:
    """A line of the table: ``told`` is the command that prints it, ``more`` what narrows that down to this line."""

    what: str
    told: str
    ours: Cell
    peer: str = ""
    theirs: Cell | None = None
    ratio: Cell | None = None
    unit: str = ""
    more: str = ""
    has_target: bool = True  # whether the target of its row is about it

    @property
    def target_row(self) -> str:
        """The row that has the target and whether it is met."""
        return (self.ratio or self.ours).row


def _beside_serf(what: str, told: str, row: str, more: str = "") -> Line:
    return Line(what, told, Cell(row, "gossipreg"), "Serf", Cell(row, "Serf"), Cell(row, "ratio"), more=more)


def _serf(what: str, row: str, group: str) -> Line:
    return _beside_serf(what, _SERF, row, f" --rows {group}")


def _burst(what: str, row: str) -> Line:
    return Line(what, _BURST, Cell(row, "gossipreg"))


def _loss(percent: int) -> Line:
    what = f"a registration, seen by the last of 32, {percent} % of packets lost"
    return _beside_serf(what, _LOSS, f"{percent} % |", f" --loss {percent}")


def _anomaly(act: str, how: str) -> Line:
    row = f"{act} | members that were well, taken for failed by anybody"
    what = f"8 of 32 {how}: reports that one of the others failed, sum (each round)"
    return _beside_serf(what, _ANOMALIES, row, f" --acts {act}")


def _proxy(what: str, row: str, peer: str, ratio: str) -> Line:
    return Line(f"balancer: {what}", _PROXY, Cell(row, "gossipreg"), peer, Cell(row, peer), Cell(row, ratio))


def _read(what: str, row: str) -> Line:
    return Line(what, _READS, Cell(row, "a second"), "a dict", Cell("dict", "a second"), Cell(row, "beside a dict"))


def _dns(kind: str) -> Line:
    row = f"{kind} |"
    return Line(
        f"DNS answers a second, {kind}",
        _DNS,
        Cell(row, "answers/s"),
        "a bare UDP echo",
        Cell("echo", "answers/s"),
        Cell(row, "of the echo"),
    )


def _big(row: str) -> Line:
    unit = "s" if row.startswith("registering") else "MiB" if "memory" in row or "looked up" in row else "ms of CPU"
    size = "100,000" if unit == "MiB" else "5,000"
    return Line(f"a service of {size}: {row}", _BIG, Cell(f"{row} |", "measured"), unit=unit)


def _list(asked: str) -> Line:
    what = f"longest turn of the loop, 100,000 instances: {asked}"
    return Line(what, _LISTS, Cell(f"{asked} |", "longest turn, CPU ms"), unit="ms")


def _turn(asked: str) -> Line:
    what = f"longest turn of the loop, 5,000 instances: {asked}"
    return Line(what, _TURNS, Cell(f"{asked} |", "longest turn, CPU ms"), unit="ms")


def _simulated(what: str, row: str, part: str, unit: str = "") -> Line:
    return Line(f"simulated: {what}", f"{_RECONCILIATION} {part}", Cell(row, "value"), unit=unit)


LINES: Final = (
    _serf("a registration (Serf: a tag), seen by the last of 64", "a registration (Serf: a tag), seen", "registration"),
    _serf("`kill -9`: gone from the last lookup (Serf: failed)", "`kill -9`: gone", "kill"),
    _serf("`kill -9`: failed everywhere", "`kill -9`: failed", "kill"),
    _serf("SIGSTOP: the last lookup prefers others (Serf: failed)", "SIGSTOP: gone", "stop"),
    _serf("SIGSTOP: failed everywhere", "SIGSTOP: failed", "stop"),
    _serf("idle traffic a node, whole IP packets, sealed", "idle traffic a node, IP packets whole", "idle"),
    _serf("idle packets a node", "idle packets a node", "idle"),
    _serf("idle CPU a node, of one core", "idle CPU a node", "idle"),
    *(
        _beside_serf(f"idle {what} a node, {nodes} nodes", _IDLE.format(nodes), row)
        for what, row in (("traffic", "idle traffic a node, IP packets whole"), ("CPU", "idle CPU a node"))
        for nodes in (16, 128)
    ),
    _serf("memory a node, resident", "memory a node, resident", "memory"),
    _serf("memory a node, shared pages divided", "memory a node, shared", "memory"),
    _serf("cold start of 64: last ready line to full, equal views", "cold start: last ready", "cold"),
    _serf("cold start of 64: first process to last ready line", "cold start: first process", "cold"),
    _beside_serf("cold start of 128: last ready line to full, equal views", _COLD, "cold start: last ready"),
    _serf("CPU of one of 64 agents until it is ready", "CPU of one agent", "cold"),
    _serf("packets a node for one registration (Serf: a tag)", "a registration (Serf: a tag): packets", "burst"),
    _serf("traffic a node for one registration (Serf: a tag)", "a registration (Serf: a tag): traffic", "burst"),
    _serf("CPU a node for one registration (Serf: a tag)", "a registration (Serf: a tag): CPU", "burst"),
    _burst("1,000 registrations in a burst, all seen by the last of 64", "a burst of registrations"),
    _burst("the same: packets a node", "a burst: packets"),
    _burst("the same: traffic a node", "a burst: traffic"),
    _burst("one by another agent in the middle of it, seen by the last", "in the middle of a burst"),
    _burst("the same, as many times as one that is alone takes", "the same, beside one"),
    *map(_loss, (0, 10, 30)),
    _anomaly("stop", "stopped and let go on, over and over"),
    _anomaly("starve", "short of CPU"),
    Line(
        "repair of 10 differing of 10,000 records, bytes",
        f"{_RECONCILIATION} repair",
        Cell("10 |", "bytes"),
        "a full exchange",
        Cell("all", "bytes"),
        Cell("10 |", "of a full exchange"),
        unit="B",
    ),
    Line(
        "repair of 1,000 differing of 10,000 records, bytes",
        f"{_RECONCILIATION} repair",
        Cell("1,000 |", "bytes"),
        "a full exchange",
        Cell("all", "bytes"),
        Cell("1,000 |", "of a full exchange"),
        unit="B",
    ),
    Line(
        "a node joins two that hold 10,000 instances: process to full",
        f"{_RECONCILIATION} join",
        Cell("after its process was started", "s"),
        unit="s",
    ),
    _simulated("64 join 8 that hold 10,000 at once, the last is full", "full, the last one", "crowd", "s"),
    _simulated("the same: bytes a newcomer", "bytes until the last was full", "crowd", "B"),
    _simulated("100 changes a second on 64 nodes, seen by the last, p99", "seen by the last node, p99", "churn", "ms"),
    _simulated("the same: probes a node and period, least", "probes a node and period, least", "churn"),
    Line("CPU of `gossipreg lookup`, the whole process", _STARTUP, Cell("gossipreg lookup: CPU", _SPREAD)),
    Line("CPU of one agent until it is ready, sealed", _STARTUP, Cell("agent, sealed: CPU until ready", _SPREAD)),
    Line("a node in a program that has trio: CPU added", _STARTUP, Cell("a node in a program that has trio", _SPREAD)),
    Line("a node in a program, resident", _STARTUP, Cell("open node: resident", _SPREAD)),
    Line("memory of an agent, resident", _STARTUP, Cell("agent: resident", _SPREAD)),
    *(
        Line(f"an attached process, {kind}: CPU that its start adds", _ATTACH, Cell(f"start, {kind}: CPU", _SPREAD))
        for kind in ("trio", "asyncio", "threads")
    ),
    *(
        Line(f"an attached process, {kind}: memory added", _ATTACH, Cell(f"start, {kind}: resident", _SPREAD))
        for kind in ("trio", "asyncio", "threads")
    ),
    Line(
        "200 attached processes at rest, half with an instance: CPU of one of these",
        _ATTACH,
        Cell("200 processes: CPU at rest of one that has", _SPREAD),
    ),
    Line(
        "the same: CPU of one that only looks up", _ATTACH, Cell("200 processes: CPU at rest of one that only", _SPREAD)
    ),
    Line("the same: what each adds to the agent's memory", _ATTACH, Cell("200 processes: of the agent's", _SPREAD)),
    Line(
        "`kill -9` of an attached process: gone from the last of 4 nodes",
        _ATTACH,
        Cell("kill -9 of an attached process", _SPREAD),
        "`kill -9` of a member",
        Cell("kill -9 of a member", _SPREAD),
    ),
    _read("`lookup` in the program, a second", "lookup |"),
    _read("`pick` in the program, a second", "pick |"),
    Line(
        "lookups over HTTP, requests a second",
        _HTTP,
        Cell("gossipreg", "requests/s"),
        "etcd",
        Cell("etcd |", "requests/s"),
        Cell("etcd |", "ours to it"),
    ),
    Line(
        "lookups over HTTP, requests a second, etcd's serializable",
        _HTTP,
        Cell("gossipreg", "requests/s"),
        "etcd",
        Cell("etcd, serializable", "requests/s"),
        Cell("etcd, serializable", "ours to it"),
    ),
    Line(
        "1,000 event watchers of one agent, the last has it", _WATCHERS, Cell("1,000 watchers |", "last, ms"), unit="ms"
    ),
    Line(
        "1,000 blocking reads of one agent, the last has it", _WATCHERS, Cell("1,000 readers |", "last, ms"), unit="ms"
    ),
    Line(
        "1,000 blocked Consul queries of one service, the last has it",
        _CONSUL,
        Cell("1,000 on `health/service` |", "last, ms"),
        unit="ms",
    ),
    Line(
        "1,000 blocked Consul queries of everything, the last has it",
        _CONSUL,
        Cell("1,000 on `health/state/any`", "last, ms"),
        unit="ms",
    ),
    _dns("A"),
    _dns("SRV"),
    *(
        _proxy(what, row, peer, ratio)
        for what, row in (
            ("requests a second on 32 kept connections", "requests on"),
            ("requests a second, each on its own connection", "requests, each"),
            ("latency of one caller, median", "latency of one caller, median"),
            ("latency of one caller, 99 %", "latency of one caller, 99 %"),
            ("bytes a second, there and back on one connection", "bytes there"),
            ("CPU for a request on a kept connection", "CPU for a request on a kept connection"),
            ("CPU for a request on its own connection", "CPU for a request on its own connection"),
            ("CPU for a megabyte there and back", "CPU for a megabyte there and back"),
        )
        for peer, ratio in (("HAProxy", "ratio"), ("Envoy", "to Envoy"))
    ),
    Line(
        "a service fails its check: its owner knows until gone from the last of 3",
        _CHECKS,
        Cell("its owner knows", _SPREAD),
    ),
    *map(
        _turn,
        ("consul, health", "consul, 64 matches", "consul, all checks", "eureka, apps", "eureka, delta", "traefik"),
    ),
    *map(_list, ("first list", "whole list", "whole list, by tag", "Prometheus' targets")),
    Line(
        "the first of these lists: memory at the peak",
        _LISTS,
        Cell("first list |", "memory, MiB"),
        unit="MiB",
        has_target=False,
    ),
    *map(
        _big,
        (
            "a change, the protocol alone",
            "a change, a node",
            "a change, a node with a watch",
            "a whole list in JSON after a change",
            "registering all, until the other node has them",
            "memory of 100,000 instances",
            "the same, once all are looked up",
        ),
    ),
    Line(
        "100 changes a second in a cluster of 8: share of a core, a node",
        _CHANGES,
        Cell("under changes | share of a core |", "median"),
    ),
    Line("the same: wake-ups of a node", _CHANGES, Cell("under changes | wake-ups |", "median")),
    Line("wake-ups of a node of 8 at rest", _CHANGES, Cell("at rest | wake-ups |", "median")),
    Line(
        "wake-ups of a node of 8 at rest, all threads",
        _WAKEUPS,
        Cell("wake-ups |", "gossipreg"),
        "Serf",
        Cell("wake-ups |", "Serf"),
        Cell("wake-ups |", "ratio"),
    ),
    Line("`/healthz` of an agent under siege, 99 %", _SIEGE, Cell("`/healthz`, 99%", "under siege")),
    Line("memory of an agent under siege, growth in the last third", _SIEGE, Cell("resident, last", "under siege")),
)


@attrs.frozen
class Print:
    """What one command printed, and when that was."""

    when: str
    rows: tuple[dict[str, str], ...]

    @classmethod
    def of(cls, when: str, said: str) -> Print:
        """Read every table in ``said``: each row by column, the whole row by ""."""
        rows: list[dict[str, str]] = []
        head: list[str] = []
        for line in said.splitlines():
            if not line.startswith("|"):
                head = []
                continue
            cells = [cell.strip() for cell in line[1:-1].split("|")]
            if not head:
                head = [cell or "verdict" for cell in cells]
            elif set(cells[0]) != {"-"}:
                rows.append(dict(zip(head, cells, strict=True)) | {"": " | ".join(cells)})
        return cls(when, tuple(rows))

    def row(self, begins: str) -> dict[str, str]:
        """The first row that begins so, by column; nothing if there is none."""
        return next((row for row in self.rows if row[""].startswith(begins)), {})

    def cell(self, where: Cell | None, unit: str = "") -> str:
        """A figure with its unit; nothing if it was not printed."""
        row = {} if where is None else self.row(where.row)
        found = row.get(where.column, "") if where is not None else ""
        return f"{found} {row.get('unit') or unit}".strip() if found else ""


def prints(measurements: str) -> dict[str, Print]:
    """By command: what the page of measurements says that it printed."""
    return {found["command"]: Print.of(found["when"], found["said"]) for found in _PRINT.finditer(measurements)}


def table(measurements: str) -> str:
    """The table, as the prints in ``measurements`` have it."""
    said = prints(measurements)
    rows = [["ratio", "target", "", "what", "beside", "gossipreg", "measured", "command"]]
    for line in LINES:
        found = said[line.told]
        compared = found.row(line.target_row) if line.has_target else {}
        ours = found.cell(line.ours, line.unit)
        theirs = found.cell(line.theirs, line.unit)
        ratio = found.row(line.ratio.row).get(line.ratio.column, "") if line.ratio is not None else ""
        rows.append(
            [
                ratio,
                compared.get("target", ""),
                compared.get("verdict", ""),
                line.what,
                f"{line.peer} {theirs}" if theirs else "",
                ours or "not yet",
                found.when.partition(".")[0] if ours else "",
                f"`{line.told}{line.more}`",
            ]
        )
    return markdown(rows)


def bars(measurements: str) -> list[Bar]:
    """The lines of the table that have a ratio, to be drawn; none beside some is on no scale of tenfolds."""
    said = prints(measurements)
    made = []
    for line in LINES:
        found = said[line.told]
        ratio = "" if line.ratio is None else found.row(line.ratio.row).get(line.ratio.column, "")
        if ratio not in ("", "0"):
            made.append(Bar(line.what, ratio, found.row(line.target_row).get("target", ""), more=_MORE in line.what))
    return made


def renewed(page: str, measurements: str) -> str:
    """``page`` with its tables made anew from the prints in ``measurements``."""
    said = prints(measurements)
    page = _REGISTRIES.sub(lambda _: registries_table(said), page, count=1)
    page = _MEMBERLIST.sub(lambda _: memberlist_table(said), page, count=1)
    return _TABLE.sub(lambda _: table(measurements), page, count=1)


def main() -> None:
    """Make the table of the page and the picture anew."""
    measurements = PRINTS.read_text()
    PAGE.write_text(renewed(PAGE.read_text(), measurements))
    PICTURE.write_text(drawn(bars(measurements)))


if __name__ == "__main__":
    main()
