"""`gossipreg sim reproduce`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gossipreg_sim.reproduce import swim
from tests.cli.conftest import Ran


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swim, "QUICK", swim.Plan(sizes=(4,), periods=2, crashes=1, joins=1, watched=1.0))


@pytest.mark.usefixtures("tiny")
def test_the_output_has_tables_and_the_command(run: Callable[..., Ran]) -> None:
    ran = run("reproduce", "swim", "--quick", "--jobs", "1", "--seed", "3")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("SWIM: load and first detection")
    assert ran.out.endswith("again: gossipreg sim reproduce swim --quick --seed 3\n")


@pytest.mark.usefixtures("tiny")
def test_with_json_it_is_one_document(run: Callable[..., Ran]) -> None:
    document = json.loads(run("reproduce", "swim", "--quick", "--ours", "--jobs", "1", "--json").out)
    assert document["experiment"] == "swim"
    assert document["command"] == "gossipreg sim reproduce swim --quick --ours"
    assert [table["rows"][0]["protocol"] for table in document["tables"]] == ["SWIM", "SWIM"]


@pytest.mark.parametrize("bad", [["paxos"], ["swim", "--jobs", "0"], ["swim", "--seed", "-1"], []])
def test_an_invalid_option_is_one_line_and_status_2(run: Callable[..., Ran], bad: list[str]) -> None:
    ran = run("reproduce", *bad)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("gossipreg: ")
    assert ran.err.count("\n") == 1
