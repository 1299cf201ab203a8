"""A node that hears no member: what it sends and reports, and how it recovers."""

from __future__ import annotations

import attrs

from gossipreg.protocol.membership.probe import Ack, Nack, Ping
from gossipreg.protocol.outputs import IsolationChanged, OpenStream
from gossipreg.protocol.stream_sessions import Purpose
from tests.protocol.delivering import (
    conceded,
    deliver,
)
from tests.protocol.making import packet, said_to
from tests.protocol.test_engine import B, C, among


def test_a_member_that_is_heard_again_is_compared_with_as_soon_as_possible() -> None:
    node = among(B, C)
    deliver(node, C, conceded(B))
    deliver(node, B, attrs.evolve(B, incarnation=1), Ping(1, 0, 12345), now=7.0)
    assert node.sessions.is_open(Purpose.RECONCILE)


def test_a_node_that_hears_no_member_pings_some_before_it_calls_itself_isolated() -> None:
    node = among(B, C)
    node.detector.prober.next_period = 1e9
    assert node.deadline() <= 2.0
    outputs = node.handle_timeout(2.0)
    for member in (B, C):
        assert said_to(outputs, member.address) == [Ping(0, member.run_id, node.fingerprint)]
    deliver(node, C, Ack(0, 0, node.fingerprint), now=2.1)
    assert not node.isolation.is_isolated(6.1)
    assert node.isolation.is_isolated(6.2)


def test_the_driver_is_told_when_a_node_becomes_isolated_and_when_it_is_no_more() -> None:
    node = among(B, C)
    assert IsolationChanged not in map(type, node.handle_timeout(4.0))
    said = [node.isolation.reported]
    assert IsolationChanged(isolated=True, silence=4.1) in node.handle_timeout(4.1)
    said.append(node.isolation.reported)
    assert IsolationChanged not in map(type, node.handle_timeout(5.0))
    assert IsolationChanged(isolated=False, silence=6.0) in deliver(node, B, Nack(1), now=6.0)
    said.append(node.isolation.reported)
    assert IsolationChanged not in map(type, deliver(node, B, Nack(1), now=6.1))
    assert said == [False, True, False]


def test_a_node_that_was_isolated_compares_with_the_first_member_that_is_unlike_it() -> None:
    node = among(B, C)
    outputs = node.receive(packet(B, Ping(1, 0, node.fingerprint ^ 1)), B.address, 3.9)
    assert not [o for o in outputs if isinstance(o, OpenStream)]
    node = among(B, C)
    outputs = node.receive(packet(B, Ping(1, 0, node.fingerprint ^ 1)), B.address, 4.1)
    assert [o.to for o in outputs if isinstance(o, OpenStream)] == [B.address]
