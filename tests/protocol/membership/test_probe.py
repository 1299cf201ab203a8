"""A probe: a ping, then indirect pings and a stream, then the end of the period."""

from __future__ import annotations

from random import Random

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.local_health import LocalHealth
from gossipreg.protocol.membership.member_update import Destination, MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import (
    Ack,
    IndirectPingFailed,
    Nack,
    Ping,
    PingReq,
    ProbeAcked,
    ProbeEvent,
    ProbeFailed,
    ProbeOverStream,
    Prober,
    Send,
)
from tests.protocol.making import address, many_members, update

FINGERPRINT = 99


@attrs.define
class Probing:
    """A prober among ``others``, its health, and the probe that it starts at 1.0."""

    others: list[MemberUpdate]
    health: LocalHealth
    prober: Prober
    begun: list[ProbeEvent] = attrs.field(factory=list)

    @property
    def target(self) -> MemberUpdate:
        [say] = self.begun
        assert isinstance(say, Send)
        return next(other for other in self.others if other.destination == say.to)

    @property
    def seq(self) -> int:
        [say] = self.begun
        assert isinstance(say, Send)
        assert isinstance(say.message, Ping)
        return say.message.seq

    def handle_timeout(self, now: float) -> list[ProbeEvent]:
        return self.prober.handle_timeout(FINGERPRINT, now)


def probing(count: int = 5, *, health: int = 0, **settings: float) -> Probing:
    knobs = EngineSettings(**settings)  # type: ignore[arg-type]
    members = Members(knobs, Random(3), "a")
    others = many_members(count)
    for other in others:
        members.put(other, 0.0)
    score = LocalHealth(8, health)
    one = Probing(others, score, Prober(knobs, members, score, next_period=1.0))
    one.begun = one.handle_timeout(1.0)
    return one


def test_nothing_is_said_before_the_period_begins() -> None:
    one = probing()
    prober = Prober(one.prober.settings, one.prober.members, one.health, next_period=1.0)
    assert prober.deadline == 1.0
    assert prober.handle_timeout(FINGERPRINT, 0.99) == []


def test_a_period_begins_with_a_ping_that_brings_the_update_about_its_target() -> None:
    one = probing()
    assert one.begun == [Send(one.target.destination, Ping(1, one.target.run_id, FINGERPRINT), about=one.target.name)]
    assert one.prober.deadline == 1.5


def test_alone_it_looks_again_after_a_period() -> None:
    one = probing(0)
    assert one.begun == []
    assert one.prober.deadline == 2.0


def test_an_ack_in_time_ends_the_probe_and_mends_the_health() -> None:
    one = probing(health=2)
    assert one.prober.deadline == 2.5
    assert one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 1.2) == [
        ProbeAcked(one.target, late=False, rtt=pytest.approx(0.2))  # type: ignore[arg-type]
    ]
    assert one.health.score == 1
    assert one.prober.deadline == 4.0
    assert one.handle_timeout(3.9) == []
    [next_ping] = one.handle_timeout(4.0)
    assert isinstance(next_ping, Send)


def answered(one: Probing) -> Probing:
    """The same, with its probe answered; the next is due at 2.0."""
    assert one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 1.2)
    return one


def test_who_is_woken_by_a_ping_begins_the_probe_that_would_soon_be_due() -> None:
    one = answered(probing())
    assert one.prober.begin_early(FINGERPRINT, 1.49) == []
    [ping] = one.prober.begin_early(FINGERPRINT, 1.5)
    assert isinstance(ping, Send)
    assert ping.message == Ping(2, next(o.run_id for o in one.others if o.destination == ping.to), FINGERPRINT)
    assert one.prober.deadline == 2.0  # its timeout


def test_an_early_probe_moves_none_of_the_later_ones() -> None:
    one = answered(probing())
    [ping] = one.prober.begin_early(FINGERPRINT, 1.5)
    assert isinstance(ping, Send)
    assert one.prober.handle_ack(Ack(2, 0, 0), next(o.run_id for o in one.others if o.destination == ping.to), 1.51)
    assert one.prober.deadline == 3.0
    assert one.prober.begin_early(FINGERPRINT, 2.49) == []


def test_periods_that_passed_while_this_node_was_stopped_are_not_made_up_for() -> None:
    one = answered(probing())
    for begun, seq in ((100.0, 2), (101.0, 3)):
        [ping] = [found for found in one.handle_timeout(begun) if isinstance(found, Send)]
        assert isinstance(ping.message, Ping)
        assert ping.message.seq == seq
        target = next(other.run_id for other in one.others if other.destination == ping.to)
        assert one.prober.handle_ack(Ack(seq, 0, 0), target, begun + 0.01)
        assert one.prober.deadline == begun + 1.0
        assert one.handle_timeout(begun + 0.99) == []


def test_the_first_probe_may_be_early_too() -> None:
    one = probing()
    prober = Prober(one.prober.settings, one.prober.members, one.health, next_period=1.0)
    assert len(prober.begin_early(FINGERPRINT, 0.6)) == 1


def test_nothing_is_early_while_a_probe_has_no_answer() -> None:
    assert probing().prober.begin_early(FINGERPRINT, 1.9) == []


def test_nothing_is_early_when_this_node_is_not_well() -> None:
    assert answered(probing(health=3)).prober.begin_early(FINGERPRINT, 3.9) == []


def test_what_is_overdue_is_left_to_the_wake_that_knows_how_late_it_is() -> None:
    assert answered(probing()).prober.begin_early(FINGERPRINT, 2.0) == []


def test_probes_keep_to_their_time_if_they_are_told_to() -> None:
    assert answered(probing(probe_early=0)).prober.begin_early(FINGERPRINT, 1.99) == []


def test_an_ack_counts_once() -> None:
    one = probing()
    assert one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 1.2)
    assert one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 1.3) == []


def test_an_ack_from_another_member_or_for_another_ping_is_not_the_targets() -> None:
    one = probing()
    stranger = next(other for other in one.others if other != one.target)
    assert one.prober.handle_ack(Ack(one.seq, 0, 0), stranger.run_id, 1.2) == []
    assert one.prober.handle_ack(Ack(one.seq + 1, 0, 0), one.target.run_id, 1.2) == []


def test_without_an_ack_others_are_asked_and_a_stream_is_tried() -> None:
    one = probing()
    asked = one.handle_timeout(1.5)
    assert asked.pop() == ProbeOverStream(one.target, one.seq)
    assert len(asked) == 3
    for say in asked:
        assert isinstance(say, Send)
        assert say.to != one.target.destination
        assert say.message == PingReq(one.seq, one.target.run_id, 500)
    assert one.prober.deadline == 2.0
    assert one.handle_timeout(1.6) == []


def test_a_helpers_ack_saves_the_target_but_tells_nothing_of_the_round_trip() -> None:
    one = probing()
    one.handle_timeout(1.5)
    helper = next(other for other in one.others if other != one.target)
    [answered] = one.prober.handle_ack(Ack(one.seq, one.target.run_id, 0), helper.run_id, 1.6)
    assert answered == ProbeAcked(one.target, late=False, rtt=None)
    assert not any(isinstance(finding, ProbeFailed) for finding in one.handle_timeout(2.0))


def test_no_answer_is_a_miss_and_every_missing_nack_lowers_our_own_health() -> None:
    one = probing()
    one.handle_timeout(1.5)
    one.prober.handle_nack(Nack(one.seq))
    missed, begun = one.handle_timeout(2.0)
    assert missed == ProbeFailed(one.target, refused=False)
    assert isinstance(begun, Send)
    assert one.health.score == 1 + 2


def test_more_nacks_than_helpers_are_no_merit() -> None:
    one = probing(2)
    one.handle_timeout(1.5)
    for _ in range(5):
        one.prober.handle_nack(Nack(one.seq))
    one.prober.handle_nack(Nack(77))
    one.handle_timeout(2.0)
    assert one.health.score == 1


def test_a_refusal_is_told_with_the_miss() -> None:
    one = probing(1)
    one.handle_timeout(1.5)
    one.prober.handle_refusal(one.seq)
    one.prober.handle_refusal(77)
    assert one.handle_timeout(2.0)[0] == ProbeFailed(one.target, refused=True)


def test_an_ack_voids_a_refusal() -> None:
    one = probing(1)
    one.handle_timeout(1.5)
    one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 1.6)
    one.prober.handle_refusal(one.seq)
    assert not any(isinstance(finding, ProbeFailed) for finding in one.handle_timeout(2.0))


def test_a_late_ack_is_told_but_is_no_merit() -> None:
    one = probing(health=1)
    one.handle_timeout(2.0)
    one.handle_timeout(3.0)
    assert one.health.score == 5
    assert one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 3.5) == [
        ProbeAcked(one.target, late=True, rtt=None)
    ]
    one.prober.handle_nack(Nack(one.seq))
    assert one.health.score == 5


def test_a_node_in_bad_health_gives_more_time() -> None:
    one = probing(health=3)
    assert one.prober.deadline == 3.0
    [*asked, _] = one.handle_timeout(3.0)
    assert all(isinstance(say, Send) and isinstance(say.message, PingReq) for say in asked)
    assert asked[0].message.patience == 2000  # type: ignore[union-attr]
    assert one.prober.deadline == 5.0


def test_a_node_that_overslept_starts_one_probe_and_not_all_that_it_missed() -> None:
    one = probing()
    one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 1.1)
    assert len(one.handle_timeout(60.0)) == 1
    assert one.prober.deadline == 60.5


def test_a_node_that_was_stopped_gives_its_target_the_time_back() -> None:
    one = probing()
    one.prober.postpone(10.0)
    assert one.handle_timeout(11.0) == []
    assert one.prober.deadline == 11.5
    assert one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 11.2)
    assert one.prober.deadline == 12.0, "the next period has the time back as well"
    alone = probing(0)
    alone.prober.postpone(10.0)
    assert alone.prober.deadline == 2.0


# For others


def test_a_helper_pings_and_passes_the_ack_on() -> None:
    one = probing(2)
    target = next(other for other in one.others if other != one.target)
    origin = Destination(9, address(9000))
    [say] = one.prober.handle_ping_req(PingReq(44, target.run_id, 500), origin, FINGERPRINT, 2.0)
    assert say == Send(target.destination, Ping(2, target.run_id, FINGERPRINT))
    assert one.prober.handle_ack(Ack(2, 0, 5), target.run_id, 2.1) == [Send(origin, Ack(44, target.run_id, 5))]
    assert one.prober.handle_ack(Ack(2, 0, 5), target.run_id, 2.2) == []


def test_a_helper_without_an_ack_says_so_once_in_time_and_still_passes_on_a_late_one() -> None:
    one = probing(2)
    one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 1.1)
    target, origin = one.others[0], Destination(9, address(9000))
    one.prober.handle_ping_req(PingReq(44, target.run_id, 500), origin, FINGERPRINT, 1.2)
    assert one.prober.deadline == pytest.approx(1.6)
    assert not one.prober.is_unreachable(target.run_id, 1.6)
    assert one.handle_timeout(1.6) == [Send(origin, Nack(44)), IndirectPingFailed(target.run_id)]
    assert one.prober.is_unreachable(target.run_id, 1.7)
    assert one.prober.deadline == 2.0
    assert one.handle_timeout(1.7) == []
    assert one.prober.handle_ack(Ack(2, 0, 5), target.run_id, 1.8) == [Send(origin, Ack(44, target.run_id, 5))]
    assert not one.prober.is_unreachable(target.run_id, 1.8)


def test_a_helper_pings_no_address_that_is_not_a_members() -> None:
    one = probing(2)
    origin = Destination(9, address(9000))
    assert one.prober.handle_ping_req(PingReq(44, 123, 500), origin, FINGERPRINT, 2.0) == [Send(origin, Nack(44))]


def test_a_helper_takes_on_only_so_much_and_forgets_it_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.protocol.membership.probe._OPEN_MAX", 2)
    one = probing(2)
    target, origin = one.others[0], Destination(9, address(9000))
    ask = PingReq(44, target.run_id, 0xFFFF_FFFF)

    def pinged(now: float) -> bool:
        [say] = one.prober.handle_ping_req(ask, origin, FINGERPRINT, now)
        assert isinstance(say, Send)
        return isinstance(say.message, Ping)

    assert [pinged(2.0), pinged(2.0), pinged(2.0)] == [True, True, False]
    one.handle_timeout(12.0)  # no patience is believed beyond ten periods
    one.prober.sweep(12.0)
    assert pinged(12.0)


# What is remembered


def test_probes_are_remembered_for_late_acks_but_not_for_ever() -> None:
    one = probing(1)
    for period in range(2, 300):
        one.handle_timeout(float(period))
    one.prober.sweep(95.0)
    assert one.prober.handle_ack(Ack(1, 0, 0), one.target.run_id, 95.0) == []
    fresh = probing(1)
    fresh.handle_timeout(50.0)
    fresh.prober.sweep(90.0)
    assert fresh.prober.handle_ack(Ack(1, 0, 0), fresh.target.run_id, 90.0) != []


def test_only_so_many_probes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.protocol.membership.probe._OPEN_MAX", 2)
    one = probing(1, local_health_max=0)
    one.health.worst = 0
    for tenths in range(10, 100):
        one.handle_timeout(tenths / 10)
    assert one.prober.handle_ack(Ack(1, 0, 0), one.target.run_id, 10.0) == []


def test_sequence_numbers_start_over_before_they_outgrow_the_wire() -> None:
    one = probing(1)
    one.prober._seq = 0xFFFF_FFFE
    one.handle_timeout(2.0)
    begun = [f for now in (3.0, 4.0, 5.0, 6.0) for f in one.handle_timeout(now) if isinstance(f, Send)]
    seqs = [say.message.seq for say in begun if isinstance(say.message, Ping)]
    assert 1 in seqs
    assert max(seqs) <= 0xFFFF_FFFF


def test_the_target_may_be_a_suspect() -> None:
    one = probing(0)
    one.prober.members.put(update("m0", Status.SUSPECT), 1.5)
    [say] = one.handle_timeout(2.0)
    assert isinstance(say, Send)
    assert say.about == "m0"


def test_one_whose_round_trips_are_known_is_given_less_time() -> None:
    one = probing(1)
    now = 1.0
    one.prober.handle_ack(Ack(one.seq, 0, 0), one.target.run_id, 1.001)
    for period in range(2, 9):
        assert one.prober.deadline == float(period)
        [ping] = (said.message for said in one.handle_timeout(float(period)) if isinstance(said, Send))
        now = float(period)
        assert isinstance(ping, Ping)
        if period < 8:
            one.prober.handle_ack(Ack(ping.seq, 0, 0), one.target.run_id, now + 0.001)
    assert one.prober.deadline == pytest.approx(now + 0.1), "others are asked soon"
    one.handle_timeout(now + 0.1)
    assert one.prober.deadline == pytest.approx(now + 0.6), "and have the time that they always had"
    assert ProbeFailed(one.target, refused=False) in one.handle_timeout(now + 0.6)
    assert one.prober.deadline == pytest.approx(now + 1.0), "while the next period begins when it would have begun"


def test_a_ping_on_another_members_behalf_is_evidence_for_a_while_only() -> None:
    one = probing(2)
    target = one.others[0]
    one.prober.handle_ping_req(PingReq(44, target.run_id, 500), Destination(9, address(9000)), FINGERPRINT, 1.2)
    one.handle_timeout(1.7)
    assert one.prober.is_unreachable(target.run_id, 3.6)
    assert not one.prober.is_unreachable(target.run_id, 3.8)
    one.prober.sweep(3.6)
    assert one.prober._unreachable
    one.prober.sweep(13.8)
    assert not one.prober._unreachable


def test_a_node_in_bad_health_remembers_for_longer_which_members_it_could_not_reach() -> None:
    one = probing(2, health=3)
    target = one.others[0]
    one.prober.handle_ping_req(PingReq(44, target.run_id, 500), Destination(9, address(9000)), FINGERPRINT, 1.2)
    one.handle_timeout(1.7)
    assert one.prober.is_unreachable(target.run_id, 9.6)
    assert not one.prober.is_unreachable(target.run_id, 9.8)
