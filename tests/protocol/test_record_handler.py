"""Records that a peer sends: new ones, duplicates, and those under this node's own name."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.protocol.broadcaster import Broadcaster
from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.registry.records import Announcement
from gossipreg.protocol.stream_sessions import Purpose
from tests.protocol.making import BORN, history, packet
from tests.protocol.test_engine import A, B, among

RECORD = history([("x", 1)]).said[0]


def test_a_record_that_is_known_is_a_duplicate_in_gossip_and_none_in_a_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A duplicate ends gossip sooner; a session repeats what one side lacks, and proves nothing about others."""
    node = among(B)
    duplicates: list[tuple[Topic, object]] = []
    monkeypatch.setattr(Broadcaster, "note_duplicate", lambda _, topic, about, __: duplicates.append((topic, about)))
    node.receive(packet(B, RECORD), B.address, 1.0)
    assert duplicates == []
    node.stream_frame(-1, packet(B, RECORD), B.address, 1.1)
    assert duplicates == []
    node.receive(packet(B, RECORD), B.address, 1.2)
    assert duplicates == [(Topic.INSTANCES, ("b", "x"))]


def test_a_known_record_in_a_session_is_not_held_against_the_peer() -> None:
    node = among(B)
    context = MessageContext(B.run_id, B.address, B, -1)
    for _ in range(2):
        node.record_handler.handle(RECORD, context, 1.0)
    assert context.stale == {}


def test_a_record_that_came_by_gossip_is_not_fetched_any_more() -> None:
    node = among(B)
    sessions = node.streams.sessions
    assert sessions.want(("b", "x"), BORN, 1, B.destination)
    node.receive(packet(B, RECORD), B.address, 1.0)
    assert sessions.next_source(("b", "x")) is None


def test_a_record_under_our_name_and_generation_that_is_not_ours_makes_us_begin_a_later_one_and_no_more() -> None:
    """It is not held against the peer as stale: another run of this name may offer it."""
    node = among(B)
    foreign = history([("x", 1)], owner=A.name, generation=BORN).said[0]
    context = MessageContext(B.run_id, B.address, B, -1)
    node.record_handler.handle(foreign, context, 1.0)
    assert node.identity.generation > BORN
    assert context.stale == {}
    later = MessageContext(B.run_id, B.address, B, -1)
    node.record_handler.handle(foreign, later, 2.0)
    assert later.stale == {A.name: ["x"]}, "of a generation that is over it is"


def test_an_announced_record_of_the_largest_size_is_fetched_and_a_larger_one_is_not() -> None:
    for size, streams in ((limits.RECORD_BYTES_MAX, 1), (limits.RECORD_BYTES_MAX + 1, 0)):
        node = among(B)
        node.receive(packet(B, Announcement("b", BORN, 1, "x", 0, 0, size)), B.address, 1.0)
        assert len(list(node.sessions.of(Purpose.FETCH))) == streams
