"""Notes on writes: why an instance that was just registered is not called as it was stated, in a sentence.

An operator who registers a primary and reads `role: primary` back believes that it is called. So a write answers with
the instance as lookups show it, and this says what stands in the way: a higher term, a policy, a check, a drain.
"""

from __future__ import annotations

from collections.abc import Iterator

from gossipreg.model import FENCED, PRIMARY, Health, Instance
from gossipreg.policy import KINDS, Maintenance, Rule, Split, WeightOverride, key_of
from gossipreg.protocol.engine import Engine


def registration_note(instance: Instance, engine: Engine) -> str:
    """What is to be said of this node's own ``instance``, as lookups show it; empty if it stands as it was stated."""
    stated = engine.own(instance.id)
    if stated is None or instance.owner != engine.identity.name:
        return ""
    return "; ".join([*_role(instance, engine), *_weight(instance, stated, engine), *_health(instance, engine)])


def _role(instance: Instance, engine: Engine) -> Iterator[str]:
    if instance.role != FENCED:
        return
    service, claimed = instance.service, engine.state.terms.claimed(instance.service)
    if instance.term < claimed:
        yield (
            f"fenced, so not called as the primary: its term {instance.term} is below {claimed}, the highest of "
            f"{service}: register it with the term next once it is promoted, or as a replica"
        )
        return
    primary = next((i for i in engine.view.service(service).instances if i.role == PRIMARY), None)
    if primary is not None:
        yield (
            f"fenced, so not called as the primary: {primary.id} of {primary.owner} has term {primary.term} as well "
            "and goes first"
        )


def _weight(instance: Instance, stated: Instance, engine: Engine) -> Iterator[str]:
    if instance.weight == stated.weight:
        return
    if engine.identity.draining:
        yield f"its weight is 0, not {stated.weight}: this node drains"
        return
    keys = sorted(rule.key for rule in _rules(instance, engine) if isinstance(rule, Split | WeightOverride))
    yield f"its weight is {instance.weight}, not {stated.weight}, by policy {' and '.join(keys)}"


def _health(instance: Instance, engine: Engine) -> Iterator[str]:
    if instance.health is Health.PASSING:
        return
    why = f": {instance.reason}" if instance.reason else ""
    by_policy = (rule.key for rule in _rules(instance, engine) if isinstance(rule, Maintenance))
    if instance.health is Health.MAINTENANCE and (key := next(by_policy, None)) is not None:
        yield f"it is in maintenance by policy {key}{why}"
    elif instance.health is Health.WARNING:
        yield f"its health is a warning{why}"
    else:
        state = "in maintenance" if instance.health is Health.MAINTENANCE else "critical"
        yield f"it is {state}, so not called{why}"


def _rules(instance: Instance, engine: Engine) -> list[Rule]:
    """The policies about ``instance`` or all of its service; of two of a kind, the one that names its owner."""
    rules = engine.state.policies.of(instance.service)
    owned = {key_of(kind, instance.service, instance.id, instance.owner): kind for kind in KINDS}
    outdone = {key_of(kind, instance.service, instance.id) for key, kind in owned.items() if key in rules}
    return [rule for key, rule in rules.items() if rule.is_about(instance) and key not in outdone]
