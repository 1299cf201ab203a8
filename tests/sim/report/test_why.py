"""Why a node believed what it believed."""

from __future__ import annotations

import re

import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.report.recording import Recording, record
from gossipreg_sim.report.why import Answer, as_document, as_lines, why, worst_belief
from gossipreg_sim.scenario import ScenarioError
from tests.sim.making import scenario


def asked(recording: Recording, node: str, subject: str) -> Answer:
    return why(recording, node, subject, worst_belief(recording, node, subject) / 1e9)


def test_a_verdict_is_led_back_to_the_ping_that_a_cut_swallowed(split: Recording) -> None:
    answer = asked(split, "n3", "n0")
    assert answer.believed == "failed"
    assert answer.truth == "n0 runs; faults that hold: cut-1"
    root = answer.root
    assert root is not None
    assert root.trouble == "lost to cut-1"
    assert root.text.startswith("ping ")
    lost = [p for p in split.passages if (p.sent, p.sender, p.receiver) == (root.at, root.node, root.to)]
    assert [passage.culprit for passage in lost] == ["fault cut-1"]


def test_the_story_of_a_split_is_one_page(split: Recording) -> None:
    lines = list(as_lines(asked(split, "n3", "n0")))
    for line, form in zip([*lines[:6], *lines[-2:]], STORY.splitlines(), strict=True):
        assert re.fullmatch(form, line), line
    assert len(lines) < 40


#: How the page begins and ends. Who helps, and when, depends on the seed.
STORY = r"""at \d+\.\d{3} s n3 believes that n0 is failed, since \d+\.\d{3} s
the truth: n0 runs; faults that hold: cut-1
it began with: n\d -> n0 at \d+\.\d{3} s, ping \d+: lost to cut-1

 +\d+\.\d{3}  n\d -> n0  ping \d+ +lost to cut-1
 +\d+\.\d{3}  n\d -> n\d  asks for help: ping n0 \(\d+\)(  +lost to cut-1)?
 +\d+\.\d{3}  n\d( <- n\d)?  +(has no answer to its probe: suspects|hears that|has heard no refutation).*
 +\d+\.\d{3}  n3( <- n\d)?  +(hears that n0 is failed, by the verdict of n\d|has heard no refutation).*"""


def test_a_lost_ack_is_found_where_only_the_way_back_was_cut() -> None:
    deaf = record(scenario(Fault(kind="cut", nodes=("n3",), to=("n0", "n1", "n2"), both_ways=False)), 1)
    root = asked(deaf, "n0", "n3").root
    assert root is not None
    assert (root.node, root.trouble) == ("n3", "lost to cut-1")
    assert root.text.startswith("ack ")


def test_a_ping_to_a_frozen_node_was_not_lost_but_met_nobody() -> None:
    frozen = record(scenario(Fault(kind="freeze", nodes=("n2",))), 1)
    root = asked(frozen, "n0", "n2").root
    assert root is not None
    assert (root.to, root.trouble) == ("n2", "n2 is frozen since 3.000 s")


def test_a_dead_node_is_named_as_such() -> None:
    dead = record(scenario(Fault(kind="crash-host", nodes=("n1",))), 1)
    root = asked(dead, "n3", "n1").root
    assert root is not None
    assert root.trouble == "n1 does not run since 3.000 s"


def test_news_from_mouth_to_mouth_is_led_back_to_who_said_it_first(split: Recording) -> None:
    answer = why(split, "n4", "n1", 2.9)
    assert answer.believed == "alive"
    assert answer.root is None
    assert answer.steps[0].node == "n1"
    assert answer.steps[0].text.startswith("says that it is alive")
    assert answer.steps[-1].node == "n4"
    tellers = [answer.steps[0].node, *(step.node for step in answer.steps[1:])]
    assert [step.to for step in answer.steps[1:]] == tellers[:-1]


def test_a_refutation_names_who_brought_the_accusation(split: Recording) -> None:
    answer = why(split, "n0", "n3", split.outcome.seconds)
    assert answer.believed == "alive"
    assert "having heard from" in answer.steps[0].text


def test_the_document_says_the_same_as_the_page(split: Recording) -> None:
    answer = asked(split, "n0", "n3")
    document = as_document(answer)
    assert document["believes"] == "failed"
    assert document["began_with"]["trouble"] == "lost to cut-1"
    assert len(document["steps"]) == len(list(as_lines(answer))) - 4


@pytest.mark.parametrize(
    ("node", "subject", "at", "sentence"),
    [
        ("n9", "n0", 1.0, "no node 'n9' in test: they are n0 to n4"),
        ("n0", "n1", 1e6, "1e\\+06 s is not in the run"),
        ("n0", "n1", -1.0, "-1 s is not in the run"),
    ],
)
def test_a_question_about_nobody_or_never_is_refused(
    split: Recording, node: str, subject: str, at: float, sentence: str
) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        why(split, node, subject, at)
