"""Hostile client of a live agent: all known attacks over HTTP, and floods of DNS queries and gossip junk.

``python -m tests.fuzz.hostile_client KIND HOST:PORT`` attacks for ``--seconds`` and prints its counts every second, as
a line of JSON. It runs at a low priority, so that the agent gets its share on a machine with few cores: a remote
attacker would take no CPU from it. It attacks loopback only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

import attrs
import click
import dns.message
import trio

from gossipreg.model import Address

#: Default niceness of an attacker's process: the agent gets nine times as much CPU.
NICENESS: Final = 10

#: Interval of reports (seconds).
_REPORT_SECONDS: Final = 1.0

#: A filter with the maximum number of matches, none of which holds.
_FILTER: Final = quote(" or ".join(f"Service.Meta.k == no{number}" for number in range(64)))

#: A filter with far more matches.
_LONG_FILTER: Final = quote(" or ".join(["a==b"] * 800))[:8000]

#: Receive buffer of a slow reader (bytes): the kernel should buffer little for it.
_SMALL_BUFFER: Final = 4096

#: Time between two bytes of a slow client (seconds).
_DRIP_SECONDS: Final = 1.0

#: Pause after a refused connection (seconds), so that one attack does not starve the others.
_PAUSE_SECONDS: Final = 0.05


@attrs.frozen
class Attack:
    """One attack over HTTP: a number of connections, each of which runs ``action`` repeatedly."""

    name: str
    connections: int
    action: Callable[[Hostile, trio.SocketStream], Awaitable[None]]
    small_buffer: bool = False


@attrs.define(eq=False)
class Hostile:
    """All attacks over HTTP at once. ``scale`` is the fraction of each attack's connections."""

    http: Address
    scale: float = 1.0
    done: Counter[str] = attrs.field(factory=Counter)

    async def attack(self, attacks: tuple[Attack, ...]) -> None:
        """Attack until cancelled."""
        async with trio.open_nursery() as nursery:
            for each in attacks:
                for _ in range(max(1, round(each.connections * self.scale))):
                    nursery.start_soon(self._again_and_again, each)

    async def _again_and_again(self, attack: Attack) -> None:
        await trio.sleep(random.random())
        while True:
            try:
                stream = await self._connected(small_buffer=attack.small_buffer)
                self.done[attack.name] += 1
                async with stream:
                    await attack.action(self, stream)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                self.done[f"{attack.name}, ended by the agent"] += 1
            await trio.sleep(_PAUSE_SECONDS)

    async def _connected(self, *, small_buffer: bool) -> trio.SocketStream:
        made = trio.socket.socket(trio.socket.AF_INET)
        try:
            if small_buffer:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
            await made.connect(tuple(self.http))
        except BaseException:
            made.close()
            raise
        return trio.SocketStream(made)

    # Attacks on one connection

    async def slow_head(self, stream: trio.SocketStream) -> None:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        while True:
            await trio.sleep(_DRIP_SECONDS)
            await stream.send_all(b"X-Drip: a\r\n")

    async def slow_body(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_put(100_000))
        while True:
            await trio.sleep(_DRIP_SECONDS)
            await stream.send_all(b" ")

    async def idle(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_get("/healthz"))
        await _to_the_end(stream)

    async def slow_reader(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_get("/api/v1/events"))
        await trio.sleep_forever()

    async def slow_taker(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_get("/v1/health/service/orders"))
        await trio.sleep_forever()

    async def waiter(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_get("/api/v1/services?wait=10m"))
        head = bytes(await stream.receive_some())
        index = head.partition(b"x-gossipreg-index: ")[2].partition(b"\r\n")[0].decode()
        await stream.send_all(_get(f"/api/v1/services?wait=10m&index={index}"))
        await _to_the_end(stream)

    async def filters(self, stream: trio.SocketStream) -> None:
        for text in (_FILTER, _LONG_FILTER):
            await stream.send_all(_get(f"/v1/health/service/orders?filter={text}"))
            await _some(stream)

    async def dear_lists(self, stream: trio.SocketStream) -> None:
        repeated = json.dumps({"resource_names": ["orders"] * 9000}).encode()
        many = "&service=orders" * 500
        for asked in (
            *map(_get, ("/v1/health/state/any", "/eureka/apps", "/eureka/apps/delta", "/v1/agent/services")),
            *(_get(f"/traefik/v1/config?rule={'{service}' * 500}"), _get(f"/traefik/v1/config?{many[1:]}")),
            _request("POST", "/v3/discovery:endpoints", f"Content-Length: {len(repeated)}") + repeated,
        ):
            await stream.send_all(asked)
            await _some(stream)

    async def long_line(self, stream: trio.SocketStream) -> None:
        for _ in range(100):
            await stream.send_all(b"GET /" + b"a" * 8192)
        await _to_the_end(stream)

    async def pipeline(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_get("/api/v1/services/orders") * 1000)
        await trio.sleep_forever()

    async def ambiguous(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_put(5, "Transfer-Encoding: chunked") + b"0\r\n\r\n" + _get("/healthz"))
        await _to_the_end(stream)

    async def big_body(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_put(10_000_000_000) + b"a" * 65_536)
        await _some(stream)

    async def endless_chunks(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_request("PUT", "/api/v1/instances", "Transfer-Encoding: chunked"))
        while True:
            await stream.send_all(b"1000\r\n" + b"a" * 4096 + b"\r\n")

    async def churn(self, stream: trio.SocketStream) -> None:
        await trio.aclose_forcefully(stream)


def _request(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def _get(target: str) -> bytes:
    return _request("GET", target)


def _put(length: int, *headers: str) -> bytes:
    return _request("PUT", "/api/v1/instances", f"Content-Length: {length}", *headers)


async def _some(stream: trio.SocketStream) -> None:
    """Read only a little of an answer."""
    if not await stream.receive_some(1024):
        raise trio.BrokenResourceError


async def _to_the_end(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


#: The attacks; their connections together exceed the agent's limits.
ATTACKS: Final = (
    Attack("slow heads", 200, Hostile.slow_head),
    Attack("slow bodies", 200, Hostile.slow_body),
    Attack("idle keep-alives", 4608, Hostile.idle),
    Attack("slow event readers", 200, Hostile.slow_reader, small_buffer=True),
    Attack("slow takers of long answers", 100, Hostile.slow_taker, small_buffer=True),
    Attack("blocking reads", 6400, Hostile.waiter),
    Attack("filters", 4, Hostile.filters),
    Attack("dear lists", 4, Hostile.dear_lists),
    Attack("long request lines", 8, Hostile.long_line),
    Attack("pipelines that read nothing", 50, Hostile.pipeline, small_buffer=True),
    Attack("Content-Length with Transfer-Encoding", 8, Hostile.ambiguous),
    Attack("big bodies", 8, Hostile.big_body),
    Attack("endless chunks", 8, Hostile.endless_chunks),
    Attack("connections that go at once", 16, Hostile.churn),
)


# Floods


def flood_gossip(to: Address, key_id: bytes, seconds: float, rate: float) -> Counter[str]:
    """Send junk at ``rate`` (packets a second) or as fast as possible: noise, and packets with a plausible header."""
    rng = random.Random(1)
    wrong, right = b"\x81" + bytes(4), b"\x81" + key_id
    junk = [rng.randbytes(rng.choice((0, 1, 60, 400, 1400))) for _ in range(64)]
    junk += [wrong + rng.randbytes(rng.choice((60, 400, 1300))) for _ in range(64)]
    # Each from an unknown sender, half of them with a plausible counter.
    junk += [right + rng.randbytes(rng.choice((60, 400, 1300))) for _ in range(64)]
    junk += [right + bytes(15) + rng.randbytes(rng.choice((60, 400, 1300))) for _ in range(64)]
    junk += [b"\x01" + rng.randbytes(100) for _ in range(32)]
    return _flood("gossip junk", to, junk, seconds, rate)


def flood_dns(to: Address, seconds: float, rate: float) -> Counter[str]:
    """Send queries: existing names, random names, every type, and junk."""
    rng = random.Random(2)
    asked = [dns.message.make_query("orders.service.gossipreg", type_, use_edns=0) for type_ in ("A", "SRV", "ANY")]
    asked += [dns.message.make_query(f"n{number}.a.b.service.gossipreg", "SRV") for number in range(512)]
    queries = [rng.randbytes(rng.choice((3, 12, 40, 512))) for _ in range(32)] + [each.to_wire() for each in asked]
    return _flood("DNS queries", to, queries, seconds, rate)


def _flood(what: str, to: Address, packets: list[bytes], seconds: float, rate: float) -> Counter[str]:
    done: Counter[str] = Counter()
    rng = random.Random(3)
    began, check_error_text = time.monotonic(), 0.0
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(tuple(to))
        sender.setblocking(False)
        while (took := time.monotonic() - began) < seconds:
            if took - check_error_text >= _REPORT_SECONDS:
                _tell(done)
                check_error_text = took
            if done[what] > rate * took:
                time.sleep(0.001)
                continue
            for _ in range(64):
                packet = bytearray(rng.choice(packets))
                packet[5:13] = rng.randbytes(8) if what == "gossip junk" and len(packet) > 13 else packet[5:13]
                try:
                    sender.send(packet)
                    done[what] += 1
                except OSError:  # the send buffer is full, or no process listens
                    done[f"{what}, not sent"] += 1
    return done


async def attack_http(to: Address, seconds: float, scale: float) -> Counter[str]:
    """Run all attacks over HTTP for ``seconds``."""
    hostile = Hostile(to, scale)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_keep_telling, hostile.done)
            await hostile.attack(ATTACKS)
    return hostile.done


async def _keep_telling(done: Counter[str]) -> None:
    while True:
        await trio.sleep(_REPORT_SECONDS)
        _tell(done)


def _tell(done: Counter[str]) -> None:
    click.echo(json.dumps(done))


def main() -> None:
    """Run the attack of the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("kind", choices=("http", "dns", "gossip"))
    parser.add_argument("to", type=Address.parse, metavar="HOST:PORT")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the connections (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=50_000.0, help="packets a second (default: %(default)g)")
    parser.add_argument("--nice", type=int, default=NICENESS, help="of this process (default: %(default)s)")
    parser.add_argument("--key-id", default="00000000", help="the first bytes of sealed packets, in hexadecimal")
    given = parser.parse_args()
    if not given.to.host.startswith("127."):
        parser.error("it attacks loopback only: give an address such as 127.0.0.1:8500")
    os.nice(given.nice)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    if given.kind == "http":
        done = trio.run(attack_http, given.to, given.seconds, given.scale)
    elif given.kind == "dns":
        done = flood_dns(given.to, given.seconds, given.rate)
    else:
        done = flood_gossip(given.to, bytes.fromhex(given.key_id), given.seconds, given.rate)
    _tell(done)


if __name__ == "__main__":
    main()
