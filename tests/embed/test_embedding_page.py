"""The programs on the page about embedding do what it says: run as they stand, under the servers that it names."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gossipreg import Status
from gossipreg.embed.httpx import AsyncTransport, Transport
from gossipreg.embed.threads import BlockingNode, open_node
from tests.embed.pages import PATIENCE, programs_of, run
from tests.embed.seeing import config

PROGRAMS = programs_of("embedding.md")


@pytest.fixture
def node() -> Iterator[BlockingNode]:
    """The member that sees the servers come and go."""
    with open_node(config("seer")) as node:
        yield node


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's programs, in files of their names."""
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@contextmanager
def serving(folder: Path, node: BlockingNode, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The server, on a port that is free; ``FD`` in its arguments stands for the socket. Nothing of it is left over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        command = [sys.executable, *(each.replace("FD", str(fd)) for each in arguments)]
        environment = os.environ | {"SEEDS": str(node.address), "PYTHONPATH": str(folder)}
        if "FD" in " ".join(arguments):
            environment["PORT"] = str(port)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                pass_fds=[fd],
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
    try:
        yield process, port
    except BaseException:
        sys.stderr.write((folder / "log").read_text())
        raise
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def wait_until_gone(node: BlockingNode, count: int = 0) -> None:
    """Return when ``node`` sees no more than ``count`` shops."""
    watch = node.watch("shop")
    while len(watch.get(PATIENCE).instances) > count:
        pass


def interrupt(server: subprocess.Popen[str]) -> None:
    """Press Ctrl-C, again if need be: while wsgiref writes an answer it takes it for an error of the answer."""
    for _ in range(3):
        server.send_signal(signal.SIGINT)
        try:
            server.wait(PATIENCE / 3)
        except subprocess.TimeoutExpired:
            continue
        return
    raise AssertionError("the server does not end")


def assert_it_serves_until_it_is_gone(node: BlockingNode, port: int) -> None:
    """Calls are answered while the instances drain, and when they have just gone."""
    with node.watch("shop") as watch, httpx.Client() as client:
        while instances := watch.get(PATIENCE).instances:
            if not any(instance.weight for instance in instances):
                assert client.get(f"http://127.0.0.1:{port}/").status_code == 200
        assert client.get(f"http://127.0.0.1:{port}/").status_code == 200


def status_of_others(node: BlockingNode) -> list[str]:
    return sorted(str(member.status) for member in node.members() if member.name != node.name)


# Scripts


def test_the_scripts_say_what_they_do(folder: Path) -> None:
    assert run(folder, "asyncio_script.py") == ["8080", "1"]
    assert run(folder, "threads_script.py")[:2] == ["8080", "1"]
    assert run(folder, "calling.py") == ["no instance of 'shop' can be called now"]
    assert run(folder, "requests_calling.py") == ["no instance of 'shop' can be called now"]
    assert run(folder, "aiohttp_calling.py") == ["no instance of 'shop' can be called now"]
    assert run(folder, "grpc_calling.py") == ["no instance of 'shop' can be called now"]
    assert run(folder, "choosing.py") == ["8080", "8081"]


def test_the_scripts_that_read_as_one_page_are_all_of_them() -> None:
    assert sorted(PROGRAMS) == [
        "aiohttp_calling.py",
        "asyncio_script.py",
        "calling.py",
        "choosing.py",
        "fastapi_app.py",
        "grpc_calling.py",
        "requests_calling.py",
        "threads_script.py",
        "trio_program.py",
        "wsgi_app.py",
    ]


# Servers

UVICORN = ["-m", "uvicorn", "--fd", "FD", "fastapi_app:app"]


@pytest.mark.slow
def test_a_fastapi_app_under_uvicorn_is_there_while_it_serves_and_leaves_on_sigterm(
    folder: Path, node: BlockingNode
) -> None:
    with serving(folder, node, *UVICORN) as (server, port):
        [found] = node.wait_for("shop", timeout=PATIENCE)
        assert found.port == port
        with httpx.Client(transport=Transport(node)) as client:
            assert client.get("http://shop/").json() == [f"127.0.0.1:{port}"]
        assert asyncio.run(ask_asynchronously(node)) == [f"127.0.0.1:{port}"]
        server.send_signal(signal.SIGTERM)
        assert_it_serves_until_it_is_gone(node, port)
        assert server.wait(PATIENCE) in (0, -signal.SIGTERM)
    assert status_of_others(node) == ["left"]


@pytest.mark.slow
def test_a_fastapi_app_that_is_killed_is_gone_too(folder: Path, node: BlockingNode) -> None:
    with serving(folder, node, *UVICORN) as (server, _):
        node.wait_for("shop", timeout=PATIENCE)
        server.kill()
        wait_until_gone(node)
    assert status_of_others(node) == ["failed"]


@pytest.mark.slow
def test_a_plain_wsgi_program_is_there_while_it_serves_and_gone_when_it_ends(folder: Path, node: BlockingNode) -> None:
    with serving(folder, node, "wsgi_app.py") as (server, _):
        [found] = node.wait_for("shop", timeout=PATIENCE)
        with httpx.Client(transport=Transport(node)) as client:
            assert client.get("http://shop/").text == f"{found.address}\n"
        interrupt(server)
        wait_until_gone(node)
    assert status_of_others(node) == ["left"]


async def ask_asynchronously(node: BlockingNode) -> object:
    async with httpx.AsyncClient(transport=AsyncTransport(node)) as client:
        return (await client.get("http://shop/")).json()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_trio_program_leaves_when_it_is_told_to_end(folder: Path, node: BlockingNode, signum: int) -> None:
    with serving(folder, node, "trio_program.py") as (process, _):
        owner = node.wait_for("orders", timeout=PATIENCE)[0].owner
        process.send_signal(signum)
        assert process.wait(PATIENCE) == 0
    assert {member.name: member.status for member in node.members()}[owner] is Status.LEFT
