"""The balancer and HAProxy before the same echo servers, with the same callers: what each costs.

    .venv/bin/python tests/bench/proxy.py
    .venv/bin/python tests/bench/proxy.py --rounds 3 --seconds 1 --json

Needs HAProxy (Debian: ``apt-get install haproxy``); where it is missing its side is left out, with a word.
Everything is on 127.0.0.1; whatever happens no process is left.

Three ways lead to the same three echo servers (one process): direct, through HAProxy (TCP mode, leastconn, one thread)
and through ``gossipreg proxy``, which follows an agent. In each round every way has its turn, so what else the machine
does meanwhile hits all. *Direct* shows what callers and servers can do at most on the cores there are: a figure near it
is theirs rather than the balancer's. Callers and servers are one epoll loop each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import attrs

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.figures import Figure, digits, ratio_text

Address = tuple[str, int]

_HOST: Final = "127.0.0.1"
_MESSAGE: Final = bytes(100)
_SERVERS: Final = 3
_BULK_BYTES: Final = 64 * 1024 * 1024
_READY_SECONDS: Final = 30.0

_HAPROXY: Final = """\
defaults
  mode tcp
  timeout connect 1s
  timeout client 1m
  timeout server 1m
global
  nbthread 1
  maxconn 4000
listen orders
  bind {host}:{port}
  balance leastconn
{servers}
"""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# The servers, in a process of their own


def _serve_echoes() -> None:
    """Listen on some ports, say which, and give back whatever comes."""
    listeners = {
        each.fileno(): each for each in (socket.create_server((_HOST, 0), backlog=1024) for _ in range(_SERVERS))
    }
    _say(json.dumps([each.getsockname()[1] for each in listeners.values()]))
    poll = select.epoll()
    for number in listeners:
        poll.register(number, select.EPOLLIN)
    callers: dict[int, socket.socket] = {}
    while True:
        for number, _ in poll.poll():
            if number in listeners:
                caller, _ = listeners[number].accept()
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                callers[caller.fileno()] = caller
                poll.register(caller.fileno(), select.EPOLLIN)
                continue
            try:
                data = callers[number].recv(262_144)
                callers[number].sendall(data)
            except OSError:
                data = b""
            if not data:
                poll.unregister(number)
                callers.pop(number).close()


# The callers


def _connected(address: Address) -> socket.socket:
    made = socket.create_connection(address, timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def requests_per_second(address: Address, callers: int, seconds: float) -> float:
    """Requests a second of so many callers, each on a connection that it keeps."""
    open_ = {each.fileno(): each for each in (_connected(address) for _ in range(callers))}
    poll = select.epoll()
    for number, each in open_.items():
        poll.register(number, select.EPOLLIN)
        each.sendall(_MESSAGE)
    count, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        for number, _ in poll.poll(1):
            data = open_[number].recv(4096)
            assert len(data) == len(_MESSAGE), "an answer was cut"
            count += 1
            open_[number].sendall(_MESSAGE)
    poll.close()
    for each in open_.values():
        each.close()
    return count / (now - began)


def connections_per_second(address: Address, callers: int, seconds: float) -> float:
    """Requests a second of so many callers, each request on a connection of its own."""
    poll = select.epoll()
    open_: dict[int, socket.socket] = {}

    def call() -> None:
        made = _connected(address)
        made.sendall(_MESSAGE)
        open_[made.fileno()] = made
        poll.register(made.fileno(), select.EPOLLIN)

    for _ in range(callers):
        call()
    count, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        for number, _ in poll.poll(1):
            assert open_[number].recv(4096), "a caller was turned away"
            count += 1
            poll.unregister(number)
            open_.pop(number).close()
            call()
    poll.close()
    for each in open_.values():
        each.close()
    return count / (now - began)


def latencies(address: Address, seconds: float) -> list[float]:
    """How long each request of one caller took (seconds), one after the other on one connection."""
    took = []
    with _connected(address) as caller:
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            caller.sendall(_MESSAGE)
            caller.recv(4096)
            took.append(time.perf_counter() - began)
    return took


def bytes_per_second(address: Address) -> float:
    """How fast one caller gets a lot of bytes back that it sends (bytes a second)."""
    with _connected(address) as caller:
        piece = bytes(262_144)

        def send() -> None:
            for _ in range(_BULK_BYTES // len(piece)):
                caller.sendall(piece)

        began, got = time.perf_counter(), 0
        sender = threading.Thread(target=send)
        sender.start()
        while got < _BULK_BYTES:
            got += len(caller.recv(262_144))
        sender.join()
        return got / (time.perf_counter() - began)


# The ways


@contextmanager
def _process(arguments: list[str], *, log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as err, subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=err, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"{process.args!r} ended before it was ready"
    return line


@contextmanager
def _gossipreg(servers: list[int], home: Path) -> Iterator[Address]:
    """An agent, the servers registered with it, and a balancer that follows it."""
    program = [sys.executable, "-m", "gossipreg"]
    flags = ["--bind", f"{_HOST}:0", "--http", f"{_HOST}:0", "--log-format", "json", "--dns", "off"]
    with _process([*program, "agent", *flags], log=home / "agent.log") as agent:
        http = json.loads(_first_line(agent))["http"]
        for port in servers:
            connection = HTTPConnection(http)
            connection.request(
                "PUT", "/api/v1/instances", json.dumps({"service": "orders", "port": port, "host": _HOST})
            )
            assert connection.getresponse().status == 201
            connection.close()
        flags = ["--listen", f"{_HOST}:0", "--service", "orders", "--http", http, "--log-format", "json"]
        with _process([*program, "proxy", *flags], log=home / "proxy.log") as proxy:
            host, _, port = json.loads(_first_line(proxy))["forwards"][0]["listen"].rpartition(":")
            yield host, int(port)


@contextmanager
def _haproxy(servers: list[int], home: Path) -> Iterator[Address]:
    with socket.create_server((_HOST, 0)) as free:
        port = free.getsockname()[1]
    lines = "\n".join(f"  server s{number} {_HOST}:{each}" for number, each in enumerate(servers))
    file = home / "haproxy.cfg"
    file.write_text(_HAPROXY.format(host=_HOST, port=port, servers=lines))
    with _process(["haproxy", "-f", str(file), "-db"], log=home / "haproxy.log") as process:
        until = time.monotonic() + _READY_SECONDS
        while True:
            try:
                socket.create_connection((_HOST, port)).close()
            except ConnectionRefusedError:
                assert process.poll() is None, (home / "haproxy.log").read_text()
                assert time.monotonic() < until, "HAProxy does not listen"
                time.sleep(0.02)
            else:
                break
        yield _HOST, port


# The table


@attrs.frozen
class Row:
    """One line of the table: what is measured, once for each round and way."""

    title: str
    unit: str
    measure: Callable[[Address], float]


def _rows(callers: int, seconds: float) -> list[Row]:
    def quantile(share: float, address: Address) -> float:
        took = sorted(latencies(address, seconds))
        return 1e6 * took[int(share * (len(took) - 1))]

    return [
        Row(f"requests on {callers} kept connections", "1/s", lambda to: requests_per_second(to, callers, seconds)),
        Row("requests, each on its own connection", "1/s", lambda to: connections_per_second(to, callers, seconds)),
        Row("latency of one caller, median", "us", partial(quantile, 0.5)),
        Row("latency of one caller, 99 %", "us", partial(quantile, 0.99)),
        Row("bytes there and back on one connection", "MB/s", lambda to: bytes_per_second(to) / 1e6),
    ]


def _measured(rows: list[Row], ways: Mapping[str, Address], rounds: int) -> dict[str, dict[str, Figure]]:
    values: dict[str, dict[str, list[float]]] = {row.title: {way: [] for way in ways} for row in rows}
    for row in rows:
        for address in ways.values():
            row.measure(address)  # warm up
        for _ in range(rounds):
            for way, address in ways.items():
                values[row.title][way].append(row.measure(address))
                sys.stderr.write(f"{row.title}, {way}: {digits(values[row.title][way][-1])} {row.unit}\n")
    return {title: {way: Figure.of(each) for way, each in found.items()} for title, found in values.items()}


def _table(rows: list[Row], figures: Mapping[str, Mapping[str, Figure]], ways: list[str]) -> str:
    lines = [["what", "unit", *ways, "ratio"], ["---"] * (3 + len(ways))]
    for row in rows:
        found = figures[row.title]
        ratio = ratio_text(found["gossipreg"].middle / found["HAProxy"].middle) if "HAProxy" in found else ""
        lines.append([row.title, row.unit, *[str(found[way]) for way in ways], ratio])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _haproxy_version() -> str:
    said = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:3])


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way for each row (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (2)")
    parser.add_argument("--callers", type=int, default=32, help="callers at once (32)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--skip-haproxy", action="store_true", help="leave HAProxy out")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        _serve_echoes()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gossipreg-bench-")))
        echoes = stack.enter_context(_process([sys.executable, __file__, "--serve"], log=home / "echo.log"))
        servers: list[int] = json.loads(_first_line(echoes))
        ways: dict[str, Address] = {"direct": (_HOST, servers[0])}
        note = "HAProxy: left out"
        if not asked.skip_haproxy and shutil.which("haproxy"):
            ways["HAProxy"] = stack.enter_context(_haproxy(servers, home))
            note = _haproxy_version()
        elif not asked.skip_haproxy:
            note += ": it is not installed (Debian: apt-get install haproxy)"
        ways["gossipreg"] = stack.enter_context(_gossipreg(servers, home))
        rows = _rows(asked.callers, asked.seconds)
        figures = _measured(rows, ways, asked.rounds)
    where = f"{os.cpu_count()} cores, load before {load:.1f}; {note}, one thread; Python {platform.python_version()}"
    if asked.json:
        found = {title: {way: each.json() for way, each in row.items()} for title, row in figures.items()}
        _say(json.dumps({"where": where, "rows": found}))
    else:
        _say(f"{where}\n\nMedian (lowest to highest, number of turns).\n\n{_table(rows, figures, list(ways))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
