"""The shares that the page shows are what the simulation gives, and round robin's are exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipreg.frontends.proxy.balancer import Balance
from tests.bench.balance import chi_square, simulate, table

PAGE = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text("utf-8")


@pytest.mark.parametrize("callers", [1, 10, 50])
def test_round_robin_keeps_the_weights_for_any_mix_of_short_and_long_connections(callers: int) -> None:
    assert chi_square(simulate(Balance.ROUND_ROBIN, callers)) < 0.1


def test_the_page_shows_the_table_as_it_is() -> None:
    assert table() in PAGE
