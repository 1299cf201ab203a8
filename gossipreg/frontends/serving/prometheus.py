"""Prometheus: what all expositions of metrics share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: The media type of the text format.
MEDIA: Final = b"text/plain; version=0.0.4; charset=utf-8"


def labelled(
    name: str, what: str, labels: Sequence[str], values: Mapping[Any, float], *, is_counter: bool = False
) -> Metric:
    """One metric, ``gossipreg_`` before its name, with a value for each set of its labels' values."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # 40 ms

    family = CounterMetricFamily if is_counter else GaugeMetricFamily
    metric = family(f"gossipreg_{name}", what, labels=labels)
    for of, value in sorted(values.items()):
        metric.add_metric(of, float(value))
    return metric
