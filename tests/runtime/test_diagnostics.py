"""What a node reports about paths, clocks, send errors and primary conflicts."""

from __future__ import annotations

import errno
import logging

import pytest

from gossipreg.model import FENCED, PRIMARY, Address, Instance
from gossipreg.protocol.membership.paths import Passes
from gossipreg.protocol.outputs import ClockChanged, ClockRefused, PathChanged, PolicyFromFuture
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.protocol.registry.view import View
from gossipreg.runtime.diagnostics import (
    ClockReporter,
    PrimaryConflicts,
    SendErrors,
    clock_detail,
    log_path,
    path_states,
    problems_of,
)
from tests.protocol.making import BORN, engine, introduce
from tests.protocol.test_engine import B, C

THERE = Address("10.0.0.7", 4711)
UNREACHABLE = Address("10.0.0.2", 7940)


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


# Send errors


def test_a_send_error_is_counted_each_time_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    errors = SendErrors(clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            errors.record(OSError(errno.ENETUNREACH, "Network is unreachable"), UNREACHABLE)
        errors.record(OverflowError("port"), UNREACHABLE)
        assert errors.counts == {"ENETUNREACH": 3, "EADDRESS": 1}
        assert len(caplog.messages) == 2
        assert caplog.messages[0] == (
            "cannot send to 10.0.0.2:7940: Network is unreachable (ENETUNREACH): this host has no route there: "
            "add one; 1 times so far"
        )
        now[0] = 61.0
        errors.record(OSError(errno.ENETUNREACH, "Network is unreachable"), UNREACHABLE)
    assert caplog.messages[2].endswith("; 4 times so far")


def test_a_send_error_is_a_problem_for_a_while() -> None:
    now = [0.0]
    errors = SendErrors(clock=lambda: now[0])
    assert errors.problem() is None
    errors.record(OSError(errno.EPERM, "Operation not permitted"), UNREACHABLE)
    now[0] = 9.0
    assert str(errors.problem()).startswith(
        "cannot send to 10.0.0.2:7940: Operation not permitted (EPERM): a firewall of this host forbids it"
    )
    now[0] = 11.0
    assert errors.problem() is None


def test_that_a_failed_member_cannot_be_sent_to_is_no_problem_and_hides_no_other() -> None:
    errors = SendErrors(clock=lambda: 0.0)
    other = Address("10.0.0.3", 7940)
    refused = OSError(errno.ECONNREFUSED, "Connection refused")
    errors.record(refused, other)
    errors.record(refused, UNREACHABLE)
    assert str(errors.problem()).startswith("cannot send to 10.0.0.2:7940: ")
    remaining = errors.problem({UNREACHABLE})
    assert remaining == (
        "cannot send to 10.0.0.3:7940: Connection refused (ECONNREFUSED): nothing listens there: look whether its "
        "agent runs"
    )
    assert errors.problem({UNREACHABLE, other}) is None


def test_addresses_that_cannot_be_sent_to_are_remembered_up_to_a_bound() -> None:
    errors = SendErrors(clock=lambda: 0.0)
    for port in range(1, 1001):
        errors.record(OSError(errno.EPERM, "no"), Address("10.0.0.2", port))
    assert len(errors._recent) < 300


# Primary conflicts


def claim(number: int, role: str) -> Instance:
    return Instance(
        id=f"i-{number}", service="orders", host="10.0.0.1", port=80, owner=f"m{number}", role=role, term=number
    )


def test_a_primary_conflict_and_its_end_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    view = View(0)
    conflicts = PrimaryConflicts(view)
    older, newer = claim(1, FENCED), claim(2, PRIMARY)
    for offered in [(claim(1, PRIMARY),), (older, newer), (older, newer), (newer,), ()]:
        view._services["orders"] = ServiceView.of(1, offered)
        conflicts.warn(["stock", "orders"])
    contested = (
        "2 instances of orders claim to be its primary: i-2 of m2 (term 2), i-1 of m1 (term 1): "
        "i-2 is called; register the others as replicas"
    )
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", contested),
        ("INFO", "orders is no longer contested: its primary is i-2 of m2 (term 2)"),
    ]
