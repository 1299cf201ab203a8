"""Static plots of a run: agreement, cluster sizes and messages over time, as SVG or PNG."""

from __future__ import annotations

import importlib
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from gossipreg_sim.report import svg
from gossipreg_sim.report.curves import Curves, curves_of
from gossipreg_sim.report.files import write_file
from gossipreg_sim.report.heat_map import heat_map_of
from gossipreg_sim.report.recording import Recording
from gossipreg_sim.report.timeline import bands_of
from gossipreg_sim.scenario import ScenarioError

_COLOURS: Final = ("#0072b2", "#d18a00", "#cf3a0b")


def figure_of(recording: Recording) -> svg.Figure:
    """Return the plots of a run as one figure."""
    curves = curves_of(recording, heat_map_of(recording))
    title = f"{recording.scenario.name}, seed {recording.outcome.seed}"
    sizes = svg.Series("size", _sizes(curves), dots=True)
    panels = (
        svg.Panel(
            "correct beliefs (%)",
            (
                svg.Series("correct (observer, subject) pairs", _fine(curves, curves.right)),
                svg.Series("equal fingerprints", _fine(curves, curves.agreeing)),
            ),
            100.0,
        ),
        svg.Panel("cluster size as seen by each node, every second", (sizes,), float(recording.scenario.nodes)),
        svg.Panel(
            "messages per second",
            (
                svg.Series("sent", _coarse(curves.messages), steps=True),
                svg.Series("lost", _coarse(curves.lost), steps=True),
            ),
        ),
    )
    return svg.Figure(title, recording.scenario.title, recording.outcome.seconds, bands_of(recording), panels)


def _fine(curves: Curves, values: tuple[float, ...]) -> list[tuple[float, float]]:
    return [(sample * curves.step / 1e6, value) for sample, value in enumerate(values)]


def _coarse(values: tuple[int, ...]) -> list[tuple[float, float]]:
    return [(float(second), float(value)) for second, value in enumerate(values)]


def _sizes(curves: Curves) -> list[tuple[float, float]]:
    return [(float(second), float(size)) for second, row in enumerate(curves.sizes) for size in row if size]


def check_plot(path: Path) -> None:
    """Raise `ScenarioError` unless a plot can be written in the format that the suffix of ``path`` names."""
    if path.suffix not in (".svg", ".png"):
        raise ScenarioError(f"{path}: a plot is a FILE.svg, or with the extra 'plots' a FILE.png")
    if path.suffix == ".png":
        _matplotlib(path)


def _matplotlib(path: Path) -> Any:
    try:
        backend = importlib.import_module("matplotlib")
    except ModuleNotFoundError:
        raise ScenarioError(
            f"cannot write {path}: a PNG needs matplotlib: pip install 'gossipreg[plots]', or ask for a FILE.svg"
        ) from None
    backend.use("agg")
    return importlib.import_module("matplotlib.pyplot")


def save_plot(recording: Recording, path: Path) -> None:
    """Write the plots of a run to a FILE.svg or FILE.png. Raises `ScenarioError`."""
    check_plot(path)
    figure = figure_of(recording)
    if path.suffix == ".svg":
        write_file(path, svg.rendered(figure).encode())
    else:
        write_file(path, _png(figure, _matplotlib(path)))


def _png(figure: svg.Figure, pyplot: Any) -> bytes:
    drawn, axes = pyplot.subplots(len(figure.panels), 1, sharex=True, figsize=(9, 2.2 * len(figure.panels)))
    for axis, panel in zip(axes, figure.panels, strict=True):
        axis.set_title(panel.title, fontsize=9, loc="left")
        axis.set_ylim(0, panel.highest * 1.05)
        axis.grid(alpha=0.3)
        for band in figure.bands:
            axis.axvspan(band.begins, band.ends, color=_COLOURS[2], alpha=0.12, linewidth=0)
        for series, colour in zip(panel.series, _COLOURS, strict=False):
            style: dict[str, Any] = {"color": colour, "label": series.name}
            style |= {"linestyle": "", "marker": ".", "markersize": 3} if series.dots else {"linewidth": 1.2}
            style |= {"drawstyle": "steps-post"} if series.steps else {}
            axis.plot(*zip(*series.points, strict=True), **style)
        if len(panel.series) > 1:
            axis.legend(fontsize=8, loc="best")
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, figure.end)
    drawn.suptitle(f"{figure.title}: {figure.subtitle}", fontsize=9)
    drawn.tight_layout()
    made = BytesIO()
    drawn.savefig(made, format="png", dpi=110)
    pyplot.close(drawn)
    return made.getvalue()
