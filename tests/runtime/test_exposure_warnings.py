"""A listener beyond loopback causes one warning, with its remedy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gossipreg import open_node
from gossipreg.model import Address, SocketFile
from gossipreg.runtime import exposure_warnings
from tests.runtime.nodes import config

EVERY: list[Callable[[Address], str | None]] = [
    exposure_warnings.gossip_warning,
    partial(exposure_warnings.http_warning, asks_tokens=True),
    partial(exposure_warnings.http_warning, asks_tokens=False),
    exposure_warnings.dns_warning,
    partial(exposure_warnings.balancer_warning, service="orders"),
    exposure_warnings.metrics_warning,
    exposure_warnings.token_warning,
]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "::ffff:127.0.0.1"])
def test_what_this_machine_alone_reaches_is_not_warned_of(host: str) -> None:
    assert [each(Address(host, 80)) for each in EVERY] == [None] * len(EVERY)
    assert exposure_warnings.http_warning(SocketFile(Path("/run/g.sock")), asks_tokens=False) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "fd00::1", "registry.example"])
def test_what_others_reach_is_warned_of_in_one_sentence_with_the_remedy(host: str) -> None:
    address = Address(host, 80)
    sentences = [each(address) for each in EVERY]
    assert len(set(sentences)) == len(EVERY)
    for sentence in sentences:
        assert sentence is not None
        assert str(address) in sentence
        assert "\n" not in sentence
        assert not sentence.endswith(".")
        assert ": " in sentence.partition(str(address))[2], "what to do stands behind a colon"


async def test_gossip_in_clear_beyond_loopback_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gossipreg")
    async with open_node(config(bind="0.0.0.0:0", advertise="127.0.0.1", insecure=True)) as node:
        [warning] = node.info().warnings
        assert warning.startswith("gossip at 0.0.0.0:")
        assert " is in clear: " in warning
        node.warn(warning)
        node.warn("HTTP is open")
        assert node.info().warnings == (warning, "HTTP is open")
    logged = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert [logged.count(each) for each in (warning, "HTTP is open")] == [1, 1]


async def test_sealed_gossip_and_gossip_on_loopback_are_not() -> None:
    async with open_node(config(bind="0.0.0.0:0", advertise="127.0.0.1", key="A" * 43 + "=")) as node:
        assert node.info().warnings == ()
    async with open_node(config(insecure=True)) as node:
        assert node.info().warnings == ()
