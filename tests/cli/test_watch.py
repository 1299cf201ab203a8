"""Watch tells what is there and what changes, and comes back to an agent that went away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.fake_agent import INSTANCE, MEMBER, FakeAgent

SNAPSHOT = ("snapshot", {"members": [MEMBER], "instances": [INSTANCE]})


@contextmanager
def watching(fake: FakeAgent, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gossipreg", "watch", "--http", fake.address, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def test_a_line_for_everything_there_and_for_every_change_until_ctrl_c(fake: FakeAgent) -> None:
    fake.streams = [[SNAPSHOT, ("member-failed", MEMBER | {"status": "failed"}), ("instance-removed", INSTANCE)]]
    with watching(fake) as process:
        rows = [line.split("\t")[1:] for line in lines(process, 4)]
        assert rows == [
            ["member-present", "web-1", "alive", "127.0.0.1:7940", "-", "-", "-"],
            ["instance-present", "orders-1", "passing", "127.0.0.1:8080", "orders", "web-1", "3"],
            ["member-failed", "web-1", "failed", "127.0.0.1:7940", "-", "-", "-"],
            ["instance-removed", "orders-1", "-", "127.0.0.1:8080", "orders", "web-1", "3"],
        ]
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_json_is_one_object_a_line_with_the_data_of_the_api(fake: FakeAgent) -> None:
    fake.streams = [[("instance-added", INSTANCE)]]
    with watching(fake, "orders", "--json") as process:
        event = json.loads(lines(process, 1)[0])
    assert (event["event"], event["data"]) == ("instance-added", INSTANCE)
    assert fake.requests == [("GET", "/api/v1/events?service=orders", None)]


def test_it_comes_back_by_itself_and_says_so_on_standard_error(fake: FakeAgent) -> None:
    fake.streams = [[("instance-added", INSTANCE)], [("instance-removed", INSTANCE)], [("instance-added", INSTANCE)]]
    with watching(fake) as process:
        assert [line.split("\t")[1] for line in lines(process, 3)] == [
            "instance-added", "instance-removed", "instance-added",
        ]  # fmt: skip
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.stderr is not None
        assert process.stderr.read().splitlines() == 2 * [
            f"gossipreg: lost {fake.address}: trying again until it answers",
            f"gossipreg: {fake.address} answers again",
        ]


def test_a_reader_that_has_seen_enough_ends_it_quietly(fake: FakeAgent) -> None:
    fake.streams = [[("instance-added", INSTANCE)] * 10_000]
    with watching(fake) as process:
        lines(process, 1)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_an_agent_that_was_never_there_is_a_failure() -> None:
    with FakeAgent() as fake:
        pass
    with watching(fake) as process:
        assert process.wait() == 1
        assert process.stderr is not None
        assert process.stderr.read().startswith(f"gossipreg: no agent answers at {fake.address}: start one")
