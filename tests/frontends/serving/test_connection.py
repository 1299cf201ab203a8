from __future__ import annotations

import gc
import itertools
import json
from collections.abc import AsyncGenerator
from email.utils import formatdate
from typing import Any

import h11
import httpx
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.events import Event, Snapshot
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.connection import Connection, pieces_of
from gossipreg.frontends.serving.response_head import http_date
from gossipreg.model import Address, Instance, Member
from gossipreg.spec import InstanceSpec
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import (
    acceptor,
    answers,
    ask,
    dial,
    get,
    no_mistakes,
    put,
    read_all,
    read_until,
)

# One connection, many requests


async def test_requests_sent_at_once_are_answered_in_order(fake: FakeNode) -> None:
    body = b'{"service": "orders", "port": 80, "id": "a"}'
    async with trio.open_nursery() as nursery:
        said = await ask(
            dial(acceptor(fake), nursery),
            get("/api/v1/services/orders"),
            put(body),
            get("/api/v1/services/orders"),
            get("/api/v1/nothing"),
            get("/api/v1/services/orders").replace(b"GET", b"HEAD").replace(b"orders", b"missing"),
        )
    # The HEAD answer names a length of a body that is not there, so it comes last.
    assert [each.status for each in said] == [200, 201, 200, 404, 200]
    assert said[0].json["instances"] == []
    assert [each["id"] for each in said[2].json["instances"]] == ["a"]


@pytest.mark.parametrize("header", [(), ("Accept: */*",)])
@pytest.mark.parametrize("polls", [1, 2])
async def test_a_long_list_comes_in_pieces_and_whole(fake: FakeNode, header: tuple[str, ...], polls: int) -> None:
    for number in range(1500):
        await fake.register("orders", port=80, id=f"i{number:04}", meta={"note": "x" * number} if number < 1024 else {})
    async with trio.open_nursery() as nursery:
        said = await ask(dial(acceptor(fake), nursery), *[get("/api/v1/services/orders", *header)] * polls)
    for each in said:
        assert int(each.headers["content-length"]) > 10 * limits.SEND_BYTES
        assert [one["id"] for one in each.json["instances"]] == [f"i{number:04}" for number in range(1500)]


@given(st.lists(st.integers(0, 3 * limits.SEND_BYTES), max_size=12))
def test_parts_are_sent_in_pieces_of_one_size_at_most(sizes: list[int]) -> None:
    parts = [bytes([place]) * size for place, size in enumerate(sizes)]
    sent = list(pieces_of(parts))
    assert b"".join(sent) == b"".join(parts)
    assert all(0 < len(each) <= limits.SEND_BYTES for each in sent)
    assert len(sent) <= 2 * (sum(sizes) // limits.SEND_BYTES + 1) + len(sizes)


async def test_a_client_that_has_said_its_last_is_still_answered(address: Address) -> None:
    async with await trio.open_tcp_stream(*address) as stream:
        [answer] = await ask(stream, get("/healthz"))
    assert answer.status == 200


async def test_a_client_that_wants_to_close_is_closed(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(get("/healthz", "Connection: close") + get("/healthz"))
        [answer] = answers(await read_all(stream))
        await stream.aclose()
    assert answer.headers["connection"] == "close"


async def test_an_old_client_is_answered_and_closed(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        [answer] = answers(await read_all(stream))
        await stream.aclose()
    assert answer.json["status"] == "ok"


async def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(fake: FakeNode) -> None:
    body = b'{"service": "orders", "port": 80}'
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(put(body, "Expect: 100-continue").removesuffix(body))
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        [answer] = await ask(stream, body)
    assert answer.status == 201


async def test_a_body_may_come_in_chunks(fake: FakeNode) -> None:
    head = b"PUT /api/v1/instances HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with trio.open_nursery() as nursery:
        chunks = b'a;x=y\r\n{"service"\r\n16\r\n: "orders", "port": 80\r\n1\r\n}\r\n0\r\nTrailer: 1\r\n\r\n'
        [answer] = await ask(dial(acceptor(fake), nursery), head + chunks)
    assert answer.status == 201


async def test_a_client_is_told_which_coding_is_read(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        [answer] = await ask(dial(acceptor(fake), nursery), put(b"\x1f\x8b", "Content-Encoding: gzip"))
    assert answer.headers["accept-encoding"] == "identity"


async def test_a_body_may_be_called_uncompressed_and_a_request_without_one_anything(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        said = await ask(
            dial(acceptor(fake), nursery),
            get("/healthz", "Content-Encoding: gzip"),
            put(b'{"service": "orders", "port": 80}', "Content-Encoding: identity"),
        )
    assert [each.status for each in said] == [200, 201]


async def test_nothing_is_read_after_a_request_with_two_lengths_of_two_kinds(fake: FakeNode) -> None:
    # What a proxy in front takes for the body may hold a request of another caller (RFC 9112 §6.1, §11.2).
    body = b"0\r\n\r\n" + put(b'{"service": "smuggled", "port": 1}')
    request = get("/healthz", "Transfer-Encoding: chunked", f"Content-Length: {len(body)}") + body
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(request)
        [answer] = answers(await read_all(stream))
        await stream.aclose()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert fake.services() == {}


@pytest.mark.parametrize("lines", [1, 3, 1000])
@pytest.mark.parametrize("cut", [None, 1, 2, 3])
async def test_empty_lines_before_a_request_are_ignored(fake: FakeNode, lines: int, cut: int | None) -> None:
    request = b"\r\n" * lines + get("/healthz")
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(put(b'{"service": "orders", "port": 80}') + request[:cut])
        await trio.testing.wait_all_tasks_blocked()
        said = await ask(stream, request[len(request) if cut is None else cut :], request)
    assert [each.status for each in said] == [201, 200, 200]


async def test_a_client_that_says_nothing_but_empty_lines_is_closed_without_a_word(fake: FakeNode) -> None:
    for said in (b"\r\n", b"\r\n\r\n"):
        async with trio.open_nursery() as nursery:
            assert await ask(dial(acceptor(fake), nursery), said) == [], said


async def test_an_offer_to_speak_something_else_is_not_taken(fake: FakeNode) -> None:
    upgrade = get("/healthz", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    async with trio.open_nursery() as nursery:
        said = await ask(dial(acceptor(fake), nursery), upgrade, get("/healthz"))
    assert [each.status for each in said] == [200, 200]


async def test_a_poll_is_answered_afresh_each_time(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        for number in range(3):
            await stream.send_all(get("/api/v1/services/orders"))
            [answer] = answers(await read_until(stream, b"]}"))
            assert len(answer.json["instances"]) == number
            assert answer.headers["content-type"] == "application/json"
            await fake.register("orders", port=8000 + number)
        await stream.aclose()


async def test_a_poll_of_a_node_that_closes_is_told_so(fake: FakeNode, address: Address) -> None:
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(get("/api/v1/services/orders"))
        await read_until(stream, b"]}")
        fake.close()
        await trio.testing.wait_all_tasks_blocked()
        [answer] = await ask(stream, get("/api/v1/services/orders"))
    assert (answer.status, answer.error) == (503, "this node has left and is closed")


# Requests that cannot be read

LONG = "x" * limits.HEAD_BYTES_MAX

BAD = {
    "garbage": (b"\x00\x01\x02\x03\r\n\r\n", 400),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a later version": (get("/healthz").replace(b"HTTP/1.1", b"HTTP/3.0"), 505),
    "an earlier version": (get("/healthz").replace(b"HTTP/1.1", b"HTTP/0.9"), 505),
    "a compressed body": (put(b"\x1f\x8b", "Content-Encoding: gzip"), 415),
    "a body compressed twice": (put(b"", "Content-Encoding: br, gzip"), 415),
    "half an empty line": (b"\rGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "an SSH greeting": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    "a header without a colon": (get("/healthz", "Nonsense"), 400),
    "a header name with a space": (get("/healthz", "A : b"), 400),
    "two lengths": (put(b"{}", "Content-Length: 3"), 400),
    "a length that is no number": (get("/healthz", "Content-Length: -1"), 400),
    "an unknown coding": (get("/healthz", "Transfer-Encoding: gzip"), 501),
    "a chunk without a size": (get("/healthz", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
    "a chunk longer than it says": (get("/healthz", "Transfer-Encoding: chunked") + b"1\r\nab\r\n0\r\n\r\n", 400),
    "a chunk's size without an end": (get("/healthz", "Transfer-Encoding: chunked") + b"1;" + LONG.encode(), 400),
    "a body that ends early": (put(b"{}").removesuffix(b"}"), 400),
    "a head that ends early": (b"GET /healthz HTTP/1.1\r\nHost: loc", 400),
    "a header too large": (get("/healthz", f"A: {LONG}"), 431),
    "headers too many": (get("/healthz", *["A: b"] * 6000), 431),
    "a head without an end": (b"GET /healthz HTTP/1.1\r\nA: " + 2 * LONG.encode(), 431),
    "a target too long": (get("/api/v1/services/" + LONG), 414),
    "a target without an end": (b"GET /" + 2 * LONG.encode(), 414),
    "a body too large": (put(b"").replace(b"Length: 0", b"Length: 131073"), 413),
    "chunks too large": (get("/", "Transfer-Encoding: chunked") + b"20001\r\n" + b" " * 131_073, 413),
    "lines too large": (put(b"", "Content-Type: application/x-ndjson").replace(b"Length: 0", b"Length: 2097153"), 413),
    "no body": (b"PUT /api/v1/instances HTTP/1.1\r\nHost: localhost\r\n\r\n", 411),
    "no policy": (b"PUT /api/v1/policies HTTP/1.1\r\nHost: localhost\r\n\r\n", 411),
}


@pytest.mark.parametrize(("request_", "status"), BAD.values(), ids=BAD.keys())
async def test_a_request_that_cannot_be_read_is_answered_with_what_is_wrong(
    fake: FakeNode, request_: bytes, status: int
) -> None:
    listener = acceptor(fake)
    with no_mistakes():
        async with trio.open_nursery() as nursery:
            [answer] = await ask(dial(listener, nursery), request_)
            assert answer.status == status
            assert len(answer.error) < 300
            assert status == 411 or answer.headers["connection"] == "close"
            [answer] = await ask(dial(listener, nursery), get("/healthz"))
            assert answer.status == 200


@pytest.mark.parametrize("request_", [each for each, _ in BAD.values()], ids=BAD.keys())
async def test_a_bad_request_over_a_socket_gets_its_answer_and_harms_no_other(
    address: Address, client: httpx.AsyncClient, request_: bytes
) -> None:
    async with await trio.open_tcp_stream(*address) as stream:
        [answer] = await ask(stream, request_)
    assert answer.status >= 400
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("length", [0, 3, 40])
async def test_a_client_that_resets_in_the_middle_harms_no_other(
    address: Address, client: httpx.AsyncClient, length: int
) -> None:
    with no_mistakes():
        stream = await trio.open_tcp_stream(*address)
        await stream.send_all(get("/api/v1/services/orders")[:length])
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        assert (await client.get("/healthz")).status_code == 200


# Time


@pytest.mark.parametrize("begun", [b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", put(b"{}")[:-1]])
async def test_a_request_that_stalls_is_given_up_after_its_time(
    fake: FakeNode, autojump_clock: trio.testing.MockClock, begun: bytes
) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        began = trio.current_time()
        await stream.send_all(begun)
        [answer] = answers(await read_all(stream))
        assert trio.current_time() - began == pytest.approx(limits.REQUEST_SECONDS)
        await stream.aclose()
    assert (answer.status, answer.error) == (408, "the request was not complete after 10 s")


async def test_a_request_that_trickles_in_has_no_more_time_than_another(
    fake: FakeNode, autojump_clock: trio.testing.MockClock
) -> None:
    async def trickle() -> None:
        for byte in get("/healthz", "A: " + "b" * 100):
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.9)

    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        began = trio.current_time()
        nursery.start_soon(trickle)
        [answer] = answers(await read_all(stream))
        assert trio.current_time() - began == pytest.approx(limits.REQUEST_SECONDS)
        nursery.cancel_scope.cancel()
    assert answer.status == 408


async def test_a_new_connection_that_says_nothing_is_closed_without_a_word(
    fake: FakeNode, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        began = trio.current_time()
        assert await read_all(stream) == b""
        assert trio.current_time() - began == pytest.approx(limits.REQUEST_SECONDS)
        await stream.aclose()


async def test_an_idle_connection_is_kept_for_a_minute(fake: FakeNode, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        for _ in range(3):
            await stream.send_all(get("/api/v1/services/orders"))
            await read_until(stream, b"]}")
            await trio.sleep(59)
        await stream.send_all(get("/api/v1/services/orders"))
        await read_until(stream, b"]}")
        began = trio.current_time()
        assert await read_all(stream) == b""
        assert trio.current_time() - began == pytest.approx(limits.IDLE_SECONDS)
        await stream.aclose()


async def test_the_time_to_be_idle_is_not_given_anew_for_each_of_many_polls(
    fake: FakeNode, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        for _ in range(200):
            await trio.sleep(0.4)
            await stream.send_all(get("/api/v1/services/orders"))
            await read_until(stream, b"]}")
        began = trio.current_time()
        assert await read_all(stream) == b""
        idle = trio.current_time() - began
        assert limits.IDLE_SECONDS - limits.IDLE_LEEWAY_SECONDS <= idle < limits.IDLE_SECONDS - 0.1
        await stream.aclose()


async def test_a_pipelining_client_lets_others_have_their_turn(fake: FakeNode, address: Address) -> None:
    seen: set[int] = set()

    async def other() -> None:
        while True:
            seen.add(fake.lookups)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            said = await ask(stream, *(get(f"/api/v1/services/s{number}") for number in range(20)))
        nursery.cancel_scope.cancel()
    assert len(said) == fake.lookups == 20
    # Turns are in random order within a round: two may pass between two of the other's, and no more.
    assert max(after - before for before, after in itertools.pairwise(sorted(seen))) <= 2


async def test_a_client_that_does_not_take_its_answer_is_let_go(
    fake: FakeNode, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(fake).admit, theirs)
        await ours.send_all(get("/healthz"))
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(limits.TAKE_SECONDS + limits.LINGER_SECONDS)


async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(
    fake: FakeNode, autojump_clock: trio.testing.MockClock
) -> None:
    for number in range(2000):
        fake.hold(Instance(id=f"i{number}", service="orders", host="10.0.0.1", port=80, owner="beta"))
    ours, theirs = trio.testing.lockstep_stream_pair()
    data = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(fake).admit, theirs)
        await ours.send_all(get("/api/v1/services/orders", "Connection: close"))
        while part := await ours.receive_some():
            data += part
            await trio.sleep(9)
        await ours.aclose()
    [answer] = answers(data)
    assert len(answer.json["instances"]) == 2000


class SlowNode(FakeNode):
    async def register_spec(self, spec: InstanceSpec) -> Instance:
        await trio.sleep(100)
        return await super().register_spec(spec)


async def test_a_node_that_takes_its_time_is_not_the_clients_fault(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        [answer] = await ask(dial(acceptor(SlowNode()), nursery), put(b'{"service": "orders", "port": 80}'))
    assert answer.status == 201


# Mistakes of ours


class BrokenNode(FakeNode):
    def members(self) -> tuple[Member, ...]:
        raise RuntimeError("the secret reason")


async def test_a_mistake_of_ours_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    listener = acceptor(BrokenNode())
    async with trio.open_nursery() as nursery:
        [answer] = await ask(dial(listener, nursery), get("/api/v1/members"))
        assert (answer.status, answer.json) == (
            500,
            {"error": "this node made a mistake: its log says more", "code": "internal_error"},
        )
        [answer] = await ask(dial(listener, nursery), get("/healthz"))
        assert answer.status == 200
    assert "the secret reason" in caplog.text


async def test_a_stream_that_cannot_begin_by_a_mistake_of_ours_is_answered_so(caplog: pytest.LogCaptureFixture) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(BrokenNode()), nursery)
        await stream.send_all(get("/api/v1/events"))
        [answer] = answers(await read_all(stream))
        await stream.aclose()
    assert answer.status == 500
    assert "the secret reason" in caplog.text


class BreakingNode(FakeNode):
    async def events(
        self,
        service: str | None = None,
        *,
        panic: float | None = None,
        healthy: bool = True,
        all_cells: bool = False,
    ) -> AsyncGenerator[tuple[Event, ...], None]:
        yield (Snapshot((), ()),)
        raise RuntimeError("the secret reason")


async def test_a_stream_that_breaks_by_a_mistake_of_ours_does_not_look_complete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(BreakingNode()), nursery)
        await stream.send_all(get("/api/v1/events"))
        assert not (await read_all(stream)).endswith(b"\r\n0\r\n\r\n")
        await stream.aclose()
    assert "the secret reason" in caplog.text


# Laws

FRAGMENTS = [
    *(b"GET ", b"HEAD ", b"PUT ", b"DELETE ", b"POST ", b"/healthz", b"/api/v1/services/orders", b"/api/v1/instances"),
    *(
        b"/api/v1/instances/a",
        b"/api/v1/leave",
        b"/api/v1/events",
        b"?all",
        b"?tag=%",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
    ),
    *(
        b"Host: localhost\r\n",
        b"Host: evil\r\n",
        b"Origin: x\r\n",
        b"Content-Length: 5\r\n",
        b"Expect: 100-continue\r\n",
        b"Content-Encoding: gzip\r\n",
        b" HTTP/2.0\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Upgrade: x\r\n",
        b"\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
    ),
    *(b"\n", b"\x00", b"\xff", b"{}", b'{"service": "orders", "port": 80}', b"CONNECT x:1", b"http://[/", b"*"),
]

junk = st.lists(st.binary(max_size=40) | st.sampled_from(FRAGMENTS), max_size=30)


@given(pieces=junk, at_once=st.booleans())
def test_no_bytes_harm_the_next_honest_request(pieces: list[bytes], at_once: bool) -> None:
    async def talk() -> None:
        listener = acceptor(FakeNode())
        async with trio.open_nursery() as nursery:
            stream = dial(listener, nursery)
            for piece in [b"".join(pieces)] if at_once else pieces:
                await stream.send_all(piece)
                await trio.lowlevel.checkpoint()
            [answer] = await ask(dial(listener, nursery), get("/healthz"))
            assert answer.status == 200
            await stream.send_eof()
            await read_all(stream)

    with no_mistakes():
        trio.run(talk, clock=trio.testing.MockClock(autojump_threshold=0))


honest = st.sampled_from(
    [
        (get("/api/v1/services/orders"), 200),
        (get("/api/v1/services/orders?all"), 200),
        (get("/api/v1/nothing"), 404),
        (put(b'{"service": "orders", "port": 80, "id": "a"}'), None),
        (b"DELETE /api/v1/instances/a HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
        (get("/healthz", "Content-Length: 4") + b"\r\n\r\n", 200),
    ]
)


@given(asked=st.lists(honest, min_size=1, max_size=6), cuts=st.lists(st.integers(0, 600), max_size=6))
def test_how_requests_are_cut_into_packets_makes_no_difference(
    asked: list[tuple[bytes, int | None]], cuts: list[int]
) -> None:
    async def talk(pieces: list[bytes]) -> list[tuple[int, Any]]:
        async with trio.open_nursery() as nursery:
            stream = dial(acceptor(FakeNode()), nursery)
            for piece in pieces:
                await stream.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            return [(each.status, each.body and json.loads(each.body)) for each in await ask(stream)]

    requests = [request for request, _ in asked]
    whole = b"".join(requests)
    edges = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    cut_up = [whole[start:end] for start, end in itertools.pairwise(edges)]
    at_once, one_by_one, anyhow = (trio.run(talk, pieces) for pieces in ([whole], requests, cut_up))
    assert at_once == one_by_one == anyhow
    for (status, _), (_, expected) in zip(at_once, asked, strict=True):
        assert expected is None or status == expected


@pytest.mark.parametrize("what", [get("/healthz"), b"junk\r\n\r\n", get("/api/v1/events"), b"GET / HT", b""])
async def test_a_connection_that_is_over_leaves_nothing_to_collect(fake: FakeNode, what: bytes) -> None:
    """Nine thousand that come and go in a flood would else stay in memory until a full collection."""
    gc.collect()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            stream = dial(acceptor(fake), nursery)
            if what:
                await stream.send_all(what)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
        del stream
        assert not [each for each in gc.get_objects() if isinstance(each, Connection | h11.Connection)]
    finally:
        gc.enable()


@pytest.mark.parametrize("second", [0, 784111777, 951782400, 1_795_996_799, 4_102_444_800])
def test_a_date_is_written_as_http_has_it(second: int) -> None:
    assert http_date(second).decode() == formatdate(second, usegmt=True)
