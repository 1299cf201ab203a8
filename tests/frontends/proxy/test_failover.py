"""A failover to another region is logged when it begins and when it ends, and counted."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

from gossipreg.frontends.proxy import Forward, Proxy
from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.frontends.proxy.metrics import exposition
from tests.frontends.proxy.making import added, instance, removed, snapshot

HERE, EU, ASIA = instance(), instance(region="eu"), instance(region="asia")


def balancer(**settings: Any) -> Proxy:
    given: dict[str, Any] = {"listen": "127.0.0.1:1", "service": "orders", "failover": ("eu", "asia"), **settings}
    return Proxy(Forward(**given))


async def test_the_beginning_and_the_end_of_a_failover_are_a_line_each(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    caplog.set_level(logging.INFO, "gossipreg.frontends.proxy")
    proxy = balancer()
    proxy.apply([snapshot(HERE)])
    caplog.clear()
    proxy.apply([removed(HERE), added(EU)])
    assert caplog.messages == [
        "orders: callers are sent to the region eu: in the own one none of its instances can serve"
    ]
    assert b'gossipreg_proxy_failed_over{listen="127.0.0.1:1",service="orders"} 1.0' in exposition([proxy], 0.0)
    proxy.apply([added(instance("b", region="eu"))])
    assert len(caplog.messages) == 1
    await trio.sleep(42)
    proxy.apply([snapshot(ASIA)])
    proxy.apply([snapshot(HERE)])
    assert caplog.messages[1:] == [
        "orders: callers are sent to the region asia in place of eu",
        "orders: the own region serves again, after 42 s in asia",
    ]
    assert proxy.counters[ForwardCount.FAILOVERS] == 2
    assert b'gossipreg_proxy_failed_over{listen="127.0.0.1:1",service="orders"} 0.0' in exposition([proxy], 0.0)


async def test_one_that_begins_in_another_region_says_so_and_names_the_threshold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy = balancer(failover_threshold=0.5)
    proxy.apply([snapshot(EU)])
    assert caplog.messages == [
        "orders: callers are sent to the region eu: in the own one fewer than 50 % of its instances can serve"
    ]
    proxy.apply([snapshot()])
    proxy.apply([snapshot(EU)])
    assert proxy.counters[ForwardCount.FAILOVERS] == 1, "that a region has none for a moment is no failover"
