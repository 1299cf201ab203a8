"""The PROXY protocol of callers that are balancers themselves: who calls passes through a chain of them."""

from __future__ import annotations

import pytest
import trio

from gossipreg.errors import ConfigError
from gossipreg.frontends.proxy import Forward
from gossipreg.frontends.proxy.first_bytes import is_within, read_network
from gossipreg.frontends.proxy.header import header
from gossipreg.model import Address
from tests.frontends.proxy.conftest import Stage, until
from tests.frontends.proxy.making import instance

CALLER, CALLED = Address("192.0.2.7", 4711), Address("192.0.2.9", 443)


async def told(address: Address, sent: bytes) -> bytes:
    """All that an instance which echoes gives back to a caller that sends this."""
    async with await trio.open_tcp_stream(*address) as stream:
        try:
            await stream.send_all(sent)
            await stream.send_eof()
            return b"".join([bytes(part) async for part in stream])
        except trio.BrokenResourceError:
            return b""


@pytest.mark.parametrize("sent", ["v1", "v2"])
@pytest.mark.parametrize("passed", ["v1", "v2"])
async def test_the_caller_is_told_to_the_instance(stage: Stage, sent: str, passed: str) -> None:
    proxy, address = await stage.proxy(
        await stage.instance("a"), trust_proxy=("127.0.0.1", "10.0.0.0/8"), proxy_protocol=passed
    )
    expected = header(passed, CALLER, CALLED) + b"hello"
    assert await told(address, header(sent, CALLER, CALLED) + b"hello") == expected
    await until(lambda: proxy.open == 0)
    assert proxy.counters["bytes_in"] == 5


async def test_a_chain_of_balancers_tells_the_first_caller(stage: Stage) -> None:
    _, last = await stage.proxy(await stage.instance("a"), trust_proxy=("127.0.0.1",), proxy_protocol="v1")
    inner = instance("b", port=last.port)
    _, first = await stage.proxy(inner, proxy_protocol="v2")
    async with await trio.open_tcp_stream(*first) as stream:
        me = stream.socket.getsockname()[1]
        await stream.send_all(b"hello")
        await stream.send_eof()
        back = b"".join([bytes(part) async for part in stream])
    assert back == f"PROXY TCP4 127.0.0.1 127.0.0.1 {me} {first.port}\r\nhello".encode()


async def test_a_header_of_a_source_that_is_not_trusted_is_the_callers_own_bytes(stage: Stage) -> None:
    _, address = await stage.proxy(await stage.instance("a"), trust_proxy=("10.0.0.0/8",))
    sent = header("v1", CALLER, CALLED) + b"hello"
    assert await told(address, sent) == sent


async def test_a_trusted_source_without_a_header_is_refused(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"), trust_proxy=("127.0.0.1",))
    assert await told(address, b"hello") == b""
    await until(lambda: proxy.counters["bad_header"] == 1)
    assert "did not begin with a PROXY header: it begins otherwise" in caplog.text


async def test_a_trusted_source_that_says_nothing_is_cut(stage: Stage) -> None:
    proxy, address = await stage.proxy(trust_proxy=("127.0.0.1",), preread_timeout=0.05)
    async with await trio.open_tcp_stream(*address) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
    assert proxy.counters["too_late"] == 1


async def test_a_header_without_addresses_leaves_those_of_the_connection(stage: Stage) -> None:
    _, address = await stage.proxy(await stage.instance("a"), trust_proxy=("127.0.0.1",), proxy_protocol="v1")
    assert (await told(address, b"PROXY UNKNOWN\r\n")).startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")


async def test_callers_behind_one_balancer_stick_each_by_its_own_address(stage: Stage) -> None:
    instances = [await stage.named(name, id=name) for name in "abc"]
    _, address = await stage.proxy(*instances, trust_proxy=("127.0.0.1",), sticky="source")

    async def home(number: int) -> bytes:
        return await told(address, header("v2", Address(f"192.0.2.{number}", 1), CALLED))

    homes = {number: await home(number) for number in range(20)}
    assert set(homes.values()) == {b"a", b"b", b"c"}
    assert {number: await home(number) for number in homes} == homes


def test_networks_are_read_strictly() -> None:
    networks = tuple(map(read_network, ("10.0.0.0/8", "::1", "fd00::/8")))
    for host, expected in (("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("fd00::1%eth0", True)):
        assert is_within(host, networks) is expected
    for wrong in ("10.0.0.1/8", "lb.example", ""):
        with pytest.raises(ConfigError, match="is not a network: write an address"):
            Forward(listen="h:1", service="a", trust_proxy=(wrong,))
