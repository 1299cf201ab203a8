"""A seed is a scenario: always the same, always fair, and over many seeds all that can go wrong."""

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

#: What ends a life for good if it does not say for how long.
DEADLY = ("crash", "crash-host", "leave")


def faults() -> list[tuple[int, Fault]]:
    return [(seed, fault) for seed in SOME for fault in generated(seed).scenario.faults]


def test_every_kind_of_fault_has_values_for_the_keys_that_it_needs() -> None:
    assert list(VALUES) == list(KINDS)
    for kind, values in VALUES.items():
        assert {*KINDS[kind].needs} <= {*values} <= {*KINDS[kind].needs, *KINDS[kind].takes}


def test_every_kind_is_drawn_and_every_kind_is_switched_off_at_times() -> None:
    assert {fault.kind for _, fault in faults()} == set(KINDS)
    assert {kind for seed in SOME for kind in generated(seed).off} == set(KINDS)


def test_what_is_switched_off_does_not_go_wrong() -> None:
    assert all(fault.kind not in generated(seed).off for seed, fault in faults())


def test_there_are_one_to_six_faults_and_as_many_nodes_as_asked_for() -> None:
    assert {len(generated(seed).scenario.faults) for seed in SOME} == set(range(1, FAULTS_MAX + 1))
    assert {generated(seed, (3, 5)).scenario.nodes for seed in SOME} == {3, 4, 5}
    assert {generated(seed, (7, 7)).scenario.nodes for seed in SOME} == {7}


def test_seeds_never_die_for_good_and_most_others_live() -> None:
    for seed in SOME:
        scenario = generated(seed).scenario
        dead = {name for fault in scenario.faults if fault.kind in DEADLY and not fault.lasts for name in fault.nodes}
        assert dead.isdisjoint(scenario.node_names[: scenario.seeds])
        assert len(dead) <= scenario.nodes // 3


def test_a_link_that_stays_bad_for_good_is_one_between_two_nodes_that_are_no_seeds() -> None:
    lasting = [(seed, fault) for seed, fault in faults() if fault.permanent and "to" in KINDS[fault.kind].takes]
    assert lasting
    for seed, fault in lasting:
        [one], [other] = fault.nodes, fault.to
        seeds = generated(seed).scenario.node_names[: generated(seed).scenario.seeds]
        assert one != other
        assert one not in seeds
        assert other not in seeds


def test_a_clock_that_stays_wrong_for_good_is_not_far_off() -> None:
    lasting = [fault for _, fault in faults() if fault.permanent and fault.kind.startswith("clock")]
    assert lasting
    assert all(abs(fault.seconds) <= 1 and abs(fault.drift) <= 0.01 for fault in lasting)


def test_a_rolling_restart_is_over_by_the_heal() -> None:
    rolling = [(seed, fault) for seed, fault in faults() if fault.kind == "restart"]
    assert len({fault.every for _, fault in rolling}) > 1
    assert all(fault.at >= 0 for _, fault in rolling)
    assert all(
        end_of_restart(fault, generated(seed).scenario) <= generated(seed).scenario.duration for seed, fault in rolling
    )


def test_each_template_is_drawn_for_its_share_of_the_seeds() -> None:
    counted = Counter(generated(seed).template for seed in SOME)
    for template in TEMPLATES:
        assert template.share > SELDOM + 0.01, "not every run drawn for it has it"
        assert counted[type(template).__name__] / len(SOME) == pytest.approx(template.share, abs=0.05)
    assert (counted["ScenarioTemplate"] + counted["ClocksOff"]) / len(SOME) > 0.2, "in these anything else may go wrong"


#: The oracle that each template is for.
FOR = {
    "ShortMemory": "TombstoneRetention",
    "Deaths": "FirstProbe",
    "CalmOpening": "DisseminationTime",
    "Flapping": "DampedReturns",
    "Minorities": "StayInLookups",
    "PacketsLost": "StreamFallback",
    "ClocksOff": "HalfOpenJoins",
}


@pytest.mark.slow
@pytest.mark.parametrize("template", FOR)
def test_a_scenario_of_a_template_has_what_it_is_for(template: str) -> None:
    seeds = [seed for seed in SOME if generated(seed, (4, 4)).template == template][:4]
    judged = [run_scenario(generated(seed, (4, 4)).scenario, seed).judged[FOR[template]] for seed in seeds]
    assert judged.count(True) >= 3


def test_there_is_a_test_for_every_template() -> None:
    assert [*FOR] == [type(template).__name__ for template in TEMPLATES]


SCRIPT = """
import hashlib
from gossipreg_sim.fuzz.generation import generated
from gossipreg_sim.fuzz.toml_writer import as_toml
print(hashlib.sha256("".join(as_toml(generated(seed).scenario) for seed in range(50)).encode()).hexdigest())
"""


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_the_hash_seed_of_python_changes_nothing(hash_seed: str) -> None:
    here = hashlib.sha256("".join(as_toml(generated(seed).scenario) for seed in range(50)).encode()).hexdigest()
    root = Path(gossipreg_sim.__file__).parents[2]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == here
