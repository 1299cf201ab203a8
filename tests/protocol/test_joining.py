"""A newcomer joins by several seeds: one sends the state, and another steps in if that one fails."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.errors import NodeClosed
from gossipreg.model import Address
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.paths import SIZE_MIN
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import CloseStream, JoinEnded, Output, SendFrame
from gossipreg.protocol.wire.messages import Message
from tests.protocol.delivering import D
from tests.protocol.making import engine, introduce, packet, spoken
from tests.protocol.test_engine import A, B, C, opened

SEEDS = {seed.address: seed for seed in (B, C, D)}


def newcomer() -> tuple[Engine, dict[Address, int]]:
    """A newcomer that has opened streams to its seeds, and its streams to them."""
    node = engine("a", has_seeds=True)
    openings = opened(node.seeds(tuple(SEEDS), 0.0))
    assert all(spoken(opening.frame) == [Ping(0, 0, node.fingerprint)] for opening in openings)
    return node, {opening.to: opening.stream for opening in openings}


def says(
    node: Engine, streams: dict[Address, int], seed: MemberUpdate, *said: Message, now: float = 0.1
) -> list[Output]:
    return node.stream_frame(streams[seed.address], packet(seed, *said), seed.address, now)


def answers(node: Engine, streams: dict[Address, int], seed: MemberUpdate, now: float = 0.1) -> list[Output]:
    return says(node, streams, seed, Ack(0, 0, 1), now=now)


def compared(outputs: list[Output], streams: dict[Address, int]) -> list[Address]:
    """The seeds to which the sums of the newcomer's state go."""
    asked = [
        output.stream
        for output in outputs
        if isinstance(output, SendFrame) and any(isinstance(said, Compare) for said in spoken(output.frame))
    ]
    return [address for address, stream in streams.items() if stream in asked]


def test_the_first_seed_that_answers_is_compared_with_and_the_others_wait() -> None:
    node, streams = newcomer()
    outputs = answers(node, streams, C)
    assert compared(outputs, streams) == [C.address]
    [frame] = [output.frame for output in outputs if isinstance(output, SendFrame)]
    assert spoken(frame) == [Compare(node.state.fingerprint.sums), End()]
    assert answers(node, streams, B) == []
    assert answers(node, streams, D) == []


def test_when_it_has_told_everything_those_that_it_knows_are_let_go_and_the_stranger_has_its_turn() -> None:
    node, streams = newcomer()
    for seed in (C, B, D):
        answers(node, streams, seed)
    says(node, streams, C, B, C, End())
    assert node.identity.announced
    outputs = says(node, streams, C, End())
    assert {output.stream for output in outputs if isinstance(output, CloseStream)} == {
        streams[B.address],
        streams[C.address],
    }
    assert compared(outputs, streams) == [D.address]


@pytest.mark.parametrize("end", ["it ended", "it talked junk"])
def test_when_it_dies_in_the_middle_the_next_one_that_answered_is_compared_with(end: str) -> None:
    node, streams = newcomer()
    answers(node, streams, C)
    answers(node, streams, B)
    says(node, streams, C, D)
    if end == "it ended":
        outputs = node.stream_ended(streams[C.address], 0.2)
    else:
        outputs = node.stream_frame(streams[C.address], b"junk", C.address, 0.2)
    assert compared(outputs, streams) == [B.address]
    assert compared(answers(node, streams, D), streams) == []


def test_when_it_says_nothing_from_one_try_to_the_next_another_has_its_turn_beside_it() -> None:
    node, streams = newcomer()
    answers(node, streams, C)
    answers(node, streams, B)
    assert compared(node.seeds(tuple(SEEDS), 0.25), streams) == [], "it has just answered"
    assert compared(node.seeds(tuple(SEEDS), 0.75), streams) == [B.address]


def test_while_one_seed_sends_its_state_no_other_is_tried() -> None:
    node, streams = newcomer()
    answers(node, streams, C)
    answers(node, streams, B)
    node.stream_ended(streams[D.address], 0.1, refused=True)
    for now in (0.25, 0.75, 1.75):
        says(node, streams, C, now=now)
        assert node.seeds(tuple(SEEDS), now) == []


def test_who_answers_after_the_session_is_compared_with_unless_it_is_known() -> None:
    node, streams = newcomer()
    answers(node, streams, C)
    says(node, streams, C, B, C, End())
    says(node, streams, C, End())
    assert answers(node, streams, B, now=0.2) == [CloseStream(streams[B.address])]
    assert compared(answers(node, streams, D, now=0.2), streams) == [D.address]


def test_a_newcomer_that_is_being_told_everything_does_not_also_compare_with_those_it_hears_of() -> None:
    node, streams = newcomer()
    answers(node, streams, C)
    says(node, streams, C, B)
    introduce(node, B, now=1.0)
    for now in (1.0, 2.5):
        assert opened(node.receive(packet(B, Ping(1, 0, 1)), B.address, now)) == []
    node.stream_ended(streams[C.address], 2.6)
    assert len(opened(node.receive(packet(B, Ping(1, 0, 1)), B.address, 2.7))) == 1


def test_a_lone_seed_is_compared_with_at_once_and_once_at_a_time() -> None:
    node = engine("a", has_seeds=True)
    [opening] = opened(node.seeds([C.address], 0.0))
    assert spoken(opening.frame) == [Compare(node.state.fingerprint.sums), End()]
    assert node.seeds([C.address], 0.25) == []


def test_no_seed_is_tried_twice_at_a_time() -> None:
    node, streams = newcomer()
    assert node.seeds(tuple(SEEDS), 0.25) == []
    node.stream_ended(streams[C.address], 0.3, refused=True)
    assert [opening.to for opening in opened(node.seeds(tuple(SEEDS), 0.75))] == [C.address]


@pytest.mark.parametrize("seeds", [(B,), (B, C)])
def test_after_a_comparison_that_came_to_nothing_the_next_stream_there_has_segments_that_pass_everywhere(
    seeds: tuple[MemberUpdate, ...],
) -> None:
    addresses = tuple(seed.address for seed in seeds)
    node = engine("a", has_seeds=True)
    first = opened(node.seeds(addresses, 0.0))
    assert {stream.segment for stream in first} == {0}
    [one] = [stream for stream in first if stream.to == B.address]
    node.stream_frame(one.stream, packet(B, Ack(0, 0, 1)), B.address, 0.1)  # a small frame passes, what follows is lost
    node.stream_ended(one.stream, 5.0)
    again = opened(node.seeds((B.address, D.address), 6.0))
    assert {stream.to: stream.segment for stream in again} == {B.address: SIZE_MIN - 24, D.address: 0}


def test_a_comparison_that_ends_after_this_node_was_let_in_says_nothing_of_segments() -> None:
    node = engine("a", has_seeds=True)
    [one] = opened(node.seeds((B.address,), 0.0))
    node.stream_frame(one.stream, packet(B, B, End()), B.address, 0.1)
    assert node.identity.announced
    node.stream_ended(one.stream, 0.2)
    node.stream_ended(-1, 0.2)
    assert {stream.segment for stream in opened(node.seeds((D.address,), 60.0))} <= {0}


def test_strangers_with_narrow_paths_are_remembered_up_to_a_limit() -> None:
    node = engine("a", has_seeds=True)
    for port in range(200):
        seed = Address("10.9.9.9", 1000 + port)
        [stream] = opened(node.seeds((seed,), float(10 * port)))
        node.stream_ended(stream.stream, 10 * port + 5.0)
        assert len(node.streams._narrow) <= 64
    assert seed in node.streams._narrow


# At a user's request


def ends(outputs: list[Output]) -> list[JoinEnded]:
    return [output for output in outputs if isinstance(output, JoinEnded)]


def test_a_requested_join_compares_with_every_address_member_or_not() -> None:
    node = engine("a")
    introduce(node, B)
    outputs = node.join([B.address, C.address, C.address], 1.0)
    assert [opening.to for opening in opened(outputs)] == [B.address, C.address]
    assert all(any(isinstance(said, Compare) for said in spoken(opening.frame)) for opening in opened(outputs))
    assert ends(outputs) == []


def test_it_has_ended_when_the_states_were_compared_to_the_end() -> None:
    node = engine("a")
    streams = {opening.to: opening.stream for opening in opened(node.join([C.address], 1.0))}
    assert ends(says(node, streams, C, C, Compare(node.state.fingerprint.sums), End())) == []
    assert ends(says(node, streams, C, End())) == [JoinEnded(C.address, compared=True)]
    assert ends(node.stream_ended(streams[C.address], 2.0)) == []


@pytest.mark.parametrize("answered", [False, True])
def test_a_stream_that_ends_before_that_is_a_failed_join(answered: bool) -> None:
    node = engine("a")
    streams = {opening.to: opening.stream for opening in opened(node.join([C.address], 1.0))}
    if answered:
        says(node, streams, C, C, Compare((1,) * 256), End())
    assert ends(node.stream_ended(streams[C.address], 2.0)) == [JoinEnded(C.address, compared=False)]


def test_a_requested_join_shares_the_comparison_that_is_under_way() -> None:
    node = engine("a", has_seeds=True)
    [opening] = opened(node.seeds([C.address], 0.0))
    assert opened(node.join([C.address], 0.1)) == []
    assert ends(node.stream_ended(opening.stream, 1.0)) == [JoinEnded(C.address, compared=False)]


def test_of_itself_it_has_nothing_to_compare_and_too_many_addresses_fail() -> None:
    node = engine("a")
    assert ends(node.join([A.address], 1.0)) == [JoinEnded(A.address, compared=True)]
    many = [Address("10.0.0.9", port) for port in range(1, limits.STREAMS_OUT_MAX + 2)]
    outputs = node.join(many, 1.0)
    assert len(opened(outputs)) == limits.STREAMS_OUT_MAX
    assert ends(outputs) == [JoinEnded(many[-1], compared=False)]


def test_a_node_that_has_left_joins_no_more() -> None:
    node = engine("a")
    node.leave(1.0)
    with pytest.raises(NodeClosed):
        node.join([C.address], 1.0)
