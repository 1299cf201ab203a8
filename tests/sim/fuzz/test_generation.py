"""Generation: a seed always gives the same scenario, which can heal, and many seeds cover all faults."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import gossipreg_sim
from gossipreg_sim.fault import KINDS, Fault
from gossipreg_sim.fault_timing import end_of_restart
from gossipreg_sim.fuzz.generation import FAULTS_MAX, VALUES, generated
from gossipreg_sim.fuzz.sweep import SELDOM
from gossipreg_sim.fuzz.templates import TEMPLATES
from gossipreg_sim.fuzz.toml_writer import as_toml
from gossipreg_sim.runner import run_scenario

SOME = range(400)

#: Kinds of fault that kill a node for good unless they have a duration.
DEADLY = ("crash", "crash-host", "leave")


def faults() -> list[tuple[int, Fault]]:
    return [(seed, fault) for seed in SOME for fault in generated(seed).scenario.faults]


def test_every_kind_of_fault_has_values_for_the_keys_that_it_needs() -> None:
    assert list(VALUES) == list(KINDS)
    for kind, values in VALUES.items():
        assert {*KINDS[kind].needs} <= {*values} <= {*KINDS[kind].needs, *KINDS[kind].takes}


def test_every_kind_is_sometimes_used_and_sometimes_disabled() -> None:
    assert {fault.kind for _, fault in faults()} == set(KINDS)
    assert {kind for seed in SOME for kind in generated(seed).off} == set(KINDS)


def test_disabled_kinds_are_not_used() -> None:
    assert all(fault.kind not in generated(seed).off for seed, fault in faults())


def test_there_are_one_to_six_faults_and_the_requested_number_of_nodes() -> None:
    assert {len(generated(seed).scenario.faults) for seed in SOME} == set(range(1, FAULTS_MAX + 1))
    assert {generated(seed, (3, 5)).scenario.nodes for seed in SOME} == {3, 4, 5}
    assert {generated(seed, (7, 7)).scenario.nodes for seed in SOME} == {7}


def test_seeds_never_die_for_good_and_most_nodes_survive() -> None:
    for seed in SOME:
        scenario = generated(seed).scenario
        dead = {name for fault in scenario.faults if fault.kind in DEADLY and not fault.lasts for name in fault.nodes}
        assert dead.isdisjoint(scenario.node_names[: scenario.seeds])
        assert len(dead) <= scenario.nodes // 3


def test_a_permanently_bad_link_never_involves_a_seed() -> None:
    lasting = [(seed, fault) for seed, fault in faults() if fault.permanent and "to" in KINDS[fault.kind].takes]
    assert lasting
    for seed, fault in lasting:
        [one], [other] = fault.nodes, fault.to
        seeds = generated(seed).scenario.node_names[: generated(seed).scenario.seeds]
        assert one != other
        assert one not in seeds
        assert other not in seeds


def test_a_permanently_wrong_clock_is_only_slightly_off() -> None:
    every = [fault for seed in range(1200) for fault in generated(seed).scenario.faults]  # such a fault is rare
    lasting = [fault for fault in every if fault.permanent and fault.kind.startswith("clock")]
    assert lasting
    assert all(abs(fault.seconds) <= 1 and abs(fault.drift) <= 0.01 for fault in lasting)


def test_a_rolling_restart_ends_before_the_heal() -> None:
    rolling = [(seed, fault) for seed, fault in faults() if fault.kind == "restart"]
    assert len({fault.every for _, fault in rolling}) > 1
    assert all(fault.at >= 0 for _, fault in rolling)
    assert all(
        end_of_restart(fault, generated(seed).scenario) <= generated(seed).scenario.duration for seed, fault in rolling
    )


def test_each_template_gets_its_share_of_the_seeds() -> None:
    counted = Counter(generated(seed).template for seed in SOME)
    for template in TEMPLATES:
        assert template.share > SELDOM + 0.01, "the oracle may not apply to every run of its template"
        assert counted[type(template).__name__] / len(SOME) == pytest.approx(template.share, abs=0.05)
    open_to_all = counted["ScenarioTemplate"] + counted["ClocksOff"] + counted["Intruders"]
    assert open_to_all / len(SOME) > 0.2, "these allow all other faults"


def test_the_law_about_splits_within_a_cell_applies_to_some_scenarios() -> None:
    scenarios = [generated(seed, (4, 16), cells=True).scenario for seed in SOME]
    alone = [each for each in scenarios if [fault.name for fault in each.faults] == ["split-1"]]
    assert len(alone) / len(SOME) == pytest.approx(0.06, abs=0.03)
    assert all(
        {scenario.cell_of(name) for name in fault.nodes} == {scenario.cell_of(name) for name in fault.to}
        for scenario in alone
        for fault in scenario.faults
    )


#: The oracle that each template is for.
FOR = {
    "ShortMemory": "TombstoneRetention",
    "Deaths": "FirstProbe",
    "CalmOpening": "DisseminationTime",
    "Flapping": "DampedReturns",
    "Minorities": "StayInLookups",
    "PacketsLost": "StreamFallback",
    "ClocksOff": "HalfOpenJoins",
    "Intruders": "Expelled",
}


@pytest.mark.slow
@pytest.mark.parametrize("template", FOR)
def test_the_oracle_of_a_template_applies_to_its_scenarios(template: str) -> None:
    seeds = [seed for seed in SOME if generated(seed, (4, 4)).template == template][:4]
    applied = [run_scenario(generated(seed, (4, 4)).scenario, seed).applied[FOR[template]] for seed in seeds]
    assert applied.count(True) >= 3


def test_there_is_a_test_for_every_template() -> None:
    assert [*FOR] == [type(template).__name__ for template in TEMPLATES]


SCRIPT = """
import hashlib
from gossipreg_sim.fuzz.generation import generated
from gossipreg_sim.fuzz.toml_writer import as_toml
print(hashlib.sha256("".join(as_toml(generated(seed).scenario) for seed in range(50)).encode()).hexdigest())
"""


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_the_hash_seed_of_python_has_no_effect(hash_seed: str) -> None:
    here = hashlib.sha256("".join(as_toml(generated(seed).scenario) for seed in range(50)).encode()).hexdigest()
    root = Path(gossipreg_sim.__file__).parents[2]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == here
