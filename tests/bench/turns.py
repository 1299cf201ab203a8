"""The longest time that an agent's loop is held by the most expensive requests known: `python -m tests.bench.turns`.

One thread serves gossip and all clients, so the longest time that one request holds it is what a peer's ping may have
to wait. A node with a large service serves HTTP, with Consul's, Eureka's, Envoy's and Traefik's APIs, and DNS. A client
in a thread of its own asks each question several times, each time after a change, so that no answer is kept. An
instrument of trio's times every step of every task; the longest step during each question is the figure, in CPU time of
the thread.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import quote

import attrs
import click
import dns.message
import dns.query
import trio
import trio.lowlevel

from gossipreg import Config, open_node
from gossipreg.cli.gc_pauses import keep_pauses_short
from gossipreg.frontends.dns import serve_dns
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.settling import SETTLE_SECONDS
from gossipreg.model import Address, Instance
from gossipreg.runtime.node import Node
from tests.bench.figures import Figure
from tests.bench.tables import machine, markdown, verdict

#: The longest turn allowed (milliseconds).
TARGET: Final = 10.0

_FILTER: Final = " or ".join(f"Service.Meta.k == no{number}" for number in range(64))

_APIS: Final = ("consul", "eureka", "envoy", "traefik")

#: What is asked, by name. A path, or the type of a DNS question.
QUESTIONS: Final[Mapping[str, str]] = {
    "lookup": "/api/v1/services/orders",
    "lookup, by tag": "/api/v1/services/orders?tag=v2&all",
    "services": "/api/v1/services",
    "http_sd": "/api/v1/http_sd",
    "consul, health": "/v1/health/service/orders?passing",
    "consul, 64 matches": f"/v1/health/service/orders?filter={quote(_FILTER)}",
    "consul, catalog filtered": f"/v1/catalog/services?filter={quote('ServiceMeta.k == no')}",
    "consul, all checks": "/v1/health/state/any",
    "consul, own services": "/v1/agent/services",
    "eureka, apps": "/eureka/apps",
    "eureka, delta": "/eureka/apps/delta",
    "traefik": "/traefik/v1/config",
    "envoy": "/v3/discovery:endpoints",
    "DNS, SRV": "SRV",
    "DNS, A": "A",
}


@attrs.define(eq=False)
class Longest(trio.abc.Instrument):
    """The longest step of any task since it was last asked for (seconds).

    Only whole steps count: the one in the middle of which the instrument was added is the benchmark's own.
    """

    _began: float | None = None
    _longest: float = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        if self._began is not None:
            self._longest = max(self._longest, time.thread_time() - self._began)
        self._began = None

    def take(self) -> float:
        longest, self._longest, self._began = self._longest, 0.0, None
        return longest


async def measure(instances: int, rounds: int) -> dict[str, Figure]:
    """The longest turn of each question (milliseconds), one figure a round."""
    longest = Longest()
    turns: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    async with open_node(Config(name="n", bind="127.0.0.1:0")) as node, trio.open_nursery() as nursery:
        nursery.start_soon(keep_pauses_short)  # as an agent does
        offer(node, instances)
        serve = partial(
            serve_http,
            node,
            Address("127.0.0.1", 0),
            leave=lambda: None,
            compatibility_apis=load(_APIS),
        )
        http_at: Address = await nursery.start(serve)
        dns_at: Address = await nursery.start(partial(serve_dns, node, Address("127.0.0.1", 0), domains=("gossipreg",)))
        await trio.sleep(SETTLE_SECONDS)
        for turn in range(rounds):
            for name, question in QUESTIONS.items():
                await node.register("orders", port=1, id="changing", weight=turn + 1, meta={"name": name})
                await trio.sleep(0.05)  # until it is told
                trio.lowlevel.add_instrument(longest)
                longest.take()
                at = http_at if question.startswith("/") else dns_at
                await trio.to_thread.run_sync(_ask, at, question)
                turns[name].append(1000 * longest.take())
                trio.lowlevel.remove_instrument(longest)
        nursery.cancel_scope.cancel()
    return {name: Figure.of(values) for name, values in turns.items()}


def offer(node: Node, instances: int) -> None:
    """Offer all at once: to register thousands one by one takes minutes."""
    engine = node._engine
    now = trio.current_time()
    for number in range(instances):
        instance = Instance(
            id=f"orders-{number:05}",
            service="orders",
            host=f"10.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}",
            port=8080,
            tags=("v1", "v2") if number % 2 else ("v1",),
            meta={"k": str(number)},
            owner=node.name,
        )
        engine.state.remake(*engine.state.registry.offer(instance, engine.identity.generation))
    node._lifecycle.context.driver.say(engine.drain(now))
    node._lifecycle.context.driver.say(engine.undrain(now))


def _ask(at: Address, question: str) -> None:
    if question.startswith("/"):
        connection = http.client.HTTPConnection(at.host, at.port, timeout=120)
        if question.startswith("/v3"):  # Envoy asks by POST
            connection.request("POST", question, json.dumps({"resource_names": ["orders"]}))
        else:
            connection.request("GET", question)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (question, answer.status, body[:200])
        connection.close()
    else:
        query = dns.message.make_query("orders.service.gossipreg", question, use_edns=0, payload=1232)
        dns.query.udp(query, at.host, port=at.port, timeout=120)


def table(figures: Mapping[str, Figure]) -> str:
    """The figures for people, as they stand in the documentation."""
    rows = [["asked", "longest turn, CPU ms", "target", ""]]
    for name, figure in figures.items():
        rows.append([name, str(figure), f"≤ {TARGET:g}", verdict(figure.middle <= TARGET)])
    return markdown(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--instances", type=int, default=4000, help="of the one service (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    figures = trio.run(measure, given.instances, given.rounds)
    click.echo(table(figures))
    click.echo(f"\n`python -m tests.bench.turns`: {given.instances} instances of one service; {machine(load_before)}.")


if __name__ == "__main__":
    main()
