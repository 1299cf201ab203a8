"""Failing seeds: a scenario file, as small as it can be had, and the command that runs it again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import attrs

from gossipreg.errors import GossipregError
from gossipreg_sim.fuzz.generation import GeneratedScenario
from gossipreg_sim.fuzz.shrinking import shrunk
from gossipreg_sim.fuzz.toml_writer import as_toml, keys
from gossipreg_sim.fuzz.verdict import PATIENCE, Verdict, judged
from gossipreg_sim.scenario import Scenario


class FailuresError(GossipregError):
    """The directory for scenario files cannot be used."""


def directory(path: Path) -> Path:
    """``path``, ready to be written to. Raises `FailuresError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FailuresError(f"cannot make {path}: {error.strerror}: pass --out another directory") from None
    return path


@attrs.frozen
class Failure:
    """A seed whose run failed."""

    seed: int
    generated: GeneratedScenario
    verdict: Verdict

    def as_lines(self, out: Path) -> list[str]:
        """What was drawn, in full, what was wrong, and how to see it again; the file is in ``out``."""
        scenario = self.generated.scenario
        return [
            f"seed {self.seed} fails: {', '.join(self.verdict.wrong)}: {self.verdict.said}",
            f"  stage    {', '.join(keys(scenario, ('name', 'title', 'wiring', 'workload', 'settings', 'faults')))}",
            f"  settings {', '.join(keys(scenario.settings)) or 'as by default'}",
            f"  wiring   {', '.join(keys(scenario.wiring)) or 'as by default'}",
            f"  workload {', '.join(keys(scenario.workload)) or 'as by default'}",
            f"  off      {', '.join(self.generated.off) or 'nothing'}",
            *(f"  fault    {', '.join(keys(fault))}" for fault in scenario.faults),
            f"again: {self.again(out)}",
        ]

    def as_document(self, out: Path) -> dict[str, Any]:
        """The same as a JSON document."""
        scenario = self.generated.scenario
        faults = [attrs.asdict(fault, filter=lambda key, said: bool(said != key.default)) for fault in scenario.faults]
        return {
            "seed": self.seed,
            "wrong": list(self.verdict.wrong),
            "said": self.verdict.said,
            "nodes": scenario.nodes,
            "switched_off": list(self.generated.off),
            "faults": faults,
            "file": str(self.file(out)),
            "command": self.again(out),
        }

    def file(self, out: Path) -> Path:
        """Where in ``out`` its scenario is.

        The name stays: it is the cluster's, and as such in every packet, so with another name this is another run.
        """
        return out / f"{self.generated.scenario.name}.toml"

    def again(self, out: Path) -> str:
        """The command that runs the file once more."""
        return f"gossipreg sim run {shlex.quote(str(self.file(out)))} --seed {self.seed}"

    def written(self, out: Path, scenario: Scenario | None = None) -> Path:
        """The file with the scenario, or with what it was shrunk to. Raises `FailuresError`."""
        path = self.file(out)
        comments = (f"Fails with seed {self.seed}: {', '.join(self.verdict.wrong)}", self.verdict.said)
        try:
            path.write_text(as_toml(scenario or self.generated.scenario, comments), "utf-8")
        except OSError as error:
            raise FailuresError(f"cannot write {path}: {error.strerror}: pass --out another directory") from None
        return path

    def shrunk(self, *, runs: int, seconds: float, patience: float = PATIENCE) -> Scenario:
        """The smallest scenario found that fails in the first way in which this one does."""

        def fails(scenario: Scenario) -> bool:
            return self.verdict.wrong[0] in judged(scenario, self.seed, patience).wrong

        return shrunk(self.generated.scenario, fails, runs=runs, seconds=seconds)
