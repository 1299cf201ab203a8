"""The balancer on real sockets: which instance gets a connection, and how the balancer begins and ends."""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial
from random import Random

import pytest
import trio
from trio.testing import MockClock

from gossipreg.errors import BindError
from gossipreg.frontends.proxy import Forward, Proxy
from gossipreg.frontends.proxy.listeners import OwnAddresses
from gossipreg.model import Address, Instance
from tests.frontends.proxy.callers import ends, held
from tests.frontends.proxy.conftest import Stage, call, until
from tests.frontends.proxy.making import added, instance, removed, seen, snapshot


def refusing() -> Instance:
    """An instance at which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return instance("refusing", port=server.getsockname()[1])


async def call_from(host: str, address: Address) -> str:
    """What is said to a caller at that address of this host."""
    with trio.socket.socket() as caller:
        await caller.bind((host, 0))
        await caller.connect(tuple(address))
        caller.shutdown(socket.SHUT_WR)
        said = b""
        while part := await caller.recv(100):
            said += part
        return said.decode()


# Which instance is chosen


async def test_callers_are_spread_over_the_instances(stage: Stage) -> None:
    _, address = await stage.proxy(*[await stage.named(name, id=name) for name in "ab"])
    assert set(Counter([await call(address) for _ in range(20)])) == {"a", "b"}


async def test_what_is_told_holds_from_the_next_connection_on(stage: Stage) -> None:
    a, b = await stage.named("a"), await stage.named("b")
    proxy, address = await stage.proxy(a)
    assert await call(address) == "a"
    proxy.apply([added(b), removed(a)])
    assert {await call(address) for _ in range(5)} == {"b"}


async def test_a_caller_that_sticks_reaches_the_same_instance_until_that_goes(stage: Stage) -> None:
    instances = [await stage.named(name, id=name) for name in "abc"]
    proxy, address = await stage.proxy(*instances, sticky="source")
    homes = {f"127.0.1.{number}": await call_from(f"127.0.1.{number}", address) for number in range(1, 20)}
    assert set(homes.values()) == {"a", "b", "c"}
    assert {source: await call_from(source, address) for source in homes} == homes
    proxy.apply([removed(instances[2])])
    after = {source: await call_from(source, address) for source in homes}
    assert {source: home for source, home in after.items() if homes[source] != "c"} == {
        source: home for source, home in homes.items() if home != "c"
    }
    assert "c" not in after.values()


async def test_a_new_instance_gets_its_share_by_and_by(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.frontends.proxy.balancer.JOIN_SECONDS", 0.0)
    a, b = await stage.named("a"), await stage.named("b")
    proxy, address = await stage.proxy(a, slow_start=3600.0)
    proxy.apply([added(b)])
    assert {await call(address) for _ in range(20)} == {"a"}
    proxy.apply([removed(a)])
    assert await call(address) == "b"


async def test_an_instance_of_a_suspect_is_used_only_when_there_is_no_other(stage: Stage) -> None:
    a, b = await stage.named("a"), await stage.named("b")
    proxy, address = await stage.proxy(a, b)
    proxy.apply([seen("suspect", "a")])
    assert {await call(address) for _ in range(10)} == {"b"}
    proxy.apply([removed(b)])
    assert await call(address) == "a"


async def test_instances_of_the_balancers_own_zone_go_first(stage: Stage) -> None:
    near, far = await stage.named("near", zone="north"), await stage.named("far", zone="south")
    proxy, address = await stage.proxy(near, far, zone="north")
    assert {await call(address) for _ in range(10)} == {"near"}
    proxy.apply([removed(near)])
    assert await call(address) == "far"


async def test_a_connect_that_fails_is_tried_elsewhere_unnoticed(stage: Stage) -> None:
    proxy, address = await stage.proxy(refusing(), await stage.named("good"))
    assert {await call(address) for _ in range(20)} == {"good"}
    assert proxy.counters["connects_failed"] == 1, "it is remembered"


def called(nursery: trio.Nursery, address: Address) -> trio.MemoryReceiveChannel[str]:
    """Call in a task of its own; what is said comes over a channel."""
    tell, answers = trio.open_memory_channel[str](1)

    async def ask() -> None:
        await tell.send(await call(address))

    nursery.start_soon(ask)
    return answers


async def test_an_instance_that_does_not_accept_is_given_up_after_the_connect_timeout(
    stage: Stage, mock_clock: MockClock
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        mute = instance("mute", port=full.getsockname()[1], weight=1000)
        with socket.create_connection(full.getsockname()):  # takes the only place in its queue
            proxy, address = await stage.proxy(mute, await stage.named("good"), connect_timeout=0.05)
            backends = proxy.upstreams["orders"].balancer.backends.values()
            async with trio.open_nursery() as nursery:
                answer = called(nursery, address)
                while not any(each.in_flight for each in backends):
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(0.05)  # by hand: time that jumps by itself does not wait for what the kernel has to do
                assert await answer.receive() == "good"
            assert {await call(address) for _ in range(9)} == {"good"}
            assert proxy.counters["connects_failed"] == 1


async def test_a_caller_is_turned_away_when_no_instance_can_be_connected_to(stage: Stage) -> None:
    proxy, address = await stage.proxy(refusing(), refusing())
    assert await call(address) == ""
    assert proxy.counters["not_connected"] == 1
    assert all(backend.in_flight == 0 for backend in proxy.upstreams["orders"].balancer.backends.values())


async def test_a_caller_is_turned_away_and_counted_when_there_is_no_instance(stage: Stage) -> None:
    proxy, address = await stage.proxy()
    assert await call(address) == ""
    assert proxy.counters["no_instance"] == 1


async def test_a_host_may_be_a_name_and_one_that_is_none_is_a_failed_connect(stage: Stage) -> None:
    a = await stage.named("a", host="localhost")
    proxy, address = await stage.proxy(instance("b", host="." * 3, weight=1000), a)
    assert await call(address) == "a"
    assert proxy.counters["connects_failed"] == 1


async def test_an_instance_that_is_the_balancer_itself_is_left_out(stage: Stage) -> None:
    proxy, address = await stage.proxy(await stage.named("a"))
    proxy.apply([added(instance("itself", port=address.port, weight=1000))])
    assert {await call(address) for _ in range(5)} == {"a"}


async def test_beyond_the_limit_of_an_instance_another_is_used(stage: Stage) -> None:
    a, b = await stage.instance("a", weight=1000), await stage.named("b")
    _, address = await stage.proxy(a, b, instance_connections_max=1)
    async with await trio.open_tcp_stream(*address) as first:
        await first.send_all(b"x")
        await first.receive_some()
        assert await call(address) == "b"


async def test_beyond_the_limit_of_a_port_callers_wait(stage: Stage) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"), connections_max=1)
    async with await trio.open_tcp_stream(*address) as first, await trio.open_tcp_stream(*address) as second:
        await first.send_all(b"1")
        await first.receive_some()
        await second.send_all(b"2")
        assert proxy.open == 1
        await first.aclose()
        assert await second.receive_some() == b"2"


async def test_an_instance_is_told_its_caller(stage: Stage) -> None:
    _, address = await stage.proxy(await stage.instance("a"), proxy_protocol="v1")
    async with await trio.open_tcp_stream(*address) as stream:
        me = stream.socket.getsockname()[1]
        expected = b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (me, address.port)
        data = b""
        while len(data) < len(expected):
            data += await stream.receive_some()
        assert data == expected


# How it begins and ends


async def test_an_address_that_is_taken_is_named_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = Address(*server.getsockname())
        with pytest.raises(BindError) as refused:
            await Proxy(Forward(listen=taken, service="orders")).serve()
    assert str(refused.value) == (
        f"cannot listen on {taken} for orders: address already in use: "
        "stop the other program or pass --listen HOST:PORT"
    )


async def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(BindError, match="no such host name"):
        await Proxy(Forward(listen="no-such-host.invalid:1", service="orders")).serve()


async def test_when_it_stops_no_new_caller_is_let_in_and_those_present_may_finish(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy = Proxy(Forward(listen="127.0.0.1:0", service="orders"))
    proxy.apply([snapshot(a)])
    async with trio.open_nursery() as nursery:
        address = await nursery.start(proxy.serve)
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(b"x")
            await stream.receive_some()
            proxy.stop()
            await until(lambda: not can_connect(address))
            await stream.send_all(b"y")
            assert await stream.receive_some() == b"y"
    assert proxy.open == 0
    assert proxy.counters["drained"] == 0


async def test_when_it_stops_connections_that_do_not_end_are_cut_after_the_drain_time(stage: Stage) -> None:
    proxy = Proxy(Forward(listen="127.0.0.1:0", service="orders", drain_time=0.05))
    proxy.apply([snapshot(await stage.instance("a"))])
    async with trio.open_nursery() as nursery:
        address = await nursery.start(proxy.serve)
        stream = await trio.open_tcp_stream(*address)
        await stream.send_all(b"x")
        await stream.receive_some()
        proxy.stop()
    assert await ends(stream) == "reset"
    await stream.aclose()


async def test_a_caller_that_connected_before_it_stopped_is_served(stage: Stage) -> None:
    proxy, address = await stage.proxy(await stage.named("a"))
    with socket.create_connection(address) as knocking:  # no task has run since: it waits in the kernel's queue
        proxy.stop()
        said = await trio.to_thread.run_sync(partial(knocking.recv, 10))
    assert said == b"a"


def can_connect(address: Address) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
async def test_an_instance_that_leads_back_here_is_never_called(stage: Stage, host: str) -> None:
    proxy = Proxy(Forward(listen="0.0.0.0:0", service="orders"), rng=Random(1))
    port = (await stage.nursery.start(proxy.serve)).port
    proxy.apply([snapshot(await stage.named("a"), instance("itself", host=host, port=port, weight=1000))])
    assert [await call(Address("127.0.0.1", port)) for _ in range(5)] == ["a"] * 5
    assert proxy.counters["accepted"] == 5


async def test_two_ports_of_one_process_do_not_forward_to_each_other_in_a_circle(stage: Stage) -> None:
    own = OwnAddresses()
    proxies = [Proxy(Forward(listen="127.0.0.1:0", service="orders"), own=own) for _ in range(2)]
    one, other = [await stage.nursery.start(proxy.serve) for proxy in proxies]
    proxies[0].apply([snapshot(instance("b", port=other.port))])
    proxies[1].apply([snapshot(instance("a", port=one.port))])
    assert await call(one) == ""
    assert [proxy.counters["accepted"] for proxy in proxies] == [1, 0]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no sockets for both families")
async def test_a_port_at_all_addresses_takes_callers_of_both_families(stage: Stage) -> None:
    proxy = Proxy(Forward(listen="[::]:0", service="orders", proxy_protocol="v1"))
    port = (await stage.nursery.start(proxy.serve)).port
    proxy.apply([snapshot(await stage.instance("a"))])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_eof()
        said = b"".join([bytes(part) async for part in stream])
    assert said.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
    async with await trio.open_tcp_stream("::1", port) as stream:
        await stream.send_eof()
        assert b"".join([bytes(part) async for part in stream]).startswith(b"PROXY TCP6 ::1 ::1 ")


async def test_connections_that_a_port_cuts_when_it_stops_are_counted(stage: Stage) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"), drain_time=0.05)
    async with await held(proxy, address) as stream:
        proxy.stop()
        assert await ends(stream) == "reset"
    await until(lambda: proxy.counters["drained"] == 1)


async def test_a_listener_without_callers_takes_no_place_from_one_with_callers(stage: Stage) -> None:
    proxy = Proxy(Forward(listen="127.0.0.1:0", service="orders", connections_max=1))
    proxy.apply([snapshot(await stage.named("a"))])
    idle, busy = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    for each in (idle, busy):
        each.setblocking(False)
    address = Address(*busy.getsockname())
    await stage.nursery.start(proxy.serve, [trio.socket.from_stdlib_socket(each) for each in (idle, busy)])
    with trio.fail_after(60):
        assert [await call(address) for _ in range(3)] == ["a"] * 3
