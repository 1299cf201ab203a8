"""Mutation testing of the protocol, package by package: ``python -m tests.mutation --package wire --seed 1``.

Prints the result of each mutant, then the survivors and the score. Needs Linux: it forks, and limits CPU and memory.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

import gossipreg.protocol
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.plugin import MutantResult, MutationPlugin

FOLDER = Path(gossipreg.protocol.__file__).parent
TESTS = Path(__file__).parents[1]

#: The packages of the protocol. "engine" is the modules beside them.
PACKAGES = ("engine", "anti_entropy", "cells", "dissemination", "identity", "membership", "registry", "wire")

#: Survivors that are explained, each with its reason.
EXPLAINED = Path(__file__).parent / "explained.txt"


def sources(package: str) -> list[Path]:
    """Return the source files of a package."""
    folder = FOLDER if package == "engine" else FOLDER / package
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def selected(packages: list[str], *, only_own: bool = False) -> list[str]:
    """Return the tests of these packages: their own, those of the engine, and the scenes.

    The engine's modules connect the packages, so the tests of some of them are those of a package.
    """
    if "engine" in packages:
        return [str(TESTS / "protocol"), str(TESTS / "scenes")]
    own = [TESTS / "protocol" / package for package in packages]
    if only_own:
        return [str(path) for path in own]
    return [str(path) for path in (*own, *sorted((TESTS / "protocol").glob("test_*.py")), TESTS / "scenes")]


def explained() -> dict[str, str]:
    """Return the reasons for accepted survivors, by their keys."""
    lines = [line for line in EXPLAINED.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("\t", 1) for line in lines)


def run_mutants(mutants: list[Mutant], tests: list[str], budget: float, *, quiet: bool = False) -> list[MutantResult]:
    """Run the tests against ``mutants``. Raises `SystemExit` if the tests fail without them."""
    made = MutationPlugin(FOLDER, mutants, _ignored if quiet else _said, budget)
    options = ["-o", "addopts=", "--capture=no", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:faulthandler"]
    status = pytest.main([*options, *tests], plugins=[made])
    if made.failed or status not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise SystemExit(f"the tests fail without a mutant: {', '.join(made.failed) or status}")
    return made.results


def _said(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _ignored(_: str) -> None:
    pass


def main() -> None:
    """Run the mutants of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--package", choices=PACKAGES, action="append", help="repeatable; default: all packages")
    parser.add_argument("--file", help="only this file, such as ring.py")
    parser.add_argument("--sample", type=int, help="number of random mutants of each package; default: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default 0)")
    parser.add_argument("--key", help="only mutants whose key contains this")
    parser.add_argument("--budget", type=float, default=5.0, help="CPU seconds of tests for one mutant (default 5)")
    parser.add_argument(
        "--own", action="store_true", help="only tests/protocol/PACKAGE, without the engine's and scenes"
    )
    asked = parser.parse_args()
    packages = asked.package or [*PACKAGES]
    wanted = {package: _wanted(package, asked) for package in packages}
    chosen = {package: _sampled(mutants, asked) for package, mutants in wanted.items()}
    results = run_mutants(
        [mutant for package in packages for mutant in chosen[package]],
        selected(packages, only_own=asked.own),
        asked.budget,
    )
    for package in packages:
        its = [result for result in results if result.mutant in chosen[package]]
        _said("\n".join(summary(package, its, len(wanted[package]))))


def _wanted(package: str, asked: argparse.Namespace) -> list[Mutant]:
    paths = [path for path in sources(package) if asked.file in (None, path.name)]
    mutants = [mutant for path in paths for mutant in mutants_of(path, str(path.relative_to(FOLDER)))]
    return [mutant for mutant in mutants if asked.key is None or asked.key in mutant.key]


def _sampled(mutants: list[Mutant], asked: argparse.Namespace) -> list[Mutant]:
    if asked.sample is None or asked.sample >= len(mutants):
        return mutants
    return [mutants[number] for number in sorted(Random(asked.seed).sample(range(len(mutants)), asked.sample))]


def summary(package: str, results: list[MutantResult], total: int) -> list[str]:
    """Return the survivors, and the score: the share of the applicable mutants that were killed."""
    reasons = explained()
    counted = [result for result in results if result.how != "invalid"]
    killed = sum(result.is_killed for result in counted)
    lines = [""]
    for result in counted:
        if not result.is_killed:
            reason = reasons.get(result.mutant.key)
            lines.append(
                f"{result.how}: {result.mutant.key} [line {result.mutant.line}]{f': {reason}' if reason else ''}"
            )
    known = sum(not result.is_killed and result.mutant.key in reasons for result in counted)
    how = Counter(result.how for result in results)
    share = killed / len(counted) if counted else 1.0
    lines.append(
        f"{package}: {len(counted)} of {total:,} mutants, {killed} killed ({how['time']} by time), "
        f"{len(counted) - killed - known} survived, {known} more explained: {share:.1%}"
    )
    return lines


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS.parent))
    main()
