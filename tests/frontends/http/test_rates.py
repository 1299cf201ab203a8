"""Rates: what was counted between two samples, for each second."""

from __future__ import annotations

from collections import Counter

import attrs
import httpx
import trio
import trio.testing

from gossipreg.frontends.http.rates import RateHistory
from gossipreg.frontends.serving import limits
from gossipreg.model import Status
from gossipreg.node_info import NodeInfo
from tests.frontends.fake_node import FakeNode, member


@attrs.define(eq=False)
class Counting(FakeNode):
    """A node whose counters a test sets."""

    counted: dict[str, int] = attrs.field(factory=dict)

    def count(self, **counters: int) -> None:
        self.counted = counters

    def info(self) -> NodeInfo:
        return attrs.evolve(super().info(), counters=self.counted)


def test_a_sample_is_what_was_counted_since_the_last_for_each_second() -> None:
    now = [100.0]
    history, node = RateHistory(lambda: now[0]), Counting()
    node.see("joined", member("beta", 1))
    node.see("failed", member("gamma", 2, Status.FAILED))
    node.round_trips = {"beta": 0.002, "gamma": 9.0}
    node.count(packets_received=10, packets_sent=20, bytes_received=1000, bytes_sent=0)
    history.sample(node, 5)
    assert list(history.samples) == []
    now[0] = 105.0
    node.count(packets_received=20, packets_sent=20, bytes_received=1500, bytes_sent=0)
    history.sample(node, 6)
    assert history.samples == (
        {
            "at": 105.0,
            "packets_in": 2.0,
            "packets_out": 0.0,
            "bytes_in": 100.0,
            "bytes_out": 0.0,
            "requests": 0.2,
            "round_trip": 0.002,
        },
    )


def test_a_clock_that_is_set_back_gives_no_sample_and_old_ones_go() -> None:
    now = [100.0]
    history, node = RateHistory(lambda: now[0]), Counting()
    node.count()
    history.sample(node, 0)
    now[0] = 50.0
    history.sample(node, 0)
    assert list(history.samples) == []
    for _ in range(limits.RATE_SAMPLES + 9):
        now[0] += 5
        history.sample(node, 0)
    assert len(history.samples) == limits.RATE_SAMPLES
    assert history.samples[0]["at"] == now[0] - 5 * (limits.RATE_SAMPLES - 1)
    assert history.samples[0]["round_trip"] is None


async def test_samples_are_taken_at_even_intervals(autojump_clock: trio.testing.MockClock) -> None:
    history, node = RateHistory(trio.current_time), Counting()
    node.count()
    with trio.move_on_after(4.5 * limits.RATE_SECONDS):
        await history.follow(node, Counter())
    assert len(history.samples) == 4


async def test_a_listener_tells_its_rates(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/rates")).json() == {"interval": limits.RATE_SECONDS, "samples": []}
