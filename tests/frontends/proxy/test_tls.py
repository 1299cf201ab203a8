"""A port that leads to services by TLS server name, with callers and servers that speak TLS to each other."""

from __future__ import annotations

import ssl
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from gossipreg.frontends.proxy import Forward, Proxy
from gossipreg.frontends.proxy.client_hello import UNRECOGNIZED_NAME
from gossipreg.model import Address, Instance
from tests.certificates import certificate
from tests.frontends.proxy.conftest import Stage, until
from tests.frontends.proxy.hellos import cut, hello
from tests.frontends.proxy.making import instance, snapshot

NAMES = {"orders.example": "orders", "*.pay.example": "payments"}


@attrs.define
class TlsStage:
    """Servers that hold a certificate each, and a port before them."""

    stage: Stage
    directory: Path

    async def server(self, service: str, name: str) -> Instance:
        """A server that has the certificate of ``name``, and says its service to each caller."""
        directory = self.directory / service
        directory.mkdir()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(name, directory))

        async def say(stream: trio.SocketStream) -> None:
            secure = trio.SSLStream(stream, context, server_side=True)
            await secure.send_all(service.encode())
            await secure.aclose()

        return await self.stage.instance(service, say, service=service)

    def trusted(self, service: str) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.directory / service / "certificate.pem"))

    async def proxy(self, *instances: Instance, **options: object) -> tuple[Proxy, Address]:
        proxy = Proxy(Forward(listen="127.0.0.1:0", tls=NAMES, **options), rng=Random(1))  # type: ignore[arg-type]
        for service in proxy.upstreams:
            proxy.apply([snapshot(*(each for each in instances if each.service == service))], service)
        return proxy, await self.stage.nursery.start(proxy.serve)


@pytest.fixture
def tls(stage: Stage, tmp_path: Path) -> TlsStage:
    return TlsStage(stage, tmp_path)


async def ask(address: Address, name: str, trust: ssl.SSLContext) -> str:
    """What the server that has this name says."""
    stream = trio.SSLStream(await trio.open_tcp_stream(*address), trust, server_hostname=name, https_compatible=True)
    async with stream:
        return b"".join([bytes(part) async for part in stream]).decode()


async def answer(address: Address, *parts: bytes) -> bytes | None:
    """What is sent back to a caller that sends these, and no end; None where its connection is reset."""
    async with await trio.open_tcp_stream(*address) as stream:
        try:
            for part in parts:
                await stream.send_all(part)
                await trio.sleep(0.01)
            return b"".join([bytes(part) async for part in stream])
        except trio.BrokenResourceError:
            return None


async def test_callers_reach_the_service_of_the_name_that_they_ask_for_and_no_tls_ends_here(tls: TlsStage) -> None:
    orders, payments = await tls.server("orders", "orders.example"), await tls.server("payments", "eu.pay.example")
    proxy, address = await tls.proxy(orders, payments)
    assert await ask(address, "orders.example", tls.trusted("orders")) == "orders"
    assert await ask(address, "ORDERS.example", tls.trusted("orders")) == "orders"
    assert await ask(address, "eu.pay.example", tls.trusted("payments")) == "payments"
    await until(lambda: proxy.open == 0)
    finished = {service: each.counters["finished"] for service, each in proxy.upstreams.items()}
    assert finished == {"payments": 1, "orders": 2}
    assert proxy.upstreams["orders"].counters["bytes_in"] > 500, "the hellos are counted"
    assert proxy.counters == {}


async def test_a_name_that_leads_nowhere_is_refused_by_the_alert_for_it(tls: TlsStage) -> None:
    proxy, address = await tls.proxy()
    for name in ("other.example", "pay.example"):
        with pytest.raises(trio.BrokenResourceError) as refused:
            await ask(address, name, ssl.create_default_context())
        assert "UNRECOGNIZED_NAME" in str(refused.value.__cause__)
    assert await answer(address, hello(None)) == UNRECOGNIZED_NAME
    await until(lambda: (proxy.counters["accepted"], proxy.counters["unknown_name"]) == (3, 3))


async def test_without_a_name_of_its_own_a_caller_gets_the_default_service(tls: TlsStage) -> None:
    other = await tls.server("other", "other.example")
    proxy, address = await tls.proxy(other, service="other")
    assert await ask(address, "other.example", tls.trusted("other")) == "other"
    trust = tls.trusted("other")
    trust.check_hostname = False
    stream = trio.SSLStream(await trio.open_tcp_stream(*address), trust, https_compatible=True)
    async with stream:
        assert await stream.receive_some() == b"other"
    await until(lambda: proxy.counters["finished"] == 2)


async def test_a_hello_in_pieces_is_put_together(tls: TlsStage) -> None:
    proxy, address = await tls.proxy(await tls.stage.instance("a"))
    data = cut(hello("orders.example"), 50)
    async with await trio.open_tcp_stream(*address) as stream:
        for at in range(0, len(data), 100):
            await stream.send_all(data[at : at + 100])
            await trio.sleep(0.001)
        await stream.send_all(b"more")
        back = b""
        while len(back) < len(data) + 4:
            back += await stream.receive_some()
    assert back == data + b"more", "the instance gets what the caller sent"
    await until(lambda: proxy.open == 0)
    assert proxy.upstreams["orders"].counters["bytes_in"] == len(data) + 4


async def test_an_instance_that_is_tried_second_gets_the_whole_hello(tls: TlsStage) -> None:
    good = await tls.server("orders", "orders.example")
    proxy, address = await tls.proxy(instance("bad", port=1, weight=1000), good)
    assert await ask(address, "orders.example", tls.trusted("orders")) == "orders"
    assert proxy.upstreams["orders"].counters["connects_failed"] == 1


async def test_a_caller_of_something_else_is_closed_and_counted(
    tls: TlsStage, caplog: pytest.LogCaptureFixture
) -> None:
    proxy, address = await tls.proxy()
    assert await answer(address, b"GET / HTTP/1.1\r\n") in (b"", None)
    await until(lambda: proxy.counters["bad_hello"] == 1)
    assert "did not begin with a TLS ClientHello: it is no TLS handshake" in caplog.text


@pytest.mark.parametrize("sent", [b"", hello("orders.example")[:-1]])
async def test_a_caller_that_takes_too_long_is_cut(tls: TlsStage, sent: bytes) -> None:
    proxy, address = await tls.proxy(preread_timeout=0.05)
    began = trio.current_time()
    assert await answer(address, sent or b"\x16") is None
    assert trio.current_time() - began >= 0.05
    assert (proxy.counters["too_late"], proxy.counters["accepted"]) == (1, 1)


async def test_a_caller_that_goes_before_it_said_its_name_ended_by_itself(tls: TlsStage) -> None:
    proxy, address = await tls.proxy()
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(hello("orders.example")[:-1])
    await until(lambda: proxy.counters["finished"] == 1)


async def test_a_caller_that_has_not_said_its_name_when_the_port_is_gone_is_counted(tls: TlsStage) -> None:
    proxy, address = await tls.proxy(drain_time=0.01)
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"\x16")
        await until(lambda: proxy.unrouted == 1)
        proxy.stop()
        await until(lambda: proxy.counters["drained"] == 1)


async def test_an_alert_that_is_not_read_holds_a_place_for_a_second_only(
    tls: TlsStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossipreg.frontends.proxy.limits.ALERT_SECONDS", 0.05)
    proxy, address = await tls.proxy()
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(hello("other.example"))
        await until(lambda: proxy.counters["unknown_name"] == 1)
        assert proxy.open == 0


# With a PROXY header


async def test_a_hello_after_a_proxy_header_is_found_and_the_header_is_passed_on_anew(tls: TlsStage) -> None:
    proxy, address = await tls.proxy(
        await tls.stage.instance("a"), trust_proxy=["127.0.0.0/8"], proxy_protocol="v1", drain_time=0.01
    )
    head, data = b"PROXY TCP4 192.0.2.7 192.0.2.9 4711 443\r\n", hello("orders.example")
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(head + data)
        back = b""
        while len(back) < len(head + data):
            back += await stream.receive_some()
    assert back == head + data
    await until(lambda: proxy.open == 0)
