"""Pings and requests of peers: which are answered, and how."""

from __future__ import annotations

from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, Listing, Want
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Ping, PingReq
from gossipreg.protocol.registry.records import Fetch
from gossipreg.protocol.stream_sessions import Purpose
from tests.protocol.delivering import (
    D,
    deliver,
    receive_over_stream,
    replies,
)
from tests.protocol.making import BORN, instance, said_to
from tests.protocol.test_engine import B, C, among


def test_a_stranger_gets_a_bare_ack_and_a_member_gets_what_is_new_with_it() -> None:
    node = among(B)
    node.drain(1.0)
    [bare] = said_to(deliver(node, D, Ping(4, 0, 1), now=1.0), D.address)
    assert bare == Ack(4, 0, node.fingerprint)
    ack, news = said_to(deliver(node, B, Ping(5, 0, 1), now=1.0), B.address)
    assert ack == Ack(5, 0, node.fingerprint)
    assert isinstance(news, MemberUpdate)


def test_an_ack_from_a_stranger_means_nothing() -> None:
    node = among(B)
    [ping] = (m for m in said_to(node.handle_timeout(1.0), B.address) if isinstance(m, Ping))
    deliver(node, D, Ack(ping.seq, B.run_id, 0), now=1.1)
    assert node.detector.prober._current is not None
    assert not node.detector.prober._current.acked


def test_a_member_may_ask_us_to_ping_another_and_a_stranger_may_not() -> None:
    node = among(B, C)
    assert deliver(node, D, PingReq(4, C.run_id, 500)) == []
    [ping] = said_to(deliver(node, B, PingReq(4, C.run_id, 500)), C.address)
    assert isinstance(ping, Ping)
    [ack] = said_to(deliver(node, C, Ack(ping.seq, 0, 9)), B.address)
    assert ack == Ack(4, C.run_id, 9)


def test_a_ping_on_a_stream_is_answered_there() -> None:
    node = among(B)
    assert replies(receive_over_stream(node, B, Ping(4, 0, 1), End())) == [Ack(4, 0, node.fingerprint), End()]


def test_questions_are_answered_in_sessions_only() -> None:
    node = among(B)
    assert deliver(node, B, Compare((0,) * BUCKETS), Fetch("b", BORN, 1, "x"), End()) == []


def test_a_question_that_a_frame_repeats_is_answered_once() -> None:
    node = among(B)
    node.register(instance("big", owner="a"), 1.0)
    table = node.state.registry.table("a")
    assert table is not None
    [record] = table
    fetch = Fetch("a", record.generation, record.version, record.id)
    assert replies(receive_over_stream(node, B, *[fetch] * 20, End())) == [record, End()]


def test_a_record_is_fetched_by_members_only() -> None:
    node = among(B)
    node.register(instance("big", owner="a"), 1.0)
    table = node.state.registry.table("a")
    assert table is not None
    [record] = table
    fetch = Fetch("a", record.generation, record.version, record.id)
    assert replies(receive_over_stream(node, D, fetch, End())) == [End()]


def test_a_listing_is_answered_where_this_node_compares_states_and_a_want_where_the_peer_does() -> None:
    node = among(B)
    node.drain(1.0)
    entries = [entry for bucket in range(BUCKETS) for entry in node.state.fingerprint.digests(bucket)]
    bucket = next(bucket for bucket in range(BUCKETS) if node.state.fingerprint.digests(bucket))
    want = Want(bucket, tuple(node.state.fingerprint.digests(bucket)))
    assert entries
    assert replies(receive_over_stream(node, D, Listing(bucket, ()), want, End())) == [End()]
    compared = tuple(node.state.fingerprint.sums)
    assert replies(receive_over_stream(node, D, Compare(compared), End(), stream=-2)) == [End()]
    assert len(replies(receive_over_stream(node, D, want, End(), stream=-2))) > 1


def test_a_frame_may_list_every_bucket_and_each_of_them_once() -> None:
    node = among(B)
    node.drain(1.0)
    listings = [Listing(bucket, ()) for bucket in range(BUCKETS)]
    first, second = (node.streams.open_comparison(Purpose.RECONCILE, peer.destination, 1.0) for peer in (D, C))
    assert first is not None
    assert second is not None
    once = replies(receive_over_stream(node, D, *listings, End(), stream=first))
    assert len(once) > 2
    assert replies(receive_over_stream(node, C, *listings, *listings, End(), stream=second)) == once
