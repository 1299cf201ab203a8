"""Detection of paths that pass packets only, streams only, or no large packets."""

from __future__ import annotations

import pytest

from gossipreg.protocol.membership.paths import Passes, PathChange, PathMonitor

RUN_ID = 7
OVERHEAD = 50


def monitor() -> PathMonitor:
    return PathMonitor(OVERHEAD)


def play(paths: PathMonitor, seconds: float, *, start: float = 0.0, largest: int = 0) -> list[tuple[float, PathChange]]:
    """What changes, and when, while packets of up to ``largest`` bytes are acknowledged."""
    now, changes = start, []
    while now < start + seconds:
        for test in paths.handle_timeout(now):
            if not test.over_stream and 0 < max(test.size + OVERHEAD, 60) <= largest:
                paths.packet_acked(test.run_id, test.seq, now)
        changes += [(now, change) for change in paths.changed()]
        now += 0.1
    return changes


def test_nothing_is_tested_while_all_is_well() -> None:
    paths = monitor()
    paths.packet_heard(RUN_ID, 1.0)
    paths.packet_acked(RUN_ID, 1, 1.0)
    paths.stream_answered(RUN_ID)
    assert paths.deadline == float("inf")
    assert paths.handle_timeout(5.0) == []
    assert paths.changed() == []
    assert paths.passes(RUN_ID) is Passes.ALL
    assert paths.size(RUN_ID) == paths.least_size == 1400


def test_after_five_lost_pings_a_path_passes_streams_only_until_a_packet_is_acknowledged() -> None:
    paths = monitor()
    paths.stream_acked(RUN_ID, 0.0)
    paths.stream_acked(RUN_ID, 0.1)  # once is enough
    [(when, change)] = play(paths, 20)
    assert change == PathChange(RUN_ID, Passes.STREAMS_ONLY, 1400, hears=False)
    assert 1.5 < when < 3
    assert paths.troubled == {RUN_ID: Passes.STREAMS_ONLY}
    [(when, change)] = play(paths, 20, start=20, largest=1400)
    assert change.passes is Passes.ALL
    assert when < 25.1
    assert paths.troubled == {}


def test_one_lost_ping_is_nothing_to_speak_of() -> None:
    paths = monitor()
    paths.stream_acked(RUN_ID, 0.0)
    assert play(paths, 20, largest=1400) == []
    paths.sweep(lambda _: True, 60.0)
    assert paths.handle_timeout(100.0) == []


def test_where_its_own_packets_arrive_the_loss_is_in_one_direction() -> None:
    paths = monitor()
    paths.stream_acked(RUN_ID, 0.0)
    paths.packet_heard(RUN_ID, 0.5)
    [(_, change)] = play(paths, 5)
    assert change.hears


def test_streams_that_fail_twice_while_packets_pass_make_it_packets_only() -> None:
    paths = monitor()
    paths.stream_stalled(RUN_ID, 0.0)
    assert play(paths, 5, largest=1400) == []
    paths.stream_stalled(RUN_ID, 5.0)
    [(_, change)] = play(paths, 5, start=5, largest=1400)
    assert change.passes is Passes.PACKETS_ONLY
    paths.stream_answered(RUN_ID)
    [change] = paths.changed()
    assert change.passes is Passes.ALL


def test_streams_are_tried_again_while_they_do_not_pass() -> None:
    paths = monitor()
    paths.stream_stalled(RUN_ID, 0.0)
    streams = [test.over_stream for now in range(40) for test in paths.handle_timeout(float(now))]
    assert streams.count(True) >= 3


def test_streams_that_fail_at_once_are_not_tried_again_at_once_for_ever() -> None:
    """A host without a route, or behind its own firewall, is told so within the same instant."""
    paths = monitor()
    paths.stream_stalled(RUN_ID, 0.0)
    for _ in range(9):
        if any(test.over_stream for test in paths.handle_timeout(0.0)):
            paths.stream_stalled(RUN_ID, 0.0)
    assert paths.deadline >= 0.25


def test_a_stream_that_failed_once_and_then_passed_is_forgotten() -> None:
    paths = monitor()
    paths.stream_stalled(RUN_ID, 0.0)
    play(paths, 5, largest=1400)
    paths.stream_answered(RUN_ID)
    play(paths, 15, start=5, largest=1400)
    paths.stream_stalled(RUN_ID, 20.0)
    play(paths, 1, start=20, largest=1400)
    paths.stream_answered(RUN_ID)
    play(paths, 20, start=21, largest=1400)
    assert paths.deadline == float("inf")


def test_streams_that_fail_at_once_are_not_tried_without_a_pause() -> None:
    paths = monitor()
    paths.stream_stalled(RUN_ID, 0.0)
    tried = 0
    for tick in range(1000):
        for test in paths.handle_timeout(tick / 100):
            tried += 1
            if test.over_stream:
                paths.stream_stalled(RUN_ID, tick / 100)
    assert tried <= 4


def test_streams_that_fail_where_no_packet_is_acknowledged_say_nothing() -> None:
    paths = monitor()
    for now in (0.0, 5.0, 10.0):
        paths.stream_stalled(RUN_ID, now)
    assert play(paths, 20, start=10) == []


def test_one_stream_that_failed_is_forgotten_in_time() -> None:
    paths = monitor()
    paths.stream_stalled(RUN_ID, 0.0)
    play(paths, 50, largest=1400)
    paths.sweep(lambda _: True, 61.0)
    paths.stream_stalled(RUN_ID, 70.0)
    assert play(paths, 5, start=70, largest=1400) == []


@pytest.mark.parametrize(("largest", "found"), [(1400, 1400), (1300, 1200), (1000, 900), (600, 508), (100, 508)])
def test_the_largest_packet_that_passes_is_found(largest: int, found: int) -> None:
    paths = monitor()
    paths.gossip_missed(RUN_ID, 0.0)
    changes = play(paths, 25, largest=largest)
    assert [change.size for _, change in changes[-1:]] == ([] if found == 1400 else [found])
    assert paths.size(RUN_ID) == paths.least_size == found
    assert paths.passes(RUN_ID) is (Passes.ALL if found == 1400 else Passes.SMALL_PACKETS)


def test_full_packets_are_tried_again_and_used_when_they_pass() -> None:
    paths = monitor()
    paths.gossip_missed(RUN_ID, 0.0)
    play(paths, 25, largest=1000)
    play(paths, 60, start=25, largest=1000)
    assert paths.least_size == 900
    [(_, change)] = play(paths, 40, start=85, largest=1400)
    assert change == PathChange(RUN_ID, Passes.ALL, 1400, hears=True) or change.passes is Passes.ALL
    assert paths.least_size == 1400


def test_the_size_is_tested_after_a_lost_ping_but_not_every_time() -> None:
    paths = monitor()
    paths.stream_acked(RUN_ID, 0.0)
    sizes = []
    for tick in range(100):
        now = tick / 10
        for test in paths.handle_timeout(now):
            sizes.append(test.size)
            paths.packet_acked(test.run_id, test.seq, now)
        if tick % 20 == 0:
            paths.stream_acked(RUN_ID, now)
    assert sizes.count(1400 - OVERHEAD) == 1


def test_many_paths_are_tested_by_turns() -> None:
    paths = monitor()
    for run_id in range(1, 21):
        paths.stream_acked(run_id, 0.0)
    assert len(paths.handle_timeout(0.0)) == 8
    assert paths.deadline > 0.0
    assert {test.run_id for now in (0.3, 0.6) for test in paths.handle_timeout(now)} >= set(range(9, 21))


def test_paths_to_members_that_have_gone_are_forgotten() -> None:
    paths = monitor()
    paths.stream_acked(RUN_ID, 0.0)
    play(paths, 10)
    paths.sweep(lambda run_id: run_id != RUN_ID, 10.0)
    assert paths.troubled == {}
    assert paths.handle_timeout(100.0) == []
    assert paths.deadline == float("inf")


def test_sequence_numbers_start_over() -> None:
    paths = PathMonitor(OVERHEAD, seq=0xFFFF_FFFF)
    paths.stream_acked(RUN_ID, 0.0)
    [test] = paths.handle_timeout(0.0)
    assert test.seq == 0x8000_0000


def test_a_single_stall_is_remembered_for_a_minute() -> None:
    for swept_at, passes in ((64.0, Passes.PACKETS_ONLY), (66.0, Passes.ALL)):
        paths = monitor()
        paths.stream_stalled(RUN_ID, 5.0)
        paths.sweep(lambda _: True, swept_at)
        paths.stream_stalled(RUN_ID, 67.0)
        paths.packet_acked(RUN_ID, 1, 68.0)
        assert paths.passes(RUN_ID) is passes, swept_at


def test_those_that_were_left_out_of_one_turn_have_theirs_a_quarter_of_a_second_later() -> None:
    paths = monitor()
    for run_id in range(1, 11):
        paths.stream_acked(run_id, 0.0)
    now = paths.deadline
    assert len(paths.handle_timeout(now)) == 8
    assert paths.deadline == pytest.approx(now + 0.25)
    assert len(paths.handle_timeout(paths.deadline)) == 2


def test_a_ping_that_was_answered_does_not_count_as_lost_when_packets_are_lost_again() -> None:
    paths = monitor()
    paths.stream_acked(RUN_ID, 0.0)
    play(paths, 1.0)  # the second is on its way
    paths.packet_acked(RUN_ID, 1, 1.0)
    assert not paths._paths[RUN_ID].in_flight
    paths.stream_acked(RUN_ID, 1.1)
    [(when, _)] = play(paths, 20, start=1.1)
    fresh = monitor()
    fresh.stream_acked(RUN_ID, 1.1)
    assert [(when, change.passes) for when, change in play(fresh, 20, start=1.1)] == [(when, Passes.STREAMS_ONLY)]
