"""Scenario files: what they may contain, and helpful one-line errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import KINDS, Fault
from gossipreg_sim.scenario import Scenario, ScenarioError, Wiring, Workload
from gossipreg_sim.scenario_file import load, parse, shipped

HEAD = 'title = "A test"\nnodes = 4\n'


def read(text: str) -> Scenario:
    return parse(HEAD + text, name="test", where="test.toml")


def test_a_file_can_set_all_parts_of_a_scenario() -> None:
    made = read(
        """
        zones = 2
        sealed = true
        sometimes = ["suspect"]
        [wiring]
        kind = "lognormal"
        sigma = 0.3
        [workload]
        churn = 2
        [settings]
        probe_interval = 0.75
        [[fault]]
        kind = "cut"
        at = 5
        lasts = 20
        nodes = "zone:zone-1"
        both_ways = false
        """
    )
    assert made == Scenario(
        name="test",
        title="A test",
        nodes=4,
        zones=2,
        sealed=True,
        sometimes=("suspect",),
        wiring=Wiring(kind="lognormal", sigma=0.3),
        workload=Workload(churn=2.0),
        settings=EngineSettings(probe_interval=0.75),
        faults=(Fault(kind="cut", name="cut-1", at=5.0, lasts=20.0, nodes=("zone:zone-1",), both_ways=False),),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "node = 3",
            "test.toml: no key 'node': did you mean 'nodes'? Allowed: cells, duration, fault, identity, nodes, ",
        ),
        ("duration = -1", "test.toml: duration: -1 is not a number from 0 to 1.25e+09"),
        ("duration = 1e6", "test.toml: duration: 1000000.0 is not a number from 0 to 604800"),
        ("duration = nan", "test.toml: duration: nan is not a number from 0 to 1.25e+09"),
        ('duration = "long"', "test.toml: duration: 'long' is not a number"),
        ("sealed = 1", "test.toml: sealed: 1 is not true or false"),
        ("zones = 5", "test.toml: zones: 5 is not a number from 1 to 4"),
        ("seeds = 0", "test.toml: seeds: 0 is not a number from 1 to 4"),
        ("seeds = true", "test.toml: seeds: True is not a whole number"),
        ("sometimes = [1]", "test.toml: sometimes: [1] is not a list of strings"),
        ("fault = 3", "test.toml: write faults as [[fault]] tables"),
        ("wiring = 3", "test.toml: [wiring] write it as a table"),
        ('[wiring]\nkind = "constnat"', "test.toml: [wiring] kind 'constnat': did you mean 'constant'? Allowed: const"),
        ("[workload]\nchrun = 1", "test.toml: [workload] no key 'chrun': did you mean 'churn'? Allowed: churn, inst"),
        ("[settings]\nprobe_intervall = 1", "test.toml: [settings] no key 'probe_intervall': did you mean 'probe_int"),
        ("[settings]\nprobe_interval = 0", "test.toml: [settings] probe_interval: 0.0 is not a number of sec"),
        ('[[fault]]\nkind = "los"', "test.toml: fault 1: kind 'los': did you mean 'loss'? Allowed: bit-flips, block"),
        ("[[fault]]\nat = 1", "test.toml: fault 1: kind None: allowed: bit-flips, block"),
        ('[[fault]]\nkind = "cut"\nrate = 3', "test.toml: fault 1 (cut): no key 'rate': did you mean 'at'? Allowed: a"),
        ('[[fault]]\nkind = "loss"', "test.toml: fault loss-1: the key 'probability' is missing: a loss needs it"),
        ('[[fault]]\nkind = "loss"\nprobability = 2', "test.toml: fault loss-1: probability: 2.0 is not a number from"),
        ('[[fault]]\nkind = "cut"\nat = 60', "test.toml: fault cut-1: at: 60 is not before the heal, at duration = 60"),
        (
            '[[fault]]\nkind = "cut"\nnodes = "n4"',
            "test.toml: fault cut-1: 'n4' names no node: write n0 to n3, *, zone:",
        ),
        ('[[fault]]\nkind = "cut"\nto = "first:0"', "test.toml: fault cut-1: 'first:0' names no node: write n0 to n3"),
        ('[[fault]]\nkind = "slow"\nseconds = -1', "test.toml: fault 1 (slow): seconds: -1 is not a number from 0 to"),
        ('[[fault]]\nkind = "clock-drift"\ndrift = -1', "test.toml: fault clock-drift-1: drift: -1.0 would stop the"),
        ('[[fault]]\nkind="cut"\nname="a"\n[[fault]]\nkind="cut"\nname="a"', "test.toml: fault a: name: 2 faults have"),
        ("[[fault]]\nkind = 3", "test.toml: fault 1: kind 3: allowed: bit-flips, block"),
        ('[[fault]]\nkind = "cut"\nat = "soon"', "test.toml: fault 1 (cut): at: 'soon' is not a number"),
        ('[[fault]]\nkind = "cut"\nlasts = -1', "test.toml: fault 1 (cut): lasts: -1 is not a number from 0 to"),
        ('[[fault]]\nkind = "cut"\nname = 7', "test.toml: fault 1 (cut): name: 7 is not a string"),
        ('[[fault]]\nkind = "cut"\nboth_ways = 0', "test.toml: fault 1 (cut): both_ways: 0 is not true or false"),
        (
            '[[fault]]\nkind = "narrow"\nrate = 9\nbuffer = 1.5',
            "test.toml: fault 1 (narrow): buffer: 1.5 is not a whole",
        ),
        ('[[fault]]\nkind = "cut"\nnodes = [0]', "test.toml: fault 1 (cut): nodes: [0] is not a list of strings"),
        (
            '[[fault]]\nkind = "cut"\nnodes = "zone:zone-1"',
            "test.toml: fault cut-1: 'zone:zone-1' names no node: write",
        ),
        (
            '[[fault]]\nkind = "cut"\nnodes = "random:5"',
            "test.toml: fault cut-1: 'random:5' names no node: write n0 to",
        ),
        (
            '[[fault]]\nkind = "cut"\nnodes = "randon:2"',
            "test.toml: fault cut-1: 'randon:2' names no node: write n0 to",
        ),
        ('[fault]\nkind = "cut"', "test.toml: write faults as [[fault]] tables"),
        ("[[wiring]]\nsigma = 1", "test.toml: [wiring] write it as a table"),
        ("[wiring]\nseconds = -1", "test.toml: [wiring] seconds: -1 is not a number from 0 to"),
        ("[wiring]\nkind = 3", "test.toml: [wiring] kind: 3 is not a string"),
        ("[workload]\ninstances = 1.5", "test.toml: [workload] instances: 1.5 is not a whole number"),
        (
            "[workload]\nchurn = 1000",
            "test.toml: [workload] instances + (churn + policies + primaries) x duration: 60001 is more than 50000",
        ),
        ("[settings]\nbuddy = 1", "test.toml: [settings] buddy: 1 is not true or false"),
        (
            "[setings]\nbuddy = true",
            "test.toml: no key 'setings': did you mean 'settings'? Allowed: cells, duration, fault, identity, nodes",
        ),
        (
            '[[faults]]\nkind = "cut"',
            "test.toml: no key 'faults': did you mean 'fault'? Allowed: cells, duration, fault, identity, nodes",
        ),
        ("duration = \nzones = 2", "test.toml: Invalid value (at line 3, column 12)"),
        ("duration = 1" + "0" * 5000, "test.toml: Exceeds the limit"),
        ("nodes = 3", "test.toml: Cannot overwrite a value (at "),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_allowed_values(text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as error:
        read(text)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"nodes": 0}, "nodes: 0 is not a number from 1 to 4096"),
        ({"faults": [Fault(kind="cutt")]}, "fault cutt-1: kind 'cutt': did you mean 'cut'? Allowed: bit-flips, block"),
        (
            {"faults": [Fault(kind="cut", rate=9)]},
            "fault cut-1: no key 'rate': did you mean 'at'? Allowed: at, both_ways",
        ),
        ({"faults": [Fault(kind="loss")]}, "fault loss-1: the key 'probability' is missing: a loss needs it"),
        ({"faults": [Fault(kind="cut", lasts=-1)]}, "fault cut-1: lasts: -1 is not a number from 0 to 1.25e+09"),
        (
            {"faults": [Fault(kind="cut", nodes="n9")]},
            "fault cut-1: 'n9' names no node: write n0 to n3, *, zone:zone-0",
        ),
        ({"wiring": Wiring(kind="slow")}, "[wiring] kind 'slow': "),
        ({"wiring": Wiring(seconds=-1)}, "[wiring] seconds: -1 is not a number from 0 to 1.25e+09"),
        ({"workload": Workload(churn=float("nan"))}, "[workload] churn: nan is not a number from 0 to 1.25e+09"),
    ],
)
def test_a_mistake_in_python_has_the_same_message_as_in_a_file(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError) as error:
        Scenario(**{"title": "A test", "nodes": 4, **parts})
    assert str(error.value).startswith(sentence)


def test_python_accepts_a_list_or_a_single_string() -> None:
    made = Scenario(
        title="A test", nodes=4, faults=[Fault(kind="cut", nodes="n1", to=["n2", "n3"])], sometimes="cut ends"
    )
    assert made.faults == (Fault(kind="cut", name="cut-1", nodes=("n1",), to=("n2", "n3")),)
    assert made.sometimes == ("cut ends",)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ScenarioError, match=r"^test.toml: the key 'title' is missing$"):
        parse("nodes = 3", name="test", where="test.toml")


@pytest.mark.parametrize("nodes", [0, 4097])
def test_a_cluster_has_at_least_one_node_and_no_more_than_fit(nodes: int) -> None:
    with pytest.raises(ScenarioError, match=rf"^test.toml: nodes: {nodes} is not a number from 1 to 4096$"):
        parse(f'title = "x"\nnodes = {nodes}', name="test", where="test.toml")


def test_an_unknown_scenario_gets_a_suggestion_and_the_list() -> None:
    with pytest.raises(ScenarioError, match=r"^no scenario 'split-brian': did you mean 'split-brain'.* churn, "):
        load("split-brian")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"^cannot read .*none.toml: No such file or directory$"):
        load(tmp_path / "none.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match=r"odd.toml: not a text file$"):
        load(tmp_path / "odd.toml")


def test_every_key_of_a_kind_is_a_field_of_fault() -> None:
    fields = {field.name for field in attrs.fields(Fault)}
    for kind in KINDS.values():
        assert {*kind.needs, *kind.takes} <= fields


def test_a_fault_keeps_its_name_when_others_are_removed() -> None:
    made = read('[[fault]]\nkind="cut"\n[[fault]]\nkind="cut"\n[[fault]]\nkind="leave"\nlasts=1\n')
    assert [fault.name for fault in made.faults] == ["cut-1", "cut-2", "leave-1"]
    assert [fault.name for fault in attrs.evolve(made, faults=made.faults[1:]).faults] == ["cut-2", "leave-1"]


def test_the_shipped_scenarios_are_the_promised_ones_and_can_be_loaded() -> None:
    promised = """steady cold-start churn rolling-restart mass-restart split-brain three-way-split one-way-partition
        flip-flop lossy-10 lossy-30 lossy-80 slow-node frozen-node long-split
        long-split-forgotten lifeguard-threshold lifeguard-interval clock-jump seed-loss wan-regions
        packets-lost streams-lost clock-off-at-start
        registration-storm forged-packets replayed-packets"""
    assert set(promised.split()) <= set(shipped())
    assert all(load(name).sometimes for name in shipped()), "each says what it must have shown"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"wire": "strings"}, "wire 'strings': allowed: bytes, objects"),
        (
            {"wire": "objects", "sealed": True},
            "wire 'objects': sealed = true needs sealed packets: write wire = \"bytes\"",
        ),
        (
            {"wire": "objects", "faults": [Fault(kind="forge", every=1)]},
            "wire 'objects': fault forge-1 needs sealed packets: write wire = \"bytes\"",
        ),
    ],
)
def test_unsealed_packets_are_refused_with_forged_packets(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        Scenario(title="t", nodes=3, **fields)
    assert str(refused.value) == sentence
