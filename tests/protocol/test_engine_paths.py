"""What one node does where only packets, only streams, or no large packets pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gossipreg import limits
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import Destination
from gossipreg.protocol.membership.paths import Passes
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import OpenStream, Output, PathChanged, Transmit
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.identity.signing import Peer, meeting
from tests.protocol.making import instance, packet, said_to
from tests.protocol.test_engine import B, C, among


def run(
    node: Engine,
    seconds: float,
    *,
    start: float = 6.0,
    packets: int = 2000,
    streams: bool = True,
    theirs: int | None = None,
) -> list[Output]:
    """Simulate B and C, which get packets of up to so many bytes, and streams or not; ``theirs``: their fingerprint."""
    outputs: list[Output] = []
    ending: list[tuple[float, int]] = []
    now = start
    while now < start + seconds:
        for stream in [stream for at, stream in ending if at <= now]:
            outputs += node.stream_ended(stream, now)
        ending = [(at, stream) for at, stream in ending if at > now]
        heard = node.handle_timeout(now)
        outputs += heard
        for output in heard:
            if not isinstance(output, Transmit | OpenStream):
                continue
            peer = B if output.to == B.address else C
            data = output.data if isinstance(output, Transmit) else output.frame
            for message in unpack(data)[1]:
                if not isinstance(message, Ping):
                    continue
                ack = packet(peer, Ack(message.seq, 0, node.fingerprint if theirs is None else theirs))
                if isinstance(output, OpenStream):
                    if streams:
                        outputs += node.stream_frame(output.stream, ack + packet(peer, End())[8:], peer.address, now)
                elif len(data) + 50 <= packets:
                    outputs += node.receive(ack, peer.address, now)
            if isinstance(output, OpenStream) and not streams:
                ending.append((now + 5, output.stream))
        now += 0.05
    return outputs


def changes(outputs: list[Output]) -> list[PathChanged]:
    return [output for output in outputs if isinstance(output, PathChanged)]


def comparisons(outputs: list[Output]) -> int:
    opened = [output for output in outputs if isinstance(output, OpenStream)]
    return sum(any(isinstance(said, Compare) for said in unpack(opening.frame)[1]) for opening in opened)


def test_where_packets_are_lost_it_says_that_streams_pass() -> None:
    node = among(B, C)
    outputs = run(node, 10, packets=0)
    assert {(change.member, change.passes) for change in changes(outputs)} == {
        ("b", Passes.STREAMS_ONLY),
        ("c", Passes.STREAMS_ONLY),
    }
    outputs = run(node, 20, start=16.0)
    assert {(change.member, change.passes) for change in changes(outputs)} == {("b", Passes.ALL), ("c", Passes.ALL)}


def test_a_fingerprint_that_comes_over_a_stream_opens_a_comparison() -> None:
    node = among(B, C)
    assert comparisons(run(node, 6, packets=0, theirs=4711)) >= 1


def test_a_node_that_has_not_settled_compares_with_no_seed_because_of_an_ack_in_a_session() -> None:
    node = among(B, C)
    node.identity.announced = False
    assert comparisons(run(node, 6, packets=0, theirs=4711)) == 0


def test_where_streams_are_lost_no_comparison_is_tried_with_that_member() -> None:
    node = among(B, C)
    stream = node.streams.open(Purpose.RECONCILE, B.destination, [End()])
    assert stream is not None
    node.stream_ended(stream, 6.0)
    outputs = run(node, 25, streams=False)
    assert [(change.member, change.passes) for change in changes(outputs)] == [("b", Passes.PACKETS_ONLY)]
    before = node.counters["reconciliations"]
    node.receive(packet(B, Ping(1, node.identity.run_id, 4711)), B.address, 32.0)
    node.receive(packet(B, Ping(2, node.identity.run_id, 4711)), B.address, 34.0)
    node.receive(packet(B, Ping(3, node.identity.run_id, 4711)), B.address, 36.0)
    assert node.counters["reconciliations"] == before


def test_where_large_packets_are_lost_it_sends_smaller_ones_and_cuts_segments() -> None:
    node = among(B, C)
    node.stream_frame(-1, packet(B, Compare(node.state.fingerprint.sums), End()), B.address, 6.0)
    outputs = run(node, 12, packets=1000)
    assert [change for change in changes(outputs) if change.passes is Passes.SMALL_PACKETS][-1].size == 900
    for number in range(60):
        node.register(instance(f"x{number}", meta={"k": "v" * 100}), 18.0)
    node.register(instance("large", meta={"k": "v" * 770}), 18.0)
    sent = [
        output for tick in range(40) for output in node.handle_timeout(18.0 + tick / 20) if isinstance(output, Transmit)
    ]
    assert sent
    assert max(len(output.data) for output in sent) <= 900 - 50
    assert node.state.broadcasts.dropped == 0, "what fits no packet is announced instead"
    assert node.streams.open(Purpose.FETCH, B.destination, [End()]) is not None
    assert node.streams.open(Purpose.FETCH, C.destination, [End()]) is not None
    assert node.streams.open(Purpose.FETCH, Destination(0, node.identity.address), [End()]) is not None
    segments = [output.segment for output in node.deregister("large", 20.0) if isinstance(output, OpenStream)]
    assert segments[:3] == [876, 0, 0]


def test_what_was_queued_for_larger_packets_is_dropped_when_these_do_not_pass() -> None:
    node = among(B, C)
    node.register(instance("large", meta={"k": "v" * 770}), 6.0)
    node.paths._path(B.run_id).size = 2  # as if it had been found out this very moment
    node.outbox.fit_paths()
    sent = [
        output for tick in range(40) for output in node.handle_timeout(6.0 + tick / 20) if isinstance(output, Transmit)
    ]
    assert max(len(output.data) for output in sent) <= 900 - 50
    assert node.state.broadcasts.dropped == 1


def test_tests_of_paths_to_members_that_have_gone_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B, C)
    node.paths.stream_acked(4711, 6.0)
    node.paths.stream_acked(B.run_id, 6.0)
    assert any(isinstance(said, Ping) for said in said_to(node.handle_timeout(6.0), B.address))
    for tick in range(10):
        node.handle_timeout(6.5 + tick)
    assert node.paths.passes(4711) is Passes.ALL, "it is forgotten at the next sweep"
    monkeypatch.setattr(limits, "STREAMS_OUT_MAX", 0)
    node.paths.stream_stalled(4711, 20.0)
    for _ in range(2):
        node.paths.stream_stalled(4711, 20.0)
        node.paths._paths[4711].acked_at = 21.0
    assert changes(node.seeds([], 20.0)) == []


def test_an_answer_on_the_first_stream_of_ours_shows_that_streams_pass_and_one_of_a_peers_does_not() -> None:
    node = among(B)
    node.paths.stream_stalled(B.run_id, 6.0)
    assert node.streams.open(Purpose.PROBE, B.destination, [End()]) == 1
    node.stream_frame(-1, packet(B, Ping(0, 0, 0)), B.address, 6.1)
    assert node.paths._paths[B.run_id].stalled == 1
    node.stream_frame(1, packet(B, End()), B.address, 6.2)
    assert node.paths._paths[B.run_id].stalled == 0


@pytest.mark.parametrize("make", [among, lambda *_: meeting(Peer("b"))], ids=["without identity", "with proofs"])
def test_a_test_of_a_size_is_a_packet_of_that_size_when_it_is_sealed(make: Callable[..., Engine]) -> None:
    node = make(B, C)
    node.streams.outbox.paths.gossip_missed(B.run_id, 6.0)
    sent = [each for each in node.handle_timeout(6.0) if isinstance(each, Transmit) and each.to == B.address]
    assert max(len(each.data) for each in sent) == limits.PACKET_BYTES_MAX - node.paths.overhead


def test_after_a_lost_packet_small_ones_are_sent_until_one_is_answered() -> None:
    node = among(B, C)
    node.paths.stream_acked(B.run_id, 6.0)
    sent = [each for tick in range(4) for each in node.path_tests.outbox.take() or node.handle_timeout(6.0 + tick)]
    tests = [
        said
        for each in sent
        if isinstance(each, Transmit) and each.to == B.address
        for said in unpack(each.data)[1]
        if isinstance(said, Ping) and said.seq >= 0x8000_0000
    ]
    assert tests


@pytest.mark.parametrize("over_stream", [False, True])
def test_an_ack_of_another_member_or_over_a_stream_does_not_show_that_packets_pass(over_stream: bool) -> None:
    node = among(B, C)
    node.paths.stream_acked(B.run_id, 6.0)
    ack = Ack(9, 0 if over_stream else C.run_id, 0)
    if over_stream:
        node.stream_frame(-1, packet(B, ack), B.address, 6.1)
    else:
        node.receive(packet(B, ack), B.address, 6.1)
    assert node.paths._paths[B.run_id].lost
    node.receive(packet(B, Ack(9, 0, 0)), B.address, 6.2)
    assert not node.paths._paths[B.run_id].lost
