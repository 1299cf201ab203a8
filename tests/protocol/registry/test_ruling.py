"""The effect of policies on a service's instances."""

from __future__ import annotations

from fractions import Fraction

import attrs
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.model import Health, Instance
from gossipreg.policy import Maintenance, Rule, Split, WeightOverride
from gossipreg.protocol.registry.ruling import ruled, split
from tests.protocol.making import law


def instance(id: str, *tags: str, weight: int = 1, zone: str = "") -> Instance:
    return Instance(id=id, service="orders", host="127.0.0.1", port=1, tags=tags, weight=weight, zone=zone, owner="a")


def weights(rule: Split, *instances: Instance) -> dict[str, int]:
    return {each.id: each.weight for each in split(instances, rule)}


def under(one: Instance, *rules: Rule) -> Instance:
    return ruled(one, {rule.key: rule for rule in rules})


def test_an_overridden_weight_is_what_an_instance_weighs() -> None:
    assert under(instance("o1", weight=0), WeightOverride("orders", "o1", 7)).weight == 7
    assert under(instance("o2", weight=3), WeightOverride("orders", "o1", 7)).weight == 3


def test_an_instance_in_maintenance_cannot_serve_and_says_why() -> None:
    out = under(instance("o1"), Maintenance("orders", "o1", "new disk"))
    assert (out.health, out.reason) == (Health.MAINTENANCE, "new disk")


def test_of_two_instances_of_one_id_the_one_is_ruled_whose_owner_is_named() -> None:
    ours, theirs = instance("o1"), attrs.evolve(instance("o1"), owner="b")
    rules = (WeightOverride("orders", "o1", 7, "b"), Maintenance("orders", "o1", "new disk", "b"))
    assert under(ours, *rules) == ours
    assert (under(theirs, *rules).weight, under(theirs, *rules).reason) == (7, "new disk")
    assert [rule.is_about(one) for rule in rules for one in (ours, theirs)] == [False, True, False, True]


def test_a_rule_that_names_the_owner_goes_before_one_that_does_not() -> None:
    rules = (WeightOverride("orders", "o1", 3), WeightOverride("orders", "o1", 7, "b"))
    assert under(instance("o1"), *rules).weight == 3
    assert under(attrs.evolve(instance("o1"), owner="b"), *rules).weight == 7
    assert Split("orders", {"v1": 1}).is_about(instance("o1"))


def test_a_split_by_tag_gives_each_version_its_share() -> None:
    rule = Split("orders", {"v1": 90, "v2": 10})
    shown = weights(rule, instance("a", "v1"), instance("b", "v1"), instance("c", "v1"), instance("d", "v2"))
    assert shown == {"a": 3, "b": 3, "c": 3, "d": 1}


def test_within_a_share_the_weights_count() -> None:
    rule = Split("orders", {"v1": 1, "v2": 1})
    shown = weights(rule, instance("a", "v1", weight=3), instance("b", "v1"), instance("c", "v2", weight=9))
    assert shown == {"a": 3, "b": 1, "c": 4}


def test_a_split_by_zone() -> None:
    rule = Split("orders", {"north": 3, "south": 1}, by="zone")
    shown = weights(rule, instance("a", zone="north"), instance("b", zone="south"), instance("c", zone="east"))
    assert shown == {"a": 3, "b": 1, "c": 0}


def test_an_instance_in_no_share_gets_nothing_and_one_in_two_counts_in_the_first() -> None:
    rule = Split("orders", {"v1": 1, "canary": 1})
    shown = weights(rule, instance("a", "canary", "v1"), instance("b", "canary"), instance("c", "v3"))
    assert shown == {"a": 1, "b": 1, "c": 0}


def test_a_share_without_an_instance_that_can_serve_goes_to_the_others() -> None:
    rule = Split("orders", {"v1": 90, "v2": 10})
    assert weights(rule, instance("a", "v1"), instance("b", "v2", weight=0)) == {"a": 1, "b": 0}


def test_a_split_that_would_leave_no_instance_is_not_obeyed() -> None:
    assert weights(Split("orders", {"v9": 1}), instance("a", "v1", weight=4)) == {"a": 4}


def test_a_percentage_of_zero_is_none() -> None:
    assert weights(Split("orders", {"v1": 1, "v2": 0}), instance("a", "v1"), instance("b", "v2")) == {"a": 1, "b": 0}


def test_weights_that_would_not_fit_nearly_keep_their_proportion_and_none_becomes_zero() -> None:
    rule = Split("orders", {"v1": 65_535, "v2": 1})
    shown = weights(rule, instance("a", "v1", weight=1), instance("b", "v2", weight=65_535), instance("c", "v2"))
    assert shown["a"] == limits.WEIGHT_MAX
    assert shown["b"] >= 1
    assert shown["c"] >= 1


labelled = st.lists(st.tuples(st.sampled_from(["v1", "v2", "v3", ""]), st.integers(0, 5)), min_size=1, max_size=8)


@law
@given(labelled, st.dictionaries(st.sampled_from(["v1", "v2"]), st.integers(0, 100), min_size=1))
def test_shares_are_exact(made: list[tuple[str, int]], shares: dict[str, int]) -> None:
    instances = [instance(str(number), tag, weight=weight) for number, (tag, weight) in enumerate(made)]
    shown = weights(Split("orders", shares), *instances)
    registered = {label: sum(w for tag, w in made if tag == label) for label in shares}
    live = {label: share for label, share in shares.items() if share and registered[label]}
    if not live:
        assert shown == {each.id: each.weight for each in instances}
        return
    total = sum(shown.values())
    for each, (tag, weight) in zip(instances, made, strict=True):
        due = Fraction(live.get(tag, 0), sum(live.values())) * Fraction(weight, registered.get(tag) or 1)
        assert Fraction(shown[each.id], total) == due
