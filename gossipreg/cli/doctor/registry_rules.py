"""Rules about what is registered: services, instances, checks, primaries and policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gossipreg.cli.doctor.facts import Facts
from gossipreg.cli.doctor.findings import Diagnosis, Rule, Severity, lines, listed, rule
from gossipreg.counters import Count
from gossipreg.model import FENCED, PRIMARY
from gossipreg.text import counted

_CAN_SERVE: Final = frozenset({"passing", "warning"})


@rule(
    evidence="the health of all instances of a service",
    remedy="`gossipreg lookup NAME --all` shows each reason.",
)
def services_down(facts: Facts) -> Diagnosis | None:
    """A service has instances, and none is healthy."""
    down = {
        name: instances
        for name, instances in facts.services()
        if not any(each["health"] in _CAN_SERVE for each in instances)
    }
    if not down:
        return None
    why = (
        f"{name}: {counted(len(found), 'instance')}: {listed(sorted({each['health'] for each in found}))}"
        for name, found in down.items()
    )
    return Diagnosis(
        Severity.WARNING,
        "services without a healthy instance",
        lines(why),
        "see the reason of each of its instances",
        ("gossipreg", "lookup", next(iter(down)), "--all"),
    )


@rule(
    evidence="`GET /api/v1/checks`: critical, with a refused connection or target",
    remedy="Start the program, or correct the check's port; `check_targets` decides what may be contacted.",
)
def checks_refused(facts: Facts) -> Diagnosis | None:
    """The target of a check refuses the connection, or may not be contacted."""
    refused = [each for each in facts.checks if each["health"] == "critical" and _is_refusal(each)]
    if not refused:
        return None
    return Diagnosis(
        Severity.WARNING,
        "targets of checks refuse the connection, or may not be contacted",
        lines(f"{each['instance']} {each['name']} ({each['target']}): {_said(each)}" for each in refused),
        "start the program, or correct the check",
        ("gossipreg", "checks", refused[0]["instance"]),
    )


def _is_refusal(check: Mapping[str, Any]) -> bool:
    said = f"{check['reason']} {check['output'] or ''}".lower()
    return "refused" in said or "check_targets" in said


def _said(check: Mapping[str, Any]) -> str:
    return str(check["reason"] or check["output"]).partition("\n")[0]


@rule(
    evidence="healthy instances of a service with the role primary, or fenced",
    remedy="Register the others as replicas; see [roles](roles.md).",
)
def contested_primaries(facts: Facts) -> Diagnosis | None:
    """Several healthy instances claim to be the primary of a service."""
    why = []
    for name, instances in facts.services():
        claims = [each for each in instances if each["health"] in _CAN_SERVE and each["role"] in (PRIMARY, FENCED)]
        if len(claims) > 1:
            why.append(f"{name}: {listed('{id} of {owner} ({role})'.format_map(each) for each in claims)}")
    if not why:
        return None
    return Diagnosis(
        Severity.ERROR,
        "several healthy instances claim to be the primary",
        lines(why),
        "register all but one with --role replica: see docs/roles.md",
    )


@rule(
    evidence="instances of one service, host and port, or of one id, under two owners",
    remedy="Deregister it at one of the two agents.",
)
def registered_twice(facts: Facts) -> Diagnosis | None:
    """One instance is registered at two agents."""
    places: dict[tuple[str, str], dict[str, str]] = {}
    ids: dict[tuple[str, str], set[str]] = {}
    for name, instances in facts.services():
        for each in instances:
            ids.setdefault((name, each["id"]), set()).add(each["owner"])
            if each["port"]:
                where = f"{each['host']}:{each['port']}"
                places.setdefault((name, where), {})[each["owner"]] = each["id"]
    same_place = [
        f"{name} at {where}: " + listed(f"{id_} of {owner}" for owner, id_ in owners.items())
        for (name, where), owners in places.items()
        if len(owners) > 1
    ]
    same_id = [
        f"{name}: id {id_} of {listed(sorted(owners))}" for (name, id_), owners in ids.items() if len(owners) > 1
    ]
    if same_place:
        return Diagnosis(
            Severity.WARNING,
            "one instance is registered at two agents: it gets the work of two",
            lines(same_place),
            "deregister it at the agent that does not run beside it",
        )
    if same_id:
        return Diagnosis(
            Severity.NOTE,
            "instances of two owners have one id: a policy about that id is about both",
            lines(same_id),
            "give --id one of its own, or name the owner in policies: see docs/policies.md",
        )
    return None


@rule(
    evidence="`unreadable` of `GET /api/v1/policies`",
    remedy="Upgrade the agent, or `gossipreg policy remove KEY`.",
)
def policies_unreadable(facts: Facts) -> Diagnosis | None:
    """Policies are held that this release cannot read."""
    if not facts.unreadable:
        return None
    return Diagnosis(
        Severity.WARNING,
        "policies are not obeyed here: this release cannot read them",
        lines(f"{each['key']}, set by {each['writer']}" for each in facts.unreadable),
        "upgrade this agent, or remove the policy",
        ("gossipreg", "policy", "remove", facts.unreadable[0]["key"]),
    )


@rule(
    evidence="counters `policies_from_the_future`, `policies_over_limit` rise",
    remedy="Synchronise the clock of the agent that sets it; remove policies that nothing needs.",
)
def policies_refused(facts: Facts) -> Diagnosis | None:
    """Policies are dropped: stamped by a clock that is ahead, or too many."""
    names = (Count.POLICIES_FROM_THE_FUTURE, Count.POLICIES_OVER_LIMIT)
    why = facts.frequent(names, least=10, seconds=600.0)
    if not why:
        return None
    return Diagnosis(
        Severity.WARNING,
        "policies of other agents are dropped, so agents obey different ones",
        why,
        "synchronise the clocks of all hosts (timedatectl set-ntp true), and see which policies there are",
        ("gossipreg", "policy", "list"),
    )


@rule(
    evidence="policies beside the instances that are known",
    remedy="`gossipreg policy remove KEY`, or correct the name.",
)
def policies_without_target(facts: Facts) -> Diagnosis | None:
    """A policy is about a service or an instance that nothing has registered."""
    known = dict(facts.services())
    others = [policy for policy in facts.policies if policy.get("kind") != "query"]  # one may be about another region
    missing = [policy for policy in others if not _has_target(policy, known.get(policy["service"], []))]
    if not missing:
        return None
    return Diagnosis(
        Severity.NOTE,
        "policies without effect: nothing that they are about is registered",
        lines(str(each["key"]) for each in missing),
        "correct the name, or remove the policy",
        ("gossipreg", "policy", "remove", missing[0]["key"]),
    )


def _has_target(policy: Mapping[str, Any], instances: list[Mapping[str, Any]]) -> bool:
    id_, owner = policy.get("instance"), policy.get("owner")
    return any((not id_ or each["id"] == id_) and (not owner or each["owner"] == owner) for each in instances)


@rule(evidence="`draining`, `leaving`", remedy="`gossipreg drain --end`")
def drained(facts: Facts) -> Diagnosis | None:
    """The agent drains: its instances get no new work."""
    if not facts.node.get("draining") or facts.node.get("leaving"):
        return None
    own = [each["id"] for each in facts.instances if each["owner"] == facts.node.get("name")]
    kept = "a data directory keeps a drain over restarts"
    return Diagnosis(
        Severity.WARNING,
        "the agent drains: its instances get no new work",
        (f"{counted(len(own), 'instance')} of this agent: {listed(own)}", kept) if own else (kept,),
        "end that, unless it is meant",
        ("gossipreg", "drain", "--end"),
    )


RULES: Final[tuple[Rule, ...]] = (
    services_down,
    checks_refused,
    contested_primaries,
    registered_twice,
    policies_unreadable,
    policies_refused,
    policies_without_target,
    drained,
)
