"""The determinism contract: a scenario and a seed give the same run on every machine, Python and hash seed."""

from __future__ import annotations

import functools
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
from gossipreg_sim.scenario_file import parse
from tests.sim.making import scenario

ROOT = Path(gossipreg_sim.__file__).parents[2]

#: A mix of everything that draws random numbers.
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

#: The same, without test modules, which other Pythons cannot import.
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


@functools.cache
def digest_here(seed: int = 5) -> str:
    """The digest of the run in this process."""
    return run_scenario(STORMY, seed).digest


def digest_of(python: str, script: str, environment: Mapping[str, str]) -> str:
    ran = subprocess.run(
        [python, "-c", script], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_a_seed_gives_the_same_run_and_another_seed_another_run() -> None:
    one, again = run_scenario(STORMY, 5), run_scenario(STORMY, 5)
    assert one.digest == again.digest == digest_here()
    assert one.trace.steps == again.trace.steps
    assert digest_here(6) != one.digest


def test_both_wire_encodings_give_the_same_run() -> None:
    faults = tuple(fault for fault in STORMY.faults if fault.kind not in ("forge", "replay"))
    honest = attrs.evolve(STORMY, faults=faults)
    sealed, bare = run_scenario(honest, 5), run_scenario(attrs.evolve(honest, wire="objects"), 5)
    assert bare.digest == sealed.digest
    assert bare.trace.steps == sealed.trace.steps
    assert (bare.packets, bare.bytes) == (sealed.packets, sealed.bytes)


@pytest.mark.parametrize("seed", ["0", pytest.param("12345", marks=pytest.mark.slow)])
def test_the_hash_seed_of_python_has_no_effect(seed: str) -> None:
    """The seed of this process is another one again."""
    assert digest_of(sys.executable, SCRIPT, {"PYTHONHASHSEED": seed}) == digest_here()


def pythons() -> list[str]:
    """Return every Python from 3.11 on that is on this machine, by version."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    found = []
    for version in ("3.11", "3.12", "3.13"):
        managed = [str(path) for root in roots for path in sorted(root.glob(f"{version}.*/bin/python{version}"))]
        plain = shutil.which(f"python{version}")
        found += managed or ([plain] if plain else [])
    return found


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_every_python_version_gives_the_same_run(python: str) -> None:
    # The other Pythons use this one's packages: attrs is pure Python, and msgpack has a pure Python form.
    ours = [str(ROOT), str(ROOT / "sim")]
    environment = {"PYTHONPATH": os.pathsep.join([*ours, *(path for path in sys.path if path.endswith("-packages"))])}
    script = BARE_SCRIPT.format(text=BARE)
    try:
        theirs = digest_of(python, script, environment)
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1] if error.stderr.strip() else f"status {error.returncode}"
        if ("ModuleNotFoundError" in last or "ImportError" in last) and "gossipreg" not in last:
            pytest.skip(f"{python}: {last}")
        raise
    except OSError as error:
        pytest.skip(f"{python}: {error}")
    assert theirs == run_scenario(parse(BARE, name="bare", where="-"), 5).digest


def test_a_run_reads_no_clock_and_draws_only_from_its_own_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden: list[tuple[Any, str]] = [(os, "urandom")]
    forbidden += [(time, name) for name in dir(time) if name.startswith(("time", "monotonic", "perf_", "sleep"))]
    shared = [
        name for name in dir(random) if isinstance(getattr(getattr(random, name), "__self__", None), random.Random)
    ]
    forbidden += [(random, name) for name in shared]
    assert {"random", "randrange", "shuffle", "getrandbits"} <= set(shared)
    before = digest_here()

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


def test_removing_one_fault_leaves_the_others_unchanged() -> None:
    # Faults that draw only times and nodes: their effect must not depend on the faults before them in the file.
    first = Fault(kind="churn", every=2, seconds=1, nodes=("n1", "n2"))
    second = Fault(kind="churn", every=1.5, seconds=0.5, nodes=("n3", "n4", "n5"))
    both = scenario(first, second, nodes=6)
    alone = attrs.evolve(both, faults=both.faults[1:])

    def crashes(run: Any) -> list[tuple[int, str, str]]:
        steps = run_scenario(run, 5).trace.steps
        return [(s.at, s.node, s.what) for s in steps if s.what.startswith("crash") and s.node in ("n3", "n4", "n5")]

    assert crashes(alone) == crashes(both) != []


def test_removing_one_fault_leaves_the_random_nodes_of_another_unchanged() -> None:
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


def test_a_run_with_identity_is_the_same_again_and_draws_its_keys_from_its_own_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed = scenario(
        Fault(kind="impostor", every=0.5, certificate="other"),
        Fault(kind="revoke", at=2, lasts=2, nodes=("n2",)),
        Fault(kind="rotate", at=1, seconds=3),
        nodes=3,
        duration=5,
        sealed=True,
        identity="require",
    )
    before = run_scenario(signed, 5).digest

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a run used the operating system's random numbers")

    monkeypatch.setattr(os, "urandom", refuse)
    monkeypatch.setattr("secrets.token_bytes", refuse)
    assert run_scenario(signed, 5).digest == before
