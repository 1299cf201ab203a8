"""Explanations of beliefs."""

from __future__ import annotations

import re

import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.report.recording import Recording, record
from gossipreg_sim.report.timeline import described
from gossipreg_sim.report.why import Answer, as_document, as_lines, why, worst_belief
from gossipreg_sim.scenario import ScenarioError
from tests.sim.making import scenario


def asked(recording: Recording, node: str, subject: str) -> Answer:
    return why(recording, node, subject, worst_belief(recording, node, subject) / 1e9)


def test_a_failure_is_traced_back_to_the_ping_that_a_cut_lost(split: Recording) -> None:
    answer = asked(split, "n3", "n0")
    assert answer.believed == "failed"
    assert answer.truth == "n0 runs; active faults: cut-1"
    root = answer.root
    assert root is not None
    assert root.problem == "lost to cut-1"
    assert root.text.startswith("ping ")
    lost = [p for p in split.passages if (p.sent, p.sender, p.receiver) == (root.at, root.node, root.to)]
    assert [passage.culprit for passage in lost] == ["fault cut-1"]


def test_a_fault_of_a_kind_that_has_a_word_is_described_by_it() -> None:
    fault = Fault(kind="impostor", nodes="n1", at=1, every=0.5, certificate="ended")
    assert described(fault) == "impostor of n1, every 0.5, certificate ended"


def test_the_explanation_of_a_split_is_short(split: Recording) -> None:
    lines = list(as_lines(asked(split, "n3", "n0")))
    for line, form in zip([*lines[:6], *lines[-2:]], EXPECTED.splitlines(), strict=True):
        assert re.fullmatch(form, line), line
    assert len(lines) < 40


#: The beginning and the end of the text. Which helpers are asked, and when, depends on the seed.
EXPECTED = r"""at \d+\.\d{3} s n3 believes that n0 is failed, since \d+\.\d{3} s
the truth: n0 runs; active faults: cut-1
first failure: n\d -> n0 at \d+\.\d{3} s, ping \d+: lost to cut-1

 +\d+\.\d{3}  n\d -> n0  ping \d+ +lost to cut-1
 +\d+\.\d{3}  n\d -> n\d  asks for an indirect ping of n0 \(\d+\)(  +lost to cut-1)?
 +\d+\.\d{3}  n\d( <- n\d)?  +(receives no answer to its probe: suspects|receives the update|received no refutation).*
 +\d+\.\d{3}  n3( <- n\d)?  +(receives the update that n0 is failed, declared by n\d|received no refutation).*"""


def test_a_lost_ack_is_found_if_only_the_return_path_was_cut() -> None:
    deaf = record(scenario(Fault(kind="cut", nodes=("n3",), to=("n0", "n1", "n2"), both_ways=False)), 1)
    root = asked(deaf, "n0", "n3").root
    assert root is not None
    assert (root.node, root.problem) == ("n3", "lost to cut-1")
    assert root.text.startswith("ack ")


def test_a_ping_to_a_frozen_node_is_not_reported_as_lost() -> None:
    frozen = record(scenario(Fault(kind="freeze", nodes=("n2",))), 1)
    root = asked(frozen, "n0", "n2").root
    assert root is not None
    assert (root.to, root.problem) == ("n2", "n2 has been frozen since 3.000 s")


def test_a_dead_node_is_reported_as_such() -> None:
    dead = record(scenario(Fault(kind="crash-host", nodes=("n1",))), 1)
    root = asked(dead, "n3", "n1").root
    assert root is not None
    assert root.problem == "n1 has not run since 3.000 s"


def test_a_gossiped_update_is_traced_back_to_its_origin(split: Recording) -> None:
    answer = why(split, "n4", "n1", 2.9)
    assert answer.believed == "alive"
    assert answer.root is None
    assert answer.steps[0].node == "n1"
    assert answer.steps[0].text.startswith("announces that it is alive")
    assert answer.steps[-1].node == "n4"
    tellers = [answer.steps[0].node, *(step.node for step in answer.steps[1:])]
    assert [step.to for step in answer.steps[1:]] == tellers[:-1]


def test_a_refutation_names_the_node_that_sent_the_accusation(split: Recording) -> None:
    answer = why(split, "n0", "n3", split.outcome.seconds)
    assert answer.believed == "alive"
    assert "told it of the accusation" in answer.steps[0].text


def test_the_document_equals_the_text(split: Recording) -> None:
    answer = asked(split, "n0", "n3")
    document = as_document(answer)
    assert document["believes"] == "failed"
    assert document["first_failure"]["problem"] == "lost to cut-1"
    assert len(document["steps"]) == len(list(as_lines(answer))) - 4


@pytest.mark.parametrize(
    ("node", "subject", "at", "sentence"),
    [
        ("n9", "n0", 1.0, "no node 'n9' in test: they are n0 to n4"),
        ("n0", "n1", 1e6, "1e\\+06 s is not in the run"),
        ("n0", "n1", -1.0, "-1 s is not in the run"),
    ],
)
def test_an_unknown_node_or_time_is_refused(
    split: Recording, node: str, subject: str, at: float, sentence: str
) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        why(split, node, subject, at)
