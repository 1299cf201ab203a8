"""Ruling: how policies change a service's instances: their weight, maintenance, a share of the load each."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd, lcm

import attrs

from gossipreg import limits
from gossipreg.model import Health, Instance
from gossipreg.policy import Maintenance, Rule, Split, WeightOverride, key_of


def ruled(instance: Instance, rules: Mapping[str, Rule]) -> Instance:
    """``instance`` with the weight that a policy gives it and, in maintenance, the reason."""
    weighed = _rule_about(instance, WeightOverride.kind, rules)
    if isinstance(weighed, WeightOverride):
        instance = attrs.evolve(instance, weight=weighed.weight)
    out = _rule_about(instance, Maintenance.kind, rules)
    if isinstance(out, Maintenance):
        instance = attrs.evolve(instance, health=Health.MAINTENANCE, reason=out.reason)
    return instance


def _rule_about(instance: Instance, kind: str, rules: Mapping[str, Rule]) -> Rule | None:
    """The rule of that kind that names the instance: one that names its owner, too, goes first."""
    named = rules.get(key_of(kind, instance.service, instance.id, instance.owner))
    return named or rules.get(key_of(kind, instance.service, instance.id))


def split(instances: tuple[Instance, ...], rule: Split) -> tuple[Instance, ...]:
    """``instances``, which can serve, with weights such that every share of ``rule`` is exact.

    Unchanged, if none of them would get a share.
    """
    labels = [_label(instance, rule) for instance in instances]
    total = dict.fromkeys(rule.shares, 0)
    for instance, label in zip(instances, labels, strict=True):
        if label is not None:
            total[label] += instance.weight
    live = {label: share for label, share in rule.shares.items() if share and total[label]}
    if not live:
        return instances
    # Multiples of a common multiple of all totals are whole numbers; then they are made as small as they can be.
    multiple = lcm(*(total[label] for label in live))
    factors = {label: share * (multiple // total[label]) for label, share in live.items()}
    weights = [instance.weight * factors.get(label or "", 0) for instance, label in zip(instances, labels, strict=True)]
    return tuple(
        attrs.evolve(instance, weight=weight) for instance, weight in zip(instances, _fitted(weights), strict=True)
    )


def _label(instance: Instance, rule: Split) -> str | None:
    """The share that ``instance`` is in."""
    if rule.by == "zone":
        return instance.zone if instance.zone in rule.shares else None
    return next((label for label in rule.shares if label in instance.tags), None)


def _fitted(weights: list[int]) -> list[int]:
    """``weights`` in the same proportion, and within their limit; rounded only if they do not fit otherwise."""
    divisor = gcd(*weights)
    weights = [weight // divisor for weight in weights]
    most = max(weights)
    if most > limits.WEIGHT_MAX:
        weights = [max(1, round(weight * limits.WEIGHT_MAX / most)) if weight else 0 for weight in weights]
    return weights
