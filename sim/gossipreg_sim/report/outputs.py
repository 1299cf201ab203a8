"""Output files of a recorded run: which were asked for, and writing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gossipreg_sim.report.files import check_file, write_file
from gossipreg_sim.report.journal import SUFFIX, journal_of
from gossipreg_sim.report.page import page_of
from gossipreg_sim.report.plots import check_plot, save_plot
from gossipreg_sim.report.recording import Recording
from gossipreg_sim.scenario import ScenarioError


def check_outputs(wanted: Mapping[str, Path]) -> None:
    """Raise `ScenarioError` if one of these cannot be written: ``html``, ``plot``, ``save``, each with its file."""
    for what, path in wanted.items():
        check_file(path)
        if what == "plot":
            check_plot(path)
        if what == "save" and path.suffix != SUFFIX:
            raise ScenarioError(f"{path}: a saved run is a FILE{SUFFIX}")


def grant(wanted: Mapping[str, Path], recording: Recording, name: str) -> Iterator[Path]:
    """Write each of these, and say so. ``name`` is what the scenario is called on the command line."""
    for what, path in wanted.items():
        if what == "html":
            write_file(path, page_of(recording, name).encode())
        elif what == "plot":
            save_plot(recording, path)
        else:
            journal_of(recording).save(path)
        yield path
