"""docs/simulator.md matches the code."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

from gossipreg.cli import cli
from gossipreg_sim.fault import Fault
from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario import Scenario, Wiring, Workload
from gossipreg_sim.scenario_file import parse
from tests.sim.simulator_page import PAGE, with_tables, with_tour


def rows() -> dict[str, list[tuple[str, str]]]:
    """Return the keys in the page's tables with their defaults, by section of the table."""
    found: dict[str, list[tuple[str, str]]] = {"": [], "fault": []}
    text = PAGE.read_text()
    tables = text[text.index("## Scenario files") : text.index("Faults of links")]
    part = ""
    for line in tables.splitlines():
        if heading := re.match(r"\| \*\*`\[(\w+)\]`", line):
            part = heading[1]
            found[part] = []
        elif line.startswith("| switch |"):
            part = "settings"
            found[part] = []
        elif line.startswith("### Faults"):
            part = "fault"
        elif row := re.match(r"\| `(\w+)` \| ([^|]*) \|", line):
            found[part].append((row[1], row[2].strip("`")))
    return found


def keys(made: type[Any], *, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return the keys of a part of a scenario with their defaults, as TOML would write them."""
    return [
        (field.name, "required" if field.default is attrs.NOTHING else json.dumps(field.default))
        for field in attrs.fields(made)
        if field.name not in without
    ]


def test_the_tables_have_every_key_with_its_default() -> None:
    found = rows()
    assert found[""] == keys(Scenario, without=("name", "wiring", "workload", "settings", "faults"))
    assert found["wiring"] == keys(Wiring)
    assert found["workload"] == keys(Workload)
    always = [key for key in keys(Fault) if key[0] in ("at", "lasts", "nodes")]
    assert found["fault"] == [("name", "kind and number"), *always]


def test_the_tables_of_faults_and_oracles_are_up_to_date() -> None:
    assert PAGE.read_text() == with_tables(PAGE.read_text()), "run: python -m tests.sim.simulator_page"


def test_the_scenario_of_the_tour_is_good() -> None:
    [text] = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert run_scenario(parse(text, name="rack", where="rack.toml"), 1).is_good


def test_the_output_of_the_tour_is_real() -> None:
    assert PAGE.read_text() == with_tour(PAGE.read_text()), "run: python -m tests.sim.simulator_page"


def test_the_commands_of_the_simulator_are_documented() -> None:
    page = (PAGE.parent / "cli.md").read_text()
    group = cli.commands["sim"]
    assert all(f"`sim {name}" in page for name in group.commands)  # type: ignore[attr-defined]
