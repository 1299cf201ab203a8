"""Rules about the keys that seal the gossip: those of other hosts, those of members, and the key file."""

from __future__ import annotations

from typing import Final

from gossipreg.cli.doctor.cluster_rules import refusals
from gossipreg.cli.doctor.facts import Facts
from gossipreg.cli.doctor.findings import Diagnosis, Rule, Severity, lines, listed, rule
from gossipreg.counters import Count


@rule(
    evidence="counters `packets_` and `streams_` `unknown_key`, `in_clear`, `sealed`",
    remedy="`gossipreg keys list` on both sides: give every host the same key file.",
)
def wrong_key(facts: Facts) -> Diagnosis | None:
    """Another host gossips to this one with another key, or with none."""
    why = refusals(
        facts,
        Count.PACKETS_UNKNOWN_KEY,
        Count.STREAMS_UNKNOWN_KEY,
        Count.PACKETS_IN_CLEAR,
        Count.STREAMS_IN_CLEAR,
        Count.PACKETS_SEALED,
        Count.STREAMS_SEALED,
    )
    if not why:
        return None
    return Diagnosis(
        Severity.WARNING,
        "a host with another key, or without one, gossips to this agent",
        why,
        "find its address in this agent's log, and give it this cluster's key file: see docs/keys.md",
    )


@rule(
    evidence="counters `packets_forged`, `streams_forged`, `packets_replayed`, `packets_leapt`, `statements_refused`",
    remedy="Give clusters keys of their own; if a key may have leaked, [replace it](keys.md).",
)
def forged(facts: Facts) -> Diagnosis | None:
    """Packets are refused as forged."""
    why = refusals(
        facts,
        Count.PACKETS_FORGED,
        Count.STREAMS_FORGED,
        Count.PACKETS_REPLAYED,
        Count.PACKETS_LEAPT,
        Count.STATEMENTS_REFUSED,
    )
    if not why:
        return None
    return Diagnosis(
        Severity.WARNING,
        "packets are refused as forged: an attack, or another cluster with the same key",
        why,
        "give each cluster a key of its own; if the key may have leaked, replace it: see docs/keys.md",
    )


@rule(
    evidence="`GET /api/v1/keys`: `not_held_by`",
    remedy="`gossipreg keys add FILE`, or mend those members' key files.",
)
def keys_lacking(facts: Facts) -> Diagnosis | None:
    """Members lack a key of the cluster."""
    lacking = [key for key in facts.keys if key["not_held_by"] and (key["primary"] or key["until"] is None)]
    if not lacking:
        return None
    is_primary = any(key["primary"] for key in lacking)
    return Diagnosis(
        Severity.ERROR if is_primary else Severity.WARNING,
        "members lack a key" + (" with which others seal: they hear little" if is_primary else " of the cluster"),
        lines(f"key {key['id']} is not held by {listed(key['not_held_by'])}" for key in lacking),
        "add the key to the key file there, and send SIGHUP: see docs/keys.md",
    )


@rule(
    evidence="the key file (`--config`) beside `GET /api/v1/keys`",
    remedy="Put the primary key first into the file, and take out the keys that were given up.",
)
def key_file_outdated(facts: Facts) -> Diagnosis | None:
    """The key file differs from the keys that the cluster uses."""
    held, file = {key["id"]: key for key in facts.keys}, facts.host.keys
    if not held or not file:
        return None
    primary = next((id_ for id_, key in held.items() if key["primary"]), None)
    given_up = [id_ for id_ in file if id_ not in held]
    why = [f"key {id_} of the file was given up, or was never read" for id_ in given_up]
    if primary is not None and primary not in file:
        why.append(f"the primary key {primary} is not in the file: after a restart the agent may be cut off")
    if not why:
        return None
    return Diagnosis(
        Severity.WARNING,
        f"{facts.host.key_file} differs from the keys that the cluster uses",
        lines(why),
        "write the keys that are listed into it, without those given up, and send SIGHUP: see docs/keys.md",
        ("gossipreg", "keys", "list"),
    )


RULES: Final[tuple[Rule, ...]] = (wrong_key, forged, keys_lacking, key_file_outdated)
