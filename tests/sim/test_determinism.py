"""The determinism contract: a scenario and a seed are one run, on every run, Python and hash seed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import attrs
import pytest

import gossipreg_sim
from gossipreg_sim.fault import Fault
from gossipreg_sim.runner import run_scenario
from tests.sim.making import scenario

ROOT = Path(gossipreg_sim.__file__).parents[2]

#: A bit of everything that draws random numbers.
STORMY = scenario(
    Fault(kind="loss", probability=0.2),
    Fault(kind="duplicate", probability=0.2),
    Fault(kind="reorder", probability=0.2),
    Fault(kind="bit-flips", probability=0.05),
    Fault(kind="churn", every=3, seconds=1, nodes=("last:2",)),
    Fault(kind="freeze", off=1, on=1, nodes=("random:1",)),
    Fault(kind="forge", every=0.5),
    Fault(kind="replay", every=0.5),
    Fault(kind="clock-drift", drift=0.01, nodes=("n1",)),
    nodes=5,
)

SCRIPT = """
from tests.sim.test_determinism import STORMY
from gossipreg_sim.runner import run_scenario
print(run_scenario(STORMY, 5).digest)
"""

#: The same without what only the tests need to be importable.
BARE_SCRIPT = """
from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario_file import parse
print(run_scenario(parse({text!r}, name="bare", where="-"), 5).digest)
"""

BARE = """
title = "For any Python"
nodes = 5
warmup = 3
duration = 8
[workload]
churn = 2
[[fault]]
kind = "loss"
probability = 0.2
[[fault]]
kind = "churn"
every = 3
seconds = 1
nodes = "last:2"
[[fault]]
kind = "freeze"
off = 1
on = 1
nodes = "random:1"
"""


def digest_of(python: str, script: str, environment: Mapping[str, str]) -> str:
    ran = subprocess.run(
        [python, "-c", script], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_the_same_seed_gives_the_same_play_and_another_seed_another() -> None:
    one, again, other = run_scenario(STORMY, 5), run_scenario(STORMY, 5), run_scenario(STORMY, 6)
    assert one.digest == again.digest
    assert one.trace.steps == again.trace.steps
    assert one.digest != other.digest


def test_both_wires_give_the_same_play() -> None:
    faults = tuple(fault for fault in STORMY.faults if fault.kind not in ("forge", "replay"))
    honest = attrs.evolve(STORMY, faults=faults)
    sealed, bare = run_scenario(honest, 5), run_scenario(attrs.evolve(honest, wire="objects"), 5)
    assert bare.digest == sealed.digest
    assert bare.trace.steps == sealed.trace.steps
    assert (bare.packets, bare.bytes) == (sealed.packets, sealed.bytes)


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_the_hash_seed_of_python_changes_nothing(seed: str) -> None:
    assert digest_of(sys.executable, SCRIPT, {"PYTHONHASHSEED": seed}) == run_scenario(STORMY, 5).digest


def pythons() -> list[str]:
    """Every Python of 3.11 and later on this machine, by version."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    found = []
    for version in ("3.11", "3.12", "3.13"):
        managed = [str(path) for root in roots for path in sorted(root.glob(f"{version}.*/bin/python{version}"))]
        plain = shutil.which(f"python{version}")
        found += managed or ([plain] if plain else [])
    return found


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_every_python_on_the_machine_plays_the_same(python: str) -> None:
    # Packages of this Python are lent to the others: attrs is pure, and msgpack has a pure form.
    ours = [str(ROOT), str(ROOT / "sim")]
    lent = {"PYTHONPATH": os.pathsep.join([*ours, *(path for path in sys.path if path.endswith("-packages"))])}
    script = BARE_SCRIPT.format(text=BARE)
    try:
        theirs = digest_of(python, script, lent)
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1] if error.stderr.strip() else f"status {error.returncode}"
        if ("ModuleNotFoundError" in last or "ImportError" in last) and "gossipreg" not in last:
            pytest.skip(f"{python}: {last}")
        raise
    except OSError as error:
        pytest.skip(f"{python}: {error}")
    assert theirs == digest_of(sys.executable, script, {})


def test_a_play_reads_no_clock_and_draws_from_no_rng_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden: list[tuple[Any, str]] = [(os, "urandom")]
    forbidden += [(time, name) for name in dir(time) if name.startswith(("time", "monotonic", "perf_", "sleep"))]
    shared = [
        name for name in dir(random) if isinstance(getattr(getattr(random, name), "__self__", None), random.Random)
    ]
    forbidden += [(random, name) for name in shared]
    assert {"random", "randrange", "shuffle", "getrandbits"} <= set(shared)
    before = run_scenario(STORMY, 5).digest

    def refuse(what: str) -> Callable[..., NoReturn]:
        def refused(*_: object, **__: object) -> NoReturn:
            raise AssertionError(f"a run used {what}")

        return refused

    with monkeypatch.context() as patched:
        for owner, name in forbidden:
            if callable(getattr(owner, name)):
                patched.setattr(owner, name, refuse(f"{owner.__name__}.{name}"))
        after = run_scenario(STORMY, 5).digest
    assert after == before


def test_taking_one_fault_away_leaves_the_others_where_they_were() -> None:
    # Faults that only draw when and whom: what they do must not depend on what stands before them in the file.
    first = Fault(kind="churn", every=2, seconds=1, nodes=("n1", "n2"))
    second = Fault(kind="churn", every=1.5, seconds=0.5, nodes=("n3", "n4", "n5"))
    both = scenario(first, second, nodes=6)
    alone = attrs.evolve(both, faults=both.faults[1:])

    def crashes(run: Any) -> list[tuple[int, str, str]]:
        steps = run_scenario(run, 5).trace.steps
        return [(s.at, s.node, s.what) for s in steps if s.what.startswith("crash") and s.node in ("n3", "n4", "n5")]

    assert crashes(alone) == crashes(both) != []


def test_random_nodes_of_a_fault_stay_the_same_when_another_is_taken_away() -> None:
    both = scenario(
        Fault(kind="freeze", nodes=("random:1",), lasts=1),
        Fault(kind="freeze", nodes=("random:2",), lasts=1, at=4),
        nodes=12,
    )
    alone = attrs.evolve(both, faults=both.faults[1:])

    def frozen(run: Any) -> list[str]:
        outcome = run_scenario(run, 9)
        return [step.node for step in outcome.trace.steps if step.what == "freeze" and step.at == 7_000_000_000]

    assert frozen(alone) == frozen(both)
    assert len(frozen(both)) == 2
