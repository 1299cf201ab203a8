"""The kernel of a killed process reports its death, and no live process is reported."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.reconcile import End, KeepOpen
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import CloseStream, KeepStream, MemberChanged, OpenStream, Output, SendFrame, Transmit
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import address, engine, introduce, packet, said_to, update

CROWD = [update(name, port=7001 + number) for number, name in enumerate("bcdefgh")]


def watching(*members: MemberUpdate, lifelines: int = 2) -> tuple[Engine, list[OpenStream]]:
    """A node among members, and the lifelines that it opens."""
    node = engine("a", settings=EngineSettings(lifelines=lifelines))
    introduce(node, *(members or CROWD))
    return node, lines(node, node.handle_timeout(0.0))


def lines(node: Engine, outputs: list[Output]) -> list[OpenStream]:
    return [output for output in outputs if isinstance(output, OpenStream) and output.idle]


def rechecks(outputs: list[Output]) -> list[OpenStream]:
    opened = [output for output in outputs if isinstance(output, OpenStream) and not output.idle]
    return [opening for opening in opened if any(isinstance(said, Ping) for said in unpack(opening.frame)[1])]


def holder(opening: OpenStream) -> MemberUpdate:
    [member] = (member for member in CROWD if member.address == opening.to)
    return member


def held(node: Engine, line: OpenStream, now: float = 0.1) -> MemberUpdate:
    """Let the peer keep its end open; returns the peer."""
    peer = holder(line)
    node.stream_frame(line.stream, packet(peer, KeepOpen()), peer.address, now)
    return peer


def statuses(outputs: list[Output]) -> list[tuple[str, Status]]:
    changes = [output.after for output in outputs if isinstance(output, MemberChanged)]
    return [(after.name, after.status) for after in changes if after is not None]


def test_each_holds_lines_to_the_next_on_the_ring() -> None:
    node, opened = watching()
    assert [holder(line).name for line in opened] == node.members.ring.after("a", 2)
    assert all(unpack(line.frame)[1] == [KeepOpen()] for line in opened)
    assert lines(node, node.handle_timeout(1.0)) == []


def test_who_is_asked_to_hold_a_line_lets_it_be_silent_and_says_so() -> None:
    node, _ = watching()
    outputs = node.stream_frame(-1, packet(CROWD[0], KeepOpen()), CROWD[0].address, 1.0)
    assert KeepStream(-1) in outputs
    [answer] = (output for output in outputs if isinstance(output, SendFrame))
    assert unpack(answer.frame)[1] == [KeepOpen()]


def test_only_a_peer_that_opened_a_stream_may_ask_for_it_to_be_held() -> None:
    node, _ = watching()
    outputs = node.receive(packet(CROWD[0], KeepOpen()), CROWD[0].address, 1.0)
    assert not any(isinstance(output, KeepStream) for output in outputs)


def test_when_a_line_ends_its_holder_is_rechecked_at_at_once() -> None:
    node, [line, _] = watching()
    lost = held(node, line)
    [recheck] = rechecks(node.stream_ended(line.stream, 5.0))
    assert recheck.to == lost.address
    assert unpack(recheck.frame)[1] == [Ping(0, lost.run_id, node.fingerprint), End()]


def test_one_that_is_refused_says_so_first_to_those_that_watch_the_same_member() -> None:
    node, [line, _] = watching()
    lost = held(node, line)
    [recheck] = rechecks(node.stream_ended(line.stream, 5.0))
    outputs = node.stream_ended(recheck.stream, 5.001, refused=True)
    assert statuses(outputs) == [(lost.name, Status.SUSPECT)]
    for name in node.members.ring.before(lost.name, 2):
        if name != "a":
            watcher = node.members.get(name)
            assert watcher is not None
            [version] = said_to(outputs, watcher.address)
            assert isinstance(version, MemberUpdate)
            assert (version.name, version.accuser, version.refused) == (lost.name, node.identity.run_id, True)


def test_a_second_one_that_is_refused_makes_it_a_failure() -> None:
    node, [line, _] = watching()
    lost = held(node, line)
    [recheck] = rechecks(node.stream_ended(line.stream, 5.0))
    node.stream_ended(recheck.stream, 5.001, refused=True)
    other = next(member for member in CROWD if member.name != lost.name)
    version = lost.graver(Status.SUSPECT, other.run_id, refused=True)
    assert statuses(node.receive(packet(other, version), other.address, 5.002)) == [(lost.name, Status.FAILED)]


def test_the_second_one_may_be_this_node() -> None:
    node, [line, _] = watching()
    lost = held(node, line)
    [recheck] = rechecks(node.stream_ended(line.stream, 5.0))
    other = next(member for member in CROWD if member.name != lost.name)
    node.receive(packet(other, lost.graver(Status.SUSPECT, other.run_id, refused=True)), other.address, 5.0)
    assert statuses(node.stream_ended(recheck.stream, 5.001, refused=True)) == [(lost.name, Status.FAILED)]


def test_who_hears_of_a_refusal_rechecks_once_if_it_is_near_on_the_ring() -> None:
    node, [line, _] = watching()
    near = holder(line)
    other = next(member for member in CROWD if member.name != near.name)
    version = near.graver(Status.SUSPECT, other.run_id, refused=True)
    assert [recheck.to for recheck in rechecks(node.receive(packet(other, version), other.address, 1.0))] == [
        near.address
    ]
    assert rechecks(node.receive(packet(other, version), other.address, 1.5)) == []
    assert len(rechecks(node.receive(packet(other, version), other.address, 2.0))) == 1
    far = next(member for member in CROWD if "a" not in node.members.ring.before(member.name, 4))
    version = far.graver(Status.SUSPECT, other.run_id, refused=True)
    assert rechecks(node.receive(packet(other, version), other.address, 3.0)) == []


def test_a_recheck_that_is_answered_accuses_no_member_and_the_lifeline_is_opened_again() -> None:
    node, [line, _] = watching()
    lost = held(node, line)
    [recheck] = rechecks(node.stream_ended(line.stream, 5.0))
    node.stream_frame(recheck.stream, packet(lost, Ack(0, 0, node.fingerprint), End()), lost.address, 5.01)
    assert rechecks(node.stream_ended(recheck.stream, 5.02)) == []
    again = [holder(each).name for now in range(6, 12) for each in lines(node, node.handle_timeout(float(now)))]
    assert again == [lost.name]


def test_a_recheck_that_comes_to_nothing_is_repeated_but_not_for_ever() -> None:
    node, [line, _] = watching()
    held(node, line)
    outputs = node.stream_ended(line.stream, 5.0)
    number = 0
    while knocking := rechecks(outputs):
        number += 1
        outputs = node.stream_ended(knocking[0].stream, 5.0 + number)
    assert number == 3
    assert not any(isinstance(output, MemberChanged) for output in outputs)


def test_a_lifeline_that_was_never_established_accuses_no_member_since_it_may_be_a_firewall() -> None:
    node, [line, _] = watching()
    assert node.stream_ended(line.stream, 0.01, refused=True) == []


def test_a_member_that_left_restarted_or_failed_meanwhile_is_not_rechecked() -> None:
    node, [one, two] = watching()
    left, restarted = held(node, one), held(node, two)
    node.receive(packet(left, attrs.evolve(left, status=Status.LEFT)), left.address, 1.0)
    introduce(node, attrs.evolve(restarted, generation=restarted.generation + 1), now=1.0)
    assert rechecks(node.stream_ended(one.stream, 5.0)) == []
    assert rechecks(node.stream_ended(two.stream, 5.0)) == []


def test_one_that_restarts_while_it_is_rechecked_at_is_not_accused() -> None:
    node, [line, _] = watching()
    lost = held(node, line)
    [recheck] = rechecks(node.stream_ended(line.stream, 5.0))
    introduce(node, attrs.evolve(lost, generation=lost.generation + 1), now=5.0)
    assert statuses(node.stream_ended(recheck.stream, 5.001, refused=True)) == []


def test_lines_follow_the_ring_but_not_more_than_thrice_a_second() -> None:
    node, opened = watching(CROWD[0])
    assert [line.to for line in opened] == [CROWD[0].address]
    introduce(node, *CROWD[1:], now=0.1)
    assert lines(node, node.handle_timeout(0.2)) == []
    outputs = node.handle_timeout(0.3)
    wanted = node.members.ring.after("a", 2)
    assert {holder(line).name for line in lines(node, outputs)} == set(wanted) - {"b"}
    assert (CloseStream(opened[0].stream) in outputs) == ("b" not in wanted)


def test_where_no_stream_is_left_a_line_waits_for_the_next_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS_OUT_MAX", 1)
    node, opened = watching()
    assert len(opened) == 1
    assert node.counters["streams_over_limit"] == 1


def test_junk_on_a_line_ends_it() -> None:
    node, [line, _] = watching()
    lost = held(node, line)
    outputs = node.stream_frame(line.stream, b"junk", lost.address, 5.0)
    assert CloseStream(line.stream) in outputs
    assert len(rechecks(outputs)) == 1


def test_a_node_may_hold_no_lines_at_all() -> None:
    _, opened = watching(lifelines=0)
    assert opened == []


def test_in_a_pair_one_refusal_will_do() -> None:
    node, [line] = watching(CROWD[0])
    lost = held(node, line)
    [recheck] = rechecks(node.stream_ended(line.stream, 5.0))
    outputs = node.stream_ended(recheck.stream, 5.001, refused=True)
    assert statuses(outputs) == [(lost.name, Status.SUSPECT), (lost.name, Status.FAILED)]
    assert not node.sessions.is_open(Purpose.RECHECK, address(7001))


def packet_before(outputs: list[Output], stream: OpenStream) -> Transmit:
    """The one packet that goes ahead of a stream to the same address."""
    [sent] = [output for output in outputs[: outputs.index(stream)] if isinstance(output, Transmit)]
    assert sent.to == stream.to
    return sent


def test_in_a_pair_a_refusal_is_no_proof_if_this_hosts_own_kernel_refuses_a_packet_first() -> None:
    node, [line] = watching(CROWD[0])
    held(node, line)
    outputs = node.stream_ended(line.stream, 5.0)
    [recheck] = rechecks(outputs)
    node.unsent(packet_before(outputs, recheck).to, 5.0)
    assert statuses(node.stream_ended(recheck.stream, 5.001, refused=True)) == []


def test_in_a_pair_a_probe_that_is_refused_is_no_proof_either_if_a_packet_is_refused_first() -> None:
    node, _ = watching(CROWD[0], lifelines=0)
    now = 0.0
    outputs: list[Output] = []
    while not (streams := rechecks(outputs)):
        now = node.deadline()
        outputs = node.handle_timeout(now)
    node.unsent(packet_before(outputs, streams[0]).to, now)
    node.stream_ended(streams[0].stream, now, refused=True)
    for _ in range(3):
        now = node.deadline()
        assert (CROWD[0].name, Status.FAILED) not in statuses(node.handle_timeout(now))


def test_among_three_no_packet_goes_ahead_of_a_recheck() -> None:
    node, [line, *_] = watching(*CROWD[:2])
    held(node, line)
    outputs = node.stream_ended(line.stream, 5.0)
    assert rechecks(outputs)
    assert not any(isinstance(output, Transmit) for output in outputs)


# Lines that pass no more


def answers(node: Engine, outputs: list[Output], line: OpenStream, now: float) -> None:
    """Let the peer answer what it was asked on its line."""
    for output in outputs:
        if isinstance(output, SendFrame) and output.stream == line.stream:
            for said in unpack(output.frame)[1]:
                if isinstance(said, Ping):
                    node.stream_frame(line.stream, packet(holder(line), Ack(0, 0, node.fingerprint)), line.to, now)


def test_lines_that_are_answered_are_kept_and_asked_one_after_the_other() -> None:
    node, [line, other] = watching()
    held(node, line)
    held(node, other)
    asked = []
    for tick in range(1300):
        outputs = node.handle_timeout(tick / 10)
        asked += [(output.stream, tick / 10) for output in outputs if isinstance(output, SendFrame)]
        answers(node, outputs, line, tick / 10)
        answers(node, outputs, other, tick / 10)
    assert [stream for stream, _ in asked] == [line.stream, other.stream, line.stream, other.stream]
    assert [round(later - at) for (_, at), (_, later) in pairwise(asked)] == [30, 30, 30]
    assert node.sessions.is_open(Purpose.LIFELINE, line.to)


def test_a_line_that_is_not_open_yet_is_not_asked() -> None:
    node, [line, _] = watching()
    held(node, line)
    asked = []
    for tick in range(700):
        outputs = node.handle_timeout(tick / 10)
        asked += [output.stream for output in outputs if isinstance(output, SendFrame)]
        answers(node, outputs, line, tick / 10)
    assert asked == [line.stream, line.stream]


def test_when_one_line_passes_nothing_the_others_are_asked_at_once() -> None:
    node, [line, other] = watching()
    held(node, line)
    held(node, other)
    asked, closed = [], []
    for tick in range(450):
        outputs = node.handle_timeout(tick / 10)
        asked += [(output.stream, tick / 10) for output in outputs if isinstance(output, SendFrame)]
        closed += [(output.stream, tick / 10) for output in outputs if isinstance(output, CloseStream)]
    assert [stream for stream, _ in asked] == [line.stream, other.stream]
    assert [round(at - asked[0][1]) for _, at in (asked[1], *closed)] == [5, 5, 10]


def test_a_line_on_which_nothing_passes_any_more_is_given_up_and_opened_anew() -> None:
    node, [line, other] = watching()
    held(node, line)
    held(node, other)
    closed, again = [], []
    for tick in range(400):
        outputs = node.handle_timeout(tick / 10)
        answers(node, outputs, other, tick / 10)
        closed += [output.stream for output in outputs if isinstance(output, CloseStream)]
        again += [opening.to for opening in lines(node, outputs)] if tick else []
    assert closed == [line.stream]
    assert again == [line.to]


def test_without_lines_nothing_is_asked() -> None:
    node, [line] = watching(CROWD[0], lifelines=1)
    held(node, line)
    node.receive(packet(CROWD[0], attrs.evolve(CROWD[0], status=Status.LEFT)), CROWD[0].address, 1.0)
    for tick in range(500):
        assert not any(isinstance(output, SendFrame) for output in node.handle_timeout(1.0 + tick / 10))
