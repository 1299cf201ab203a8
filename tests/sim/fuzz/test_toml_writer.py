"""A scenario written to a file and loaded again is equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import CERTIFICATES, KINDS, Fault
from gossipreg_sim.fuzz.generation import generated
from gossipreg_sim.fuzz.toml_writer import as_toml
from gossipreg_sim.marks import known_marks
from gossipreg_sim.scenario import IDENTITIES, WIRINGS, Scenario, Wiring, Workload
from gossipreg_sim.scenario_checks import sensible
from gossipreg_sim.scenario_file import load, parse, shipped

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.floats(0, 1000) | st.integers(0, 1000).map(float)
chances = st.floats(0, 1, exclude_min=True)


@st.composite
def faults(draw: Any, nodes: int) -> Fault:
    """A fault of any kind, with any of the keys that its kind has."""
    kind = draw(st.sampled_from(list(KINDS)))
    signed = kind in ("clock-skew", "clock-drift")
    selectors = st.sampled_from(["*", "random:2", "first:1", "zone:zone-0", *(f"n{number}" for number in range(nodes))])
    numbers = st.floats(1e-9, 1e9) | st.integers(1, 10**9).map(float)
    values: dict[str, Any] = {
        **dict.fromkeys(("off", "on", "every", "rate"), numbers),
        **{key: st.lists(selectors, max_size=3).map(tuple) for key in ("nodes", "to")},
        **{key: st.booleans() for key in ("both_ways", "disk", "permanent")},
        "seconds": st.floats(-7200, -0.001) if signed else numbers,
        "drift": st.floats(-0.9, -0.001) | st.floats(0.001, 2),
        "probability": chances,
        "spread": chances,
        "buffer": st.integers(1, 10**6),
        "size": st.integers(1, 65_535),
        "port": st.integers(1, 65535),
        "at": st.floats(0, 10, exclude_max=True),
        "lasts": times,
        "certificate": st.sampled_from(CERTIFICATES),
        "identity": st.sampled_from(IDENTITIES),
    }
    needs = KINDS[kind].needs
    keys = draw(st.lists(st.sampled_from([*KINDS[kind].takes, "at", "lasts", "nodes"]), unique=True))
    return Fault(kind=kind, **{key: draw(values[key]) for key in dict.fromkeys((*needs, *keys))})


@st.composite
def scenarios(draw: Any) -> Scenario:
    """Any scenario that a file can express."""
    nodes = draw(st.integers(2, 20))
    made = Scenario(
        name="written",
        title=draw(texts),
        nodes=nodes,
        zones=draw(st.integers(1, nodes)),
        seeds=draw(st.integers(1, nodes)),
        together=draw(st.booleans()),
        stagger=draw(st.floats(0, 0.5)),
        warmup=draw(times),
        duration=draw(st.floats(10, 100)),
        quiet=draw(times),
        sealed=draw(st.booleans()),
        identity=draw(st.sampled_from(IDENTITIES)),
        wiring=Wiring(kind=draw(st.sampled_from(WIRINGS)), seconds=draw(times), mean=draw(times), sigma=draw(times)),
        workload=Workload(
            instances=draw(st.integers(0, 9)),
            churn=draw(st.floats(0, 9)),
            policies=draw(st.floats(0, 9)),
            primaries=draw(st.floats(0, 9)),
        ),
        settings=EngineSettings(probe_interval=draw(st.floats(0.6, 9)), indirect_probes=draw(st.integers(1, 9))),
        sometimes=tuple(draw(st.lists(st.sampled_from(known_marks(KINDS)), max_size=3))),
    )
    return attrs.evolve(made, faults=sensible(draw(st.lists(faults(nodes), max_size=4)), made))


@given(scenarios())
def test_a_written_scenario_is_read_back_equal(scenario: Scenario) -> None:
    assert parse(as_toml(scenario), name=scenario.name, where="written.toml") == scenario


@given(texts)
def test_a_comment_is_one_line_for_any_text(comment: str) -> None:
    scenario = generated(1).scenario
    printable = "".join(letter for letter in comment if letter.isprintable() or letter.isspace())
    assert parse(as_toml(scenario, [printable]), name=scenario.name, where="written.toml") == scenario


@pytest.mark.parametrize("seed", range(50))
def test_a_generated_scenario_can_be_loaded_from_a_file_with_its_name(seed: int, tmp_path: Path) -> None:
    scenario = generated(seed).scenario
    file = tmp_path / f"{scenario.name}.toml"
    file.write_text(as_toml(scenario), "utf-8")
    assert load(file) == scenario


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_can_be_written(name: str) -> None:
    assert parse(as_toml(load(name)), name=name, where="written.toml") == load(name)


def test_only_non_default_values_are_written() -> None:
    scenario = Scenario(name="short", title='Says "no"', nodes=3, faults=(Fault(kind="cut", at=2.5),))
    assert as_toml(scenario, ["Fails with seed 4"]) == (
        '# Fails with seed 4\ntitle = "Says \\"no\\""\nnodes = 3\n\n[[fault]]\nkind = "cut"\nname = "cut-1"\nat = 2.5\n'
    )


def test_a_file_can_set_every_field_of_a_scenario() -> None:
    assert {field.name for field in attrs.fields(Scenario)} >= {"wiring", "workload", "settings", "faults"}
