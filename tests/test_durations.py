"""Durations are read in one notation, wherever they are written."""

from __future__ import annotations

import pytest

from gossipreg.durations import parse_duration, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("250us", 0.00025),
        ("7µs", 0.000007),
    ],
)
def test_numbers_with_units_are_added_up(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "s", "5", "5 s", "-5s", "+5s", "1e3s", "5d", "\N{ARABIC-INDIC DIGIT FIVE}s", "1s ", "9" * 19 + "s", "1s" * 40],
)
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(("text", "seconds"), [("5", 5.0), ("0.25", 0.25), ("0", 0.0), ("1m", 60.0)])
def test_a_number_without_a_unit_may_be_one_of_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["-1", "1e9", "nan", "inf", "", "\N{ARABIC-INDIC DIGIT FIVE}"])
def test_only_plain_numbers_are_seconds(text: str) -> None:
    assert parse_seconds(text) is None
