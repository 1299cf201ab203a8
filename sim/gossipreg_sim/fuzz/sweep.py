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
from gossipreg_sim.fuzz.run_result import RunResult

#: Marks that a large sweep must reach: a sweep in which no member refuted a suspicion has not tested refutation.
SOMETIMES: Final = (
    *("alive", "suspect", "failed", "left", "refuted", "revived", "service", "agreement"),
    *("refutations", "failures_declared", "probes_missed", "lags", "frames_received"),
    *("packets_wrong_cluster_or_corrupt", "packets_forged", "packets_replayed", "packets_late", "packets_stale"),
    *("crash", "crash-host", "start", "leave", "freeze", "unfreeze", "block", "unblock", "slow", "clock", "drift"),
    *("forge", "replay", "impostor", "revoke", "key added", "key used", "key given up"),
    *("statements_refused", "statements_unsigned", "members_expelled"),
    "policy",
    "policy removed",
    "primary",
    "fenced",
    *(f"{kind} begins" for kind in KINDS if "to" in KINDS[kind].takes),
)

#: Share of runs below which an oracle applied too rarely: the templates should give it more runs.
SELDOM: Final = 0.1


def seeds_from(first: int, number: int | None, minutes: float | None) -> Iterator[int]:
    """Yield seeds from ``first`` on: ``number`` of them, or for ``minutes`` of real time, or both."""
    began = time.monotonic()
    for seed in count(first) if number is None else range(first, first + number):
        if minutes is not None and time.monotonic() - began >= 60 * minutes:
            return
        yield seed


@attrs.define
class Sweep:
    """The results so far, by seed."""

    nodes: tuple[int, int] = NODES
    cells: bool = False  # whether all scenarios have several cells
    results: dict[int, RunResult] = attrs.field(factory=dict)
    kinds: Counter[str] = attrs.field(factory=Counter)  # number of generated faults
    marks: Counter[str] = attrs.field(factory=Counter)  # number of runs that reached each mark
    applied: Counter[str] = attrs.field(factory=Counter)  # number of runs to which each oracle applied
    failures: list[int] = attrs.field(factory=list)  # seeds, in completion order

    def generated(self, seed: int) -> GeneratedScenario:
        """Return the generated scenario of ``seed`` in this sweep."""
        return generated(seed, self.nodes, cells=self.cells)

    def add(self, seed: int, result: RunResult) -> None:
        """Count one more run."""
        self.results[seed] = result
        self.kinds.update(fault.kind for fault in self.generated(seed).scenario.faults)
        self.marks.update(result.marks.keys())
        self.applied.update({name: int(applied) for name, applied in result.applied.items()})
        if not result.is_good:
            self.failures.append(seed)

    @property
    def digest(self) -> str:
        """One hash over all traces, independent of workers and completion order (hex)."""
        lines = [f"{seed} {self.results[seed].digest}\n" for seed in sorted(self.results)]
        return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()

    @property
    def never(self) -> list[str]:
        """Marks that some run should have reached, and none did."""
        return [mark for mark in SOMETIMES if mark not in self.marks]

    @property
    def shares(self) -> dict[str, float]:
        """By oracle, in their order: the share of runs to which it applied."""
        return {name: runs / len(self.results) for name, runs in self.applied.items()}

    @property
    def virtual(self) -> float:
        """Total virtual seconds."""
        return sum(result.seconds for result in self.results.values())

    @property
    def per_core(self) -> float:
        """Seeds per second of one core."""
        took = sum(result.took for result in self.results.values())
        return len(self.results) / took if took else 0.0

    def as_lines(self) -> Iterator[str]:
        """Yield the lines of the summary."""
        done = len(self.results)
        yield f"seeds      {done:,}, {self.virtual:,.0f} virtual seconds, {self.per_core:.2f} seeds/s/core"
        yield f"faults     {', '.join(f'{kind} {self.kinds[kind]:,}' for kind in KINDS)}"
        yield f"marks      {', '.join(f'{mark} {self.marks[mark]:,}' for mark in SOMETIMES if self.marks[mark])}"
        yield f"never      {', '.join(self.never) or 'none'}"
        for number, (name, share) in enumerate(self.shares.items()):
            head = "" if number else "oracles"
            seldom = "" if share >= SELDOM else f", rare: less than {SELDOM:.0%}"
            yield f"{head:<10} {name:<16} applied in {self.applied[name]:>7,} runs, {share:>4.0%}{seldom}"
        yield f"failures   {len(self.failures):,}"
        yield f"all traces {self.digest}"

    def as_document(self) -> dict[str, Any]:
        """Return the summary as a JSON document, without the details of failures."""
        return {
            "seeds": len(self.results),
            "good": not self.failures,
            "faults": {kind: self.kinds[kind] for kind in KINDS},
            "marks": dict(sorted(self.marks.items())),
            "never": self.never,
            "oracles": {name: {"applied": self.applied[name], "share": share} for name, share in self.shares.items()},
            "virtual_seconds": self.virtual,
            "seeds_per_second_and_core": self.per_core,
            "trace_hash": self.digest,
        }
