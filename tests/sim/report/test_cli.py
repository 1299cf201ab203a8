"""`sim run --html`, `--plot` and `--save`, `sim why` and `sim diff`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

SHORT = """
title = "Short"
nodes = 3
warmup = 2
duration = 6
[[fault]]
kind = "cut"
nodes = "n2"
"""


@pytest.fixture
def short(tmp_path: Path) -> Path:
    file = tmp_path / "short.toml"
    file.write_text(SHORT)
    return file


def test_a_run_writes_the_requested_files_and_its_summary_is_unchanged(
    run: Callable[..., Ran], short: Path, tmp_path: Path
) -> None:
    html, plot, trace = (tmp_path / name for name in ("r.html", "r.svg", "r.trace"))
    plain = run("run", str(short))
    ran = run("run", str(short), "--html", str(html), "--plot", str(plot), "--save", str(trace))
    assert ran.status == plain.status == 0
    assert ran.out.splitlines()[-1] == plain.out.splitlines()[-1]
    assert [line.split(" (")[0] for line in ran.err.splitlines()] == [
        f"gossipreg: wrote {file}" for file in (html, plot, trace)
    ]
    assert html.read_text().startswith("<!doctype html>")
    assert run("diff", str(trace), f"{short}:0").status == 0


def test_why_explains_a_belief_as_text_and_as_json(run: Callable[..., Ran], short: Path) -> None:
    ran = run("why", str(short), "n0", "n2")
    assert (ran.status, ran.err) == (0, "")
    assert "lost to cut-1" in ran.out
    document = json.loads(run("why", str(short), "n0", "n2", "--json").out)
    assert document["first_failure"]["problem"] == "lost to cut-1"
    at = document["at"]
    assert run("why", str(short), "n0", "n2", str(at)).out == ran.out


def test_different_runs_exit_1_and_show_the_divergence(run: Callable[..., Ran], short: Path) -> None:
    ran = run("diff", f"{short}:1", f"{short}:2")
    assert ran.status == 1
    assert "they diverge at" in ran.out
    assert json.loads(run("diff", f"{short}:1", f"{short}:2", "--json").out)["equal"] is False


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("run", "steady", "--html", "/nowhere/x.html"),
            "cannot write /nowhere/x.html: there is no directory /nowhere",
        ),
        (("run", "steady", "--html", "."), "cannot write .: it is a directory"),
        (("run", "steady", "--plot", "x.pdf"), "x.pdf: a plot is a FILE.svg, or with the extra 'plots' a FILE.png"),
        (("run", "steady", "--save", "x.json"), "x.json: a saved run is a FILE.trace"),
        (("why", "steady", "n0", "n99"), "no node 'n99' in steady: they are n0 to"),
        (("why", "steady", "n0", "n1", "soon"), "invalid value for '[T]': 'soon' is not a valid float"),
        (("diff", "x.trace", "steady"), "cannot read x.trace: No such file or directory: save one with"),
        (("diff", "steedy:1", "steady"), "no scenario 'steedy': did you mean 'steady'?"),
    ],
)
def test_an_invalid_argument_is_one_line_and_status_2(
    run: Callable[..., Ran], arguments: tuple[str, ...], sentence: str
) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
