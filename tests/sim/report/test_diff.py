"""The divergence of two runs, and saved runs."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.report.diff import as_document, as_lines, difference
from gossipreg_sim.report.journal import Journal, journal_of, load_journal
from gossipreg_sim.report.recording import Recording, record
from gossipreg_sim.scenario import ScenarioError
from tests.sim.report.conftest import SPLIT


@pytest.fixture(scope="module")
def journal(split: Recording) -> Journal:
    return journal_of(split)


def test_a_saved_journal_is_loaded_equal(journal: Journal, tmp_path: Path) -> None:
    journal.save(tmp_path / "split.trace")
    assert load_journal(tmp_path / "split.trace") == journal
    journal.save(tmp_path / "again.trace")
    assert (tmp_path / "again.trace").read_bytes() == (tmp_path / "split.trace").read_bytes()


def test_equal_runs_have_no_difference(journal: Journal) -> None:
    found = difference(journal, journal_of(record(SPLIT, 1)))
    assert found.is_none
    assert list(as_lines(found, ("a", "b")))[-1] == f"no difference in {len(journal.lines):,} steps"


def test_the_first_divergence_is_where_a_later_fault_begins(journal: Journal) -> None:
    later = attrs.evolve(SPLIT, faults=(*SPLIT.faults, Fault(kind="freeze", nodes=("n4",), at=9, lasts=4)))
    found = difference(journal, journal_of(record(later, 1)))
    assert found.one.lines[: found.same] == found.other.lines[: found.same]
    assert found.other.lines[found.same].at == 12_000_000_000
    assert (found.other.lines[found.same].node, found.other.lines[found.same].text) == ("n4", "freeze")
    assert ("freeze", 0, 1) in found.figures
    lines = list(as_lines(found, ("a", "b")))
    assert f"the same for {found.same:,} steps; they diverge at 12.000000 s" in lines
    assert any(line.startswith("  B    12.000000  n4   freeze") for line in lines)
    document = as_document(found)
    assert document["b_goes_on"][0] == {"at": 12.0, "node": "n4", "text": "freeze"}
    assert document["figures"]["freeze"] == {"a": 0, "b": 1}


def test_a_longer_run_diverges_at_the_end_of_the_shorter_one(journal: Journal) -> None:
    shorter = attrs.evolve(journal, lines=journal.lines[:-3])
    found = difference(shorter, journal)
    assert found.same == len(shorter.lines)
    assert "  A  ends" in list(as_lines(found, ("a", "b")))


def test_different_packets_with_equal_text_are_distinguished(journal: Journal) -> None:
    place = next(place for place, line in enumerate(journal.lines) if line.check)
    other = attrs.evolve(journal.lines[place], check=1)
    changed = attrs.evolve(journal, lines=(*journal.lines[:place], other, *journal.lines[place + 1 :]))
    assert difference(journal, changed).same == place


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x03\x00"])
def test_an_invalid_trace_is_a_one_line_error(junk: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.trace"
    file.write_bytes(junk)
    with pytest.raises(ScenarioError, match=r"cannot read .*x\.trace: it is incomplete, or not a trace: save one with"):
        load_journal(file)


def test_a_truncated_trace_is_refused(journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "x.trace"
    journal.save(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ScenarioError, match="it is incomplete"):
        load_journal(file)
