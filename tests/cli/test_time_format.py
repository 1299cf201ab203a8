"""Moments and durations are written to the millisecond."""

from __future__ import annotations

import time

import pytest

from gossipreg.cli.time_format import duration, local, utc


def test_short_times_are_in_milliseconds_and_long_ones_in_seconds() -> None:
    assert duration(0.0234) == "23 ms"
    assert duration(6.3124) == "6.312 s"


def test_programs_get_utc_and_people_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    try:
        assert utc(1_700_000_000.123) == "2023-11-14T22:13:20.123Z"
        assert local(1_700_000_000.123) == "2023-11-15 00:13:20.123"
    finally:
        monkeypatch.undo()
        time.tzset()
