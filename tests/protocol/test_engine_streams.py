"""Streams of one node: large records, comparisons of state, and junk frames."""

from __future__ import annotations

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Address, Status
from gossipreg.protocol.anti_entropy.fingerprint import bucket_of
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, Listing, Want
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import CloseStream, Output, Transmit
from gossipreg.protocol.registry.records import Announcement, Fetch, Record
from gossipreg.protocol.registry.registry import announcement
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.messages import Message, pack_sender
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.delivering import D, deliver, probed, receive_over_stream, replies
from tests.protocol.making import BORN, engine, instance, introduce, packet, said_to, update
from tests.protocol.test_engine import A, B, C, among, opened

# Large records


def large() -> tuple[Record, Announcement]:
    owner = engine("b", address=B.address)
    owner.register(instance("x", meta={"k": "v" * 2000}), 0.0)
    table = owner.state.registry.table("b")
    assert table is not None
    [record] = table
    return record, announcement(record)


def test_a_large_record_is_fetched_from_its_announcer_and_announced_again() -> None:
    record, said = large()
    node = among(B, C)
    [opening] = opened(deliver(node, B, said))
    assert opening.to == B.address
    assert unpack(opening.frame)[1] == [Fetch("b", BORN, 1, "x"), End()]
    outputs = node.stream_frame(opening.stream, packet(B, record, End()), B.address, 6.1)
    assert CloseStream(opening.stream) in outputs
    assert said in said_to(node.handle_timeout(6.2), C.address)
    assert [one.id for one in node.view.service("orders").healthy] == ["x"]
    assert opened(deliver(node, C, said)) == []


@pytest.mark.parametrize("failure", ["it ended", "it had nothing", "it talked junk", "it had junk"])
def test_when_one_fails_to_hand_it_over_the_next_is_asked(failure: str) -> None:
    _, said = large()
    node = among(B, C)
    [first] = opened(deliver(node, B, said))
    assert opened(deliver(node, C, said)) == []

    def fails(stream: int, source: Address) -> list[Output]:
        if failure == "it ended":
            return node.stream_ended(stream, 6.1)
        junk = Record("b", BORN, 1, "x", 0, b"junk")
        frames = {
            "it had nothing": packet(B, End()),
            "it talked junk": b"junk",
            "it had junk": packet(B, junk, End()),
        }
        return node.stream_frame(stream, frames[failure], source, 6.1)

    [second] = opened(fails(first.stream, B.address))
    assert second.to == C.address
    assert opened(fails(second.stream, C.address)) == []
    assert opened(deliver(node, B, said)) != [], "once no announcer is left it may be announced again"


def test_a_fetch_for_which_there_is_no_stream_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = large()
    node = among(B, C)
    monkeypatch.setattr(limits, "STREAMS_OUT_MAX", 0)
    assert opened(deliver(node, B, said)) == []
    assert node.counters["streams_over_limit"] == 1
    monkeypatch.setattr(limits, "STREAMS_OUT_MAX", 1)
    assert len(opened(deliver(node, B, said))) == 1


def test_what_is_too_large_or_said_by_a_stranger_or_known_is_not_fetched() -> None:
    record, said = large()
    node = among(B)
    assert deliver(node, B, attrs.evolve(said, size=limits.RECORD_BYTES_MAX + 1)) == []
    assert deliver(node, D, said) == []
    receive_over_stream(node, B, record)
    assert deliver(node, B, said) == []


# Comparisons


def reachability(*members: MemberUpdate) -> Engine:
    """A settled engine ``a`` that has just heard the first of its ``members``, at 9.5."""
    node = among(*members)
    node.detector.message_received(members[0].run_id, 9.5)
    return node


def test_fingerprints_that_differ_for_longer_than_gossip_needs_are_compared() -> None:
    node = reachability(B, C)
    assert opened(deliver(node, B, Ping(1, 0, 1), now=10.0)) == []
    assert opened(deliver(node, C, Ack(1, 0, 1), now=10.9)) == []
    [opening] = opened(deliver(node, C, Ack(1, 0, 1), now=11.0))
    assert opening.to == C.address
    assert unpack(opening.frame)[1] == [Compare(node.state.fingerprint.sums), End()]
    assert opened(deliver(node, B, Ping(1, 0, 1), now=20.0)) == [], "one comparison at a time"
    node.stream_ended(opening.stream, 21.0)
    assert len(opened(deliver(node, B, Ping(1, 0, 1), now=22.0))) == 1


def test_a_member_that_differs_is_compared_with_although_others_agree_with_us() -> None:
    node = reachability(B, C)
    deliver(node, B, Ping(1, 0, 1), now=10.0)
    assert opened(deliver(node, C, Ping(1, 0, node.fingerprint), now=10.5)) == []
    assert len(opened(deliver(node, B, Ping(2, 0, 1), now=19.0))) == 1


def test_a_member_that_differs_during_a_broadcast_is_not_compared_with() -> None:
    node = reachability(B, C)
    deliver(node, B, Ping(1, 0, 1), now=10.0)
    deliver(node, C, Ping(1, 0, node.fingerprint), now=10.5)
    deliver(node, C, attrs.evolve(C, incarnation=1), now=10.6)
    assert opened(deliver(node, B, Ping(2, 0, 1), now=11.5)) == []
    assert len(opened(deliver(node, B, Ping(3, 0, 1), now=12.5))) == 1


def test_a_difference_of_long_ago_starts_no_comparison() -> None:
    node = reachability(B, C)
    deliver(node, B, Ping(1, 0, 1), now=10.0)
    for at in range(11, 31):
        assert opened(deliver(node, C, Ping(1, 0, node.fingerprint), now=float(at))) == []
    assert opened(deliver(node, B, Ping(2, 0, 1), now=31.0)) == []


def test_a_stranger_that_answers_where_a_member_was_is_compared_with() -> None:
    node = reachability(B)
    stranger = attrs.evolve(B, generation=B.generation + 1)
    assert opened(deliver(node, stranger, Ack(1, 0, 1), now=10.0)) == []
    [opening] = opened(deliver(node, stranger, Ack(2, 0, 1), now=11.0))
    assert opening.to == B.address


def test_an_ack_that_was_passed_on_says_nothing_of_its_bearers_state() -> None:
    node = reachability(B)
    deliver(node, B, Ping(1, 0, 1), now=10.0)
    assert opened(deliver(node, B, Ack(1, C.run_id, 1), now=12.0)) == []


def test_a_stranger_is_compared_with_where_it_spoke_from() -> None:
    node = reachability(B)
    deliver(node, B, Ping(1, 0, 1), now=10.0)
    [opening] = opened(deliver(node, D, Ping(1, 0, 1), now=12.0))
    assert opening.to == D.address


@pytest.mark.parametrize("fingerprint", ["of its own", "ours"])
def test_strangers_pings_delay_no_comparison_with_a_member_and_make_none_seem_needless(fingerprint: str) -> None:
    def comparisons(strangers: int) -> int:
        node, count = reachability(B), 0
        for tick in range(1200):
            now = 10 + tick / 10
            for number in range(strangers):
                said = node.fingerprint if fingerprint == "ours" else 1
                stranger = update(f"x{number}", port=7100 + number)
                for each in opened(deliver(node, stranger, Ping(1, 0, said), now=now)):
                    assert each.to == stranger.address
            if tick % 10:
                continue
            for each in opened(deliver(node, B, Ping(1, 0, 1), now=now)):
                count += each.to == B.address
                node.stream_ended(each.stream, now, refused=False)
        return count

    assert comparisons(2) == comparisons(0) > 10


def test_a_comparison_with_a_stranger_that_ends_at_once_makes_none_with_a_member_seem_needless() -> None:
    node = reachability(B)
    deliver(node, B, Ping(1, 0, 1), now=10.0)
    [opening] = opened(deliver(node, D, Ping(1, 0, 1), now=11.5))
    assert CloseStream(opening.stream) in node.stream_frame(opening.stream, packet(D, End()), D.address, 11.6)
    [opening] = opened(deliver(node, B, Ping(2, 0, 1), now=12.0))
    assert opening.to == B.address


def test_a_probe_over_a_stream_that_ends_is_no_comparison() -> None:
    node = reachability(B)
    probed(node, B, 10.0)
    [stream] = node.sessions._sessions
    deliver(node, B, Ping(1, 0, 1), now=10.5)
    node.stream_frame(stream, packet(B, Ack(1, 0, 1), End()), B.address, 10.6)
    assert opened(deliver(node, B, Ping(1, 0, 1), now=11.6)) != []


def test_a_newcomer_announces_itself_when_it_has_been_told_everything_and_not_before() -> None:
    node = engine("a", has_seeds=True)
    introduce(node, B)
    bucket = bucket_of(B)
    [opening] = opened(node.seeds([C.address], 1.0))

    def told(*said: Message) -> list[Message]:
        return replies(node.stream_frame(opening.stream, packet(C, *said), C.address, 1.1))

    [want, _] = told(C, Listing(bucket, (B.digest, 7)), End())
    assert want == Want(bucket, (7,))
    assert not node.identity.announced
    assert told(End()) == [node.identity.own_update(), End()]
    assert node.identity.announced


def test_a_newcomer_may_also_be_told_everything_because_its_state_differs() -> None:
    node = engine("a", has_seeds=True)
    introduce(node, B)
    deliver(node, B, Ping(1, 0, 1), now=1.0)
    [opening] = opened(deliver(node, B, Ping(1, 0, 1), now=2.0))
    assert node.sessions.is_open(Purpose.RECONCILE)
    node.stream_frame(opening.stream, packet(B, End()), B.address, 2.1)
    assert node.identity.announced


# Frames


def test_a_frame_of_kinds_that_we_do_not_know_does_not_end_the_session() -> None:
    node = among(B)
    outputs = node.stream_frame(-1, pack_sender(B.run_id) + b"\x92\x63\x01", B.address, 6.0)
    assert not any(isinstance(output, CloseStream) for output in outputs)
    assert replies(receive_over_stream(node, B, End())) == [End()]


def test_a_message_that_cannot_be_read_ends_no_session() -> None:
    node = among(B)
    outputs = node.stream_frame(-1, packet(B) + b"\x92\x03\xc0", B.address, 6.0)
    assert not any(isinstance(output, CloseStream) for output in outputs)
    assert node.counters["junk_messages"] == 1
    assert replies(receive_over_stream(node, B, End())) == [End()]


@pytest.mark.parametrize("frame", [b"", b"short", pack_sender(9) + b"\xc1", packet(A, End())])
def test_junk_on_a_stream_ends_it(frame: bytes) -> None:
    assert among(B).stream_frame(-1, frame, B.address, 6.0) == [CloseStream(-1)]


def test_a_frame_on_a_stream_that_we_closed_is_nothing_to_us() -> None:
    assert receive_over_stream(among(B), B, Ping(1, 0, 0), stream=77) == []


def test_a_suspect_that_sessions_is_told_so_although_its_frame_is_junk_to_us() -> None:
    node = among(B, C)
    deliver(node, C, B.graver(Status.SUSPECT, C.run_id))
    outputs = receive_over_stream(node, B)
    assert [output.to for output in outputs if isinstance(output, Transmit)] == [B.address]


def test_a_stream_on_which_nothing_was_compared_does_not_introduce_a_newcomer() -> None:
    node = engine("a", has_seeds=True)
    node.handle_timeout(0.0)
    receive_over_stream(node, B, Fetch("missing", BORN, 1, "x"), End())
    assert not node.identity.announced


def test_one_long_session_is_not_gossiped_on_in_full_however_many_frames_it_has() -> None:
    node = among(B)
    before = len(node.state.broadcasts)
    strangers = [update(f"stranger-{number}", port=8000 + number) for number in range(200)]
    receive_over_stream(node, B, *strangers[:100])
    receive_over_stream(node, B, *strangers[100:])
    assert len(node.members) >= 202
    assert len(node.state.broadcasts) - before == 128
