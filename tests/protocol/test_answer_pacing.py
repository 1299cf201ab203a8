"""Answer pacing: many newcomers at once are told the state one after the other, and the node does all else between."""

from __future__ import annotations

import math

import pytest

from gossipreg.model import Address
from gossipreg.protocol import answer_pacing
from gossipreg.protocol.answer_pacing import ENTRY_SECONDS, WAITING_FRAME_BYTES_MAX, AnswerPacing, WaitingFrame
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, Listing, Want
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import CloseStream, OpenStream, Output, SendFrame
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import engine, many_members, packet, update

#: Members of the cluster that the newcomers join.
MEMBERS = 40

#: How long the pause after an answer is here (seconds).
PAUSE = (MEMBERS + 1) * ENTRY_SECONDS

NOTHING = Compare((0,) * BUCKETS)


@pytest.fixture
def seed(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(answer_pacing, "LARGE_ENTRIES", MEMBERS)
    node = engine("a")
    for each in many_members(MEMBERS):
        node.state.believe(each, 0.0, spread=False)
    return node


def newcomer(number: int) -> MemberUpdate:
    return update(f"new{number}", port=9000 + number)


def asks(node: Engine, number: int, now: float) -> list[Output]:
    frame = packet(newcomer(number), NOTHING, End())
    return node.stream_frame(-number, frame, newcomer(number).address, now)


def told(outputs: list[Output], number: int) -> int:
    """How many members a newcomer is told."""
    frames = [each.frame for each in outputs if isinstance(each, SendFrame) and each.stream == -number]
    return sum(isinstance(message, MemberUpdate) for frame in frames for message in unpack(frame)[1])


def test_of_many_newcomers_each_is_told_all_in_its_turn_with_a_pause_between(seed: Engine) -> None:
    assert told(asks(seed, 1, 10.0), 1) == MEMBERS + 1
    for number in (2, 3, 4):
        assert not asks(seed, number, 10.0)
    assert seed.counters["comparisons_paced"] == 3
    answered = []
    for _ in range(3):
        now = seed.frame_handler.pacing.deadline
        assert seed.deadline() <= now
        answered.append(now)
        outputs = seed.handle_timeout(now)
        assert [told(outputs, number) for number in (2, 3, 4)].count(MEMBERS + 1) == 1
    assert answered == pytest.approx([10.0 + PAUSE * turn for turn in (1, 2, 3)])
    assert seed.frame_handler.pacing.deadline == math.inf
    assert told(asks(seed, 5, 11.0), 5) == MEMBERS + 1


def test_none_is_told_before_one_that_came_first(seed: Engine) -> None:
    asks(seed, 1, 10.0)
    asks(seed, 2, 10.0)
    assert not asks(seed, 3, 10.0 + 2 * PAUSE)
    assert told(seed.handle_timeout(10.0 + 2 * PAUSE), 2) == MEMBERS + 1


def test_a_source_with_many_streams_keeps_no_other_waiting() -> None:
    pacing = AnswerPacing()
    many, few = Address("10.6.6.6", 7000), Address("10.0.0.1", 7000)
    for stream in range(1, 101):
        pacing.wait(WaitingFrame(-stream, b"", many))
    for stream in (200, 201):
        pacing.wait(WaitingFrame(-stream, b"", few))
    order = [frame.stream for frame in iter(lambda: pacing.due(0.0), None)]
    assert order == [-1, -200, -2, -201, *range(-3, -101, -1)]


def test_what_differs_a_little_is_told_at_once(seed: Engine) -> None:
    asks(seed, 1, 10.0)
    sums = list(seed.state.fingerprint.sums)
    sums[sums.index(next(filter(None, sums)))] = 0
    one = packet(newcomer(2), Compare(tuple(sums)), End())
    assert told(seed.stream_frame(-2, one, newcomer(2).address, 10.0), 2) >= 1


def test_one_that_is_gone_when_its_turn_comes_takes_none(seed: Engine) -> None:
    for number in (1, 2, 3, 4):
        asks(seed, number, 10.0)
    seed.stream_ended(-2, 10.0)
    seed.streams.close(-3)
    outputs = seed.handle_timeout(10.0 + PAUSE)
    assert not any(told(outputs, number) for number in (2, 3, 4))
    assert told(seed.handle_timeout(10.0 + PAUSE), 4) == MEMBERS + 1


def test_one_that_does_not_wait_for_its_turn_is_left(seed: Engine) -> None:
    asks(seed, 1, 10.0)
    asks(seed, 2, 10.0)
    assert CloseStream(-2) in asks(seed, 2, 10.0)
    assert seed.frame_handler.pacing.deadline == math.inf
    assert seed.counters["comparisons_over_limit"] == 1


def test_sources_that_come_again_and_again_keep_none_with_several_streams_waiting() -> None:
    pacing = AnswerPacing()
    streams = iter(range(-1, -1000, -1))
    honest = [WaitingFrame(next(streams), b"", Address("10.0.0.1", 7000)) for _ in range(4)]
    for each in honest:
        pacing.wait(each)
    for host in ("10.6.6.6", "10.7.7.7"):
        pacing.wait(WaitingFrame(next(streams), b"", Address(host, 7000)))
    served = []
    for _ in range(12):
        frame = pacing.due(0.0)
        assert frame is not None
        served.append(frame)
        if frame not in honest:
            pacing.wait(WaitingFrame(next(streams), b"", frame.source))
    assert [served.index(each) for each in honest] == [0, 3, 6, 9]


def test_questions_that_are_not_answered_make_no_pause(seed: Engine) -> None:
    asked = [NOTHING] * 20 + [Compare((0,) * BUCKETS, "x")] * 20
    outputs = seed.stream_frame(-1, packet(newcomer(1), *asked, End()), newcomer(1).address, 10.0)
    assert told(outputs, 1) == MEMBERS + 1
    assert seed.frame_handler.pacing._next_at == pytest.approx(10.0 + PAUSE)
    assert seed.counters["questions_repeated"] == 19
    outputs = seed.stream_frame(-2, packet(newcomer(2), *asked[20:], End()), newcomer(2).address, 10.0)
    assert unpack(outputs[-1].frame)[1] == [End()], "nor do they wait for one"  # type: ignore[union-attr]


def test_a_listing_is_answered_once_a_stream_and_at_the_pace_of_a_comparison(seed: Engine) -> None:
    opened = [each.stream for each in seed.join([Address("10.0.0.9", 1)], 9.0) if isinstance(each, OpenStream)]
    listings = [Listing(bucket, ()) for bucket in range(BUCKETS)]
    seed.frame_handler.pacing.spend(MEMBERS, 9.9)
    frame = packet(newcomer(1), *listings, End())
    assert not any(
        isinstance(each, SendFrame) for each in seed.stream_frame(opened[0], frame, newcomer(1).address, 9.9)
    )
    outputs = seed.handle_timeout(seed.frame_handler.pacing.deadline)
    assert told(outputs, -opened[0]) == MEMBERS + 1
    again = seed.stream_frame(opened[0], packet(newcomer(1), *listings), newcomer(1).address, 11.0)
    assert told(again, -opened[0]) == 0
    assert seed.counters["questions_repeated"] == BUCKETS


def test_small_answers_on_one_stream_wait_once_they_are_large_together(seed: Engine) -> None:
    asks(seed, 1, 10.0)
    asked = seed.stream_frame(-2, packet(newcomer(2), Compare((1,) * BUCKETS), End()), newcomer(2).address, 10.0)
    listings = [each for out in asked if isinstance(out, SendFrame) for each in unpack(out.frame)[1]]
    wants = [Want(each.bucket, each.digests * 3) for each in listings if isinstance(each, Listing) and each.digests]
    outputs = [seed.stream_frame(-2, packet(newcomer(2), each), newcomer(2).address, 10.0) for each in wants]
    assert sum(told(each, 2) for each in outputs) < MEMBERS + 1
    while seed.frame_handler.pacing.deadline < math.inf:
        outputs.append(seed.handle_timeout(max(10.0, seed.frame_handler.pacing.deadline)))
    assert sum(told(each, 2) for each in outputs) == MEMBERS + 1, "each once, however often it is named"


def test_frames_of_a_stream_stay_in_order_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_pacing, "WAITING_STREAM_BYTES_MAX", 60_000)
    monkeypatch.setattr(answer_pacing, "WAITING_BYTES_MAX", 80_000)
    pacing, source, long = AnswerPacing(), Address("10.0.0.1", 1), bytes(WAITING_FRAME_BYTES_MAX + 1)
    assert pacing.wait(WaitingFrame(-1, b"1", source))
    assert pacing.wait(WaitingFrame(-1, b"2", source))
    assert all(pacing.wait(WaitingFrame(-1, long, source)) for _ in range(3))
    assert not pacing.wait(WaitingFrame(-1, long, source)), "of one stream"
    assert pacing.wait(WaitingFrame(-2, long, source))
    assert not pacing.wait(WaitingFrame(-3, long, Address("10.0.0.2", 1))), "of all"
    assert pacing.wait(WaitingFrame(-3, bytes(WAITING_FRAME_BYTES_MAX), Address("10.0.0.2", 1), is_last=True))
    assert not pacing.wait(WaitingFrame(-3, b"", Address("10.0.0.2", 1))), "it is not the peer's turn"
    assert [pacing.due(0.0).frame for _ in range(3)] == [b"1", bytes(WAITING_FRAME_BYTES_MAX), b"2"]  # type: ignore[union-attr]
    for stream in (-3, -2, -1):
        pacing.forget(stream)
    assert (pacing.deadline, pacing._bytes) == (math.inf, 0)


def test_a_frame_waits_until_the_pause_is_over() -> None:
    pacing = AnswerPacing()
    assert pacing.admits(answer_pacing.LARGE_ENTRIES, 0.0)
    pacing.spend(answer_pacing.LARGE_ENTRIES - 1, 0.0)
    assert pacing.admits(answer_pacing.LARGE_ENTRIES, 0.0), "small answers make no pause"
    pacing.spend(answer_pacing.LARGE_ENTRIES, 0.0)
    assert pacing.due(1.0) is None
    frame = WaitingFrame(-1, b"x", Address("10.0.0.1", 1))
    pacing.wait(frame)
    assert pacing.is_waiting(-1)
    assert pacing.due(pacing.deadline - 1e-9) is None
    assert pacing.due(pacing.deadline) == frame
