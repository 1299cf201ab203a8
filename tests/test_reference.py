"""The generated reference covers every public name: each `__all__`, and what docs/compatibility.md calls public."""

from __future__ import annotations

import ast
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


def test_type_checkers_and_the_generator_see_every_public_name_of_the_simulator() -> None:
    """It imports each on first use; what reads its source only sees the imports for type checkers."""
    tree = ast.parse(Path(str(gossipreg_sim.__file__)).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {each.name for node in imports if str(node.module).startswith("gossipreg_sim.") for each in node.names}
    assert imported == {*gossipreg_sim.__all__}
