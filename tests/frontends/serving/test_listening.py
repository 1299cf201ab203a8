from __future__ import annotations

import os
import socket
import stat
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from gossipreg.errors import BindError
from gossipreg.frontends.http import serve_http
from gossipreg.model import SocketFile
from tests.frontends.fake_node import FakeNode


@pytest.fixture
def file(tmp_path: Path) -> SocketFile:
    return SocketFile(tmp_path / "s")


def serving(fake: FakeNode, file: SocketFile) -> partial[Coroutine[Any, Any, None]]:
    return partial(serve_http, fake, file, leave=lambda: None)


def client_of(file: SocketFile) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(file.path))
    return httpx.AsyncClient(transport=transport, base_url="http://whatever.example", trust_env=False)


async def test_it_is_answered_at_a_socket_file_whatever_it_is_called(fake: FakeNode, file: SocketFile) -> None:
    async with trio.open_nursery() as nursery:
        assert await nursery.start(serving(fake, file)) == file
        async with client_of(file) as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/healthz", headers={"Host": "evil.example"})).status_code == 200
            told = await client.post("/api/v1/leave", headers={"Origin": "http://evil.example"})
            assert told.status_code == 403
        nursery.cancel_scope.cancel()


async def test_the_file_is_its_owners_alone_and_goes_with_the_listener(fake: FakeNode, file: SocketFile) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serving(fake, file))
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        nursery.cancel_scope.cancel()
    assert not file.path.exists()


async def test_a_socket_without_a_listener_is_replaced(fake: FakeNode, file: SocketFile) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(file.path))
    async with trio.open_nursery() as nursery:
        await nursery.start(serving(fake, file))
        async with client_of(file) as client:
            assert (await client.get("/healthz")).status_code == 200
        nursery.cancel_scope.cancel()


async def test_a_socket_with_a_listener_is_left_to_it(fake: FakeNode, file: SocketFile) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serving(fake, file))
        with pytest.raises(BindError) as refused:
            await serving(fake, file)()
        assert str(refused.value) == (
            f"cannot listen on {file} for HTTP: another program listens there: stop it or pass --http unix:PATH"
        )
        async with client_of(file) as client:
            assert (await client.get("/healthz")).status_code == 200
        nursery.cancel_scope.cancel()


async def test_a_file_that_is_no_socket_stays_as_it_is(fake: FakeNode, file: SocketFile) -> None:
    file.path.write_text("precious")
    with pytest.raises(BindError, match="there is another file: remove it or name another"):
        await serving(fake, file)()
    assert file.path.read_text() == "precious"


async def test_a_directory_that_is_not_there_is_named(fake: FakeNode, file: SocketFile) -> None:
    with pytest.raises(BindError, match=r"nowhere/s for HTTP: no such file or directory: pass --http unix:PATH"):
        await serving(fake, SocketFile(file.path.parent / "nowhere" / "s"))()


async def test_what_has_taken_the_files_place_is_left_alone(fake: FakeNode, file: SocketFile) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serving(fake, file))
        os.rename(file.path, file.path.with_suffix(".old"))
        file.path.write_text("another program's")
        nursery.cancel_scope.cancel()
    assert file.path.read_text() == "another program's"
