"""Mutation testing of one room of the protocol: ``python -m tests.mutation --room membership --sample 40 --seed 1``.

Prints what became of each mutant, then the survivors and the score. Needs Linux: it forks, and bounds CPU and memory.
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
from tests.mutation.plugin import MutationPlugin, Verdict

FOLDER = Path(gossipreg.protocol.__file__).parent
TESTS = Path(__file__).parents[1]

#: The rooms. The engine room is the files beside the others.
ROOMS = ("engine", "membership", "registry", "spreading", "wire")

#: Survivors that are explained, each with its reason.
EXPLAINED = Path(__file__).parent / "explained.txt"


def sources(room: str) -> list[Path]:
    """The source files of a room."""
    folder = FOLDER if room == "engine" else FOLDER / room
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def tests_of(room: str) -> list[str]:
    """The tests of a room: its own, those of the engine, and the scenes."""
    own = [] if room == "engine" else [TESTS / "protocol" / room]
    return [str(path) for path in (*own, *sorted((TESTS / "protocol").glob("test_*.py")), TESTS / "scenes")]


def explained() -> dict[str, str]:
    """The reason why each explained survivor changes nothing that must hold, by its key."""
    lines = [line for line in EXPLAINED.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("\t", 1) for line in lines)


def tried(mutants: list[Mutant], tests: list[str], *, quiet: bool = False) -> list[Verdict]:
    """What becomes of ``mutants``. Raises `SystemExit` with a sentence if the tests fail without them."""
    made = MutationPlugin(FOLDER, mutants, (lambda _: None) if quiet else lambda line: print(line, flush=True))
    options = ["-o", "addopts=", "--capture=no", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:faulthandler"]
    status = pytest.main([*options, *tests], plugins=[made])
    if made.failed or status not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise SystemExit(f"without a mutant the tests must pass: {', '.join(made.failed) or status}")
    return made.verdicts


def main() -> None:
    """Try the mutants that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--room", choices=ROOMS, required=True)
    parser.add_argument("--file", help="only this file of the room, such as ring.py")
    parser.add_argument("--sample", type=int, help="so many of the mutants, drawn at random; all unless told")
    parser.add_argument("--seed", type=int, default=0, help="which sample (default 0)")
    parser.add_argument("--key", help="only mutants whose name has this in it")
    asked = parser.parse_args()
    paths = [path for path in sources(asked.room) if asked.file in (None, path.name)]
    mutants = [mutant for path in paths for mutant in mutants_of(path, str(path.relative_to(FOLDER)))]
    mutants = [mutant for mutant in mutants if asked.key is None or asked.key in mutant.key]
    if asked.sample is not None and asked.sample < len(mutants):
        chosen = sorted(Random(asked.seed).sample(range(len(mutants)), asked.sample))
    else:
        chosen = list(range(len(mutants)))
    verdicts = tried([mutants[number] for number in chosen], tests_of(asked.room))
    print("\n".join(summary(asked.room, verdicts, len(mutants))))


def summary(room: str, verdicts: list[Verdict], total: int) -> list[str]:
    """The survivors, and the score: the share of those that could be planted, and are not explained, that were killed."""
    reasons = explained()
    counted = [verdict for verdict in verdicts if verdict.how != "invalid"]
    killed = sum(verdict.is_killed for verdict in counted)
    lines = [""]
    for verdict in counted:
        if not verdict.is_killed:
            reason = reasons.get(verdict.mutant.key)
            lines.append(
                f"{verdict.how}: {verdict.mutant.key} [line {verdict.mutant.line}]{f': {reason}' if reason else ''}"
            )
    known = sum(not verdict.is_killed and verdict.mutant.key in reasons for verdict in counted)
    how = Counter(verdict.how for verdict in verdicts)
    share = killed / len(counted) if counted else 1.0
    lines.append(
        f"{room}: {len(counted)} of {total:,} mutants, {killed} killed ({how['time']} by time), "
        f"{len(counted) - killed - known} survived, {known} more explained: {share:.1%}"
    )
    return lines


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS.parent))
    main()
