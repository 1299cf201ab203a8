"""The commands about members and the agent answer in a table, in columns for scripts, and in JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from rich.console import Console

from gossipreg.cli import show
from gossipreg.cli.tables import print_table
from gossipreg.cli.time_format import local
from tests.cli.conftest import Ran
from tests.cli.fake_agent import CELLS, MEMBER, NODE, FakeAgent


def test_members_are_tab_separated_in_a_pipe(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.members.append(MEMBER | {"name": "web-2", "zone": "", "draining": True, "version": None})
    started = local(1_700_000_000.123)
    assert ask("members").out.splitlines() == [
        f"web-1\t127.0.0.1:7940\talive\teu-1\t{started}\t2\t-\t0.1.0\t1",
        f"web-2\t127.0.0.1:7940\talive\t-\t{started}\t2\tdraining\t-\t1",
    ]


PROVEN = {"certificate": "0f" * 8, "authority": "ab" * 4, "until": 1_799_971_200.0, "ready": True}


def test_what_members_prove_has_columns_where_the_agent_has_an_identity(
    fake: FakeAgent, ask: Callable[..., Ran]
) -> None:
    nothing = {"certificate": None, "authority": None, "until": None, "ready": False}
    fake.members[:] = [
        MEMBER | {"identity": PROVEN},
        MEMBER | {"name": "web-2", "identity": nothing},
        MEMBER | {"name": "web-3", "identity": PROVEN | {"ready": False}},
    ]
    assert [line.split("\t")[9:] for line in ask("members").out.splitlines()] == [
        ["yes", "2027-01-15", "abababab"],
        ["no", "-", "-"],
        ["no", "2027-01-15", "abababab"],
    ]


def test_a_terminal_of_80_columns_shows_which_members_are_ready() -> None:
    table = show.members({"members": [MEMBER | {"identity": PROVEN, "address": "10.100.100.11:7940"}]})
    console = Console(width=80, file=io.StringIO(), color_system=None)
    print_table(table, console)
    written = console.file.getvalue()  # type: ignore[attr-defined]  # it is a `StringIO`
    assert "ready" in written
    assert "2027-01-15" in written
    assert all(len(line.rstrip()) <= 80 for line in written.splitlines())


def test_json_is_the_document_of_the_api(ask: Callable[..., Ran]) -> None:
    assert json.loads(ask("members", "--json").out) == {"members": [MEMBER]}
    assert json.loads(ask("info", "--json").out) == NODE


def test_what_is_none_is_a_dash(fake: FakeAgent, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Ran]) -> None:
    monkeypatch.setitem(NODE, "name_conflict", None)
    monkeypatch.setitem(NODE, "clock_skew", None)
    lines = ask("info").out.splitlines()
    assert {"name_conflict\t-", "clock_skew\t-"} <= set(lines)


def test_info_has_a_fact_a_line(ask: Callable[..., Ran]) -> None:
    facts = dict(line.split("\t") for line in ask("info").out.splitlines())
    assert facts["name"] == "web-1"
    assert facts["isolated"] == "no"
    assert facts["members.failed"] == "1"
    assert facts["counters.packets_sent"] == "7"
    assert "counters.failures_declared" not in facts, "it is 0, as most are"


def test_an_agent_drains_and_asks_for_work_again(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("drain").out == "web-1 drains: its instances get no new work\n"
    assert fake.requests[-1] == ("PUT", "/api/v1/drain", None)
    assert ask("drain", "--end").out == "web-1 takes work again\n"
    assert fake.requests[-1] == ("DELETE", "/api/v1/drain", None)
    assert json.loads(ask("drain", "--json").out) == {"draining": True}


def test_leave_names_the_agent_that_agreed_to(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("leave").out == "web-1 is leaving\n"
    assert fake.requests[-1] == ("POST", "/api/v1/leave", None)
    assert json.loads(ask("leave", "--json").out) == {"leaving": "web-1"}


def test_a_member_that_failed_is_forgotten_and_no_other(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("forget", "web-3").out == "forgot web-3\n"
    assert fake.requests[-1][:2] == ("DELETE", "/api/v1/members/web-3")
    assert json.loads(ask("forget", "web-3", "--json").out) == {"forgotten": "web-3"}
    assert ask("forget", "web-1") == Ran(
        1, "", "gossipreg: 'web-1' is alive: only a member that failed can be forgotten\n"
    )


def test_an_agent_joins_others_and_those_that_fail_are_noted(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("join", "10.0.0.6", "10.0.0.7:1") == Ran(
        0, "joined 10.0.0.6\n", "gossipreg: not joined: 10.0.0.7:1: nothing listens there\n"
    )
    assert fake.requests[-1] == ("POST", "/api/v1/join", {"seeds": ["10.0.0.6", "10.0.0.7:1"]})
    assert ask("join", "10.0.0.6,10.0.0.5").out == "joined 10.0.0.6, 10.0.0.5\n"
    assert json.loads(ask("join", "10.0.0.6", "--json").out) == {"joined": ["10.0.0.6"], "failures": {}}
    assert ask("join", "10.0.0.7:1") == Ran(1, "", "gossipreg: not joined: 10.0.0.7:1\n")
    assert ask("join").status == 2


def test_cells_are_listed_with_the_age_of_what_is_known(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("cells").out.splitlines() == [
        "a\t3\t1\t7\t-\town\t-\t-",
        "b\t2\t0\t4\t31.0\tstale\tweb-1 web-2\t10.0.0.7:7940 10.0.0.8:7940",
        "c\t0\t0\t0\t-\tfresh\tweb-1\t10.0.0.9:7940",
    ]
    assert json.loads(ask("cells", "--json").out)["cells"][1]["relays"] == ["web-1", "web-2"]


def test_members_of_other_cells_are_listed_when_they_are_asked_for(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.members.append(MEMBER | {"name": "far-1", "version": None, "cell": "b", "stale": True})
    assert [line.split("\t")[0] for line in ask("members").out.splitlines()] == ["web-1"]
    fake.members[0] = MEMBER | {"cell": "a", "stale": False}
    listed = [line.split("\t") for line in ask("members", "--all-cells").out.splitlines()]
    assert [(row[0], *row[7:]) for row in listed] == [
        ("web-1", "0.1.0", "1", "a", "fresh"),
        ("far-1", "-", "1", "b", "stale"),
    ]


def test_a_narrow_terminal_shows_cells_as_a_table_without_their_relays() -> None:
    out = io.StringIO()
    print_table(show.cells({"cells": CELLS}), Console(file=out, width=60, highlight=False))
    assert out.getvalue().split()[:6] == ["name", "members", "failed", "instances", "age", "state"]
    assert "10.0.0.7" not in out.getvalue()
