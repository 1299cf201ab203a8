"""What the benchmark of blocked Consul queries makes of its figures."""

from __future__ import annotations

from tests.bench.consul_watchers import table
from tests.bench.watchers import Heard


def test_only_the_promised_number_of_queries_has_a_target() -> None:
    few, soon, late = (
        [Heard.of(0.0, [0.001], 0.001)],
        [Heard.of(0.0, [0.1, 0.3], 0.2)],
        [Heard.of(0.0, [0.1, 0.7], 0.2)],
    )
    found = {("service", 10, 0): few, ("service", 1000, 1000): soon, ("state", 1000, 0): late}
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(found).splitlines()[2:]]
    assert [(row[0], *row[-2:]) for row in rows] == [
        ("10 on `health/service`", "", ""),
        ("1,000 on `health/service` beside 1,000 on other services", "≤ 500 ms", "met"),
        ("1,000 on `health/state/any`", "≤ 500 ms", "missed"),
    ]
