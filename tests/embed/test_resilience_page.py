"""The programs on the page about trouble do what it says, run as they stand; and its tables name what there is."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from gossipreg.embed.threads import open_node
from gossipreg.frontends.http.routes import ROUTES
from gossipreg.frontends.proxy.settings import Forward
from tests.embed.pages import PATIENCE, programs_of, run
from tests.embed.programs import ROOT
from tests.embed.seeing import config

PROGRAMS = programs_of("resilience.md")
PAGE = (ROOT / "docs" / "resilience.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's programs, in files of their names."""
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_program_on_the_page_is_run_here() -> None:
    assert sorted(PROGRAMS) == ["panicking.py", "starting.py"]


def test_while_nothing_is_lost_a_threshold_changes_nothing(folder: Path) -> None:
    assert run(folder, "panicking.py") == ["8080 fresh", "8080", "8080"]


def test_a_program_that_starts_in_an_outage_has_what_could_be_called_before(folder: Path) -> None:
    with open_node(config("seed")) as seed:
        seed.register("orders", port=8080)
        seeds = str(seed.address)
        with open_node(config("before", seed, snapshot=folder / "last")) as before:
            before.wait_for("orders", timeout=PATIENCE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"127.0.0.1:{listener.getsockname()[1]}"
    assert seeds != nowhere
    assert run(folder, "starting.py", "last", SEEDS=nowhere) == ["last known", "127.0.0.1:8080 stale"]
    assert run(folder, "starting.py", "other", SEEDS=nowhere) == ["live"]


def test_the_metrics_on_the_page_are_those_on_the_metrics_pages() -> None:
    known = (ROOT / "docs" / "metrics.md").read_text() + (ROOT / "docs" / "proxy.md").read_text()
    for metric in re.findall(r"^\| `(gossipreg_\w+)", PAGE, re.MULTILINE):
        assert f"`{metric}`" in known


def test_the_ways_to_ask_are_there() -> None:
    assert hasattr(Forward, "panic_threshold")
    taking = {route.path for route in ROUTES if "panic" in route.query}
    assert taking == {"/api/v1/services/NAME", "/api/v1/events"}
