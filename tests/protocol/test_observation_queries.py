"""Queries of observations: asked on a stream of their own, answered to members only, and bounded."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.observations import LinkState, MemberObservation, ObserverReport
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.observations import ObservationRequest, Observations, packed, unpacked
from gossipreg.protocol.membership.paths import Passes
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import CloseStream, ObservationsEnded, ObservationsRequested, Output, SendFrame
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.delivering import D, deliver
from tests.protocol.making import packet, said_to, update
from tests.protocol.test_engine import A, B, C, among, opened

ANSWER = Observations(
    "9.9", ("the disk is full",), packed([MemberObservation("c", Status.SUSPECT, LinkState.DIRECT, 0.002)])
)


def reports(outputs: list[Output]) -> list[ObserverReport]:
    return [each.report for each in outputs if isinstance(each, ObservationsEnded)]


def ask(node: Engine, name: str = "b") -> int:
    [opening] = opened(node.ask_observations(name))
    assert unpack(opening.frame)[1] == [ObservationRequest(), End()]
    return opening.stream


def told(node: Engine, outputs: list[Output]) -> list[Observations]:
    """What ``node`` answers to a request among ``outputs``."""
    [asked] = [each for each in outputs if isinstance(each, ObservationsRequested)]
    frames = [
        each.frame for each in node.tell_observations(asked.stream, "1.0", ["full"]) if isinstance(each, SendFrame)
    ]
    return [message for frame in frames for message in unpack(frame)[1] if isinstance(message, Observations)]


def test_a_member_that_answers_is_reported_with_what_it_believes() -> None:
    node = among(B, C)
    stream = ask(node)
    assert reports(node.stream_frame(stream, packet(B, ANSWER), B.address, 6.1)) == []
    outputs = node.stream_frame(stream, packet(B, End()), B.address, 6.2)
    assert CloseStream(stream) in outputs
    observed = (MemberObservation("c", Status.SUSPECT, LinkState.DIRECT, 0.002),)
    assert reports(outputs) == [ObserverReport("b", "", "", "9.9", ("the disk is full",), observed)]
    assert reports(node.stream_ended(stream, 6.3)) == []


def test_a_request_is_answered_in_time_to_be_before_the_end() -> None:
    node = among(B, C)
    outputs = node.stream_frame(-1, packet(B, ObservationRequest(), End()), B.address, 6.0)
    kinds = [type(each) for each in outputs if isinstance(each, ObservationsRequested | SendFrame)]
    assert kinds == [ObservationsRequested, SendFrame]
    first, second = told(node, outputs)
    assert (first.version, first.problems, first.entries) == ("1.0", ("full",), ())
    assert [each.name for each in unpacked(second.entries)] == ["b", "c"]


def test_strangers_packets_and_streams_of_this_node_get_no_answer() -> None:
    node = among(B, C)
    asked = node.stream_frame(-1, packet(D, ObservationRequest(), End()), D.address, 6.0)
    asked += deliver(node, B, ObservationRequest())
    asked += node.stream_frame(ask(node), packet(B, ObservationRequest()), B.address, 6.0)
    assert not any(isinstance(each, ObservationsRequested) for each in asked)


def test_an_answer_counts_from_the_member_that_was_asked_on_its_stream_only() -> None:
    node = among(B, C)
    stream = ask(node)
    deliver(node, B, ANSWER)
    node.stream_frame(-1, packet(B, ANSWER), B.address, 6.0)
    node.stream_frame(stream, packet(C, ANSWER), C.address, 6.0)
    assert [each.failure for each in reports(node.stream_ended(stream, 6.1))] == [
        "its version is earlier: it does not know the question"
    ]


def test_why_there_is_no_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B, C, update("gone", Status.FAILED, port=7009))
    assert [each.failure for each in reports(node.ask_observations("gone"))] == ["it is failed"]
    assert [each.failure for each in reports(node.ask_observations("nix"))] == ["it is unknown"]
    assert reports(node.stream_ended(ask(node), 6.1)) == [ObserverReport("b", "", "it does not answer", is_silent=True)]
    stream = ask(node)
    [report] = reports(node.stream_frame(stream, packet(B, End()), B.address, 6.2))
    assert "earlier" in report.failure
    assert not report.is_silent, "its end came"
    stream = ask(node)
    [report] = reports(node.stream_frame(stream, b"junk", B.address, 6.2))
    assert report.failure == "it does not answer"
    monkeypatch.setattr(limits, "STREAMS_OUT_MAX", 0)
    assert [each.failure for each in reports(node.ask_observations("b"))] == ["too many streams are open"]


def test_a_peer_that_says_more_than_its_answer_is_reported_once() -> None:
    node = among(B, C)
    stream = ask(node)
    compare = Compare(tuple(each ^ 1 for each in node.state.fingerprint.sums))
    first = reports(node.stream_frame(stream, packet(B, ANSWER, compare, End()), B.address, 6.0))
    again = reports(node.stream_frame(stream, packet(B, ANSWER, End()), B.address, 6.1))
    assert len(first + again + reports(node.stream_ended(stream, 6.2))) == 1


def test_a_query_that_is_given_up_leaves_no_stream_and_is_not_reported() -> None:
    node = among(B, C)
    stream, other = ask(node), ask(node, "c")
    assert node.give_up_observations("b") == [CloseStream(stream)]
    assert node.give_up_observations("b") == []
    assert reports(node.stream_ended(stream, 6.1)) == []
    assert [each.name for each in reports(node.stream_ended(other, 6.2))] == ["c"]


def test_a_long_answer_is_several_messages_and_none_is_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(*(update(f"m{number}", port=7100 + number) for number in range(7)))
    monkeypatch.setattr(limits, "OBSERVATIONS_MAX", 3)
    outputs = node.stream_frame(-1, packet(update("m0", port=7100), ObservationRequest(), End()), A.address, 6.0)
    assert [len(each.entries) for each in told(node, outputs)] == [0, 3, 3, 1]

    monkeypatch.setattr(limits, "MEMBERS_MAX", 2)
    stream = ask(node, "m1")
    asked = node.members.get("m1")
    assert asked is not None
    many = packed([MemberObservation(f"x{number}", Status.ALIVE) for number in range(3)])
    [report] = reports(node.stream_frame(stream, packet(asked, Observations("", (), many), End()), asked.address, 6.1))
    assert len(report.observed) == 2


def test_problems_are_cut_to_their_limits() -> None:
    node = among(B)
    long = "x" * (limits.OBSERVER_PROBLEM_CHARS_MAX + 1)
    [frame] = [
        each.frame
        for each in node.tell_observations(-1, "1", [long] * (limits.OBSERVER_PROBLEMS_MAX + 1))
        if isinstance(each, SendFrame)
    ]
    said = unpack(frame)[1][0]
    assert isinstance(said, Observations)
    assert said.problems == (long[:-1],) * limits.OBSERVER_PROBLEMS_MAX


def test_a_round_trip_is_told_in_microseconds() -> None:
    trips = [None, 0.0, 0.000_000_4, 0.0015, 1e9]
    entries = packed([MemberObservation("b", Status.ALIVE, round_trip=each) for each in trips])
    assert [each[3] for each in entries] == [0, 1, 1, 1500, 2**32 - 1]
    assert unpacked(entries[3:4]) == (MemberObservation("b", Status.ALIVE, LinkState.DIRECT, 0.0015),)


def test_the_link_says_what_passes_directly() -> None:
    node = among(B, C, update("gone", Status.FAILED, port=7009))
    links = {each.name: each.link for each in node.observations.observe()}
    assert links == {"b": LinkState.DIRECT, "c": LinkState.DIRECT, "gone": LinkState.DIRECT}
    indirect = node.detector.prober.indirect
    for member in (B, C):
        for now in (1.0, 2.0, 3.0):
            indirect.through_others(member.run_id, now)
    deliver(node, C, Ping(1, 0, node.fingerprint))
    links = {each.name: each.link for each in node.observations.observe()}
    assert (links["b"], links["c"]) == (LinkState.INCOMING_LOST, LinkState.OUTGOING_LOST)


def test_what_path_tests_have_found_is_told_too() -> None:
    node = among(B, C)
    for place in range(6):
        node.paths.stream_acked(B.run_id, float(place))
        node.paths.handle_timeout(100.0 + 10 * place)
    assert node.paths.passes(B.run_id) is Passes.STREAMS_ONLY
    assert {each.name: each.link for each in node.observations.observe()}["b"] is LinkState.STREAMS_ONLY


def unanswered(node: Engine) -> int:
    """How many pings ``b`` has not answered, as a peer that asks is told."""
    entries = packed(node.observations.observe())
    return {each.name: each.unanswered for each in unpacked(entries)}["b"]


def test_answers_of_helpers_count_as_indirect_and_an_own_answer_ends_that() -> None:
    node = among(B, C)
    numbers: list[int] = []
    now = 10.0
    while len(numbers) < 4:
        said = said_to(node.handle_timeout(now), B.address)
        for ping in [each for each in said if isinstance(each, Ping) and each.seq]:
            numbers.append(ping.seq)
            node.handle_timeout(now + 0.3)
            deliver(node, C, Ack(ping.seq, B.run_id, 0), now=now + 0.4)
            assert (node.detector.prober.indirect.find(B.run_id) is not None) == (len(numbers) > 2)
        now += 0.5
    node.detector.prober.sweep(now)
    assert node.detector.prober.indirect.found().keys() == {B.run_id}
    deliver(node, B, Ack(numbers[-1], 0, 0), now=now)
    assert node.detector.prober.indirect.found() == {}


def test_a_ping_that_is_not_answered_in_time_is_told_before_the_probe_is_over() -> None:
    node, now = among(B), 10.0
    [ping] = [each for each in said_to(node.handle_timeout(now), B.address) if isinstance(each, Ping) and each.seq]
    assert unanswered(node) == 0
    node.handle_timeout(node.detector.prober.deadline)
    assert unanswered(node) == 1
    assert node.members.get("b") == B, "it is not suspected yet"
    deliver(node, B, Ack(ping.seq, 0, 0), now=now + 0.9)
    assert unanswered(node) == 0


def test_a_stream_is_answered_once_however_often_it_asks() -> None:
    node = among(B, C)
    outputs = node.stream_frame(-1, packet(B, *[ObservationRequest()] * 3), B.address, 6.0)
    outputs += node.stream_frame(-1, packet(B, ObservationRequest(), End()), B.address, 6.1)
    assert [each.stream for each in outputs if isinstance(each, ObservationsRequested)] == [-1]
    other = node.stream_frame(-2, packet(B, ObservationRequest(), End()), B.address, 6.2)
    assert [each.stream for each in other if isinstance(each, ObservationsRequested)] == [-2]
