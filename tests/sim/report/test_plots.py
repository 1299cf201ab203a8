"""Static plots."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gossipreg_sim.report import svg
from gossipreg_sim.report.plots import check_plot, figure_of, save_plot
from gossipreg_sim.report.recording import Recording
from gossipreg_sim.scenario import ScenarioError

NS = "{http://www.w3.org/2000/svg}"


def test_a_plot_shows_faults_as_bands(split: Recording, tmp_path: Path) -> None:
    save_plot(split, tmp_path / "split.svg")
    root = ET.parse(tmp_path / "split.svg").getroot()
    assert root.tag == f"{NS}svg"
    bands = [element for element in root.iter(f"{NS}rect") if element.get("class") == "band"]
    assert len(bands) == 3
    assert len([path for path in root.iter(f"{NS}path") if "line" in (path.get("class") or "")]) == 4
    texts = [text.text for text in root.iter(f"{NS}text")]
    assert "test, seed 1" in texts
    assert "messages per second" in texts


def test_the_curves_of_a_plot_are_those_of_the_run(split: Recording) -> None:
    agreement, sizes, messages = figure_of(split).panels
    assert agreement.series[0].points[-1][1] == 100.0
    assert {size for at, size in sizes.series[0].points if at == 32.0} == {2.0, 3.0}
    assert sum(value for _, value in messages.series[0].points) == len(split.passages)


def test_a_title_is_escaped() -> None:
    figure = svg.Figure("<a> & b", "</svg>", 1.0, (), (svg.Panel("p", (svg.Series("s", [(0.0, 1.0), (1.0, 2.0)]),)),))
    root = ET.fromstring(svg.rendered(figure))
    assert [text.text for text in root.iter(f"{NS}text")][:2] == ["<a> & b", "</svg>"]


@pytest.mark.parametrize(
    ("highest", "steps"), [(1, [0, 0.5, 1]), (9, [0, 5]), (100, [0, 50, 100]), (128, [0, 50, 100])]
)
def test_axes_have_round_numbers(highest: float, steps: list[float]) -> None:
    assert svg.round_steps(highest, 3) == steps


def test_a_png_without_matplotlib_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ScenarioError, match=r"a PNG needs matplotlib: pip install 'gossipreg\[plots\]'"):
        check_plot(tmp_path / "x.png")


@pytest.mark.slow
def test_a_png_is_written(split: Recording, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'plots' is not installed")
    save_plot(split, tmp_path / "split.png")
    assert (tmp_path / "split.png").read_bytes().startswith(b"\x89PNG")
