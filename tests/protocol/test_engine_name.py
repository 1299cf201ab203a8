"""How one node keeps or yields its name."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.model import Address, Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.identity import RECLAIM_STEP_MS, NameConflictQuery
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import (
    CloseStream,
    MemberChanged,
    NameConflicted,
    NameConflictFound,
    OpenStream,
    Output,
    SendFrame,
    Transmit,
)
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.view import first_index
from tests.protocol.delivering import believed, deliver, receive_over_stream, replies
from tests.protocol.making import BORN, address, engine, instance, introduce, packet, said_to
from tests.protocol.test_engine import A, B, C, among, changes, opened

# Our own name

OTHER = attrs.evolve(A, generation=BORN + 1, address=address(7999))


def rival(*, has_seeds: bool = False) -> tuple[Engine, list[Output]]:
    """A node that has heard of another run of its name, and what it does about it."""
    node = engine("a", has_seeds=has_seeds)
    introduce(node, B)
    deliver(node, B, OTHER, now=6.0)
    assert node.deadline() <= 6.0
    return node, node.handle_timeout(6.0)


def test_what_is_no_news_of_ourselves_needs_no_answer() -> None:
    node = among(B)
    deliver(node, B, node.identity.own_update(), attrs.evolve(OTHER, generation=BORN - 1))
    assert node.identity.rival is None
    assert node.identity.incarnation == 0


def test_another_run_of_our_name_is_asked_by_both_ways() -> None:
    node, outputs = rival()
    asked = [m for m in said_to(outputs, OTHER.address) if isinstance(m, NameConflictQuery)]
    assert asked == [node.identity.query()] * 2
    again = node.handle_timeout(6.5)
    assert node.identity.query() in said_to(again, OTHER.address)
    assert all(opening.to != OTHER.address for opening in opened(again)), "it is still being asked"


def test_if_no_answer_comes_it_was_our_own_earlier_run() -> None:
    node, _ = rival()
    for now in (6.5, 7.0, 7.5):
        node.handle_timeout(now)
    assert node.identity.generation == BORN + 1 + RECLAIM_STEP_MS
    assert believed(node, "a").generation == BORN + 1 + RECLAIM_STEP_MS
    assert node.identity.rival is None


def test_if_its_kernel_refuses_too_and_at_once() -> None:
    node, outputs = rival(has_seeds=True)
    node.register(instance("x"), 6.0)
    [stream] = (opening.stream for opening in opened(outputs) if opening.to == OTHER.address)
    node.stream_ended(stream, 6.01, refused=True)
    assert node.identity.announced
    assert node.identity.generation == BORN + 1 + RECLAIM_STEP_MS
    [offered] = {said for said in said_to(node.handle_timeout(6.1), B.address) if isinstance(said, Record)}
    assert (offered.id, offered.generation) == ("x", BORN + 1 + RECLAIM_STEP_MS)


def test_a_refusal_that_comes_after_the_name_conflict_is_over_changes_nothing() -> None:
    node, outputs = rival()
    [stream] = (opening.stream for opening in opened(outputs) if opening.to == OTHER.address)
    for now in (6.5, 7.0, 7.5):
        node.handle_timeout(now)
    node.stream_ended(stream, 7.6, refused=True)
    assert node.identity.generation == BORN + 1 + RECLAIM_STEP_MS


def test_the_older_answers_and_keeps_the_name() -> None:
    node, _ = rival()
    younger = NameConflictQuery("a", OTHER.run_id, BORN + 1, announced=True)
    outputs = deliver(node, OTHER, younger, now=6.1)
    assert NameConflictFound(OTHER.address, yielding=False) in outputs
    assert any(isinstance(m, NameConflictQuery) for m in said_to(outputs, OTHER.address))
    assert node.identity.generation == BORN + 1 + RECLAIM_STEP_MS
    again = deliver(node, OTHER, younger, now=6.2)
    assert said_to(again, OTHER.address) == [], "it has just been told"


def test_a_newcomer_yields_to_one_that_is_announced() -> None:
    node, _ = rival(has_seeds=True)
    outputs = deliver(node, OTHER, NameConflictQuery("a", OTHER.run_id, BORN + 1, announced=True), now=6.1)
    assert NameConflictFound(OTHER.address, yielding=True) in outputs


def test_of_two_that_were_let_in_at_once_the_younger_yields() -> None:
    node = engine("a", has_seeds=True, generation=BORN + 1)
    [opening] = opened(node.seeds([B.address], 0.0))
    node.stream_frame(opening.stream, packet(B, B, End()), B.address, 0.1)
    node.stream_frame(opening.stream, packet(B, End()), B.address, 0.2)
    assert node.identity.announced
    other = attrs.evolve(OTHER, generation=BORN + 2)
    deliver(node, B, other, now=1.0)
    node.handle_timeout(1.0)
    outputs = deliver(node, other, NameConflictQuery("a", other.run_id, BORN, announced=True), now=1.1)
    assert NameConflictFound(other.address, yielding=True) in outputs


def in_conflict() -> tuple[Engine, list[Output]]:
    """A running node that has been told, in reply to its question, that an older one has its name."""
    node, _ = rival()
    return node, deliver(node, OTHER, NameConflictQuery("a", OTHER.run_id, BORN - 1, announced=True), now=6.1)


def test_a_node_that_runs_reports_a_conflict_and_goes_on() -> None:
    node, outputs = in_conflict()
    assert [each for each in outputs if isinstance(each, NameConflictFound)] == []
    assert NameConflicted(OTHER.address) in outputs
    assert node.identity.conflict == OTHER.address
    assert node.counters["name_conflicts"] == 1
    node.register(instance("x"), 6.2)
    assert [one.id for one in node.view.service("orders").healthy] == ["x"]
    [pong] = [m for m in said_to(deliver(node, B, Ping(7, 0, 0), now=6.3), B.address) if isinstance(m, Ack)]
    assert pong.seq == 7
    again = deliver(node, OTHER, NameConflictQuery("a", OTHER.run_id, BORN - 1, announced=True), now=6.9)
    assert not any(isinstance(each, NameConflicted | NameConflictFound) for each in again), "it is said once"


def conflicts(outputs: list[Output]) -> list[Address | None]:
    return [each.other for each in outputs if isinstance(each, NameConflicted)]


def test_a_node_in_conflict_asks_again_and_has_its_name_when_no_answer_comes() -> None:
    node, _ = in_conflict()
    wait = node.settings.reconnect_interval
    assert node.local_member.deadline == 6.1 + wait
    assert node.identity.query() in said_to(node.handle_timeout(6.1 + wait), OTHER.address)
    deliver(node, OTHER, NameConflictQuery("a", OTHER.run_id, BORN - 1, announced=True), now=6.2 + wait)
    assert node.identity.conflict == OTHER.address
    assert node.counters["name_conflicts"] == 1
    outputs: list[Output] = []
    for tries in range(4):
        outputs += node.handle_timeout(6.2 + 2 * wait + tries * node.settings.probe_timeout)
    assert conflicts(outputs) == [None]
    assert node.identity.generation == OTHER.generation + RECLAIM_STEP_MS


@pytest.mark.parametrize(
    ("run_id", "source"),
    [(OTHER.run_id, B.address), (OTHER.run_id, address(8000)), (OTHER.run_id + 1, OTHER.address), (0, OTHER.address)],
)
def test_a_name_conflict_from_elsewhere_or_of_another_run_is_no_answer(run_id: int, source: Address) -> None:
    node, _ = rival(has_seeds=True)
    outputs = node.receive(packet(OTHER, NameConflictQuery("a", run_id, 0, announced=True)), source, 6.1)
    assert [each for each in outputs if isinstance(each, NameConflictFound)] == []
    assert node.identity.rival == OTHER


@pytest.mark.parametrize("born", [0, BORN - 1, 2**53 - 1])
@pytest.mark.parametrize("announced", [True, False])
def test_a_name_conflict_that_was_not_asked_for_ends_nothing(born: int, announced: bool) -> None:
    for node in (among(B), engine("a", has_seeds=True)):
        for said in (NameConflictQuery("a", OTHER.run_id, born, announced), NameConflictQuery("a", 1, born, announced)):
            for outputs in (deliver(node, OTHER, said), receive_over_stream(node, OTHER, said, End())):
                assert NameConflictFound(OTHER.address, yielding=True) not in outputs
        assert node.identity.conflict is None


def test_an_answer_before_the_question_was_sent_is_none() -> None:
    node = engine("a", has_seeds=True)
    introduce(node, B)
    outputs = deliver(node, B, OTHER, now=6.0)
    outputs += deliver(node, OTHER, NameConflictQuery("a", OTHER.run_id, BORN - 1, announced=True), now=6.0)
    assert NameConflictFound(OTHER.address, yielding=True) not in outputs


def test_a_name_query_on_a_stream_is_answered_there_and_ends() -> None:
    node = among(B)
    younger = NameConflictQuery("a", OTHER.run_id, BORN + 1, announced=True)
    assert replies(receive_over_stream(node, OTHER, younger, End())) == [node.identity.query(), End()]
    asking, outputs = rival()
    [stream] = (opening.stream for opening in opened(outputs) if opening.to == OTHER.address)
    answered = receive_over_stream(asking, OTHER, younger, End(), stream=stream)
    assert CloseStream(stream) in answered
    assert replies(answered) == []


def test_one_that_began_another_run_meanwhile_is_asked_in_that_one() -> None:
    node, outputs = rival(has_seeds=True)
    [stream] = (opening.stream for opening in opened(outputs) if opening.to == OTHER.address)
    reborn = attrs.evolve(OTHER, generation=BORN + 5)
    answer = NameConflictQuery("a", reborn.run_id, BORN - 1, announced=True)
    outputs = receive_over_stream(node, reborn, answer, End(), stream=stream)
    assert NameConflictFound(OTHER.address, yielding=True) not in outputs
    assert node.identity.query() in said_to(node.handle_timeout(6.1), OTHER.address)
    assert NameConflictFound(OTHER.address, yielding=True) in deliver(node, reborn, answer, now=6.2)


def test_a_refusal_elsewhere_says_nothing_of_the_namesake() -> None:
    node, outputs = rival(has_seeds=True)
    [stream] = (opening.stream for opening in opened(outputs) if opening.to == OTHER.address)
    moved = attrs.evolve(OTHER, generation=BORN + 2, address=address(7998))
    deliver(node, B, moved, now=6.1)
    node.stream_ended(stream, 6.2, refused=True)
    assert node.identity.rival == moved


def test_name_conflicts_for_other_names_or_after_the_end_are_none_of_ours() -> None:
    node = among(B)
    assert deliver(node, OTHER, NameConflictQuery("z", OTHER.run_id, BORN - 1, announced=True)) == []
    assert deliver(node, OTHER, NameConflictQuery("a", A.run_id, BORN - 1, announced=True)) == []
    node.leave(6.0)
    assert deliver(node, OTHER, NameConflictQuery("a", OTHER.run_id, BORN - 1, announced=True)) == []


def test_a_later_run_at_our_own_address_was_ours_and_we_outlive_it() -> None:
    node = among(B)
    node.register(instance("x"), 6.0)
    deliver(node, B, attrs.evolve(A, generation=BORN + 10))
    assert node.identity.generation == BORN + 10 + RECLAIM_STEP_MS
    told = said_to(node.handle_timeout(6.01), B.address)
    assert {m.generation for m in told if isinstance(m, Record)} == {BORN + 10 + RECLAIM_STEP_MS}


def test_indexes_do_not_fall_below_those_of_a_past_run_whose_clock_was_ahead_of_ours() -> None:
    past = 7 * 86_400_000
    node = among(B)
    node.register(instance("x"), 6.0)
    deliver(node, B, attrs.evolve(A, generation=BORN + past))
    first = first_index(BORN + past)
    million = 1_000_000  # changes that the past run may have seen
    for service in ("orders", "never offered"):
        assert node.view.service(service).index >= first + million
    before = node.view.service("orders").index
    node.register(instance("y"), 7.0)
    assert node.view.service("orders").index > before


def test_a_joining_node_that_learns_of_a_namesake_does_not_announce_itself() -> None:
    node = engine("a", has_seeds=True, generation=BORN + 1)
    [opening] = opened(node.seeds([B.address], 0.0))
    theirs = attrs.evolve(A, address=address(7999))
    outputs = node.stream_frame(opening.stream, packet(B, B, theirs, End()), B.address, 0.1)
    assert ("a", "alive") not in changes(outputs)
    assert not node.identity.announced
    assert not [output for output in outputs if isinstance(output, SendFrame)]


def test_streams_of_both_sides_count_for_the_same_session() -> None:
    node = engine("a", has_seeds=True)
    [opening] = opened(node.seeds([B.address], 0.0))
    assert isinstance(opening, OpenStream)
    unsettled = replies(node.stream_frame(-1, packet(B, Compare((0,) * BUCKETS), End()), B.address, 0.1))
    assert unsettled == [End()]
    introduced = replies(node.stream_frame(-1, packet(B, B, End()), B.address, 0.2))
    assert introduced[0] == node.identity.own_update()
    assert node.identity.announced


# Renumbered hosts


def test_a_node_that_moves_is_believed_at_its_new_address_with_all_that_it_offers() -> None:
    node = among(B)
    node.settings = attrs.evolve(node.settings, lifelines=1)
    node.lifelines.settings = node.settings
    introduce(node, C, now=6.0)
    node.register(instance("x"), 6.0)
    for tick in range(20):
        node.handle_timeout(6.0 + tick / 10)
    moved = node.move(address(7999), 8.0)
    [at] = [output.after for output in moved if isinstance(output, MemberChanged)]
    assert at is not None
    assert at.address == address(7999)
    assert any(isinstance(output, CloseStream) for output in moved), "the lifeline ends at the old address"
    peer = engine("b", address=B.address)
    introduce(peer, A)
    told = [
        output for tick in range(20) for output in node.handle_timeout(8.0 + tick / 10) if isinstance(output, Transmit)
    ]
    for output in told:
        peer.receive(output.data, address(7999), 8.5)
    peer.handle_timeout(8.6)
    seen = peer.members.get("a")
    assert seen is not None
    assert (seen.address, seen.status) == (address(7999), Status.ALIVE)
    assert [one.id for one in peer.view.service("orders").healthy] == ["x"]
