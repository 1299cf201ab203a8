"""Every rule of the doctor, in the order in which its findings of one severity are shown."""

from __future__ import annotations

from typing import Final

from gossipreg.cli.doctor import cluster_rules, host_rules, identity_rules, key_rules, registry_rules
from gossipreg.cli.doctor.facts import Facts
from gossipreg.cli.doctor.findings import Diagnosis, Rule, Severity

RULES: Final[tuple[Rule, ...]] = (
    *(*host_rules.RULES, *cluster_rules.RULES, *key_rules.RULES),
    *(*identity_rules.RULES, *registry_rules.RULES),
)

_ORDER: Final = tuple(Severity)


def examine(facts: Facts) -> tuple[Diagnosis, ...]:
    """What is wrong by all rules, the gravest first."""
    found = [each for each in (rule.find(facts) for rule in RULES) if each is not None]
    return tuple(sorted(found, key=lambda each: _ORDER.index(each.severity)))
