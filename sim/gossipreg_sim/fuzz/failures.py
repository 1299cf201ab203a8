"""Failing seeds: a scenario file, shrunk as far as possible, and the command that runs it again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import attrs

from gossipreg.errors import GossipregError
from gossipreg_sim.fuzz.generation import GeneratedScenario
from gossipreg_sim.fuzz.run_result import PATIENCE, RunResult, run_and_check
from gossipreg_sim.fuzz.shrinking import shrunk
from gossipreg_sim.fuzz.toml_writer import as_toml, keys
from gossipreg_sim.scenario import Scenario


class FailuresError(GossipregError):
    """The directory for scenario files cannot be used."""


def directory(path: Path) -> Path:
    """Return ``path``, created and writable. Raises `FailuresError`."""
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
    result: RunResult

    def as_lines(self, out: Path) -> list[str]:
        """Return the full scenario, the failure, and the command that repeats it; the file is in ``out``."""
        scenario = self.generated.scenario
        return [
            f"seed {self.seed} fails: {', '.join(self.result.wrong)}: {self.result.detail}",
            f"  base     {', '.join(keys(scenario, ('name', 'title', 'wiring', 'workload', 'settings', 'faults')))}",
            f"  settings {', '.join(keys(scenario.settings)) or 'as by default'}",
            f"  wiring   {', '.join(keys(scenario.wiring)) or 'as by default'}",
            f"  workload {', '.join(keys(scenario.workload)) or 'as by default'}",
            f"  disabled {', '.join(self.generated.off) or 'nothing'}",
            *(f"  fault    {', '.join(keys(fault))}" for fault in scenario.faults),
            f"again: {self.again(out)}",
        ]

    def as_document(self, out: Path) -> dict[str, Any]:
        """Return the same as a JSON document."""
        scenario = self.generated.scenario
        faults = [
            attrs.asdict(fault, filter=lambda key, value: bool(value != key.default)) for fault in scenario.faults
        ]
        return {
            "seed": self.seed,
            "wrong": list(self.result.wrong),
            "detail": self.result.detail,
            "nodes": scenario.nodes,
            "disabled": list(self.generated.off),
            "faults": faults,
            "file": str(self.file(out)),
            "command": self.again(out),
        }

    def file(self, out: Path) -> Path:
        """Return the path of the scenario's file in ``out``.

        The name stays the same: it is the cluster's name, which is in every packet, so another name makes another run.
        """
        return out / f"{self.generated.scenario.name}.toml"

    def again(self, out: Path) -> str:
        """Return the command that runs the file again."""
        return f"gossipreg sim run {shlex.quote(str(self.file(out)))} --seed {self.seed}"

    def written(self, out: Path, scenario: Scenario | None = None) -> Path:
        """Write the scenario, or its shrunk form, and return the file's path. Raises `FailuresError`."""
        path = self.file(out)
        comments = (f"Fails with seed {self.seed}: {', '.join(self.result.wrong)}", self.result.detail)
        try:
            path.write_text(as_toml(scenario or self.generated.scenario, comments), "utf-8")
        except OSError as error:
            raise FailuresError(f"cannot write {path}: {error.strerror}: pass --out another directory") from None
        return path

    def shrunk(self, *, runs: int, seconds: float, patience: float = PATIENCE) -> Scenario:
        """Return the smallest scenario found whose first failure is the same."""

        def fails(scenario: Scenario) -> bool:
            return self.result.wrong[0] in run_and_check(scenario, self.seed, patience).wrong

        return shrunk(self.generated.scenario, fails, runs=runs, seconds=seconds)
