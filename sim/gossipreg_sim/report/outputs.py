"""Output files of a recorded run: validation of the requested paths, and writing."""

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
    """Raise `ScenarioError` unless each path can be written. The keys are ``html``, ``plot`` and ``save``."""
    for what, path in wanted.items():
        check_file(path)
        if what == "plot":
            check_plot(path)
        if what == "save" and path.suffix != SUFFIX:
            raise ScenarioError(f"{path}: a saved run is a FILE{SUFFIX}")


def write_outputs(wanted: Mapping[str, Path], recording: Recording, name: str) -> Iterator[Path]:
    """Write each requested file and yield its path. ``name`` is the scenario as given on the command line."""
    for what, path in wanted.items():
        if what == "html":
            write_file(path, page_of(recording, name).encode())
        elif what == "plot":
            save_plot(recording, path)
        else:
            journal_of(recording).save(path)
        yield path
