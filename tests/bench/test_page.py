"""The page of benchmarks says what the commands printed, and the commands are there."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

from tests.bench.figures import GROUPS
from tests.bench.page import LINES, PAGE, PRINTS, prints, renewed, table
from tests.bench.page_peers import EUREKA, LATER, MEMBERLIST, SERVERS, TOLD, memberlist_table, registries_table

COMMANDS = sorted({f"{line.told}{line.more}" for line in LINES} | TOLD)


def test_the_table_is_made_of_what_was_printed() -> None:
    page = PAGE.read_text()
    assert renewed(page, PRINTS.read_text()) == page, "python -m tests.bench.page makes it anew"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_exists_and_knows_what_it_is_told(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.fullmatch(r"python (?:-m tests\.bench\.(\w+)|tests/bench/(\w+)\.py)(?P<told>.*)", command)
    assert found is not None, command
    module = importlib.import_module(f"tests.bench.{found[1] or found[2]}")
    monkeypatch.setattr(sys, "argv", [module.__name__, *found["told"].split(), "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    known = capsys.readouterr().out
    for word in re.findall(r"--[\w-]+|(?<!\S)[a-z]\w+$", found["told"]):
        assert re.search(rf"{word}\b", known), f"{command}: there is no {word}"


@pytest.mark.parametrize("rows", [line.more.split() for line in LINES if "--rows" in line.more])
def test_each_group_of_rows_exists(rows: list[str]) -> None:
    assert rows[1] in GROUPS


def test_each_print_has_a_line_in_the_table() -> None:
    assert prints(PRINTS.read_text()).keys() == {line.told for line in LINES} | TOLD


def test_a_figure_that_was_not_printed_is_none_yet() -> None:
    page = "".join(f"### `{command}`\n\nNot yet.\n\n" for command in {line.told for line in LINES})
    assert table(page).count("not yet") == len(LINES)


def test_a_print_tells_its_figure_its_target_and_whether_that_is_met() -> None:
    said = "| what | unit | Serf | gossipreg | ratio | target | |\n|---|---|---|---|---|---|---|\n"
    said += "| `kill -9`: gone from | s | 9.0 (8.0 to 9.9, n=3) | 0.1 | 1/90 | ≤ 1/40 | met |\n"
    page = "".join(f"### `{command}`\n\nToday. Rain.\n\n{said}\n" for command in {line.told for line in LINES})
    row = next(row for row in table(page).splitlines() if "gone from" in row)
    assert [cell.strip() for cell in row[1:-1].split("|")] == [
        "1/90",
        "≤ 1/40",
        "met",
        "`kill -9`: gone from the last lookup (Serf: failed)",
        "Serf 9.0 (8.0 to 9.9, n=3) s",
        "0.1 s",
        "Today",
        "`python tests/bench/serf.py --nodes 64 --rows kill`",
    ]


def said(command: str, table: str) -> str:
    return f"### `{command}`\n\nToday.\n\n{table}\n\n"


def test_each_registry_has_the_ratio_to_it_before_its_median() -> None:
    head = "| what | beside | unit | its figure | attached | to attached | members |\n|---|---|---|---|---|---|---|\n"
    title = "`kill -9` of a client: gone from the last"
    servers = f"| {title} | etcd | s | 60 (59 to 61, n=3) | 0.5 (0.4 to 0.6, n=3) | 1/120 | 0.1 |"
    eureka = f"| {title} | eureka | s | 200 (190 to 210, n=2) | 0.4 | 1/500 | |"
    later = f"| {title} | etcd | s | 50 (49 to 51, n=3) | 0.25 (0.2 to 0.3, n=3) | 1/200 | |"
    page = said(SERVERS, head + servers) + said(LATER, head + later) + said(EUREKA, head + eureka)
    row = next(row for row in registries_table(prints(page)).splitlines() if title in row)
    cells = [cell.strip() for cell in row[1:-1].split("|")]
    assert cells == [title, "0.25 s", "0.1 s", "**1/200** 50 s", "", "", "", "**1/500** 200 s", ""]


def test_memberlist_has_its_columns_for_each_size() -> None:
    head = "| what | unit | memberlist | gossipreg | ratio |\n|---|---|---|---|---|\n"
    table = head + "| idle packets a node | 1/s | {} | {} | {} |"
    page = said(MEMBERLIST[32], table.format("2 (1 to 3, n=4)", "4", "2"))
    page += said(MEMBERLIST[64], table.format("3", "6", "2"))
    row = next(row for row in memberlist_table(prints(page)).splitlines() if "idle packets" in row)
    assert [cell.strip() for cell in row[1:-1].split("|")] == [
        "idle packets a node",
        "**2** 2 1/s",
        "4 1/s",
        "**2** 3 1/s",
        "6 1/s",
    ]
