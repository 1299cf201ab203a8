"""Problems: what is wrong as the agent sees it, most severe first, with the reason: as on the overview of the web page.

The page is a program of its own in the browser. ``tests/cli/top/test_problems.py`` gives both the same clusters, and
compares the keys of what they find.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from gossipreg.cli.show import state_of
from gossipreg.values import frozen

#: Levels, gravest first, each with its sign on a terminal and its style.
LEVELS: Final[Mapping[str, tuple[str, str]]] = {
    "bad": ("✖", "bold red"),
    "warn": ("▲", "yellow"),
    "early": ("◌", "dim"),
    "note": ("●", "dim"),
}

#: Seconds between two members that were lost by one cause, perhaps.
_AT_ONCE: Final = 5.0

#: Members and reasons that one line names.
_NAMED_MAX: Final = 3

_ABOUT_LINKS: Final = "answer through others only"

_ABOUT_THE_NAME: Final = "the name "

Json = Mapping[str, Any]


@frozen
class Problem:
    """One problem: a key that stays the same while it lasts, its level, what it is, why, and since when, if known."""

    key: str
    level: str
    title: str
    why: str = ""
    since: float | None = None


@frozen
class ClusterFacts:
    """What problems are found in, as the HTTP API tells it. ``since``: of members by name (seconds since the epoch)."""

    node: Json
    members: Sequence[Json] = ()
    since: Mapping[str, float | None] = attrs.field(factory=dict)
    instances: Sequence[Json] = ()  # all, those that cannot serve too
    checks: Sequence[Json] = ()
    observed: Json | None = None


def find_problems(facts: ClusterFacts) -> list[Problem]:
    """Every problem, the gravest and then the latest first."""
    members = [*_of_members(facts), *_of_unsure(facts), *_of_observers(facts)]
    found = [*_of_node(facts), *members, *_of_services(facts), *_of_checks(facts)]
    order = list(LEVELS)
    return sorted(found, key=lambda each: (order.index(each.level), -(each.since or 0.0), each.key))


def _of_node(facts: ClusterFacts) -> Iterator[Problem]:
    node = facts.node
    if node.get("isolated"):
        yield Problem("isolated", "bad", "this agent is isolated: it hears no other member", "its answers may be stale")
    if not node.get("joined", True):
        failures = "; ".join(f"{seed}: {each['detail']}" for seed, each in node["join_failures"].items())
        yield Problem("joined", "bad", "this agent has not joined the cluster", failures or "no seed has answered")
    if node.get("serving_last_known"):
        yield Problem("last-known", "bad", "this agent answers from its snapshot", "it has reached no member yet")
    if node.get("name_conflict"):
        yield Problem("name", "bad", f"another node is called {node['name']}", f"it is at {node['name_conflict']}")
    if node.get("leaving") or node.get("draining"):
        yield Problem("drain", "note", "this agent is leaving" if node.get("leaving") else "this agent is draining")
    for sentence in node.get("problems", ()):
        is_told = (
            (node.get("name_conflict") and sentence.startswith(_ABOUT_THE_NAME))
            or (facts.observed is not None and _ABOUT_LINKS in sentence)
            or _is_about_failed(sentence, facts)
        )
        if not is_told:
            yield Problem(f"p {_stable(sentence)}", "warn", sentence)
    for sentence in node.get("warnings", ()):
        yield Problem(f"w {sentence}", "note", sentence)
    if node.get("local_health"):
        why = "its probes were answered late: see the load of its host"
        yield Problem("local-health", "note", f"this agent's local health is {node['local_health']}, 0 is good", why)


def _of_members(facts: ClusterFacts) -> Iterator[Problem]:
    failed = [each for each in facts.members if each["status"] == "failed"]
    for group in _together(failed, facts.since):
        since = facts.since.get(group[0]["name"])
        if len(group) > 1:
            names = sorted(each["name"] for each in group)
            why = "perhaps by one cause: their hosts went down, or the network is split"
            yield Problem(
                f"m {' '.join(names)}",
                "bad",
                f"{len(group)} members were lost at one time: {_listed(names)}",
                why,
                since,
            )
            continue
        for each in group:
            name, at = each["name"], facts.since.get(each["name"])
            yield Problem(f"m {name}", "bad", f"member {name} has failed", f"it was at {each['address']}", at)
    draining = [each["name"] for each in facts.members if state_of(each) == "draining"]
    if draining:
        yield Problem("draining", "note", f"{len(draining)} draining: {_listed(draining)}")


def _of_unsure(facts: ClusterFacts) -> Iterator[Problem]:
    """Members that do not answer and may be about to fail: suspect ones, and those that were asked and are silent."""
    status = {each["name"]: each["status"] for each in facts.members}
    suspects = [each for each in facts.members if each["status"] == "suspect"]
    observed = None if facts.node.get("isolated") else facts.observed
    silent = [] if observed is None else [name for name in _silent(observed) if status.get(name) == "alive"]
    unsure = [*(each["name"] for each in suspects), *silent]
    level = "warn" if suspects else "early"
    since = min([at for each in suspects if (at := facts.since.get(each["name"])) is not None], default=None)
    if len(unsure) > 1:
        several = f"{len(unsure)} members do not answer: {_listed(unsure)}"
        why = "perhaps by one cause: their hosts are down, or the network is split"
        if observed and all(each["failure"] for each in observed["observers"] if each["name"] != observed["observer"]):
            several = f"none of the other members answers: {_listed(unsure)}"
            why = "this agent is probably isolated"
        yield Problem("unsure", level, several, why, since)
    elif suspects:
        [each] = suspects
        yield Problem(
            f"m {each['name']}", level, f"member {each['name']} is suspect", f"no answer at {each['address']}", since
        )
    elif silent:
        yield Problem(
            f"q {silent[0]}", level, f"member {silent[0]} does not answer", "it may be busy, paused, down or cut off"
        )
    for name, observers in _unanswered(observed).items() if observed else ():
        if name not in unsure and not set(observers) <= set(unsure) and status.get(name) != "failed":
            title = f"member {name} did not answer the last ping of {_listed(observers)}"
            yield Problem(f"e {name}", "early", title, "a packet may have been lost")


def _silent(observed: Json) -> list[str]:
    """Members that were asked and are silent, except those of which a lost link is known: that says why."""
    troubled = {name for source, target, _ in lost_links(observed) for name in (source, target)}
    return [each["name"] for each in observed["observers"] if each.get("silent") and each["name"] not in troubled]


def _unanswered(observed: Json) -> dict[str, list[str]]:
    """Members that did not answer the last ping of observers in time, where no more is known of the link."""
    troubled = {frozenset((source, target)) for source, target, _ in lost_links(observed)}
    found: dict[str, list[str]] = defaultdict(list)
    for each in observed["differences"]:
        is_known = each["link"] != "direct" or frozenset((each["observer"], each["member"])) in troubled
        if each.get("unanswered") and not is_known:
            found[each["member"]].append(each["observer"])
    return found


def _together(members: Sequence[Json], since: Mapping[str, float | None]) -> list[list[Json]]:
    """Members that were lost at one time, the first lost first; one of which that is not known is by itself."""
    groups: list[list[Json]] = []
    last: float | None = None
    for each in sorted(members, key=lambda member: since.get(member["name"]) or 0.0):
        at = since.get(each["name"])
        if at is not None and last is not None and at - last <= _AT_ONCE:
            groups[-1].append(each)
        else:
            groups.append([each])
        last = at
    return groups


def _of_observers(facts: ClusterFacts) -> Iterator[Problem]:
    if facts.observed is None:
        return
    troubled = set()
    for source, target, both in lost_links(facts.observed):
        troubled |= {source, target}
        title = f"nothing passes between {source} and {target}" if both else f"what {source} sends to {target} is lost"
        yield Problem(f"l {source} {target}", "bad", title, "they answer each other through other members only")
    yield from _of_beliefs(facts, facts.observed)
    for each in facts.observed["observers"]:
        if each["failure"] and not each.get("silent") and each["name"] not in troubled:
            yield Problem(
                f"q {each['name']}", "note", f"{each['name']} does not tell what it observes", each["failure"]
            )
    yield from _reported(facts, facts.observed["observers"])


def _of_beliefs(facts: ClusterFacts, observed: Json) -> Iterator[Problem]:
    silent = {each["name"] for each in observed["observers"] if each["failure"]}
    status = {each["name"]: each["status"] for each in facts.members} | {observed["observer"]: "alive"}
    believed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in observed["differences"]:
        observer, name = each["observer"], each["member"]
        if each["link"] in ("streams_only", "packets_only", "small_packets"):
            yield Problem(f"i {observer} {name}", "warn", f"from {observer} to {name} not all passes", each["link"])
        if observer not in silent and each["status"] != status.get(name, "unknown"):
            believed[name, each["status"]].append(observer)
    for (name, state), observers in believed.items():
        why = f"it is {state} for {_listed(observers)}"
        yield Problem(f"b {name} {state}", "warn", f"members disagree about {name}", why)


def _is_about_failed(sentence: str, facts: ClusterFacts) -> bool:
    """Whether a sentence of an agent tells only that a member has failed, which is a problem of its own."""
    return any(
        each["status"] == "failed" and sentence.startswith(f"cannot send to {each['address']}: ")
        for each in facts.members
    )


def _reported(facts: ClusterFacts, observers: Sequence[Json]) -> Iterator[Problem]:
    """What other agents report of themselves, and that versions differ."""
    reported: dict[str, list[str]] = defaultdict(list)
    for each in observers:
        for sentence in each["problems"]:
            is_told = _ABOUT_LINKS in sentence or _is_about_failed(sentence, facts)
            if each["name"] != facts.node["name"] and not is_told:
                reported[sentence].append(each["name"])
    for sentence, names in reported.items():
        if sentence not in facts.node.get("problems", ()):
            yield Problem(f"o {names[0]} {_stable(sentence)}", "warn", sentence, f"reported by {_listed(names)}")
    versions = Counter(each["version"] for each in observers if each["version"] and not each["failure"])
    if len(versions) > 1:
        counted = ", ".join(f"{version} ({count})" for version, count in versions.most_common())
        yield Problem("versions", "note", "members run different versions", counted)


def lost_links(observed: Json) -> list[tuple[str, str, bool]]:
    """Links on which packets are lost: from, to, and whether nothing passes in either direction."""
    links = [(each["observer"], each["member"], each["link"]) for each in observed["differences"]]
    outgoing = {(observer, member) for observer, member, link in links if link == "outgoing_lost"}
    deaf = {(observer, member) for observer, member, link in links if link == "incoming_lost"}
    found = [(source, target, False) for source, target in outgoing]
    for observer, member in deaf:
        mutual = (member, observer) in deaf
        if (member, observer) not in outgoing and not (mutual and observer > member):
            found.append((member, observer, mutual))
    return sorted(found)


def _of_services(facts: ClusterFacts) -> Iterator[Problem]:
    services: dict[str, list[Json]] = defaultdict(list)
    for each in facts.instances:
        if each["service"] != "gossipreg.node":
            services[each["service"]].append(each)
    for name, instances in sorted(services.items()):
        able = [each for each in instances if each["health"] in ("passing", "warning")]
        warned = [each for each in instances if each["health"] == "warning"]
        reasons = Counter(each.get("reason") or each["health"] for each in instances if each["health"] != "passing")
        why = "; ".join(f"{count} x {why}" if count > 1 else why for why, count in reasons.most_common(_NAMED_MAX))
        if not able:
            yield Problem(f"d {name}", "bad", f"{name} has no instance that can serve", why)
        elif len(able) < len(instances):
            yield Problem(f"h {name}", "warn", f"{name}: {len(able)} of {len(instances)} instances can serve", why)
        elif warned:
            yield Problem(f"h {name}", "warn", f"{name}: {len(warned)} with a warning", why)
        fenced = [each["id"] for each in able if each["role"] == "fenced"]
        if fenced:
            yield Problem(
                f"c {name}", "bad", f"several claim to be the primary of {name}", f"fenced: {_listed(fenced)}"
            )


def _of_checks(facts: ClusterFacts) -> Iterator[Problem]:
    for each in facts.checks:
        if each["flapping"]:
            title = f"the check {each['name']} of {each['instance']} flaps"
            yield Problem(f"f {each['instance']} {each['name']}", "warn", title, each["reason"])


def _stable(sentence: str) -> str:
    """A sentence without its numbers: it is about the same, whatever they are now."""
    return re.sub(r"\d+(\.\d+)?", "#", sentence)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
