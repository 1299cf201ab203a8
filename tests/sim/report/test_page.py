"""The report shows what happened in the run, and is self-contained."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest

from gossipreg_sim.report import packing
from gossipreg_sim.report.heat_map import Cell, heat_map_of
from gossipreg_sim.report.page import page_of
from gossipreg_sim.report.recording import Recording
from gossipreg_sim.report.traffic import PacketContent


@pytest.fixture(scope="module")
def page(stormy: Recording) -> str:
    return page_of(stormy, "stormy.toml")


@pytest.fixture(scope="module")
def facts(page: str) -> dict[str, Any]:
    [text] = re.findall(r'<script id="facts" type="application/json">(.*?)</script>', page, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def column(facts: dict[str, Any], name: str) -> bytes:
    return packing.decompressed(facts["columns"][name])


def test_the_changes_on_the_page_are_those_of_the_run(stormy: Recording, facts: dict[str, Any]) -> None:
    at = packing.unrising(column(facts, "heat.at"))
    cells = packing.unvarints(column(facts, "heat.cell"))
    states = map(Cell, column(facts, "heat.state"))
    shown = list(zip(at, cells, states, strict=True))
    assert shown == [attrs.astuple(change) for change in heat_map_of(stormy).changes]
    failures = {
        (b.at // 1000, b.observer, b.subject) for b in stormy.beliefs if b.after and str(b.after.status) == "failed"
    }
    names = facts["names"]
    assert failures <= {
        (when, names[cell // 6], names[cell % 6]) for when, cell, state in shown if state is Cell.FAILED
    }


def test_the_packets_on_the_page_are_those_of_the_run(stormy: Recording, facts: dict[str, Any]) -> None:
    names, culprits = facts["names"], facts["culprits"]
    lost = iter(packing.unvarints(column(facts, "packets.culprit")))
    shown = [
        (sent, names[link // 6], names[link % 6], flight, culprits[next(lost)] if flight == 0 else "")
        for sent, link, flight in zip(
            packing.unrising(column(facts, "packets.sent")),
            packing.unvarints(column(facts, "packets.link")),
            packing.unvarints(column(facts, "packets.flight")),
            strict=True,
        )
    ]
    assert shown == [
        (
            passage.sent // 1000,
            passage.sender,
            passage.receiver,
            (passage.arrivals[0] - passage.sent) // 1000 + 1 if passage.arrivals else 0,
            passage.culprit.removeprefix("fault "),
        )
        for passage in stormy.passages
    ]
    contents = [PacketContent(kind & 7) for kind in column(facts, "packets.kind")]
    assert [content is PacketContent.STREAM for content in contents] == [
        passage.on_stream for passage in stormy.passages
    ]
    assert dict.fromkeys(contents).keys() == dict.fromkeys(PacketContent).keys()


def test_an_event_costs_about_ten_bytes(stormy: Recording, facts: dict[str, Any]) -> None:
    size = sum(map(len, facts["columns"].values()))
    assert size < 10 * (len(stormy.passages) + len(stormy.beliefs))


def test_the_page_shows_the_command_and_the_result(stormy: Recording, facts: dict[str, Any]) -> None:
    assert facts["command"] == "gossipreg sim run stormy.toml --seed 3"
    assert facts["why"] == ["gossipreg sim why stormy.toml", "--seed 3"]
    assert facts["digest"] == stormy.outcome.digest
    assert [name for name, *_ in facts["oracles"]] == list(stormy.outcome.checks)
    assert [(band["name"], band["begins"], band["ends"]) for band in facts["bands"]] == [
        ("cut-1", 3.0, 10.0),
        ("loss-1", 3.0, 17.0),
        ("crash-1", 5.0, 8.0),
        ("leave-1", 9.0, stormy.outcome.seconds),
        ("freeze-1", 6.0, 10.0),
    ]
    phases = {mark["text"]: mark["at"] for mark in facts["marks"] if mark["kind"] == "phase"}
    assert (phases["faults"], phases["heal"]) == (3.0, 17.0)
    acts = [(mark["at"], mark["node"], mark["text"]) for mark in facts["marks"] if mark["kind"] == "act"]
    assert (5.0, "n2", "crash") in acts
    assert (6.0, "n4", "freeze") in acts


def test_the_page_makes_no_requests(page: str) -> None:
    assert re.findall(r"https?://", page) == []
    assert re.findall(r"<(?:link|img|iframe)\b[^>]*", page) == ['<link rel="icon" href="data:,"']
    assert not re.search(r"<script[^>]*\bsrc=|@import|url\(", page)
    assert "{{" not in page.split('<script id="facts"', maxsplit=1)[0]


def test_a_scenario_cannot_break_out_of_the_page(stormy: Recording) -> None:
    title = "</script><script>alert(1)</script>"
    scenario = attrs.evolve(stormy.scenario, title=title, name="<b>&")
    outcome = attrs.evolve(stormy.outcome, scenario=scenario)
    page = page_of(attrs.evolve(stormy, outcome=outcome), "x.toml")
    assert title not in page
    assert "<title>&lt;b&gt;&amp;, seed 3</title>" in page
