"""How many lookups a second one agent answers over HTTP, beside etcd: `python -m tests.bench.http_reads`.

A service of five instances. The agent is asked for it by ``GET /api/v1/services/orders``; etcd holds the same five
JSON documents below one prefix and is asked for them by its own HTTP API, ``POST /v3/kv/range``: once as it comes, and
once "serializable", which is a read of one member's own state, as ours is.

Each server has one core to itself and ``wrk`` has another, with the same few connections for all. Rounds take turns,
so that whatever else the machine does hits all; each ratio is of two neighbours. Requests for each second of CPU that
the server used do not depend on others at all.

Needs wrk and etcd (Debian: ``apt-get install wrk etcd-server``); without etcd its rows are left out, with a word.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import attrs
import click
import trio

from tests.bench import http_client
from tests.bench.ears import Ears
from tests.bench.figures import Figure, ratio_text
from tests.bench.gossipreg_cluster import GossipregCluster
from tests.bench.measuring import measured
from tests.bench.processes import BenchError, Brood, Process, cpu_seconds
from tests.bench.tables import machine, markdown, verdict

INSTANCES: Final = 5
OURS: Final = "gossipreg"

#: What is promised, in requests a second on one core.
TARGET: Final = 5000

_HOST: Final = "127.0.0.1"
_PREFIX: Final = b"orders/"
_READY_SECONDS: Final = 30.0
_DONE: Final = re.compile(r"(\d+) requests in ")
_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")


@attrs.frozen
class Question:
    """What is asked of one server, again and again."""

    label: str
    process: Process
    port: int
    method: str
    path: str
    body: Any = None

    async def ask(self) -> Any:
        """The answer, once."""
        async with http_client.connect(self.port) as client:
            return await client.ask(self.method, self.path, self.body)

    def script(self) -> str:
        """The same for wrk."""
        lines = [f"wrk.method = {json.dumps(self.method)}"]
        if self.body is not None:  # an empty body would be announced, which no client does with GET
            lines.append(f"wrk.body = {lua(json.dumps(self.body))}")
        return "".join(f"{line}\n" for line in lines)


def lua(text: str) -> str:
    """``text`` as a string of Lua's; it must hold no ``]]``."""
    assert "]]" not in text
    return f"[[{text}]]"


@attrs.frozen
class Round:
    """What came of one round."""

    rate: float  # requests a second
    per_cpu: float  # requests for each second of the server's CPU


def read_wrk(said: str) -> tuple[int, float]:
    """How many requests were answered, and how many a second. Raises ``BenchError`` unless every one went well."""
    done, rate = _DONE.search(said), _RATE.search(said)
    if done is None or rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise BenchError(f"wrk: not every request was answered well: {' '.join(said.split())}")
    return int(done[1]), float(rate[1])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in here runs on that core only (the first, if there is but one)."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[core % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def one_round(question: Question, script: str, connections: int, seconds: int) -> Round:
    """Have wrk ask for so long."""
    url = f"http://{_HOST}:{question.port}{question.path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, url]
    before = cpu_seconds(question.process.pid)
    with on_core(1):
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 30)
    answered, rate = read_wrk(said.stdout + said.stderr)
    return Round(rate, answered / (cpu_seconds(question.process.pid) - before))


async def start_ours(ears: Ears, brood: Brood) -> Question:
    """An agent with the service."""
    cluster = GossipregCluster(OURS, ears, brood)
    with on_core(0):
        await cluster.start(1)
    [agent] = cluster.agents
    async with http_client.connect(agent.asked) as client:
        for number in range(INSTANCES):
            wanted = {"id": f"orders-{number}", "service": "orders", "host": f"10.0.0.{number}", "port": 8080}
            await client.ask("PUT", "/api/v1/instances", wanted | {"tags": ["v2"], "meta": {"build": "1423"}})
    return Question(OURS, agent.process, agent.asked, "GET", "/api/v1/services/orders")


async def start_etcd(brood: Brood, documents: list[Any]) -> list[Question]:
    """An etcd of one member, with the same documents; asked in both of its ways."""
    client_port, peer_port = free_ports(2)
    client_url, peer_url = f"http://{_HOST}:{client_port}", f"http://{_HOST}:{peer_port}"
    command = ["etcd", "--name", "bench", "--data-dir", "etcd", "--logger", "zap", "--log-level", "error"]
    command += ["--listen-client-urls", client_url, "--advertise-client-urls", client_url]
    command += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
    command += ["--initial-cluster", f"bench={peer_url}"]
    with on_core(0):
        process = brood.start("etcd", command, lambda at, line: None)
    with trio.move_on_after(_READY_SECONDS) as patience:
        while not await _answers(client_port):  # noqa: ASYNC110 -- another process's
            await trio.sleep(0.1)
    if patience.cancelled_caught:
        raise BenchError(f"etcd was not ready after {_READY_SECONDS:g} s")
    async with http_client.connect(client_port) as client:
        for document in documents:
            key = _PREFIX + document["id"].encode()
            await client.ask("POST", "/v3/kv/put", {"key": b64(key), "value": b64(json.dumps(document).encode())})
    wanted = {"key": b64(_PREFIX), "range_end": b64(_PREFIX[:-1] + b"0")}  # "0" comes after "/"
    post = partial(Question, process=process, port=client_port, method="POST", path="/v3/kv/range")
    return [post("etcd", body=wanted), post("etcd, serializable", body=wanted | {"serializable": True})]


async def _answers(port: int) -> bool:
    try:
        async with http_client.connect(port) as client:
            return bool((await client.ask("GET", "/health"))["health"] == "true")
    except BenchError:
        return False


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def free_ports(count: int) -> list[int]:
    """Ports on which no process listens now."""
    sockets = [socket.create_server((_HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def table(found: dict[str, list[Round]]) -> str:
    """The figures as they stand in the documentation."""
    rows = [["server", "requests/s", "per second of its CPU", "ours to it", "target", ""]]
    ours = found[OURS]
    for label, rounds in found.items():
        rate = Figure.of([each.rate for each in rounds])
        per_cpu = f"{statistics.median(each.per_cpu for each in rounds):.0f}"
        if label == OURS:
            rows.append([label, str(rate), per_cpu, "", f"≥ {TARGET}", verdict(rate.middle >= TARGET)])
        else:
            ratio = statistics.median(mine.rate / its.rate for mine, its in zip(ours, rounds, strict=True))
            rows.append([label, str(rate), per_cpu, ratio_text(ratio), "> 1", verdict(ratio > 1)])
    return markdown(rows)


async def measure(options: argparse.Namespace) -> dict[str, list[Round]]:
    """Start the servers and let the rounds take turns."""
    ears = Ears()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ears.listen)
        with Brood(ears) as brood:
            ours = await start_ours(ears, brood)
            documents = (await ours.ask())["instances"]
            assert len(documents) == INSTANCES
            questions = [ours]
            if shutil.which("etcd") is not None:
                questions += await start_etcd(brood, documents)
            for question in questions[1:]:
                assert int((await question.ask())["count"]) == INSTANCES
            found = await trio.to_thread.run_sync(_take_turns, questions, options, brood.home.joinpath)
        nursery.cancel_scope.cancel()
    return found


def _take_turns(
    questions: list[Question], options: argparse.Namespace, file: Callable[[str], Any]
) -> dict[str, list[Round]]:
    found: dict[str, list[Round]] = {question.label: [] for question in questions}
    for number, question in enumerate(questions):
        file(f"{number}.lua").write_text(question.script())
    for turn in range(options.rounds + 1):  # the first is to warm up
        for number, question in enumerate(questions):
            one = one_round(question, str(file(f"{number}.lua")), options.connections, options.seconds)
            if turn:
                found[question.label].append(one)
    return found


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each, taken in turn (7)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a round (2)")
    parser.add_argument("--connections", type=int, default=16, help="connections kept, one request each under way (16)")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        click.echo("http_reads: wrk is missing, and nothing is measured without it: apt-get install wrk", err=True)
        return 1
    load = os.getloadavg()[0]
    found = measured("http_reads", partial(measure, options))
    if not found:
        return 1
    click.echo(
        f"`python -m tests.bench.http_reads`: a lookup of {INSTANCES} instances over {options.connections} kept "
        f"connections, one core for the server and one for wrk, {options.rounds} rounds of {options.seconds} s; "
        f"{machine(load)}.\n\n{table(found)}"
    )
    if shutil.which("etcd") is None:
        click.echo("\n- etcd is left out: it is not installed: apt-get install etcd-server")
    return 0


if __name__ == "__main__":
    sys.exit(main())
