"""`gossipreg sim fuzz`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

QUICK = ("--nodes", "3", "--jobs", "1")


def test_a_repeated_sweep_is_equal_and_ends_with_one_hash(run: Callable[..., Ran], tmp_path: Path) -> None:
    one, again = (run("fuzz", "--seeds", "2", *QUICK, "--out", str(tmp_path), "--shrink", "0") for _ in range(2))
    last = one.out.splitlines()[-1]
    assert re.fullmatch(r"all traces [0-9a-f]{32}", last)
    assert again.out.splitlines()[-1] == last
    assert re.search(r"^seeds      2, ", one.out, re.MULTILINE)
    assert re.search(r"^oracles    MonotonicBeliefs +applied in +2 runs, 100%$", one.out, re.MULTILINE)
    assert re.search(r"^ +Healing +applied in +2 runs, 100%$", one.out, re.MULTILINE)


def test_a_failure_is_written_reported_and_can_be_repeated(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("fuzz", "--seeds", "1", "--from", "5", *QUICK, "--patience", "0.001", "--out", str(tmp_path / "out"))
    assert ran.status == 1
    assert ran.out.startswith("seed 5 fails: slow run: took more than 0.001 s of CPU time\n")
    file = tmp_path / "out" / "fuzz-5.toml"
    assert f"\nagain: gossipreg sim run {file} --seed 5\n" in ran.out
    assert "\n  disabled " in ran.out
    assert run("run", str(file), "--seed", "5").out.splitlines()[0].startswith("fuzz-5, seed 5: ")


def test_with_json_it_is_one_document(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("fuzz", "--seeds", "1", *QUICK, "--patience", "0.001", "--shrink", "0", "--out", str(tmp_path), "--json")
    document = json.loads(ran.out)
    assert (ran.status, document["good"], document["seeds"]) == (1, False, 1)
    assert document["failures"][0]["file"] == str(tmp_path / "fuzz-0.toml")


@pytest.mark.parametrize("nodes", ["0", "16-3", "3-", "few", "3-300"])
def test_an_invalid_number_of_nodes_is_one_line_and_status_2(run: Callable[..., Ran], nodes: str) -> None:
    ran = run("fuzz", "--nodes", nodes)
    assert ran.status == 2
    assert f"{nodes!r} is not a number from 1 to 256, or two such as 3-16" in ran.err
    assert ran.err.count("\n") == 1


def test_without_dask_it_is_one_line(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    ran = run("fuzz", "--seeds", "1", "--dask", "tcp://127.0.0.1:1")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == 'gossipreg: Dask is not installed: run pip install "gossipreg[dask]"\n'


def test_an_interrupt_ends_the_sweep_and_all_its_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gossipreg_sim", "fuzz", "--seeds", "100000", *QUICK, "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("needs Linux: it looks for the workers in /proc")
        deadline = time.monotonic() + 120
        while len(workers := children.read_text().split()) < 2 and time.monotonic() < deadline:
            os.sched_yield()  # the first is multiprocessing's resource tracker
        assert len(workers) == 2
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch(r"gossipreg: interrupted after \d+ seeds, \d+ failures", err.strip())
    assert not Path(f"/proc/{workers[1]}").exists()


def test_with_cells_each_scenario_has_several(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run(
        "fuzz",
        "--cells",
        "--seeds",
        "1",
        "--nodes",
        "3-5",
        "--patience",
        "0.001",
        "--shrink",
        "0",
        "--out",
        str(tmp_path),
    )
    assert ran.status == 1
    assert "\ncells = 2\n" in (tmp_path / "fuzz-0.toml").read_text()
    few = run("fuzz", "--cells", "--nodes", "2-3")
    assert (few.status, few.out) == (2, "")
    assert "--cells: two cells have at least 4 nodes, and --nodes allows fewer" in few.err
