"""Rules about the agent among its peers: joining, the network, clocks, names and members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gossipreg.cli.doctor.facts import Facts
from gossipreg.cli.doctor.findings import Diagnosis, Rule, Severity, lines, listed, rule
from gossipreg.counters import Count
from gossipreg.observations import LinkState
from gossipreg.protocol.membership.paths import Passes
from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg.runtime.joining import JoinFailureReason

#: How long a join may take before it counts as failed (seconds).
_JOIN_SECONDS: Final = 15.0

#: Has systemd synchronise the clock of its host.
_SET_CLOCK: Final = ("timedatectl", "set-ntp", "true")

#: What to do when the first seed fails for such a reason.
JOIN_REMEDIES: Final[Mapping[str, str]] = {
    JoinFailureReason.UNRESOLVED: "correct the seed's name in --join, or in DNS",
    JoinFailureReason.REFUSED: "start the agent at the seed, or correct its port (the gossip port) in --join",
    JoinFailureReason.NO_ANSWER: "open the gossip port, TCP and UDP, in the firewalls of both hosts: see "
    "docs/first-cluster.md",
    JoinFailureReason.UNREACHABLE: "mend the route to the seed",
    JoinFailureReason.NOT_GOSSIP: "name the seed's gossip port in --join, not its HTTP or DNS port",
    JoinFailureReason.CLOSED: "give both a --cell or neither; look into the seed's log; try again later",
    JoinFailureReason.SILENT: "run gossipreg doctor on the seed: its process may be stopped",
    JoinFailureReason.OTHER_KEY: "copy a member's key file to this host, and send the agent SIGHUP",
    JoinFailureReason.IN_CLEAR: "give the seed the same --key-file, and restart it",
    JoinFailureReason.SEALED: "copy the seed's key file here, pass --key-file, and restart the agent",
    JoinFailureReason.OTHER_CLUSTER: "give both the same --cluster, and both a --cell or neither; or name a "
    "seed of this cluster in --join",
    JoinFailureReason.OTHER_VERSION: "upgrade the older one of the two: see docs/compatibility.md",
    JoinFailureReason.ITSELF: "name another member in --join",
    JoinFailureReason.CLOCK: "synchronise the clocks of both hosts",
    JoinFailureReason.BROKEN: "look into the seed's log, and at firewalls that end connections on the way",
    JoinFailureReason.UNFINISHED: "wait a minute: the states are still being compared",
    JoinFailureReason.JUNK: "look at what listens at the seed's address",
}


@rule(
    evidence="`joined`, `join_failures`: each seed with its reason",
    remedy="By the reason: start the seed, correct `--join`, `--cluster` or the key, open the firewall.",
)
def not_joined(facts: Facts) -> Diagnosis | None:
    """The agent has not joined the cluster."""
    if facts.node.get("joined", True) or facts.expulsion:
        return None
    failures = facts.node.get("join_failures", {})
    why = [f"{seed}: {failure['detail']}" for seed, failure in failures.items()] or ["no seed has answered yet"]
    if facts.node.get("serving_last_known"):
        why.append("until then it answers from its snapshot")
    seed, reason = next(
        ((seed, each["reason"]) for seed, each in failures.items() if each["reason"] in JOIN_REMEDIES), ("", "")
    )
    run: tuple[str, ...] = ()
    if reason == JoinFailureReason.UNREACHABLE:
        run = ("ip", "route", "get", seed.rpartition(":")[0].strip("[]"))
    elif reason == JoinFailureReason.CLOCK:
        run = _SET_CLOCK
    late = facts.uptime > _JOIN_SECONDS
    return Diagnosis(
        Severity.ERROR if late else Severity.WARNING,
        f"the agent has not joined in {facts.uptime:.0f} s",
        lines(why),
        JOIN_REMEDIES.get(reason, "see docs/resilience.md, a join that does not succeed"),
        run,
    )


@rule(evidence="`isolated`, `silence`", remedy="Mend this host's network; see [resilience](resilience.md).")
def isolated(facts: Facts) -> Diagnosis | None:
    """The agent hears no other member."""
    if not facts.node.get("isolated") or facts.expulsion:
        return None
    return Diagnosis(
        Severity.ERROR,
        "the agent hears no other member: its answers may be stale",
        (f"no message of a member for {facts.node.get('silence', 0.0):.0f} s",),
        "mend this host's network: see docs/resilience.md",
    )


def _paths(facts: Facts, passes: str) -> list[str]:
    return sorted(name for name, found in facts.node.get("paths", {}).items() if found == passes)


@rule(evidence="`paths`: `streams_only`", remedy="Let UDP through at the gossip port, in both directions.")
def packets_blocked(facts: Facts) -> Diagnosis | None:
    """Packets to members do not pass, streams do: a firewall that knows TCP only."""
    names = _paths(facts, Passes.STREAMS_ONLY)
    if not names:
        return None
    return Diagnosis(
        Severity.WARNING,
        "packets do not pass, streams do",
        (f"members: {listed(names)}",),
        "let UDP through at the gossip port, in both directions: see docs/resilience.md, half-open networks",
    )


@rule(evidence="`paths`: `packets_only`", remedy="Let TCP through at the gossip port, in both directions.")
def streams_blocked(facts: Facts) -> Diagnosis | None:
    """Streams to members do not pass, packets do: a firewall that knows UDP only."""
    names = _paths(facts, Passes.PACKETS_ONLY)
    if not names:
        return None
    return Diagnosis(
        Severity.WARNING,
        "streams do not pass, packets do",
        (f"members: {listed(names)}",),
        "let TCP through at the gossip port, in both directions: see docs/resilience.md, half-open networks",
    )


@rule(
    evidence="`paths`: `outgoing_lost`, `incoming_lost`",
    remedy="Let the hosts reach each other at the gossip port, by UDP and TCP, in both directions.",
)
def links_lost(facts: Facts) -> Diagnosis | None:
    """Members answer through others only: nothing passes between them and this agent, in one direction or in both."""
    lost = {
        LinkState.OUTGOING_LOST: "what this agent sends is lost",
        LinkState.INCOMING_LOST: "nothing arrives from them",
    }
    found = [(names, words) for link, words in lost.items() if (names := _paths(facts, link))]
    if not found:
        return None
    return Diagnosis(
        Severity.WARNING,
        "members answer through others only",
        tuple(f"{words}: {listed(names)}" for names, words in found),
        "let both hosts reach each other at the gossip port: see docs/resilience.md, half-open networks",
    )


@rule(evidence="`paths`: `small_packets`", remedy='Let ICMP "too big" through, or correct the MTU of the tunnel.')
def small_packets(facts: Facts) -> Diagnosis | None:
    """Only small packets pass: an MTU is wrong on the way."""
    names = _paths(facts, Passes.SMALL_PACKETS)
    if not names:
        return None
    return Diagnosis(
        Severity.WARNING,
        "only small packets pass",
        (
            f"members: {listed(names)}",
            *(each for each in facts.node.get("problems", ()) if each.startswith("packets over")),
        ),
        "correct the MTU of the tunnel or link on the way",
        ("ip", "link", "show"),
    )


@rule(evidence=f"`clock_skew` beyond {CLOCK_SKEW_MAX:.0f} s", remedy="`timedatectl set-ntp true`")
def clock(facts: Facts) -> Diagnosis | None:
    """The host's clock is off."""
    skew = facts.node.get("clock_skew")
    if skew is None or abs(skew) <= CLOCK_SKEW_MAX:
        return None
    return Diagnosis(
        Severity.ERROR,
        f"the clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} those of the members",
        (f"clock_skew is {skew:g} s, {CLOCK_SKEW_MAX:.0f} s are allowed",),
        "synchronise the clock of its host",
        _SET_CLOCK,
    )


#: A counter of refusals is worth a finding from so many on, at so many seconds for each on the average.
_REFUSALS: Final = 10
_REFUSAL_SECONDS: Final = 60.0


def refusals(facts: Facts, *names: Count) -> tuple[str, ...]:
    """A sentence for each of these counters of refusals that keeps rising."""
    return facts.frequent(names, least=_REFUSALS, seconds=_REFUSAL_SECONDS)


@rule(
    evidence="`join_failures`: `other_cluster`; counters `packets_` and `streams_wrong_cluster_or_corrupt`",
    remedy="Give the agents one `--cluster`, or take the other cluster's hosts out of `--join`.",
)
def two_clusters(facts: Facts) -> Diagnosis | None:
    """Agents of another cluster gossip with this one."""
    cluster = facts.node.get("cluster", "")
    failures = facts.node.get("join_failures", {})
    seeds = [seed for seed, each in failures.items() if each["reason"] == JoinFailureReason.OTHER_CLUSTER]
    why = refusals(facts, Count.PACKETS_WRONG_CLUSTER_OR_CORRUPT, Count.STREAMS_WRONG_CLUSTER_OR_CORRUPT)
    if seeds:
        why = (f"seeds of another cluster than {cluster!r}: {listed(seeds)}", *why)
    if not why:
        return None
    return Diagnosis(
        Severity.ERROR if seeds else Severity.WARNING,
        f"agents of another cluster than {cluster!r} gossip with this one",
        why,
        "give the agents the same --cluster, or take the other cluster's hosts out of --join",
    )


@rule(evidence="`name_conflict`, counter `name_conflicts`", remedy="Restart the younger one with another `--name`.")
def duplicate_name(facts: Facts) -> Diagnosis | None:
    """Another node has the same name."""
    other = facts.node.get("name_conflict")
    rose = facts.rose.get(Count.NAME_CONFLICTS, 0)
    if other is None and not rose:
        return None
    why = (f"an older node of that name is at {other}",) if other else (f"name_conflicts rose by {rose}",)
    return Diagnosis(
        Severity.ERROR,
        f"another node is named {facts.node.get('name', '')!r}, too: the others do not see what this one offers",
        why,
        "restart this agent with another --name",
    )


@rule(
    evidence="counters `packets_wrong_version`, `streams_wrong_version`; the agent's version and the command's",
    remedy="Upgrade the older hosts; restart the agent after an upgrade.",
)
def versions(facts: Facts) -> Diagnosis | None:
    """Releases differ."""
    why = refusals(facts, Count.PACKETS_WRONG_VERSION, Count.STREAMS_WRONG_VERSION)
    running = facts.node.get("version", facts.version)
    if running != facts.version:
        why = (f"the agent runs {running}, this command is {facts.version}", *why)
    if not why:
        return None
    return Diagnosis(
        Severity.WARNING,
        "releases differ, or what is not gossip comes to the gossip port",
        why,
        "upgrade the older one, and restart the agent: see docs/compatibility.md",
    )


@rule(
    evidence="`GET /api/v1/members`: status `failed`",
    remedy="Start them again, or `gossipreg forget NAME`.",
)
def failed_members(facts: Facts) -> Diagnosis | None:
    """Members have failed."""
    failed = sorted(each["name"] for each in facts.members if each["status"] == "failed")
    if not failed or facts.expulsion:
        return None
    others = len(facts.members) - 1
    return Diagnosis(
        Severity.WARNING,
        f"{len(failed)} of {others} other members {'has' if len(failed) == 1 else 'have'} failed",
        (f"failed: {listed(failed)}",),
        "start the agent there again, or forget the member if its host is gone",
        ("gossipreg", "forget", failed[0]),
    )


#: Sentences of `problems` that other rules explain.
_EXPLAINED: Final = (
    *("packets ", "streams ", "what is sent to them is lost", "nothing arrives from them"),
    *("the clock is ", "the name ", "the region ", "nothing is known of the region "),
)


@rule(evidence="`problems`, without those that other rules explain", remedy="What the sentence says.")
def reported_problems(facts: Facts) -> Diagnosis | None:
    """The agent reports a problem of its own: its address, its certificate, its keys, its region."""
    said = (each for each in facts.node.get("problems", ()) if not each.startswith(_EXPLAINED))
    found = [each for each in said if each not in facts.expulsion]
    if not found:
        return None
    return Diagnosis(
        Severity.ERROR, "the agent reports problems", lines(found), "do what the sentences say; see docs/resilience.md"
    )


@rule(evidence="`GET /api/v1/regions`: `problem`", remedy="See [regions](regions.md).")
def regions(facts: Facts) -> Diagnosis | None:
    """A followed region does not answer."""
    silent = [each for each in facts.regions if each["problem"] and not each["own"]]
    if not silent:
        return None
    return Diagnosis(
        Severity.WARNING,
        "regions that are followed do not answer: what is known of them grows old",
        lines(f"{each['name']}: {each['problem']}" for each in silent),
        "ask an agent there what is wrong: see docs/regions.md",
        ("gossipreg", "doctor", "--http", silent[0]["agents"][0]) if silent[0].get("agents") else (),
    )


RULES: Final[tuple[Rule, ...]] = (
    not_joined,
    isolated,
    packets_blocked,
    streams_blocked,
    links_lost,
    small_packets,
    clock,
    two_clusters,
    duplicate_name,
    versions,
    failed_members,
    reported_problems,
    regions,
)
