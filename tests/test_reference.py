"""The generated reference covers every public name: each `__all__`, and what docs/compatibility.md calls public."""

from __future__ import annotations

import re
from pathlib import Path

import gossipreg_sim

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


def documented(page: str) -> list[str]:
    """The modules and names that the generator puts into the page."""
    return re.findall(r"^::: (\S+)$", (FOLDER / page).read_text(), re.MULTILINE)


def test_the_package_is_documented_by_its_list_of_names() -> None:
    assert documented("gossipreg.md") == ["gossipreg"]


def test_every_public_module_for_other_programs_is_documented() -> None:
    row = re.findall(r"^\| Python names \| (.*?) \|", (FOLDER.parent / "compatibility.md").read_text(), re.MULTILINE)[0]
    public = {
        name.removeprefix("gossipreg.embed") for name in re.findall(r"`([\w.]*\.\w+)`", row) if "__all__" not in name
    }
    assert {name.removeprefix("gossipreg.embed") for name in documented("embed.md")} == public


def test_every_public_name_of_the_simulator_is_documented() -> None:
    assert {name.removeprefix("gossipreg_sim.") for name in documented("simulator.md")} == {*gossipreg_sim.__all__}
