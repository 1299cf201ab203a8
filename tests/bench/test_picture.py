"""The picture of ratios: better is left, whether a larger or a smaller figure is better."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.bench.page import PICTURE, PRINTS, bars
from tests.bench.picture import Bar, drawn


def test_the_picture_is_drawn_from_the_page() -> None:
    assert PICTURE.read_text() == drawn(bars(PRINTS.read_text())), "python -m tests.bench.page draws it anew"


@pytest.mark.parametrize(
    ("ratio", "more", "tenfolds"), [("1/100", False, -2.0), ("10", False, 1.0), ("10", True, -1.0), ("1/10", True, 1.0)]
)
def test_better_is_below_nought(ratio: str, more: bool, tenfolds: float) -> None:
    assert Bar("it", ratio, "", more).tenfolds == pytest.approx(tenfolds)


@pytest.mark.parametrize(("target", "aim"), [("≤ 1/10", -1.0), ("≤ 1", 0.0), ("≤ 2 s", None), ("", None)])
def test_a_target_is_drawn_if_it_is_a_ratio(target: str, aim: float | None) -> None:
    assert Bar("it", "1/2", target, more=False).aim == (None if aim is None else pytest.approx(aim))


def test_the_best_comes_first_and_words_are_only_words() -> None:
    document = ET.fromstring(drawn([Bar("worse & `worse`", "3", "≤ 1", False), Bar("better", "1/300", "", False)]))
    words = [each.text for each in document.iter("{http://www.w3.org/2000/svg}text")]
    assert words.index("better") < words.index("worse & worse")
    assert "1/300" in words
