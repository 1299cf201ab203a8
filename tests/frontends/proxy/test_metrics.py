"""What Prometheus is told of a balancer is so, and the page about it says the same."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from gossipreg.errors import BindError
from gossipreg.frontends.proxy import Forward, Proxy, serve_metrics
from gossipreg.frontends.proxy.backend import key_of
from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.model import Address
from tests.frontends.proxy.conftest import Stage, call, until
from tests.frontends.proxy.making import instance, seen

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "proxy.md").read_text()

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(nursery: trio.Nursery, proxies: Sequence[Proxy]) -> Samples:
    bound = await nursery.start(partial(serve_metrics, proxies, Address("127.0.0.1", 0)))
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert (await client.get("/")).status_code == 404
        assert (await client.post("/metrics")).status_code == 405
        assert (await client.get("/metrics", headers={"Host": "evil.example"})).status_code == 403
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_is_told_nothing(nursery: trio.Nursery, headers: dict[str, str]) -> None:
    bound = await nursery.start(partial(serve_metrics, (), Address("127.0.0.1", 0)))
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        for path in ("/metrics", "/", "/healthz"):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, "gossipreg_" in answer.text) == (403, False)


def value(samples: Samples, name: str, proxy: Proxy, **labels: str) -> float:
    own = {"listen": str(proxy.bound or proxy.forward.listen), "service": proxy.forward.service or ""}
    return samples[f"gossipreg_proxy_{name}", frozenset({**own, **labels}.items())]


async def test_connections_are_counted_by_how_they_ended(stage: Stage) -> None:
    busy, address = await stage.proxy(await stage.named("a"))
    empty, nowhere = await stage.proxy()
    assert [await call(address), await call(address), await call(nowhere)] == ["a", "a", ""]
    await until(lambda: not busy.open and not empty.open)
    samples = await scrape(stage.nursery, [busy, empty])
    assert value(samples, "accepted_total", busy) == 2
    assert value(samples, "ended_total", busy, outcome="finished") == 2
    assert value(samples, "ended_total", empty, outcome="no_instance") == 1
    assert value(samples, "bytes_total", busy, direction="out") == 2
    assert value(samples, "open", busy) == 0


async def test_a_port_by_tls_names_has_a_row_for_each_service_and_one_for_callers_that_reached_none(
    stage: Stage,
) -> None:
    proxy = Proxy(Forward(listen="127.0.0.1:0", tls=(("a.example", "a"), ("b.example", "b"))))
    address = await stage.nursery.start(proxy.serve)
    assert await call(address) == ""
    async with await trio.open_tcp_stream(*address):
        await until(lambda: proxy.counters["finished"] == 1 and proxy.open == 1)
        samples = await scrape(stage.nursery, [proxy])
    listen = ("listen", str(address))
    for service, expected in (("", 1), ("a", 0), ("b", 0)):
        labels = {listen, ("service", service)}
        assert samples["gossipreg_proxy_open", frozenset(labels)] == expected
        assert samples["gossipreg_proxy_ended_total", frozenset({*labels, ("outcome", "finished")})] == expected


async def test_instances_are_shown_by_how_they_stand(stage: Stage) -> None:
    proxy, _ = await stage.proxy(*(instance(name) for name in "abc"), instance("d", weight=0))
    proxy.apply([seen("suspect", "a")])
    now = trio.current_time()
    proxy.upstreams["orders"].balancer.backends[key_of(instance("b"))].failed(now, now + 10)
    samples = await scrape(stage.nursery, [proxy])
    for state in ("ready", "resting", "suspect", "drained"):
        assert value(samples, "instances", proxy, state=state) == 1


async def test_an_instance_that_warms_up_is_shown_as_that(stage: Stage) -> None:
    proxy, _ = await stage.proxy(instance("a"), slow_start=3600.0)
    proxy.upstreams["orders"].balancer.replace([instance("a"), instance("b")], now=trio.current_time() + 60)
    samples = await scrape(stage.nursery, [proxy])
    assert value(samples, "instances", proxy, state="warming") == value(samples, "instances", proxy, state="ready") == 1


async def test_the_names_on_the_page_are_those_that_are_exported(stage: Stage) -> None:
    proxy, _ = await stage.proxy()
    exported = {
        (name, frozenset(label for label, _ in values) - {"listen", "service"})
        for name, values in await scrape(stage.nursery, [proxy])
        if name.startswith("gossipreg_")
    }
    rows = re.findall(r"^\| `(gossipreg_\w+)` \|([^|]*)\|", PAGE, re.MULTILINE)
    assert {(name, frozenset(re.findall(r"`(\w+)`", labels))) for name, labels in rows} == exported


def test_every_counter_is_shown() -> None:
    shown = (ROOT / "gossipreg" / "frontends" / "proxy" / "metrics.py").read_text()
    assert all(f"ForwardCount.{count.name}" in shown for count in ForwardCount)


async def test_an_address_that_is_taken_is_named_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=rf"127.0.0.1:{port} for metrics: address already in use: .* --metrics"):
            await serve_metrics([], Address("127.0.0.1", port))
