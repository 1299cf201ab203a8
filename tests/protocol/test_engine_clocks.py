"""Wall clocks that are off: the own one, those of newcomers, and stamps from the future."""

from __future__ import annotations

import pytest

from gossipreg.errors import ClockWrong
from gossipreg.model import PRIMARY
from gossipreg.policy import WeightOverride
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Ping
from gossipreg.protocol.outputs import (
    ClockChanged,
    ClockRefused,
    CloseStream,
    Output,
    PoliciesChanged,
    PolicyFromFuture,
    SendFrame,
)
from gossipreg.protocol.registry.clock import AHEAD_MAX
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import BORN, engine, instance, packet, said_to
from tests.protocol.test_engine import B, C, among, opened

RULE = WeightOverride("orders", "x", 3)
SUMS = (0,) * 256


def wall(now: float, off: float = 0.0) -> int:
    """What the clock of a peer shows at ``now`` if it is ``off`` seconds off: `engine` is born at 0.0."""
    return BORN + int(1000 * (now + off))


def probe(node: Engine, now: float, off: float = 0.0) -> list[Output]:
    """Let the node probe B and C from ``now`` on for two seconds; they answer, and show clocks that are ``off``."""
    outputs: list[Output] = []
    for tick in range(40):
        at = now + tick / 20
        heard = node.handle_timeout(at)
        outputs += heard
        for peer in (B, C):
            for message in said_to(heard, peer.address):
                if isinstance(message, Ping):
                    ack = Ack(message.seq, 0, node.fingerprint)
                    outputs += node.receive(packet(peer, WallClock(wall(at, off)), ack), peer.address, at)
    return outputs


def told(outputs: list[Output]) -> list[Output]:
    return [each for each in outputs if isinstance(each, ClockChanged | ClockRefused | PolicyFromFuture)]


# Which newcomers are admitted


@pytest.mark.parametrize("skew", [26.0, -26.0, 3600.0])
def test_a_newcomer_whose_clock_is_off_is_told_ours_and_let_go(skew: float) -> None:
    node = engine(checks_clocks=True)
    frame = packet(B, WallClock(wall(1.0, skew)), Compare(SUMS), B, End())
    outputs = node.stream_frame(-1, frame, B.address, 1.0)
    [answer] = [output for output in outputs if isinstance(output, SendFrame)]
    assert unpack(answer.frame)[1] == [WallClock(wall(1.0))]
    assert CloseStream(-1) in outputs
    assert told(outputs) == [ClockRefused(B.address, skew, joining=False)]
    assert node.members.get("b") is None
    assert node.counters["streams_clock_skew"] == 1
    assert node.clocks.skew(1.0) is None, "a stranger's word says nothing of our own clock"


@pytest.mark.parametrize(("sealed", "skew"), [(True, 24.0), (False, 3600.0)])
def test_a_newcomer_whose_clock_is_near_enough_or_whose_packets_bear_no_time_is_let_in(
    sealed: bool, skew: float
) -> None:
    node = engine(checks_clocks=sealed)
    frame = packet(B, WallClock(wall(1.0, skew)), Compare(SUMS), End())
    [answer] = [o for o in node.stream_frame(-1, frame, B.address, 1.0) if isinstance(o, SendFrame)]
    assert unpack(answer.frame)[1][0] == WallClock(wall(1.0))
    assert unpack(answer.frame)[1][-1] == End()


def test_a_member_whose_clock_was_set_is_talked_with_all_the_same() -> None:
    node = among(B)
    node.clocks.keeps_out = True
    outputs = node.stream_frame(-1, packet(B, WallClock(wall(6.0, 90.0)), Compare(SUMS), End()), B.address, 6.0)
    assert told(outputs) == []


def test_a_newcomer_stays_out_while_its_clock_is_off_and_joins_when_it_is_right() -> None:
    node = engine("a", has_seeds=True, checks_clocks=True)
    node.handle_timeout(0.0)
    [opening] = opened(node.seeds([B.address], 0.0))
    assert unpack(opening.frame)[1][0] == WallClock(BORN)
    outputs = node.stream_frame(opening.stream, packet(B, WallClock(wall(0.1, -24.5)), B, End()), B.address, 0.1)
    assert told(outputs) == [ClockRefused(B.address, -24.5, joining=True)]
    assert not node.identity.announced
    outputs = node.stream_frame(opening.stream, packet(B, B, End()), B.address, 0.2)
    assert outputs == [], "the session is over"
    [opening] = opened(node.seeds([B.address], 0.3))
    outputs = node.stream_frame(opening.stream, packet(B, WallClock(wall(0.3, -90.0)), B, End()), B.address, 0.3)
    assert told(outputs) == [ClockRefused(B.address, -90.0, joining=True), ClockChanged(90.0)]
    node.set_wall_clock(wall(0.4, -90.0), 0.4)
    assert node.joining.deadline <= 0.4, "it is tried again at once"
    [opening] = opened(node.seeds([B.address], 0.4))
    outputs = node.stream_frame(opening.stream, packet(B, WallClock(wall(0.5, -90.0)), B, End()), B.address, 0.5)
    assert told(outputs) == [ClockChanged(None)] or not told(outputs)
    assert node.identity.announced


# A member's own clock


def test_a_member_says_that_its_clock_is_off_and_that_it_is_right_again() -> None:
    node = among(B, C)
    assert told(probe(node, 6.0)) == []
    node.set_wall_clock(wall(9.0, 3600.0), 9.0)
    assert told(node.seeds([], 9.0)) == [ClockChanged(3600.0)]
    assert node.clocks.skew(9.0) == pytest.approx(3600.0, abs=1.0)
    node.set_wall_clock(wall(10.0), 10.0)
    assert told(node.seeds([], 10.0)) == [ClockChanged(None)]


def test_that_its_clock_is_off_is_reported_only_as_long_as_peers_show_it() -> None:
    node = among(B, C)
    assert any(isinstance(each, ClockChanged) and each.skew for each in probe(node, 6.0, 100.0))
    later = [output for tick in range(30) for output in node.handle_timeout(6.0 + 10 * tick)]
    assert [each.skew for each in later if isinstance(each, ClockChanged)] == [None]


def test_the_clock_of_a_peer_that_answers_late_is_no_reading() -> None:
    node = among(B)
    for tick in range(100):
        node.handle_timeout(6.0 + tick / 20)
    node.receive(packet(B, WallClock(wall(11.0, 90.0)), Ack(1, 0, 1)), B.address, 11.0)
    assert node.clocks.skew(11.0) is None


# Policies


def test_a_policy_that_others_would_refuse_is_not_set() -> None:
    node = among(B, C)
    probe(node, 6.0)
    node.set_wall_clock(wall(9.0, 2 * 86_400), 9.0)
    with pytest.raises(ClockWrong, match=r"clock is 172800 s ahead of its peers'"):
        node.set_policy(RULE, 9.0)
    node.set_wall_clock(wall(10.0), 10.0)
    node.set_policy(RULE, 10.0)
    version = node.state.policies.get(RULE.key)
    assert version is not None
    assert version.ms == wall(10.0)


def test_a_policy_that_would_be_older_than_the_last_word_is_refused_with_the_reason() -> None:
    node = among(B)
    node.set_policy(RULE, 6.0)
    node.set_wall_clock(wall(7.0, -2 * 86_400), 7.0)
    with pytest.raises(ClockWrong, match=r"'a' last said .* 172799 s ahead of this node's clock"):
        node.set_policy(RULE, 7.0)
    with pytest.raises(ClockWrong):
        node.remove_policy(RULE.key, 7.0)


def test_what_was_said_by_a_clock_far_ahead_is_said_again_when_it_is_set_back() -> None:
    node = engine()
    node.set_wall_clock(wall(1.0, 2 * 86_400), 1.0)
    node.set_policy(RULE, 1.0)  # alone, it cannot know
    node.set_wall_clock(wall(2.0), 2.0)
    outputs = [output for tick in range(30) for output in node.handle_timeout(2.0 + tick)]
    [said] = told(outputs)
    assert isinstance(said, PolicyFromFuture)
    assert (said.key, said.writer, said.restamped) == (RULE.key, "a", True)
    assert said.ahead == pytest.approx(2 * 86_400, abs=30)
    assert PoliciesChanged((RULE.key,)) in outputs
    version = node.state.policies.get(RULE.key)
    assert version is not None
    assert version.ms <= wall(32.0)
    assert node.state.policies.rule(RULE.key) == RULE


def test_while_our_own_clock_is_the_wrong_one_nothing_is_said_again() -> None:
    node = among(B, C)
    node.set_policy(RULE, 6.0)
    probe(node, 6.0)
    node.set_wall_clock(wall(9.0, -2 * 86_400), 9.0)
    outputs = [output for tick in range(12) for output in node.handle_timeout(9.0 + tick)]
    assert [each for each in told(outputs) if isinstance(each, PolicyFromFuture)] == []


def test_what_disk_kept_of_a_future_counts_and_is_said_again() -> None:
    node = engine()
    version = PolicyVersion(RULE.key, BORN + 2 * AHEAD_MAX, 0, "a", b"\x80")
    node.recall([version, version], 0.0)
    assert node.state.policies.get(RULE.key) == version
    outputs = [output for tick in range(12) for output in node.handle_timeout(float(tick))]
    assert len(told(outputs)) == 1
    held = node.state.policies.get(RULE.key)
    assert held is not None
    assert held.ms < BORN + 60_000
    assert held.payload == b"\x80"


def test_a_peers_policy_from_a_future_is_refused_and_told_of_with_its_writer() -> None:
    node = among(B)
    version = PolicyVersion(RULE.key, BORN + 2 * AHEAD_MAX, 0, "b", b"\x80")
    [said] = told(node.receive(packet(B, version), B.address, 6.0))
    assert said == PolicyFromFuture(RULE.key, "b", 2 * 86_400 - 6.0, restamped=False)


# Resets of terms


def with_term(*members: MemberUpdate) -> Engine:
    """A node that has an instance with term 3, and no other."""
    node = among(*members) if members else engine()
    node.register(instance("pg-1", service="pg", role=PRIMARY, term=3), 0.5)
    return node


def test_a_reset_that_others_would_refuse_is_not_said() -> None:
    node = with_term(B, C)
    probe(node, 6.0)
    node.set_wall_clock(wall(9.0, 2 * 86_400), 9.0)
    with pytest.raises(ClockWrong, match=r"role pg: this node's clock is 172800 s ahead of its peers'"):
        node.reset_term("pg", 9.0)
    node.set_wall_clock(wall(10.0), 10.0)
    node.reset_term("pg", 10.0)
    node.set_wall_clock(wall(11.0, -2 * 86_400), 11.0)
    with pytest.raises(ClockWrong, match=r"'a' last said .* 172799 s ahead of this node's clock"):
        node.reset_term("pg", 11.0)


def test_a_reset_by_a_clock_far_ahead_is_said_again_when_it_is_set_back() -> None:
    node = with_term()
    node.set_wall_clock(wall(1.0, 2 * 86_400), 1.0)
    node.reset_term("pg", 1.0)  # alone, it cannot know
    node.set_wall_clock(wall(2.0), 2.0)
    outputs = [output for tick in range(30) for output in node.handle_timeout(2.0 + tick)]
    [said] = told(outputs)
    assert isinstance(said, PolicyFromFuture)
    assert (said.key, said.writer, said.restamped) == ("role pg", "a", True)
    assert said.ahead == pytest.approx(2 * 86_400, abs=30)
    register = node.state.terms.get("pg")
    assert register is not None
    assert (register.claimed, register.ms <= wall(32.0)) == (3, True)


def test_a_reset_that_disk_kept_of_a_future_counts_and_is_said_again() -> None:
    node = engine()
    node.recall((), 0.0, terms=[TermRegister("pg", BORN + 2 * AHEAD_MAX, 0, "a", 3, 3)])
    assert node.state.terms.claimed("pg") == 3
    outputs = [output for tick in range(12) for output in node.handle_timeout(float(tick))]
    assert len(told(outputs)) == 1
    register = node.state.terms.get("pg")
    assert register is not None
    assert (register.claimed, register.ms < BORN + 60_000) == (3, True)


def test_a_peers_reset_from_a_future_is_refused_and_told_of_with_its_writer() -> None:
    node = among(B)
    register = TermRegister("pg", BORN + 2 * AHEAD_MAX, 0, "b")
    [said] = told(node.receive(packet(B, register), B.address, 6.0))
    assert said == PolicyFromFuture("role pg", "b", 2 * 86_400 - 6.0, restamped=False)
