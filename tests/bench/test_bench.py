"""The parts of the benchmark: they report what happened, and leave nothing behind."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from tests.bench import serf_cluster, serf_rpc, traffic
from tests.bench.ears import Ears, Lines
from tests.bench.figures import ROWS, Board, Figure, ratio_text
from tests.bench.http_client import EventStream
from tests.bench.processes import BenchError, cpu_seconds, listening, proportional_bytes, resident_bytes
from tests.bench.sightings import FAILED, OFFERED, Sightings

SCRIPT = Path(__file__).with_name("serf.py")


# Figures


def test_a_figure_is_the_median_between_the_ends() -> None:
    assert Figure.of([3.0, 1.0, 8.0]) == Figure(3.0, 1.0, 8.0, 3)
    assert str(Figure.of([3.0, 1.0, 8.0])) == "3.00 (1.00 to 8.00, n=3)"


def test_slices_of_time_are_averaged_because_traffic_comes_in_bursts() -> None:
    assert Figure.of([0.0, 0.0, 9.0], slices=True).middle == 3.0


def test_what_did_not_happen_in_time_is_no_number() -> None:
    figure = Figure.of([math.inf])
    assert str(figure) == "not in time"
    assert figure.json()["middle"] is None


@pytest.mark.parametrize(("ratio", "text"), [(0.05, "1/20"), (1.0, "1"), (1 / 11.24, "1/11.2"), (2.5, "2.5"), (0, "0")])
def test_a_ratio_reads_as_times_more_or_less(ratio: float, text: str) -> None:
    assert ratio_text(ratio) == text


def test_the_table_has_both_sides_their_ratio_and_whether_the_target_is_met() -> None:
    board = Board(["Serf", "gossipreg"], peer="Serf", ours="gossipreg")
    board.put("registration", "Serf", Figure.of([1000.0]))
    board.put("registration", "gossipreg", Figure.of([50.0]))
    board.put("stop-failed", "Serf", Figure.of([10.0]))
    board.put("stop-failed", "gossipreg", Figure.of([9.0]))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in board.table().splitlines()]
    assert cells[2][1:] == ["ms", "1000", "50.0", "1/20", "≤ 1/15", "met"]
    assert cells[3][1:] == ["s", "10.0", "9.00", "1/1.11", "≤ 1/2", "missed"]


def test_without_a_peer_there_is_no_ratio_and_no_verdict_on_it() -> None:
    board = Board(["gossipreg"], peer="Serf", ours="gossipreg")
    board.put("registration", "gossipreg", Figure.of([50.0]))
    (row,) = board.json()["rows"]
    assert (row["ratio"], row["verdict"]) == (None, "")


def test_more_agents_may_have_another_target() -> None:
    for agents, target, verdict in ((64, "≤ 2 s", "missed"), (128, "≤ 5 s", "met")):
        board = Board(["gossipreg"], peer="Serf", ours="gossipreg", agents=agents)
        board.put("cold-views", "gossipreg", Figure.of([3.5]))
        (row,) = board.json()["rows"]
        assert (row["target"], row["verdict"]) == (target, verdict)


# Who saw what when


async def test_all_have_seen_it_when_the_last_one_has() -> None:
    sightings = Sightings()
    sightings.note("a", OFFERED, "x", 1.0)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _later() -> None:
            sightings.note("b", OFFERED, "x", 3.0)
            sightings.note("b", OFFERED, "x", 4.0)

        assert await sightings.by_all(OFFERED, "x", ["a", "b"], patience=5) == 3.0


async def test_if_one_does_not_see_it_in_time_it_is_not_said_that_all_did(autojump_clock: Any) -> None:
    sightings = Sightings()
    sightings.note("a", OFFERED, "x", 1.0)
    assert await sightings.by_all(OFFERED, "x", ["a", "b"], patience=5) == math.inf


def test_the_accuser_of_an_unharmed_member_is_remembered() -> None:
    sightings = Sightings()
    sightings.condemn("victim")
    sightings.note("a", FAILED, "victim", 1.0)
    sightings.note("a", FAILED, "healthy", 1.0)
    sightings.forget()
    assert sightings.wrongly_accused == {("a", "healthy")}


# What is heard


def test_lines_are_given_when_they_are_whole() -> None:
    lines = Lines()
    assert [lines.feed(part) for part in (b"on", b"e\ntwo\nth", b"ree\n")] == [[], [b"one", b"two"], [b"three"]]


async def test_ears_stamp_what_is_said_and_tell_when_a_stream_has_ended() -> None:
    ears, heard = Ears(), list[tuple[float, bytes]]()
    ended = trio.Event()

    def hear(at: float, said: bytes) -> None:
        heard.append((at, said))
        if not said:
            ended.set()

    reading, writing = os.pipe()
    ears.follow(reading, hear)
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ears.listen)
        os.write(writing, b"hello")
        os.close(writing)
        await ended.wait()
        nursery.cancel_scope.cancel()
    os.close(reading)
    assert [said for _, said in heard] == [b"hello", b""]
    assert began <= heard[0][0] <= time.perf_counter()


def test_an_event_is_understood_however_its_bytes_are_cut() -> None:
    frames = b'event: snapshot\ndata: {"members": []}\n\n: keep-alive\n\nevent: member-failed\ndata: {"name": "b"}\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = head + b"%x\r\n%b\r\n" % (len(frames), frames)
    events: list[tuple[float, str, Any]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = EventStream.open(server.getsockname()[1], lambda at, name, data: events.append((at, name, data)))
        stream.socket.close()
    for at in range(len(answer)):
        stream.hear(at, answer[at : at + 1])
    assert [(name, data) for _, name, data in events] == [
        ("snapshot", {"members": []}),
        ("member-failed", {"name": "b"}),
    ]


# What Serf says


@asynccontextmanager
async def serf_that_answers(*answers: Any) -> AsyncIterator[int]:
    """A Serf agent for one connection, whose every answer after the handshake is written down; gives its port."""

    async def talk(stream: trio.SocketStream) -> None:
        unpacker = msgpack.Unpacker()
        left = [[{"Seq": 0, "Error": ""}], *answers]
        async for said in stream:
            unpacker.feed(said)
            if any("Command" in each for each in unpacker):
                await stream.send_all(b"".join(_pack(part) for part in left.pop(0)))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, talk, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def _pack(part: Any) -> bytes:
    packed: bytes = msgpack.packb(part, unicode_errors="surrogateescape")  # as Go writes bytes in a field for text
    return packed


async def test_serf_tells_its_members_raw_addresses_and_all() -> None:
    members = {"Members": [{"Name": "n0", "Status": "alive", "Addr": "\udcff\x00\x00\x01", "Tags": {"bench": "7"}}]}
    async with serf_that_answers([{"Seq": 1, "Error": ""}, members]) as port, serf_rpc.connect(port) as rpc:
        assert (await rpc.members())[0]["Tags"] == {"bench": "7"}


async def test_what_serf_refuses_is_an_error_in_its_words() -> None:
    async with serf_that_answers([{"Seq": 1, "Error": "tags too long"}]) as port, serf_rpc.connect(port) as rpc:
        with pytest.raises(BenchError, match="refused tags: tags too long"):
            await rpc.set_tags({"bench": "x" * 600})


# What the kernel says


def packet(protocol: int, source: int, destination: int, transport: bytes) -> bytes:
    """An IPv4 packet between two ports of loopback, with what follows the ports."""
    body = struct.pack("!HH", source, destination) + transport
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
    return head + body


def test_a_packet_counts_with_its_headers_and_apart_from_them() -> None:
    udp = packet(17, 5000, 6000, struct.pack("!HH", 13, 0) + b"hello")
    tcp = packet(6, 6000, 5000, struct.pack("!IIBBHHH", 0, 0, 0x80, 0, 0, 0, 0) + bytes(12) + b"hello")
    assert traffic.count_of(udp, {5000}) == traffic.Count(1, 33, 5)
    assert traffic.count_of(tcp, {5000}) == traffic.Count(1, 57, 5)
    assert traffic.count_of(udp, {7000}) is None


def test_what_is_sent_at_rest_is_taken_off_a_count() -> None:
    assert traffic.Count(100, 5000, 3000).beyond(traffic.Count(10, 500, 300), times=2.5) == traffic.Count(
        75, 3750, 2250
    )


def test_the_ports_of_a_process_are_found_without_being_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        ports = listening(os.getpid())
        assert server.getsockname()[1] in ports.tcp
        assert udp.getsockname()[1] in ports.udp


def test_cpu_and_memory_of_a_process_are_known() -> None:
    before = cpu_seconds(os.getpid())
    sum(range(1_000_000))
    assert 0 < cpu_seconds(os.getpid()) - before < 5
    assert 0 < proportional_bytes(os.getpid()) <= resident_bytes(os.getpid())


# The whole


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the script's temporary directories go; afterwards there must be none, and no process that uses one."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert [pid for pid in Path("/proc").glob("[0-9]*") if _works_in(pid, tmp_path)] == []


def _works_in(process: Path, directory: Path) -> bool:
    try:
        return (process / "cwd").readlink().is_relative_to(directory)
    except OSError:  # it has just ended, or is not ours
        return False


def may_count_packets() -> bool:
    """Whether idle traffic can be counted here."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM).close()
    except PermissionError:
        return False
    return True


def bench(*arguments: str) -> subprocess.Popen[str]:
    """Start the script with three agents and as little waiting as possible."""
    quick = ["--nodes", "3", "--registrations", "2", "--hurts", "1", "--cold-starts", "1", "--idle-seconds", "1"]
    quick += ["--calm", "0.1", "--age", "0", "--patience", "15", "--limit", "60"]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *quick, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_it_measures_real_agents_and_leaves_nothing_behind(home: Path) -> None:
    groups = {"registration", "kill", "memory", "cold"} | ({"idle"} if may_count_packets() else set())
    with bench("--skip-serf", "--json", "--rows", ",".join(groups)) as running:
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    rows = {row["key"]: row["figures"]["gossipreg"]["middle"] for row in json.loads(out)["rows"]}
    assert rows.keys() == {row.key for row in ROWS if row.group in groups}
    assert 0 < rows["registration"] < 1000
    assert 10 < rows["memory-rss"] < 200


@pytest.mark.slow
@pytest.mark.skipif(not may_count_packets(), reason="counting packets needs CAP_NET_RAW")
def test_a_burst_is_seen_by_all_and_holds_up_another_registration_by_some_finite_time(home: Path) -> None:
    told = ("--calm", "1", "--burst", "30", "--bursts", "1", "--connections", "2")
    with bench("--skip-serf", "--json", "--rows", "burst", *told) as running:
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    rows = {row["key"]: row["figures"]["gossipreg"]["middle"] for row in json.loads(out)["rows"]}
    assert rows.keys() == {row.key for row in ROWS if row.group == "burst"}
    assert 0 < rows["burst-seen"] < math.inf
    assert 0 < rows["burst-beside"] < math.inf
    assert rows["one-packets"] < rows["burst-packets"]


@pytest.mark.slow
def test_interrupted_it_ends_its_agents_and_prints_what_it_has(home: Path) -> None:
    with bench("--skip-serf", "--rows", "memory,registration", "--registrations", "1000") as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "memory-pss" in line:
                break
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "memory a node, resident" in out


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.skipif(serf_cluster.absent() is not None, reason=str(serf_cluster.absent()))
def test_serf_is_measured_by_the_same_acts(home: Path) -> None:
    with bench("--json", "--rows", "registration,memory") as running:
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    rows = {row["key"]: row for row in json.loads(out)["rows"]}
    assert rows["registration"]["ratio"] > 0
    assert rows["memory-rss"]["figures"]["Serf"]["n"] == 3


def test_a_row_that_does_not_exist_is_named_with_those_that_do() -> None:
    with bench("--rows", "memory,speed") as running:
        _, err = running.communicate(timeout=20)
    assert running.returncode == 2
    assert "there is no row speed; there are registration, kill, stop, idle, memory, cold, burst" in err
