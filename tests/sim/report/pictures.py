"""Screenshots for docs/simulator.md: `python -m tests.sim.report.pictures` recreates them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from gossipreg_sim.report.page import page_of
from gossipreg_sim.report.plots import save_plot
from gossipreg_sim.report.recording import record
from gossipreg_sim.scenario_file import load
from tests.sim.report.browser import browser, found

FOLDER = Path(__file__).parents[3] / "docs" / "pictures"

#: name, seconds, dark, width and height
SHOTS = (("report", 40.0, False, 1200, 990), ("report-heal", 70.03, True, 1200, 990))


def make() -> None:
    """Create the screenshots of `split-brain`."""
    path = found()
    if path is None:
        sys.exit("no Chromium on this machine")
    recording = record(load("split-brain"), 1)
    save_plot(recording, FOLDER / "split-brain.svg")
    with tempfile.TemporaryDirectory() as folder, browser(path, Path(folder) / "profile") as page:
        file = Path(folder) / "split-brain.html"
        file.write_text(page_of(recording, "split-brain"))
        for name, seconds, dark, width, height in SHOTS:
            page.look(width, height, dark=dark)
            page.open(file)
            page.run(f"report.show({seconds})")
            page.shoot(FOLDER / f"{name}.png")


if __name__ == "__main__":
    make()
