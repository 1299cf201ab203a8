"""Generated parts of docs/simulator.md: `python -m tests.sim.simulator_page` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gossipreg_sim.fault import KINDS
from gossipreg_sim.heal_bound import TERMS
from gossipreg_sim.runner import CELL_ORACLES, ORACLES, run_scenario
from gossipreg_sim.scenario_file import load
from gossipreg_sim.summary import as_lines

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


def kinds() -> Iterator[str]:
    """Yield one row for each kind of fault."""
    for name, kind in KINDS.items():
        needs, takes = (", ".join(f"`{key}`" for key in keys) for keys in (kind.needs, kind.takes))
        yield f"| `{name}` | {kind.does} | {needs} | {takes} |".replace("|  |", "| |").replace("|  |", "| |")


def oracles() -> Iterator[str]:
    """Yield one row for each oracle."""
    for oracle in ORACLES:
        yield f"| `{oracle.__name__}` | {oracle.law} |"


def with_tables(text: str) -> str:
    """Return the page with up-to-date tables."""
    for head, rows in (
        ("| kind | effect | required keys | optional keys |\n| --- | --- | --- | --- |\n", kinds()),
        ("| oracle | law |\n| --- | --- |\n", oracles()),
        (
            "| oracle of cells | law |\n| --- | --- |\n",
            (f"| `{oracle.__name__}` | {oracle.law} |" for oracle in CELL_ORACLES),
        ),
        ("| length | purpose |\n| --- | --- |\n", (f"| {term.length} | {term.purpose} |" for term in TERMS)),
    ):
        table = head + "".join(f"{row}\n" for row in rows)
        text = re.sub(re.escape(head) + r"(?:\|.*\n)*", table.replace("\\", r"\\"), text)
    return text


def with_tour(text: str) -> str:
    """Return the page with the current output of the tour; its speed line stays, because it differs in every run."""
    page = "\n".join(as_lines(run_scenario(load("split-brain"), 1), 1.0, ""))
    head = "$ gossipreg sim run split-brain --seed 1\n"
    before, _, rest = text.partition(head)
    output, fence, after = rest.partition("\n```\n")
    [speed] = re.findall(r"^  speed .*$", output, re.MULTILINE) or [""]
    return before + head + re.sub(r"^  speed .*$", speed, page, flags=re.MULTILINE) + fence + after


if __name__ == "__main__":
    PAGE.write_text(with_tour(with_tables(PAGE.read_text())))
