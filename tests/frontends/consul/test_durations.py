"""Durations as Consul's clients write them."""

from __future__ import annotations

import pytest

from gossipreg.frontends.consul.durations import seconds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("120000ms", 120),
        ("525s", 525),
        ("1.5h", 5400),
        ("5m0s", 300),
        ("250µs", 0.00025),
        ("30000000000", 30),
        (15_000_000_000, 15),
        (0, 0),
    ],
)
def test_a_duration_is_read_in_every_way_in_which_it_is_written(written: object, meant: float) -> None:
    assert seconds(written) == pytest.approx(meant)


@pytest.mark.parametrize("written", ["", "soon", "s", "1m 30s", "-1s", True, -1, None, ["1s"], 1e300, "9" * 100])
def test_anything_else_is_none(written: object) -> None:
    assert seconds(written) is None
