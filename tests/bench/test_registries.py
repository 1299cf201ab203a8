"""Other registries and memberlist are measured by the same acts as ours; what is missing is left out and said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import registries
from tests.bench.figures import Board, Figure
from tests.bench.peer_programs import build
from tests.bench.processes import BenchError
from tests.bench.registries import Registries
from tests.bench.test_bench import may_count_packets

FOLDER = Path(__file__).parent

QUICK = ("--registrations=2", "--idle-seconds=1", "--calm=1")

needs_packets = pytest.mark.skipif(not may_count_packets(), reason="counting packets needs CAP_NET_RAW")
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed (Debian: golang-go)")


def run(script: str, *words: str) -> str:
    """What a small run printed; skips the test where Go's modules cannot be had."""
    command = [sys.executable, str(FOLDER / script), *words, *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    if "cannot be built" in done.stdout:
        pytest.skip(done.stdout.partition("left out: ")[2])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_program_without_go_is_left_out_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchError, match="go is not installed"):
        build(["etcd"], tmp_path)


def test_a_ratio_is_ours_to_the_peers_and_nothing_where_one_is_missing(tmp_path: Path) -> None:
    found = {"attached": {"kill": Figure.of([0.5])}, "etcd": {"kill": Figure.of([60.0]), "reads": Figure.of([9.0])}}
    table = Registries(registries.arguments([]), tmp_path, found).table()
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()]
    assert ["`kill -9` of a client: gone from the last", "etcd", "s", "60.0", "0.500", "1/120", "", ""] in rows
    assert ["reads a second of one client", "etcd", "1/s", "9.00", "", "", "", ""] in rows


def test_the_rows_of_another_peer_have_its_words_and_no_targets() -> None:
    board = Board(["memberlist", "gossipreg"], "memberlist", "gossipreg", news="its metadata", has_targets=False)
    board.put("registration", "gossipreg", Figure.of([50.0]))
    board.put("registration", "memberlist", Figure.of([100.0]))
    [row] = board.json()["rows"]
    assert row["title"] == "a registration (memberlist: its metadata), seen by the last"
    assert (row["ratio"], row["target"], row["verdict"]) == (0.5, "", "")


@pytest.mark.slow
@needs_packets
def test_programs_that_embed_a_node_see_one_be_killed_and_one_be_stopped() -> None:
    said = run(
        "registries.py", "--sides=members", "--clients=7", "--hurts=1", "--burst=20", "--seconds=0.1", "--settle=1"
    )
    for title, _unit in registries.ROWS.values():
        assert title in said
    assert "not in time" not in said


@pytest.mark.slow
@needs_packets
@needs_go
@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (Debian: etcd-server)")
def test_etcd_and_attached_processes_are_measured_by_the_same_acts() -> None:
    said = run(
        "registries.py",
        "--sides=attached,etcd",
        "--clients=7",
        "--hurts=0",
        "--burst=20",
        "--seconds=0.1",
        "--settle=1",
    )
    [burst] = [line for line in said.splitlines() if line.startswith("| a burst of registrations")]
    assert all(cell.strip() for cell in burst.split("|")[1:7]), burst


@pytest.mark.slow
@needs_packets
@needs_go
@pytest.mark.skipif(
    shutil.which("java") is None or not Path("/usr/share/java/zookeeper.jar").exists(),
    reason="ZooKeeper is not installed (Debian: zookeeper)",
)
def test_zookeeper_is_measured_by_the_same_acts() -> None:
    said = run(
        "registries.py", "--sides=zookeeper", "--clients=7", "--hurts=0", "--burst=20", "--seconds=0.1", "--settle=1"
    )
    [burst] = [line for line in said.splitlines() if line.startswith("| a burst of registrations")]
    assert all(cell.strip() for cell in burst.split("|")[1:5]), burst


@pytest.mark.slow
@needs_packets
@needs_go
def test_memberlist_is_measured_by_the_same_acts() -> None:
    said = run("memberlist.py", "--nodes=4", "--hurts=1", "--age=3", "--rows=registration,kill,memory")
    [kill] = [line for line in said.splitlines() if line.startswith("| `kill -9`: failed")]
    assert all(cell.strip() for cell in kill.split("|")[1:6]), kill
    assert "not in time" not in said
