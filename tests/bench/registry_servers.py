"""Servers of registries, started as their documentation says: three of etcd, of ZooKeeper, agents; one of Eureka."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from tests.bench.http_reads import free_ports
from tests.bench.processes import BenchError, Brood, Process

_HOST: Final = "127.0.0.1"
_ZOOKEEPER_JAR: Final = Path("/usr/share/java/zookeeper.jar")

#: How many make a quorum that survives the loss of one.
COUNT: Final = 3

#: How long servers may take to be ready (seconds): a JVM on a busy machine.
_PATIENCE: Final = 240.0


@attrs.frozen
class Servers:
    """Servers that are ready. ``addresses`` are for the clients, ``ports`` all that their traffic passes through."""

    processes: tuple[Process, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: frozenset[int] = frozenset()


async def start_etcd(brood: Brood) -> Servers:
    """A cluster of three, with defaults. Raises ``BenchError``."""
    if shutil.which("etcd") is None:
        raise BenchError("etcd is not installed (Debian: etcd-server)")
    ports = free_ports(2 * COUNT)
    clients, peers = ports[:COUNT], ports[COUNT:]
    initial = ",".join(f"etcd{number}=http://{_HOST}:{port}" for number, port in enumerate(peers))
    processes = []
    for number in range(COUNT):
        client, peer = f"http://{_HOST}:{clients[number]}", f"http://{_HOST}:{peers[number]}"
        command = ["etcd", "--name", f"etcd{number}", "--data-dir", f"etcd{number}", "--log-level", "error"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", initial, "--logger", "zap"]
        processes.append(brood.start(f"etcd-server-{number}", command, _ignore))
    await _answer(processes, clients)
    return Servers(tuple(processes), tuple(f"{_HOST}:{port}" for port in clients), frozenset(ports))


async def start_zookeeper(brood: Brood, tick_ms: int) -> Servers:
    """An ensemble of three, as in its administrator's guide. Raises ``BenchError``.

    It refuses sessions that time out in less than two ticks. All clients come from one address here, which is let.
    """
    if shutil.which("java") is None or not _ZOOKEEPER_JAR.exists():
        raise BenchError("ZooKeeper is not installed (Debian: zookeeper)")
    ports = free_ports(3 * COUNT)
    clients, quorum, election = ports[:COUNT], ports[COUNT : 2 * COUNT], ports[2 * COUNT :]
    ensemble = "".join(f"server.{number}={_HOST}:{quorum[number]}:{election[number]}\n" for number in range(COUNT))
    processes = []
    for number in range(COUNT):
        home = brood.home / f"zookeeper{number}"
        home.mkdir()
        (home / "myid").write_text(f"{number}\n")
        (home / "zoo.cfg").write_text(
            f"tickTime={tick_ms}\ninitLimit=10\nsyncLimit=5\ndataDir={home}\nclientPort={clients[number]}\n"
            f"clientPortAddress={_HOST}\nmaxClientCnxns=0\nadmin.enableServer=false\n{ensemble}"
        )
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        jars = f"/etc/zookeeper/conf:{_ZOOKEEPER_JAR}"
        command = ["java", "-Xmx1000m", "-cp", jars, "-Dzookeeper.root.logger=WARN,CONSOLE", main]
        processes.append(brood.start(f"zookeeper-server-{number}", [*command, str(home / "zoo.cfg")], _ignore))
    await _answer(processes, clients)
    await _have_elected(clients)
    return Servers(tuple(processes), tuple(f"{_HOST}:{port}" for port in clients), frozenset(ports))


async def start_eureka(brood: Brood, classes: str, settings: Sequence[str]) -> Servers:
    """One server of Spring Cloud's, from a class path, with these settings beside defaults. Raises ``BenchError``."""
    [port] = free_ports(1)
    own = [f"--server.port={port}", f"--server.address={_HOST}"]
    own += ["--eureka.client.register-with-eureka=false", "--eureka.client.fetch-registry=false"]
    command = ["java", "-cp", classes, "Server", *own, *settings]
    process = brood.start("eureka-server", command, _ignore)
    await _answer([process], [port])
    return Servers((process,), (f"http://{_HOST}:{port}/eureka",), frozenset([port]))


async def start_agents(brood: Brood) -> Servers:
    """Three agents, encrypted, each with a socket to attach to. Raises ``BenchError``."""
    ready: dict[str, int] = {}
    key = str(brood.key_file())
    processes: list[Process] = []
    for number in range(COUNT):
        name = f"agent{number}"
        command = [sys.executable, "-m", "gossipreg", "agent", "--name", name, "--cluster", "bench"]
        command += ["--bind", f"{_HOST}:0", "--http", "off", "--dns", "off", "--log-format", "json"]
        command += ["--key-file", key, "--attach", f"unix:{brood.home}/{name}.sock"]
        command += [f"--join={_HOST}:{port}" for port in ready.values()]

        def on_line(at: float, line: bytes, name: str = name) -> None:
            ready[name] = int(json.loads(line)["gossip"].rpartition(":")[2])
            processes[-1].is_ready(at)

        processes.append(brood.start(name, command, on_line))
        await processes[-1].wait_ready()
    addresses = tuple(f"unix:{brood.home}/{process.name}.sock" for process in processes)
    return Servers(tuple(processes), addresses, frozenset(ready.values()))


async def start_none(brood: Brood) -> Servers:
    """The key of programs that are members themselves, in place of an address."""
    return Servers(addresses=(str(brood.key_file()),))


def _ignore(at: float, line: bytes) -> None:
    """What a server says on standard output is not looked at."""


async def _answer(processes: Sequence[Process], ports: Sequence[int]) -> None:
    """Wait until all listen. Raises ``BenchError`` if one ends, or does not within a time."""
    with trio.move_on_after(_PATIENCE):
        for process, port in zip(processes, ports, strict=True):
            while not _listens(port):
                if process.popen.poll() is not None:
                    said = process.log.read_text(errors="replace").splitlines() or ["it said nothing"]
                    raise BenchError(f"{process.name} has ended: {said[-1]}")
                await trio.sleep(0.1)
        return
    raise BenchError(f"{processes[0].name} and the like were not ready after {_PATIENCE:g} s")


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex((_HOST, port)) == 0


async def _have_elected(ports: Sequence[int]) -> None:
    """Wait until each server of ZooKeeper leads or follows: it listens before that. Raises ``BenchError``."""
    with trio.move_on_after(_PATIENCE):
        for port in ports:
            while b"Mode: " not in await _said(port, b"srvr"):  # noqa: ASYNC110 -- another process's
                await trio.sleep(0.1)
        return
    raise BenchError(f"ZooKeeper has elected no leader within {_PATIENCE:g} s")


async def _said(port: int, word: bytes) -> bytes:
    async with await trio.open_tcp_stream(_HOST, port) as stream:
        await stream.send_all(word)
        answer = b""
        async for piece in stream:
            answer += piece
        return answer
