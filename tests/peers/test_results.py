"""What real clients did becomes a table of the docs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.peers.results import PAGE, VARIABLE, record, rows_of, updated, with_table


def test_what_was_recorded_stands_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results"
    monkeypatch.setenv(VARIABLE, str(file))
    record(client="vmagent", version="1.79.5", api="Consul", did="scrapes", seconds=3.0)
    record(client="py-consul", version="1.8.0", api="Consul", did="registers | renews")
    record(client="vmagent", version="1.79.5", api="Consul", did="scrapes", weights="none", seconds=0.256)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    page = with_table("before\n<!-- peers: made by tests -->\nold\n<!-- end -->\nafter\n", rows)
    assert page.splitlines() == [
        "before",
        "<!-- peers: made by tests -->",
        "",
        "| client | version | API | what it did | weights | change seen after |",
        "|---|---|---|---|---|---|",
        "| py-consul | 1.8.0 | Consul | registers \\| renews |  |  |",
        "| vmagent | 1.79.5 | Consul | scrapes | none | 0.26 s |",
        "",
        "<!-- end -->",
        "after",
    ]
    assert with_table(page, rows) == page


def test_what_was_not_run_again_stays() -> None:
    old = {"client": "dig", "version": "9", "api": "DNS", "did": "asks | waits", "weights": "", "seconds": None}
    again = {"client": "vmagent", "version": "1", "api": "Consul", "did": "scrapes", "weights": "none", "seconds": 0.25}
    page = with_table("<!-- peers: made by tests -->\n<!-- end -->\n", [old, {**again, "did": "waits"}])
    assert rows_of(updated(page, [again])) == [again, old]


def test_nothing_is_kept_unless_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    record(client="dig", version="9", api="DNS", did="asks")


def test_the_page_has_room_for_the_table() -> None:
    assert with_table(PAGE.read_text(), [])
