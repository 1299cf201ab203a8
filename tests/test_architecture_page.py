"""The trees in docs/architecture.md are the trees of the code: every room is there, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def tree(title: str) -> str:
    """The first block of code that begins with ``title``."""
    [block] = re.findall(rf"^```\n({re.escape(title)}.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(block)


def folders(below: Path) -> set[str]:
    return {found.name for found in below.rglob("*") if found.is_dir() and found.name != "__pycache__"}


def modules(below: Path) -> set[str]:
    return {found.stem for found in below.rglob("*.py") if not found.stem.startswith("__")}


def test_every_folder_of_the_package_is_in_the_first_tree() -> None:
    named = set(re.findall(r"(\w+)/", tree("gossipreg/")))
    assert folders(ROOT / "gossipreg") <= named
    for name in named - {"gossipreg", "sim", "tests", "docs"}:
        assert name in folders(ROOT / "gossipreg") | folders(ROOT / "tests"), name


@pytest.mark.parametrize("room", ["protocol", "runtime", "embed"])
def test_every_file_of_the_room_is_in_its_tree_and_no_other(room: str) -> None:
    here = ROOT / "gossipreg" / room
    words = set(re.findall(r"(\w+)(?:\.py|/)", tree(f"{room}/")))
    kinds = {"http", "grpc", "command", "dialing"} if room == "runtime" else set()  # one a kind of check
    assert words | kinds == modules(here) | folders(here) | {room}


def test_every_room_of_the_simulator_is_in_its_tree() -> None:
    words = set(re.findall(r"\w+", tree("sim/gossipreg_sim/")))
    here = ROOT / "sim" / "gossipreg_sim"
    assert {found.stem for found in here.glob("*.py") if not found.stem.startswith("__")} <= words
    assert {found.name for found in here.iterdir() if found.is_dir() and found.name != "__pycache__"} <= words
