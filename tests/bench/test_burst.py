"""A burst is asked for and heard as it happens."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest
import trio

from tests.bench import contest, http_client
from tests.bench.burst import Witness, Word
from tests.bench.http_client import EventStream
from tests.bench.processes import BenchError


def event(instance: str) -> bytes:
    """One event of an agent's stream, in a chunk of its own."""
    said = f"event: instance-added\ndata: {json.dumps({'id': instance})}\n\n".encode()
    return f"{len(said):x}\r\n".encode() + said + b"\r\n"


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_a_word_is_counted_wherever_it_is_cut(size: int) -> None:
    said = b"added, adde, added, addadded"
    word = Word(b"added")
    for at in range(0, len(said), size):
        word.feed(said[at : at + size])
    assert word.count == 3


def test_a_witness_knows_when_all_is_there_and_afterwards_when_each_was() -> None:
    witness = Witness(wanted=2)
    left, right = socket.socketpair()
    with left, right:
        protocol = h11.Connection(h11.CLIENT)
        protocol.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        protocol.send(h11.EndOfMessage())
        protocol.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        first, second = event("a"), event("b")
        witness.hear(1.0, first + second[:20])
        assert not witness.on_all.is_set()
        witness.hear(2.0, second[20:])
        assert witness.on_all.is_set()
        assert witness.shown(EventStream(lambda at, name, data: None, left, protocol)) == {"a": 1.0, "b": 2.0}


@asynccontextmanager
async def agent_that_answers(*answers: bytes) -> AsyncIterator[int]:
    """An agent that answers what it is asked, three bytes at a time, once it has been asked everything."""

    async def talk(stream: trio.SocketStream) -> None:
        asked = b""
        async for said in stream:
            asked += said
            if asked.count(b"PUT ") == len(answers):
                whole = b"".join(answers)
                for at in range(0, len(whole), 3):
                    await stream.send_all(whole[at : at + 3])

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, talk, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def answer(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status


async def test_all_is_asked_before_anything_is_answered() -> None:
    counts: list[int] = []
    async with agent_that_answers(*[answer(201)] * 3) as port, http_client.connect(port) as client:
        await client.ask_all("PUT", "/", [{"id": number} for number in range(3)], counts.append)
    assert counts == [1, 2, 3]


async def test_one_refusal_among_many_is_an_error() -> None:
    async with agent_that_answers(answer(201), answer(400)) as port, http_client.connect(port) as client:
        with pytest.RaisesGroup(pytest.RaisesExc(BenchError, match="answered PUT / with 400")):
            await client.ask_all("PUT", "/", [{}, {}])


async def test_the_word_of_a_failure_is_found_however_deep_it_lies(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(contest.Bench):
        async def _sides(self) -> None:
            async with trio.open_nursery(), trio.open_nursery():
                raise BenchError("no such thing")

        def report(self, circumstances: contest.Circumstances) -> str:
            raise AssertionError

    options = contest.parser("", nodes=3, calm=0, limit=10).parse_args(["--skip-serf"])
    bench = Failing.of(options)
    await bench.run()
    assert bench.failure == "no such thing"


def test_too_many_agents_and_too_few_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = contest.parser("", nodes=3, calm=0, limit=10)
    parser.add_argument("--cold-starts", type=int, default=1)
    for given, word in ((["--nodes", "129"], "from 3 to 128"), (["--cold-starts", "0"], "--cold-starts: at least 1")):
        with pytest.raises(SystemExit):
            contest.check(parser, parser.parse_args(given), "cold-starts")
        assert word in capsys.readouterr().err
