"""The effect of each condition on a packet."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from gossipreg_sim.conditions import (
    BitFlips,
    Bursts,
    Cut,
    Delay,
    Duplication,
    FlipFlop,
    Links,
    Loss,
    Mtu,
    Narrow,
    Reordering,
    TcpLoss,
    UdpLoss,
)
from gossipreg_sim.network import Condition, Constant, Network
from gossipreg_sim.world import World, ns

ALL = Links(("a", "b", "c"), ("a", "b", "c"))
WAY = 0.001  # one-way latency without conditions (seconds)
PACKET = bytes(range(100))


def network(*conditions: Condition, seed: int = 1) -> Network:
    made = Network(World(seed), Constant(WAY))
    for number, condition in enumerate(conditions):
        made.begin(f"condition {number}", condition)
    return made


def arrivals(made: Network, count: int) -> list[int]:
    """Return how many copies arrive of each of ``count`` packets from a to b."""
    return [len(made.carry("a", "b", PACKET)) for _ in range(count)]


def within_5_sigma(hits: int, tries: int, probability: float) -> bool:
    return abs(hits - tries * probability) <= 5 * math.sqrt(tries * probability * (1 - probability))


def test_without_conditions_each_packet_arrives_once_intact() -> None:
    assert list(network().carry("a", "b", PACKET)) == [(ns(WAY), PACKET)]


def test_a_cut_loses_all_packets_in_both_directions_and_none_elsewhere() -> None:
    made = network(Cut(Links(("a",), ("b",))))
    assert not made.carry("a", "b", PACKET)
    assert not made.carry("b", "a", PACKET)
    assert made.carry("a", "c", PACKET)


def test_a_one_way_cut_passes_the_other_direction() -> None:
    made = network(Cut(Links(("a",), ("b",), both_ways=False)))
    assert not made.carry("a", "b", PACKET)
    assert made.carry("b", "a", PACKET)


def test_an_ended_condition_has_no_effect() -> None:
    made = network(Cut(ALL))
    made.end("condition 0")
    assert made.carry("a", "b", PACKET)


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.8])
def test_a_lossy_link_loses_its_share(probability: float) -> None:
    lost = arrivals(network(Loss(ALL, probability)), 5_000).count(0)
    assert within_5_sigma(lost, 5_000, probability)


def test_burst_losses_follow_the_gilbert_elliott_chain() -> None:
    # In the long run bad = to_bad / (to_bad + to_good) of the time, in runs of 1 / to_good packets.
    seen = arrivals(network(Bursts(ALL, to_bad=0.02, to_good=0.2)), 20_000)
    lost = seen.count(0)
    runs = sum(1 for before, now in pairwise(seen) if before and not now)
    assert 0.07 < lost / len(seen) < 0.115
    assert 4 < lost / runs < 6


def test_a_flip_flop_alternates_between_off_and_on() -> None:
    made = network(FlipFlop(ALL, off=2.0, on=3.0))
    through = []
    for second in range(10):
        made.world.run(ns(second + 0.5))
        through.append(len(made.carry("a", "b", PACKET)))
    assert through == [0, 0, 1, 1, 1] * 2


def test_duplicates_come_at_their_rate_and_within_the_spread() -> None:
    made = network(Duplication(ALL, 0.25, spread=0.05))
    carried = [made.carry("a", "b", PACKET) for _ in range(4_000)]
    twice = [copies for copies in carried if len(copies) == 2]
    assert within_5_sigma(len(twice), 4_000, 0.25)
    assert all(0 <= second - first < ns(0.05) for (first, _), (second, _) in twice)


def test_reordering_lets_later_packets_overtake() -> None:
    made = network(Reordering(ALL, 0.5, spread=0.05))
    arrive = [number * ns(0.001) + made.carry("a", "b", PACKET)[0][0] for number in range(200)]
    assert arrive != sorted(arrive)
    assert all(ns(WAY) <= when - number * ns(0.001) < ns(WAY + 0.05) for number, when in enumerate(arrive))


def test_a_delay_is_added_to_the_latency() -> None:
    assert network(Delay(ALL, Constant(0.2))).carry("a", "b", PACKET)[0][0] == ns(WAY + 0.2)


def test_a_narrow_link_passes_its_rate_and_loses_what_its_buffer_cannot_hold() -> None:
    made = network(Narrow(ALL, bytes_per_second=1_000, buffer=500))
    carried = [made.carry("a", "b", PACKET) for _ in range(10)]
    assert [copies[0][0] - ns(WAY) for copies in carried if copies] == [ns(0.1 * n) for n in range(1, 6)]
    assert [len(copies) for copies in carried] == [1] * 5 + [0] * 5
    made.world.run(ns(0.5))
    assert made.carry("a", "b", PACKET)[0][0] == ns(WAY + 0.1)


def test_a_bit_flip_changes_one_bit_of_its_share_of_packets() -> None:
    made = network(BitFlips(ALL, 0.2))
    came = [made.carry("a", "b", PACKET)[0][1] for _ in range(2_000)]
    corrupted = [data for data in came if data != PACKET]
    assert within_5_sigma(len(corrupted), 2_000, 0.2)
    wrong = [int.from_bytes(data) ^ int.from_bytes(PACKET) for data in corrupted]
    assert all(bits.bit_count() == 1 for bits in wrong)


def test_removing_one_condition_leaves_the_draws_of_the_others_unchanged() -> None:
    def corrupted(*conditions: tuple[str, Condition]) -> list[bool]:
        made = Network(World(3), Constant(WAY))
        for name, condition in conditions:
            made.begin(name, condition)
        carried = [made.carry("a", "b", PACKET) for _ in range(300)]
        return [any(data != PACKET for _, data in copies) for copies in carried]

    flips, twice, loss = ("flips", BitFlips(ALL, 0.3)), ("twice", Duplication(ALL, 0.5)), ("loss", Loss(ALL, 0.4))
    alone = corrupted(flips)
    assert corrupted(twice, flips) == alone
    lossy = corrupted(loss, twice, flips)
    assert all(after <= before for after, before in zip(lossy, alone, strict=True))
    assert sum(lossy) < sum(alone)


def test_loss_delays_a_stream_and_a_cut_stalls_it() -> None:
    assert network().carry_frame("a", "b", PACKET) == ns(WAY)
    lossy = network(Loss(ALL, 0.5))
    took = [lossy.carry_frame("a", "b", PACKET) for _ in range(50)]
    assert any(time is not None and time > ns(WAY) for time in took)
    assert network(Cut(ALL)).carry_frame("a", "b", PACKET) is None


def test_a_stream_never_delivers_a_corrupted_frame() -> None:
    flipped = network(BitFlips(ALL, 0.5))
    took = [flipped.carry_frame("a", "b", PACKET) for _ in range(100)]
    assert {ns(WAY), ns(WAY + 0.2)} <= set(took)


def test_packets_and_streams_can_be_lost_independently() -> None:
    made = network(UdpLoss(ALL, 1.0))
    assert arrivals(made, 5) == [0] * 5
    assert made.carry_frame("a", "b", PACKET) == ns(WAY)
    made = network(TcpLoss(ALL, 1.0))
    assert arrivals(made, 5) == [1] * 5
    assert made.carry_frame("a", "b", PACKET) is None


def test_packets_and_segments_above_the_mtu_are_lost() -> None:
    made = network(Mtu(ALL, 1000))
    assert len(made.carry("a", "b", bytes(1000))) == 1
    assert len(made.carry("a", "b", bytes(1001))) == 0
    assert made.carry_frame("a", "b", bytes(5000)) is None
    assert made.carry_frame("a", "b", bytes(5000), segment=876) == ns(WAY)
