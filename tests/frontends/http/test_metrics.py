"""What Prometheus is told is so, and the page about it says the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import attrs
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gossipreg.frontends.serving.prometheus import MEDIA
from gossipreg.identities import IdentityReport, MemberIdentity
from gossipreg.model import Status
from tests.frontends.fake_node import FakeNode, member

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].encode() == MEDIA
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, /, **labels: str) -> float:
    return samples[f"gossipreg_{name}", frozenset(labels.items())]


async def test_the_node_and_its_members_are_shown(fake: FakeNode, client: httpx.AsyncClient) -> None:
    fake.see("suspect", member("beta", 7941, Status.SUSPECT))
    samples = await scrape(client)
    assert value(samples, "members", status="alive") == 1
    assert value(samples, "members", status="suspect") == 1
    assert value(samples, "isolated") == 0
    assert value(samples, "reachable_ratio") == 1
    assert value(samples, "boot_time_seconds") == 1_700_000_000
    assert value(samples, "node_info", name="alpha", cluster="default", zone="north", address="127.0.0.1:7940") == 1


async def test_instances_are_counted_by_service_and_health(fake: FakeNode, client: httpx.AsyncClient) -> None:
    await fake.register("orders", port=1)
    fake.fail_checks(await fake.register("orders", port=2))
    samples = await scrape(client)
    assert value(samples, "services") == 1
    assert value(samples, "instances", service="orders", health="passing") == 1
    assert value(samples, "instances", service="orders", health="critical") == 1
    assert value(samples, "instances", service="orders", health="maintenance") == 0


async def test_packets_have_their_own_metric_and_other_counters_go_by_name(
    fake: FakeNode, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = {"packets_sent": 12, "packets_received": 11, "bytes_sent": 1300, "failures_declared": 2, 'odd"\n': 1}
    info = attrs.evolve(fake.info(), counters=counted)
    monkeypatch.setattr(FakeNode, "info", lambda _: info)
    samples = await scrape(client)
    assert value(samples, "packets_total", direction="in") == 11
    assert value(samples, "packets_total", direction="out") == 12
    assert value(samples, "packet_bytes_total", direction="out") == 1300
    assert value(samples, "events_total", event="failures_declared") == 2
    assert value(samples, "events_total", event='odd"\n') == 1


async def test_requests_are_counted_by_route_and_not_by_what_clients_make_up(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/services/a", "/api/v1/services/b", "/api/v1/services/c?nonsense=1", "/x", "/y"):
        await client.get(path)
    await client.request("BREW", "/api/v1/node")
    samples = await scrape(client)
    assert value(samples, "http_requests_total", method="GET", route="/api/v1/services/NAME", code="200") == 2
    assert value(samples, "http_requests_total", method="GET", route="/api/v1/services/NAME", code="400") == 1
    assert value(samples, "http_requests_total", method="", route="", code="404") == 2
    assert value(samples, "http_requests_total", method="", route="", code="405") == 1


async def test_the_names_on_the_page_are_those_that_are_exported(fake: FakeNode, client: httpx.AsyncClient) -> None:
    await fake.register("orders", port=1)
    signed = MemberIdentity("a", True, "0f", "ab", 1767225600.0, True)
    fake.identities = IdentityReport("prefer", None, (signed,), (), {"10.0.0.9": 1})
    await client.get("/api/v1/node")
    exported = {
        (name, frozenset(label for label, _ in labels))
        for name, labels in await scrape(client)
        if name.startswith("gossipreg_")
    }
    rows = re.findall(r"^\| `(gossipreg_\w+)` \|([^|]*)\|", PAGE, re.MULTILINE)
    listed = {(name, frozenset(re.findall(r"`(\w+)`", labels))) for name, labels in rows}
    always = {name for name, _ in exported} | {"gossipreg_packet_bytes_total", "gossipreg_events_total"}
    assert {name for name, _ in listed} == always
    assert exported <= listed


def test_an_agent_that_is_never_scraped_does_not_load_the_library() -> None:
    code = "import sys, gossipreg.frontends.http; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
