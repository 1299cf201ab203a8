"""What a node says of paths and clocks that are half right."""

from __future__ import annotations

import logging

import pytest

from gossipreg.model import Address
from gossipreg.protocol.membership.paths import Passes
from gossipreg.protocol.outputs import ClockChanged, ClockRefused, PathChanged, PolicyFromFuture
from gossipreg.runtime.diagnostics import ClockReporter, clock_detail, log_path, path_states, problems_of
from tests.protocol.making import BORN, engine, introduce
from tests.protocol.test_engine import B, C

THERE = Address("10.0.0.7", 4711)


@pytest.mark.parametrize(
    ("passes", "hears", "sentence"),
    [
        (Passes.STREAMS_ONLY, False, "packets between us and b do not pass, streams do: states are compared over them"),
        (Passes.STREAMS_ONLY, True, "packets to b do not pass (its own arrive), streams do: states are compared over"),
        (Passes.PACKETS_ONLY, True, "streams to b do not pass, packets do: states are compared with other members"),
        (Passes.SMALL_PACKETS, True, "packets of 1400 bytes to b do not pass: those that are sent have 900 at most"),
        (Passes.ALL, True, "packets and streams to b pass again"),
    ],
)
def test_a_path_that_changes_has_one_line(
    passes: Passes, hears: bool, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        log_path(PathChanged("b", passes, 900, hears))
    [said] = caplog.messages
    assert said.startswith(sentence)


def test_troubles_name_the_members_and_the_clock() -> None:
    node = engine()
    introduce(node, B, C)
    assert problems_of(node, 1.0) == ()
    node.paths._path(B.run_id).lost = 5
    node.paths._path(C.run_id).size = 2
    node.clocks.readings.note(B.run_id, BORN + 1000 + 90_000, 1.0)
    assert path_states(node) == {"b": "streams_only", "c": "small_packets"}
    assert problems_of(node, 1.0) == (
        "the clock is 90 s behind that of the peers",
        "packets do not pass, streams do: b",
        "packets over 900 bytes do not pass: c",
    )


def test_clocks_are_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    journal = ClockReporter()
    refused = PolicyFromFuture("split:web", "n3", 172_800.0, restamped=False)
    with caplog.at_level(logging.INFO):
        for now in (0.0, 1.0, 61.0):
            journal.tell(refused, now)
            journal.tell(ClockRefused(THERE, -90.0, joining=False), now)
        journal.tell(PolicyFromFuture("split:web", "n3", 172_800.0, restamped=True), 62.0)
        journal.tell(ClockChanged(-90.0), 62.0)
        journal.tell(ClockChanged(None), 63.0)
    assert len(caplog.messages) == 7
    assert caplog.messages[0].startswith("policy split:web is refused: n3, which set it, stamped it 172800 s ahead")
    assert caplog.messages[1].startswith("a node at 10.0.0.7:4711 is not let in: its clock is 90 s behind ours, 25 s")
    assert "is sent again" in caplog.messages[4]
    assert caplog.messages[5].startswith("the clock is 90 s behind that of the peers")
    assert "agrees" in caplog.messages[6]


def test_why_a_seed_does_not_let_a_node_in_says_by_how_much() -> None:
    assert clock_detail(-90.0).startswith("the clock here is 90 s ahead of its clock, 25 s are allowed")


def test_a_name_that_an_older_node_holds_is_a_trouble() -> None:
    node = engine("a")
    node.identity.conflict = Address("10.0.0.2", 7940)
    [problem] = problems_of(node, 1.0)
    assert problem.startswith("the name 'a' is held by the member at 10.0.0.2:7940, which is older: the others do not")
