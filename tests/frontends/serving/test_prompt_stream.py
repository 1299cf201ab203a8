"""A stream that does at once what the kernel is ready for."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing

from gossipreg.frontends.serving.acceptor import Acceptor
from gossipreg.frontends.serving.prompt_stream import PromptStream
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import acceptor

MANY = bytes(range(256)) * (1 << 14)  # more than the kernel takes at once


@pytest.fixture
def ends() -> Iterator[tuple[PromptStream, socket.socket]]:
    """Our end of a connection, and that of a client."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as theirs:
        accepted, _ = server.accept()
        with accepted:
            accepted.setblocking(False)
            yield PromptStream(trio.SocketStream(trio.socket.from_stdlib_socket(accepted))), theirs


async def test_what_the_kernel_takes_is_handed_over_without_a_turn_of_another_task(
    ends: tuple[PromptStream, socket.socket],
) -> None:
    ours, theirs = ends
    with trio.testing.assert_no_checkpoints():
        await ours.send_all(b"answer")
    assert theirs.recv(100) == b"answer"


async def test_the_first_request_that_is_there_is_read_without_a_turn(
    ends: tuple[PromptStream, socket.socket],
) -> None:
    ours, theirs = ends
    theirs.sendall(b"GET")
    with trio.testing.assert_no_checkpoints():
        assert await ours.receive_some() == b"GET"
    theirs.sendall(b"GET")
    with trio.testing.assert_checkpoints():
        assert await ours.receive_some() == b"GET"


async def test_the_first_request_that_is_not_there_yet_is_waited_for(ends: tuple[PromptStream, socket.socket]) -> None:
    ours, theirs = ends
    read: list[bytes] = []

    async def receive() -> None:
        read.append(await ours.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        assert not read
        theirs.sendall(b"GET")
    assert read == [b"GET"]


async def test_what_it_does_not_take_waits_until_the_client_has_read(ends: tuple[PromptStream, socket.socket]) -> None:
    ours, theirs = ends
    told = bytearray()

    def read() -> None:
        while len(told) < len(MANY):
            told.extend(theirs.recv(1 << 16))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, MANY)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        nursery.start_soon(trio.to_thread.run_sync, read)
    assert told == MANY


async def test_a_kernel_that_takes_nothing_is_waited_for(ends: tuple[PromptStream, socket.socket]) -> None:
    ours, _theirs = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, MANY)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for wait in (ours.wait_send_all_might_not_block(), ours.send_all(b"answer")):
        with trio.move_on_after(0) as patience:
            await wait
        assert patience.cancelled_caught


async def test_a_piece_is_waited_for_and_its_size_is_bounded(ends: tuple[PromptStream, socket.socket]) -> None:
    ours, theirs = ends
    pieces: list[bytes] = []

    async def read() -> None:
        pieces.append(await ours.receive_some(4))
        pieces.append(await ours.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        theirs.sendall(b"question")
    assert pieces == [b"ques", b"tion"]


async def test_either_side_may_say_that_no_more_will_come(ends: tuple[PromptStream, socket.socket]) -> None:
    ours, theirs = ends
    theirs.shutdown(socket.SHUT_WR)
    assert await ours.receive_some() == b""
    await ours.send_eof()
    assert theirs.recv(1) == b""
    with pytest.raises(trio.BrokenResourceError, match="the connection broke: Broken pipe"):
        await ours.send_all(b"answer")


async def test_a_client_that_broke_off_breaks_the_stream(ends: tuple[PromptStream, socket.socket]) -> None:
    ours, theirs = ends
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(trio.BrokenResourceError, match="the connection broke: Connection reset by peer"):
        await ours.receive_some()


async def test_the_kernels_clients_are_served_by_it(ends: tuple[PromptStream, socket.socket]) -> None:
    served: list[tuple[object, str]] = []

    class Watched(Acceptor):
        async def admit(
            self, stream: trio.abc.HalfCloseableStream, source: str = "", client: Callable[[], str | None] | None = None
        ) -> None:
            assert client is None, "in clear no certificate is shown"
            served.append((stream, source))

    ours, _theirs = ends
    await Watched(acceptor(FakeNode()).handler).accept(ours._stream)
    [(stream, source)] = served
    assert isinstance(stream, PromptStream)
    assert source == "127.0.0.1"


async def test_a_closed_stream_says_so_to_all_its_users(ends: tuple[PromptStream, socket.socket]) -> None:
    ours, _theirs = ends
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await ours.receive_some()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await ours.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"answer")
