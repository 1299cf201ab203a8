"""Rules about identity: an agent whose certificate was revoked, and hosts whose certificates count no more."""

from __future__ import annotations

from typing import Final

from gossipreg.cli.doctor.facts import Facts
from gossipreg.cli.doctor.findings import Diagnosis, Rule, Severity, rule
from gossipreg.counters import Count

#: Statements refused for their certificates, so many in so long (seconds), that are worth telling.
_ENDED: Final = 60
_ENDED_SECONDS: Final = 60.0


@rule(
    evidence="`problems`: its certificate was revoked",
    remedy="When its host is clean, give it [a key and a certificate of its own](keys.md#identity).",
)
def expelled(facts: Facts) -> Diagnosis | None:
    """The others have expelled this agent."""
    if not facts.expulsion:
        return None
    return Diagnosis(
        Severity.ERROR,
        "the other members have expelled this agent: its certificate was revoked",
        facts.expulsion,
        "when this host is clean, give it a new key, a new certificate and the gossip's new key: see docs/keys.md",
    )


@rule(
    evidence="counter `statements_ended`",
    remedy="Stop the agent there, or renew its certificate; after a revocation [replace the gossip's key](keys.md).",
)
def expelled_host(facts: Facts) -> Diagnosis | None:
    """A host whose certificate was revoked or has ended gossips to this agent."""
    why = facts.frequent((Count.STATEMENTS_ENDED,), least=_ENDED, seconds=_ENDED_SECONDS)
    if not why:
        return None
    return Diagnosis(
        Severity.NOTE,
        "a host whose certificate was revoked, or has ended, still gossips to this agent; nothing of it is believed",
        why,
        "stop the agent there or renew its certificate; after a revocation replace the gossip's key: see docs/keys.md",
        ("gossipreg", "ca", "members"),
    )


RULES: Final[tuple[Rule, ...]] = (expelled, expelled_host)
