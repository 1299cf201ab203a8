"""DNS answers per second of the DNS frontend, beside a bare UDP echo in the same run.

    .venv/bin/python tests/bench/dns_answers.py

A responder with a service of three instances is asked for the same name again and again, by a client that keeps so many
queries under way, in a process of its own. The echo sends the very same packets back from the same loop, untouched:
that is the most that a Python program, this client and this machine can do. Short rounds of the two take turns, so
that whatever else the machine is busy with hits both; each ratio is of two neighbours. The last column does not depend
on other programs: answers for each second of CPU that the server used.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import dns.message
import trio

sys.path.insert(0, str(Path(__file__).parents[2]))

from gossipreg.frontends.dns import limits
from gossipreg.frontends.dns.directory import Directory
from gossipreg.frontends.dns.responder import DnsResponder
from gossipreg.frontends.dns.server import serve_udp
from gossipreg.frontends.dns.zone import Zone
from gossipreg.model import Address, Instance
from tests.bench.figures import Figure, ratio_text
from tests.bench.processes import cpu_seconds
from tests.bench.tables import machine, markdown, verdict

#: What is promised, in cached answers a second.
TARGET = 40_000

_NAME = "orders.service.gossipreg"


@attrs.frozen
class Still:
    """A registry in which nothing changes."""

    address: Address = Address("127.0.0.1", 7940)
    instances: tuple[Instance, ...] = tuple(
        Instance(id=f"orders-{n}", service="orders", host=f"10.0.0.{n}", port=8080, weight=n, owner=f"web-{n}")
        for n in (1, 2, 3)
    )

    def lookup(self, service: str, *, healthy: bool = True) -> tuple[Instance, ...]:
        """The three."""
        return self.instances if service == "orders" else ()

    def index(self, service: str) -> int:
        """Always the same, found as a view finds it: by the name."""
        return {"orders": 7}.get(service, 1)

    def events(self) -> Any:
        """None: the benchmark does not follow."""
        raise AssertionError


class Echo:
    """Answers with what it is sent."""

    def answer(self, packet: bytes) -> bytes:
        """The packet itself."""
        return packet


def _responder() -> DnsResponder:
    node: Any = Still()
    return DnsResponder(Zone(node, Directory(node), Address("127.0.0.1", 0), ("gossipreg", "consul"), 0))


def _serve(make: Callable[[], Any], udp: socket.socket) -> None:
    trio.run(serve_udp, udp, make())


def _ask(port: int, query: bytes, seconds: float, under_way: int) -> float:
    """Answers a second, with so many queries under way."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(1.0)
        send, receive = client.send, client.recv
        packets = [number.to_bytes(2, "big") + query[2:] for number in range(under_way)]
        for packet in packets:
            send(packet)
        answered = 0
        begun = time.perf_counter()
        until = begun + seconds
        while (now := time.perf_counter()) < until:
            for packet in packets:
                receive(limits.UDP_BYTES_MAX)
                send(packet)
            answered += under_way
        return answered / (now - begun)


@attrs.define
class Figures:
    """What came of the rounds of a kind: answers a second, their share of the echo's beside it, the server's CPU."""

    rates: list[float] = attrs.field(factory=list)
    ratios: list[float] = attrs.field(factory=list)
    answers: float = 0.0
    cpu: float = 0.0  # seconds

    def row(self, name: str) -> list[str]:
        """One row of the table."""
        target = ["", ""]
        if name != "echo":
            target = [f"≥ {TARGET:,}", verdict(statistics.median(self.rates) >= TARGET)]
        share = ratio_text(statistics.median(self.ratios))
        return [name, str(Figure.of(self.rates)), share, f"{self.answers / self.cpu:,.0f}", *target]


@attrs.frozen
class Server:
    """A process that answers at a port."""

    port: int
    process: multiprocessing.process.BaseProcess

    @classmethod
    def start(cls, make: Callable[[], Any]) -> Server:
        """Fork one that answers with what ``make`` makes."""
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.RECEIVE_BUFFER_BYTES)
            udp.bind(("127.0.0.1", 0))
            udp.setblocking(False)
            process = multiprocessing.get_context("fork").Process(target=_serve, args=(make, udp), daemon=True)
            process.start()
            return cls(udp.getsockname()[1], process)

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        assert self.process.pid is not None
        return cpu_seconds(self.process.pid)


def _measure(rounds: int, seconds: float, under_way: int) -> dict[str, Figures]:
    echo, responder = Server.start(Echo), Server.start(_responder)
    try:
        queries = {kind: dns.message.make_query(_NAME, kind, use_edns=0).to_wire() for kind in ("A", "SRV")}
        kinds = {"echo": (echo, queries["A"]), "A": (responder, queries["A"]), "SRV": (responder, queries["SRV"])}
        found = {kind: Figures() for kind in kinds}
        for _ in range(rounds):
            for kind, (server, query) in kinds.items():
                figures, before = found[kind], server.cpu()
                figures.rates.append(_ask(server.port, query, seconds, under_way))
                figures.cpu += server.cpu() - before
                figures.answers += figures.rates[-1] * seconds
                figures.ratios.append(figures.rates[-1] / found["echo"].rates[-1])
        return found
    finally:
        for server in (echo, responder):
            server.process.terminate()
            server.process.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25, help="rounds of each, taken in turn (25)")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a round (0.4)")
    parser.add_argument("--under-way", type=int, default=32, help="queries under way at once (32)")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    found = _measure(options.rounds, options.seconds, options.under_way)
    if options.json:
        sys.stdout.write(json.dumps({kind: attrs.asdict(figures) for kind, figures in found.items()}) + "\n")
        return
    rows = [["question", "answers/s", "of the echo", "per second of CPU", "target", ""]]
    rows += [figures.row(kind) for kind, figures in found.items()]
    sys.stdout.write(f"{options.under_way} queries under way; {machine(load)}.\n\n{markdown(rows)}\n")


if __name__ == "__main__":
    main()
