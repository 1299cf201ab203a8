"""Asking issuers: whose refusal counts, which certificate is taken, and how long one issuer may take."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest
import trio
import trio.testing

from gossipreg.authority import CERTIFICATE, AuthorityKey, encode, new_node_key
from gossipreg.certificate import Certificate
from gossipreg.errors import CertificateRefused
from gossipreg.federation import AgentPlace
from gossipreg.runtime import issuer_client
from gossipreg.runtime.issuer_client import IssuerUnavailable, ask

ISSUERS = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
REFUSED = 403, b'{"error": "the join token is wrong", "code": "certificate_refused"}'
NO_ISSUER = 409, b'{"error": "ask that one", "code": "not_an_issuer"}'

Answer = tuple[int, bytes] | None


def certificate(name: str) -> Certificate:
    now = int(time.time())
    key = new_node_key().public
    return AuthorityKey.new("default").sign(key, names=(name,), not_before=now - 60, not_after=now + 60)


def giving(made: Certificate) -> tuple[int, bytes]:
    return 201, b'{"certificate": "%s"}' % encode(CERTIFICATE, made.data).encode()


def anything(_: Certificate) -> None:
    """Take every certificate."""


class Issuers:
    """Answers in the place of issuers at the ports 1, 2, 3; where the answer is None, there is none."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = answers
        self.asked: list[int] = []

    async def post(self, place: AgentPlace, _: bytes) -> tuple[int, bytes]:
        self.asked.append(place.address.port)
        answer = self.answers[place.address.port - 1]
        if answer is None:
            await trio.sleep_forever()
        assert answer is not None
        return answer


async def test_a_refusal_keeps_no_other_issuer_from_being_asked() -> None:
    made = certificate("web-1")
    issuers = Issuers(REFUSED, NO_ISSUER, giving(made))
    assert await ask(ISSUERS, "line", anything, issuers.post) == made
    assert issuers.asked == [1, 2, 3]


@pytest.mark.parametrize("others", [(REFUSED, REFUSED), (NO_ISSUER, NO_ISSUER)])
async def test_a_refusal_counts_when_no_other_issuer_can_give_a_certificate(others: tuple[Answer, Answer]) -> None:
    issuers = Issuers(REFUSED, *others)
    with pytest.raises(CertificateRefused, match=r"^the join token is wrong$"):
        await ask(ISSUERS, "line", anything, issuers.post)
    assert issuers.asked == [1, 2, 3]


async def test_a_refusal_does_not_count_while_another_issuer_does_not_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    issuers = Issuers(REFUSED, None, NO_ISSUER)
    with pytest.raises(IssuerUnavailable, match=r"token is wrong; .*ask that one; .*:2: no whole answer in 30 s"):
        await ask(ISSUERS, "line", anything, issuers.post)


async def test_the_next_issuer_is_asked_where_one_gives_what_is_of_no_use() -> None:
    wrong, right = certificate("web-2"), certificate("web-1")

    def check(given: Certificate) -> None:
        if given.names != ("web-1",):
            raise IssuerUnavailable("a certificate came for another name")

    issuers = Issuers(giving(wrong), giving(right), REFUSED)
    assert await ask(ISSUERS, "line", check, issuers.post) == right
    assert issuers.asked == [1, 2]


async def test_an_issuer_that_does_not_end_its_answer_is_left(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    made = certificate("web-1")
    issuers = Issuers(None, giving(made), REFUSED)
    begun = trio.current_time()
    assert await ask(ISSUERS, "line", anything, issuers.post) == made
    assert trio.current_time() - begun == 30


@pytest.mark.parametrize("begin", [b"HTTP/1.1 201 Created\r\nX: ", b"HTTP/1.0 201 Created\r\n\r\n", b""])
async def test_the_thread_that_reads_an_answer_without_end_ends_with_the_exchange(
    begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_client, "_EXCHANGE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        is_left = threading.Event()
        thread = threading.Thread(target=_drip, args=(server, begin, is_left.set), daemon=True)
        thread.start()
        with pytest.raises(IssuerUnavailable, match="no whole answer"):
            await ask((f"127.0.0.1:{server.getsockname()[1]}",), "line", anything)
        assert await trio.to_thread.run_sync(is_left.wait, 60)
        thread.join()


def _drip(server: socket.socket, begin: bytes, left: Callable[[], None]) -> None:
    """Send one byte after the other, for as long as the client is there."""
    connection, _ = server.accept()
    with connection:
        connection.settimeout(0.05)
        connection.sendall(begin)
        while True:
            try:
                if connection.recv(65_536) == b"":
                    return left()
            except TimeoutError:
                pass
            except OSError:
                return left()
            if begin:
                try:
                    connection.sendall(b"x")
                except OSError:
                    return left()
