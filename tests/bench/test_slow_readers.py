"""What the benchmark of slow readers makes of its figures."""

from __future__ import annotations

import pytest

from tests.bench.slow_readers import Found, table


@pytest.mark.parametrize(("after", "verdict"), [(110, "met"), (120, "missed")])
def test_the_growth_is_shared_out_among_the_readers(after: int, verdict: str) -> None:
    found = Found(readers=200, before=100 * 2**20, after=after * 2**20, let_go=0)
    [row] = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(found).splitlines()[2:]]
    assert row == ["200", "100.0", f"{after}.0", f"{found.kib:.1f}", "0", "≤ 64 KiB", verdict]
