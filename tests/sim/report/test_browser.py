"""The report in a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossipreg_sim.report.page import page_of
from gossipreg_sim.report.recording import Recording
from tests.sim.report.browser import Browser, browser, found

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(split: Recording, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The report of a split, open in a browser."""
    path = found()
    if path is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("report")
    file = folder / "split.html"
    file.write_text(page_of(split, "split.toml"))
    with browser(path, folder / "profile") as made:
        made.look(1200, 900)
        made.open(file)
        yield made


#: The colour of each cell of the heat map, one row per observer.
Shades = list[list[tuple[int, int, int]]]


def shades(page: Browser, seconds: float) -> Shades:
    """Return the colour near a corner of each cell of the heat map at this moment, one row per observer."""
    page.run(f"report.show({seconds})")
    script = """(() => {
      const context = document.getElementById("heat").getContext("2d");
      const nodes = [0, 1, 2, 3, 4];
      const shade = ({x, y}) => [...context.getImageData(x - 12, y - 12, 1, 1).data.slice(0, 3)];
      return JSON.stringify(nodes.map((row) => nodes.map((column) => shade(report.middle(column, row)))));
    })()"""
    return [[(red, green, blue) for red, green, blue in row] for row in json.loads(page.run(script))]


def test_a_split_shows_as_two_blocks(page: Browser) -> None:
    together, split, healed = (shades(page, seconds) for seconds in (2.9, 32.9, 1e9))
    [alive] = {shade for row in together for shade in row}
    sides = [[(observer < 2) == (subject < 2) for subject in range(5)] for observer in range(5)]
    assert [[shade == alive for shade in row] for row in split] == sides
    assert len({shade for row in split for shade in row}) == 2
    assert healed == together


def other_shades(page: Browser, before: Shades) -> Shades:
    """Return the shades once they differ from ``before``, or after five seconds: a browser takes time to restyle."""
    for _ in range(50):
        now = shades(page, 32.9)
        if now != before:
            return now
        page.run("new Promise((done) => setTimeout(done, 100))")
    return shades(page, 32.9)


def test_dark_mode_has_other_colours_and_the_same_blocks(page: Browser) -> None:
    light = shades(page, 32.9)
    page.look(1200, 900, dark=True)
    dark = other_shades(page, light)
    page.look(1200, 900)
    assert other_shades(page, dark) == light != dark
    rows = zip(light, dark, strict=True)
    assert len({pair for lit, unlit in rows for pair in zip(lit, unlit, strict=True)}) == 2


def test_a_click_on_a_cell_shows_the_command_that_explains_it(page: Browser) -> None:
    page.run("report.show(32.9)")
    said = page.run("""(() => {
      const {x, y} = report.middle(3, 0);
      const heat = document.getElementById("heat");
      const box = heat.getBoundingClientRect();
      heat.dispatchEvent(new MouseEvent("click", {clientX: box.left + x, clientY: box.top + y, bubbles: true}));
      return new Promise((done) => setTimeout(() => done(document.getElementById("cell").textContent), 100));
    })()""")
    assert said.startswith("n0 of n3, since ")
    assert said.endswith("failed. gossipreg sim why split.toml n0 n3 32.9 --seed 1")


def test_keys_move_through_the_run(page: Browser) -> None:
    page.run("report.show(5)")
    moments = []
    for key in ("ArrowRight", "ArrowLeft", ".", "Home"):
        page.run(f"dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}))")
        page.run("new Promise((done) => setTimeout(done, 100))")
        moments.append(page.run("document.getElementById('clock').textContent"))
    assert moments == ["5.100 s", "5.000 s", "33.000 s", "0.000 s"]
    assert page.run("new Promise((done) => setTimeout(() => done(location.hash), 500))") == "#t=0.000"


def test_there_are_no_errors_and_no_requests(page: Browser) -> None:
    assert page.errors == []
    assert [url.split(":")[0] for url in page.requests] == ["file"]


def test_a_narrow_screen_needs_no_sideways_scrolling(page: Browser) -> None:
    page.look(390, 800)
    page.run("report.show(32.9)")
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_a_browser_without_decompression_shows_an_error(split: Recording, tmp_path: Path, page: Browser) -> None:
    file = tmp_path / "old.html"
    text = page_of(split, "split.toml").replace('"use strict";', "delete window.DecompressionStream;", 1)
    file.write_text(text)
    page.open(file, "!document.getElementById('problem').hidden")
    assert "no DecompressionStream" in page.run("document.getElementById('problem').textContent")
