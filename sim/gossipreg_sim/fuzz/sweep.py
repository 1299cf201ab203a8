"""Sweep over many seeds: totals and coverage."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import attrs

from gossipreg_sim.fault import KINDS
from gossipreg_sim.fuzz.generation import NODES, GeneratedScenario, generated
from gossipreg_sim.fuzz.verdict import Verdict

#: What some run of a large sweep must show: a sweep in which nobody was ever refuted has not tested refutation.
SOMETIMES: Final = (
    *("alive", "suspect", "failed", "left", "refuted", "revived", "service", "agreement"),
    *("refutations", "failures_declared", "probes_missed", "lags", "frames_received"),
    *("packets_wrong_cluster_or_corrupt", "packets_forged", "packets_replayed", "packets_late", "packets_stale"),
    *("crash", "crash-host", "start", "leave", "freeze", "unfreeze", "block", "unblock", "slow", "clock", "drift"),
    *("forge", "replay"),
    "policy",
    "policy removed",
    "primary",
    "fenced",
    *(f"{kind} begins" for kind in KINDS if "to" in KINDS[kind].takes),
)

#: An oracle that judges in a smaller share of runs than this has seen too little: the drawing should give it occasion.
SELDOM: Final = 0.1


def seeds_from(first: int, number: int | None, minutes: float | None) -> Iterator[int]:
    """Seeds from ``first`` on: so many, or until so many minutes of real time have gone by, or both."""
    began = time.monotonic()
    for seed in count(first) if number is None else range(first, first + number):
        if minutes is not None and time.monotonic() - began >= 60 * minutes:
            return
        yield seed


@attrs.define
class Sweep:
    """The verdicts so far, by seed."""

    nodes: tuple[int, int] = NODES
    verdicts: dict[int, Verdict] = attrs.field(factory=dict)
    kinds: Counter[str] = attrs.field(factory=Counter)  # of faults, as often as they were drawn
    marks: Counter[str] = attrs.field(factory=Counter)  # in how many runs each was made
    judged: Counter[str] = attrs.field(factory=Counter)  # in how many runs each oracle had occasion to judge
    failures: list[int] = attrs.field(factory=list)  # seeds, in the order in which they ended

    def generated(self, seed: int) -> GeneratedScenario:
        """What ``seed`` stands for in this sweep."""
        return generated(seed, self.nodes)

    def add(self, seed: int, verdict: Verdict) -> None:
        """Count one more run."""
        self.verdicts[seed] = verdict
        self.kinds.update(fault.kind for fault in self.generated(seed).scenario.faults)
        self.marks.update(verdict.marks.keys())
        self.judged.update({name: int(has_judged) for name, has_judged in verdict.judged.items()})
        if not verdict.is_good:
            self.failures.append(seed)

    @property
    def digest(self) -> str:
        """One hash for all traces, whoever run them in whatever order (hex)."""
        lines = [f"{seed} {self.verdicts[seed].digest}\n" for seed in sorted(self.verdicts)]
        return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()

    @property
    def never(self) -> list[str]:
        """What some run should have shown, and none did."""
        return [mark for mark in SOMETIMES if mark not in self.marks]

    @property
    def shares(self) -> dict[str, float]:
        """By oracle, in the order of the oracles: in what share of all runs it had occasion to judge."""
        return {name: runs / len(self.verdicts) for name, runs in self.judged.items()}

    @property
    def virtual(self) -> float:
        """Virtual seconds run."""
        return sum(verdict.seconds for verdict in self.verdicts.values())

    @property
    def per_core(self) -> float:
        """Seeds in each second of one core."""
        took = sum(verdict.took for verdict in self.verdicts.values())
        return len(self.verdicts) / took if took else 0.0

    def as_lines(self) -> Iterator[str]:
        """The summary for people."""
        done = len(self.verdicts)
        yield f"seeds      {done:,}, {self.virtual:,.0f} virtual seconds, {self.per_core:.2f} seeds/s/core"
        yield f"faults     {', '.join(f'{kind} {self.kinds[kind]:,}' for kind in KINDS)}"
        yield f"marks      {', '.join(f'{mark} {self.marks[mark]:,}' for mark in SOMETIMES if self.marks[mark])}"
        yield f"never      {', '.join(self.never) or 'none is missing'}"
        for number, (name, share) in enumerate(self.shares.items()):
            head = "" if number else "oracles"
            seldom = "" if share >= SELDOM else f", seldom: less than {SELDOM:.0%}"
            yield f"{head:<10} {name:<16} judged in {self.judged[name]:>7,} runs, {share:>4.0%}{seldom}"
        yield f"failures   {len(self.failures):,}"
        yield f"all traces {self.digest}"

    def as_document(self) -> dict[str, Any]:
        """The same as a JSON document, but for the failures in full."""
        return {
            "seeds": len(self.verdicts),
            "good": not self.failures,
            "faults": {kind: self.kinds[kind] for kind in KINDS},
            "marks": dict(sorted(self.marks.items())),
            "never": self.never,
            "oracles": {name: {"judged": self.judged[name], "share": share} for name, share in self.shares.items()},
            "virtual_seconds": self.virtual,
            "seeds_per_second_and_core": self.per_core,
            "trace_hash": self.digest,
        }
