"""`gossipreg sim`, which is also `python -m gossipreg_sim`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gossipreg_sim.scenario_file import load, shipped
from tests.cli.conftest import Ran

SHORT = """
title = "Short"
nodes = 3
warmup = 2
duration = 2
"""


@pytest.fixture
def short(tmp_path: Path) -> Path:
    file = tmp_path / "short one.toml"
    file.write_text(SHORT)
    return file


def test_a_good_run_exits_0_and_its_last_line_is_the_hash(run: Callable[..., Ran], short: Path) -> None:
    one, again, other = (run("run", str(short), "--seed", seed) for seed in ("1", "1", "2"))
    assert (one.status, one.err) == (0, "")
    last = one.out.splitlines()[-1]
    assert re.fullmatch(r"trace hash [0-9a-f]{32}", last)
    assert again.out.splitlines()[-1] == last
    assert other.out.splitlines()[-1] != last


def test_a_bad_run_exits_1_with_the_exact_command_to_repeat_it(run: Callable[..., Ran], short: Path) -> None:
    short.write_text(SHORT + 'sometimes = ["failed"]\n')
    ran = run("run", str(short), "--seed", "4")
    assert ran.status == 1
    assert ran.out.splitlines()[-2] == f"again: gossipreg sim run '{short}' --seed 4"


def test_with_json_it_is_one_document(run: Callable[..., Ran], short: Path) -> None:
    ran = run("run", str(short), "--json")
    document = json.loads(ran.out)
    assert ran.status == 0
    assert document["good"] is True
    assert document["healed_in"] <= document["bound"]
    assert document["oracles"]["MonotonicBeliefs"] > 0
    assert document["command"].endswith("--seed 0")
    assert run("run", str(short)).out.endswith(f"trace hash {document['trace_hash']}\n")


def test_a_typo_in_a_scenario_is_one_line_and_status_2(run: Callable[..., Ran], short: Path) -> None:
    short.write_text(SHORT + '[[fault]]\nkind = "loss"\nprobabilty = 0.3\n')
    ran = run("run", str(short))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        f"gossipreg: {short}: fault 1 (loss): no key 'probabilty': did you mean 'probability'? "
        "Allowed: at, both_ways, kind, lasts, name, nodes, permanent, probability, to\n"
    )


def test_a_misspelt_scenario_is_one_line_and_status_2(run: Callable[..., Ran]) -> None:
    ran = run("run", "split-brian")
    assert ran.status == 2
    assert ran.err.startswith("gossipreg: no scenario 'split-brian': did you mean 'split-brain'?")
    assert ran.err.count("\n") == 1


def test_the_list_has_each_scenario_with_its_nodes_and_title(run: Callable[..., Ran]) -> None:
    rows = [tuple(line.split("\t")) for line in run("list").out.splitlines()]
    assert rows == [(name, str(load(name).nodes), load(name).title) for name in shipped()]
    assert [each["name"] for each in json.loads(run("list", "--json").out)["scenarios"]] == shipped()


def test_python_m_gossipreg_sim_is_the_same_command(run: Callable[..., Ran]) -> None:
    ran = subprocess.run([sys.executable, "-m", "gossipreg_sim", "list"], capture_output=True, text=True, check=True)
    assert ran.stdout == run("list").out


def test_the_command_line_loads_the_simulator_only_when_it_is_used() -> None:
    script = "import sys, gossipreg.cli; sys.exit(any(name.split('.')[0] == 'gossipreg_sim' for name in sys.modules))"
    subprocess.run([sys.executable, "-c", script], check=True)
