"""What is made of records that a peer sends: news, echoes, and what bears this node's own name."""

from __future__ import annotations

import pytest

from gossipreg.protocol.knowledge import Knowledge
from gossipreg.protocol.spreading.dissemination import Topic
from gossipreg.protocol.voice import Voice
from tests.protocol.making import BORN, history, packet
from tests.protocol.test_engine import A, B, among

RECORD = history([("x", 1)]).said[0]


def test_a_record_that_is_known_is_an_echo_in_gossip_and_none_in_a_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    """An echo ends gossip sooner; a talk repeats what one side lacks, and says nothing of who else knows it."""
    node = among(B)
    echoes: list[tuple[Topic, object]] = []
    monkeypatch.setattr(Knowledge, "heard_again", lambda _, topic, about, __: echoes.append((topic, about)))
    node.receive(packet(B, RECORD), B.address, 1.0)
    assert echoes == []
    node.stream_frame(-1, packet(B, RECORD), B.address, 1.1)
    assert echoes == []
    node.receive(packet(B, RECORD), B.address, 1.2)
    assert echoes == [(Topic.INSTANCES, ("b", "x"))]


def test_a_known_record_in_a_talk_is_not_held_against_the_peer() -> None:
    node = among(B)
    voice = Voice(B.life, B.address, B, -1)
    for _ in range(2):
        node.intake.hear(RECORD, voice, 1.0)
    assert voice.stale == {}


def test_a_record_that_came_by_gossip_is_not_fetched_any_more() -> None:
    node = among(B)
    talks = node.exchange.talks
    assert talks.want(("b", "x"), BORN, 1, B.address)
    node.receive(packet(B, RECORD), B.address, 1.0)
    assert talks.next_source(("b", "x")) is None


def test_a_record_under_our_name_and_generation_that_is_not_ours_makes_us_begin_a_later_one_and_no_more() -> None:
    """It is not held against the peer as stale: another life of this name may offer it."""
    node = among(B)
    foreign = history([("x", 1)], owner=A.name, generation=BORN).said[0]
    voice = Voice(B.life, B.address, B, -1)
    node.intake.hear(foreign, voice, 1.0)
    assert node.identity.generation > BORN
    assert voice.stale == {}
    later = Voice(B.life, B.address, B, -1)
    node.intake.hear(foreign, later, 2.0)
    assert later.stale == {A.name: ["x"]}, "of a generation that is over it is"
