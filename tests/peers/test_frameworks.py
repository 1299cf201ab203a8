"""The programs on docs/frameworks.md under the real servers: offered while they serve, and gone before they stop."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from gossipreg import MemberEvent, ServiceChange
from gossipreg.embed.threads import BlockingNode, BlockingWatch, open_node
from tests.embed.pages import PATIENCE
from tests.embed.seeing import config
from tests.peers.frameworks import FRAMEWORKS, PROGRAMS, Framework, started, write_programs


@pytest.fixture
def node() -> Iterator[BlockingNode]:
    """The member that sees the programs come and go."""
    with open_node(config("seer")) as node:
        yield node


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_programs(tmp_path)
    return tmp_path


def ask_when_it_listens(port: int) -> tuple[int, str]:
    """Ask a program for its page; an ASGI server is offered a moment before it listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask(port)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def ask(port: int) -> tuple[int, str]:
    """Ask a program for its page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def assert_it_serves_until_it_is_gone(watch: BlockingWatch[ServiceChange], port: int) -> None:
    """Calls are answered while the instances drain, and when they have just gone."""
    drained = False
    while instances := watch.get(PATIENCE).instances:
        if not any(instance.weight for instance in instances):
            drained = True
            assert ask(port)[0] == 200
    assert drained, "it asks for no new work before it goes"
    assert ask(port)[0] == 200


def run_course(framework: Framework, folder: Path) -> None:
    """Start a program, call it, and tell it to end: it serves until its instances are gone, and leaves."""
    with open_node(config("seer")) as node:
        with started(framework, folder, node.address) as program:
            found = node.wait_for("shop", at_least=framework.instances, timeout=PATIENCE)
            owners = {instance.owner for instance in found}
            assert len(owners) == framework.instances
            port = found[0].port
            if port:
                status, text = ask_when_it_listens(port)
                assert (status, set(text.split()) <= {f"127.0.0.1:{port}"}) == (200, True)
            events = node.events()
            events.get(PATIENCE)
            with node.watch("shop") as watch:
                watch.get(PATIENCE)
                program.process.send_signal(signal.SIGTERM)
                if port:
                    assert_it_serves_until_it_is_gone(watch, port)
                status = program.process.wait(PATIENCE)
            assert status == framework.statuses.get(signal.SIGTERM, -signal.SIGTERM)
            assert "Traceback" not in program.log.read_text()
        gone: dict[str, str] = {}
        while gone.keys() != owners:
            gone |= {
                event.member.name: event.kind
                for event in events.get(PATIENCE)
                if isinstance(event, MemberEvent) and event.kind in {"left", "failed"}
            }
        assert set(gone.values()) == {"left"}


@pytest.fixture(scope="module")
def courses(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """The courses of all programs that are asked for, several at a time: each waits more than it computes."""
    folder = tmp_path_factory.mktemp("programs")
    write_programs(folder)
    asked = [item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(4) as pool:
        names = [name for name in asked if name in FRAMEWORKS and not FRAMEWORKS[name].missing]
        yield {name: pool.submit(run_course, FRAMEWORKS[name], folder) for name in names}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_program_is_offered_while_it_serves_and_leaves_before_it_stops(
    name: str, courses: dict[str, Future[None]]
) -> None:
    if FRAMEWORKS[name].missing:
        pytest.skip(f"not installed: {', '.join(FRAMEWORKS[name].missing)}")
    courses[name].result()


def test_a_worker_that_is_killed_is_gone_and_replaced(folder: Path, node: BlockingNode) -> None:
    with started(FRAMEWORKS["gunicorn-sync"], folder, node.address) as program:
        before = {instance.owner for instance in node.wait_for("shop", at_least=2, timeout=PATIENCE)}
        arbiter = program.process.pid
        workers = Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()
        os.kill(int(workers[0]), signal.SIGKILL)
        changes = node.events()
        killed: set[str] = set()
        after = set(before)
        while not killed or len(after - killed) < 2:
            for event in changes.get(PATIENCE):
                if isinstance(event, MemberEvent) and event.kind == "failed":
                    killed.add(event.member.name)
            after = {instance.owner for instance in node.lookup("shop")}
    assert len(killed) == 1
    assert killed < before


def test_workers_of_gevent_say_that_no_node_can_run_in_them(folder: Path, node: BlockingNode) -> None:
    pytest.importorskip("gevent")
    arguments = "-m gunicorn --bind 127.0.0.1:PORT --worker-class gevent flask_app:app"
    with started(Framework("gevent", tuple(arguments.split())), folder, node.address) as program:
        assert program.process.wait(PATIENCE) == 3  # gunicorn's: a worker failed to boot
        assert "gevent has replaced threads, so no node can run in this process" in program.log.read_text()


def test_every_program_of_the_page_is_run() -> None:
    run = " ".join(" ".join(each.arguments) for each in FRAMEWORKS.values())
    imported = {"shop.py", "gunicorn.conf.py"}
    assert {name for name in PROGRAMS if name not in imported and name.removesuffix(".py") not in run} == set()
