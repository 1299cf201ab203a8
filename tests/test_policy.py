"""Tests of policies as users write them."""

from __future__ import annotations

import pytest

from gossipreg import GossipregError, InvalidPolicy, Maintenance, Split, WeightOverride
from gossipreg.policy import Rule


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (Split("no name", {"v1": 1}), "service"),
        (Split("orders", {}), "split"),
        (Split("orders", {"v1": 0}), "split"),
        (Split("orders", {"v1": -1}), "v1"),
        (Split("orders", {"v1": 1.5}), "v1"),  # type: ignore[dict-item]
        (Split("orders", {"": 1}), "split"),
        (Split("orders", {"\ud800": 1}), "split"),
        (Split("orders", {f"v{n}": 1 for n in range(65)}), "split"),
        (Split("orders", {"v1": 1}, by="owner"), "by"),  # type: ignore[arg-type]
        (WeightOverride("orders", "o 1", 1), "instance"),
        (WeightOverride("orders", "o1", True), "weight"),
        (WeightOverride("orders", "o1", 65_536), "weight"),
        (WeightOverride("", "o1", 1), "service"),
        (Maintenance("orders", "", "why"), "instance"),
        (Maintenance("orders", "o1", "why", "no name"), "owner"),
        (WeightOverride("orders", "o1", 1, None), "owner"),  # type: ignore[arg-type]
        (Maintenance("s" * 63, "i" * 255, "why", "n" * 63), "owner"),
        (Maintenance("orders", "o1", "w" * 161), "reason"),
        (Maintenance("orders", "o1", "\ud800"), "reason"),
    ],
)
def test_a_rule_that_cannot_be_obeyed_is_refused_with_its_field(rule: Rule, field: str) -> None:
    with pytest.raises(InvalidPolicy, match=field) as refused:
        rule.check()
    assert isinstance(refused.value, GossipregError)
    assert "\n" not in str(refused.value)


def test_a_later_rule_about_the_same_takes_the_place_of_an_earlier_one() -> None:
    assert Split("orders", {"v1": 1}).key == Split("orders", {"north": 2}, by="zone").key == "split:orders"
    assert WeightOverride("orders", "o1", 1).key == "weight:orders:o1"
    assert Maintenance("orders", "o1").key == "maintenance:orders:o1"
    assert Maintenance("orders", "o1", owner="web-1").key == "maintenance:orders@web-1:o1"


def test_a_rule_without_an_owner_is_stated_as_before_there_was_any() -> None:
    assert WeightOverride("orders", "o1", 1).stated() == {"instance": "o1", "weight": 1}
    assert WeightOverride("orders", "o1", 1, "a").stated() == {"instance": "o1", "owner": "a", "weight": 1}
