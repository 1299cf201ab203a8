"""The balancer on real sockets: which instance gets a connection, and what becomes of it."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from functools import partial
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock

from gossipreg.errors import BindError
from gossipreg.frontends.proxy import Forward, Proxy
from gossipreg.frontends.proxy.backend import key_of
from gossipreg.frontends.proxy.connecting import PortsExhausted, connected
from gossipreg.frontends.proxy.listeners import OwnAddresses, accept_now
from gossipreg.model import Address, Instance
from tests.frontends.proxy.conftest import Stage, call, until
from tests.frontends.proxy.making import added, instance, removed, seen, snapshot


def refusing() -> Instance:
    """An instance at which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return instance("refusing", port=server.getsockname()[1])


async def call_without_trio(address: Address) -> str:
    """All that is said to a caller whose sockets are not trio's."""

    def ask() -> str:
        with socket.create_connection(address) as caller:
            caller.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: caller.recv(100), b"")).decode()

    return await trio.to_thread.run_sync(ask)


async def ends(stream: trio.SocketStream) -> str:
    """How a connection ends: whole, or reset."""
    with trio.fail_after(60):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            return "reset"
        return "whole"


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


# What becomes of a connection


async def test_each_direction_ends_by_itself(stage: Stage) -> None:
    async def listen_then_talk(stream: trio.SocketStream) -> None:
        apply = b"".join([bytes(part) async for part in stream])
        await stream.send_all(b"heard " + apply)
        await stream.send_eof()

    async def talk_then_listen(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello")
        await stream.send_eof()
        apply.append(b"".join([bytes(part) async for part in stream]))

    apply: list[bytes] = []
    for handler, expected in ((listen_then_talk, b"heard question"), (talk_then_listen, b"hello")):
        _, address = await stage.proxy(await stage.instance("a", handler))
        async with await trio.open_tcp_stream(*address) as stream:
            if handler is listen_then_talk:
                await stream.send_all(b"question")
                await stream.send_eof()
                assert b"".join([bytes(part) async for part in stream]) == expected
            else:
                assert b"".join([bytes(part) async for part in stream]) == expected
                await stream.send_all(b"late")
    await until(lambda: apply == [b"late"])


async def test_everything_gets_through_both_ways_at_once(stage: Stage) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"))
    sent = bytes(range(256)) * 20_000
    async with await trio.open_tcp_stream(*address) as stream, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def talk() -> None:
            await stream.send_all(sent)
            await stream.send_eof()

        assert b"".join([bytes(part) async for part in stream]) == sent
    await until(lambda: proxy.open == 0)
    assert proxy.counters["bytes_in"] == proxy.counters["bytes_out"] == len(sent)
    assert proxy.counters["finished"] == 1


async def test_a_reader_that_stops_slows_the_writer_down(stage: Stage) -> None:
    given = 0

    async def pour(stream: trio.SocketStream) -> None:
        nonlocal given
        with trio.move_on_after(10):
            while True:
                await stream.send_all(bytes(65_536))
                given += 65_536

    proxy, address = await stage.proxy(await stage.instance("a", pour))
    async with await trio.open_tcp_stream(*address):
        await until(lambda: given > 0)
        before = -1
        while before != given:  # until nothing moves for a while
            before = given
            await trio.sleep(0.1)
    assert 0 < given < 64 * 1024 * 1024
    await until(lambda: proxy.open == 0)


@pytest.mark.parametrize("broken_side", ["the caller", "the instance"])
async def test_a_connection_that_breaks_is_reset_on_the_other_side(stage: Stage, broken_side: str) -> None:
    apply = trio.Event()
    fate: list[str] = []

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        apply.set()
        if broken_side == "the instance":
            linger_not(stream)
        else:
            fate.append(await ends(stream))

    def linger_not(stream: trio.SocketStream) -> None:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))

    _, address = await stage.proxy(await stage.instance("a", serve))
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"x")
        await apply.wait()
        if broken_side == "the caller":
            linger_not(stream)
        else:
            fate.append(await ends(stream))
    await until(lambda: bool(fate))
    assert fate == ["reset"]


async def test_an_idle_connection_is_cut_and_one_in_use_is_not(stage: Stage, mock_clock: MockClock) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"), idle_timeout=200)
    async with await trio.open_tcp_stream(*address) as stream:
        for _ in range(4):
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
            mock_clock.jump(199)
        while not proxy.counters["idle"]:  # twice, if the kernel was still sending
            mock_clock.jump(200)
            await trio.testing.wait_all_tasks_blocked()
        assert await ends(stream) == "reset"


async def test_a_connection_to_an_instance_that_is_gone_may_end_in_the_drain_time(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy, address = await stage.proxy(a, drain_time=5)
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"x")
        await stream.receive_some()
        proxy.apply([removed(a)])
        assert await call(address) == ""
        await stream.send_all(b"still here")
        assert await stream.receive_some() == b"still here"
        await stream.send_eof()
        assert await ends(stream) == "whole"
    await until(lambda: proxy.counters["finished"] == 1)


async def test_it_is_cut_after_the_drain_time(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy, address = await stage.proxy(a, drain_time=0.05)
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"x")
        await stream.receive_some()
        proxy.apply([removed(a)])
        assert await ends(stream) == "reset"
    await until(lambda: proxy.counters["drained"] == 1)


async def test_an_instance_that_was_gone_for_a_moment_keeps_its_connections(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy, address = await stage.proxy(a, drain_time=0.1)
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"x")
        await stream.receive_some()
        proxy.apply([removed(a)])
        proxy.apply([added(a)])
        await trio.sleep(0.3)
        await stream.send_all(b"y")
        assert await stream.receive_some() == b"y"


async def test_in_panic_the_last_known_are_tried(stage: Stage) -> None:
    a = await stage.named("a")
    proxy, address = await stage.proxy(a, panic=True)
    proxy.apply([removed(a)])
    assert await call(address) == "a"


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


async def test_it_outlives_a_lack_of_descriptors(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    short_at = set[int]()

    def accept_or_fail(listener: trio.socket.SocketType) -> trio.socket.SocketType | None:
        port = listener.getsockname()[1]
        if port in short_at:
            short_at.remove(port)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept_now(listener)

    monkeypatch.setattr("gossipreg.frontends.proxy.proxy.accept_now", accept_or_fail)
    proxy, address = await stage.proxy(await stage.named("a"))
    short_at.add(address.port)
    assert [await call(address), await call(address)] == ["a", "a"]
    assert proxy.counters["exhausted"] == 1


async def test_a_lack_of_descriptors_is_not_the_instances_fault(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    a = await stage.named("a")
    proxy, address = await stage.proxy(a)

    async def no_more(*_: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("gossipreg.frontends.proxy.upstream.connected", no_more)
    assert await call(address) == ""
    assert (proxy.counters["exhausted"], proxy.counters["not_connected"]) == (3, 1)
    assert not proxy.upstreams["orders"].balancer.backends[key_of(a)].is_resting(trio.current_time())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_descriptors_that_run_out_while_it_connects_are_recognised_for_names_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    a = await stage.named("a", host=host)
    proxy, address = await stage.proxy(a)
    monkeypatch.setattr("gossipreg.frontends.proxy.upstream.limits.EXHAUSTED_SECONDS", 0.0)

    def exhausted(*_: object) -> trio.socket.SocketType:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(trio.socket, "socket", exhausted)
        patch.setattr("trio._highlevel_open_tcp_stream.socket", exhausted)
        assert await call_without_trio(address) == ""
    assert (proxy.counters["exhausted"], proxy.counters["connects_failed"]) == (3, 0)
    assert not proxy.upstreams["orders"].balancer.backends[key_of(a)].is_resting(trio.current_time())


async def test_a_resolver_that_lacks_descriptors_is_not_the_instances_fault(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unresolved(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_SYSTEM, "System error")

    def exhausted(*_: object, **__: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unresolved)
    with pytest.raises(socket.gaierror):
        await connected(Address("db.example", 80), OwnAddresses())
    monkeypatch.setattr("gossipreg.frontends.proxy.connecting.socket.socket", exhausted)
    with pytest.raises(OSError, match="Too many open files") as raised:
        await connected(Address("db.example", 80), OwnAddresses())
    assert raised.value.errno == errno.EMFILE


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_an_instance_to_which_all_ports_are_in_use_is_not_at_fault_and_another_is_called(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    full, good = instance("full", host=host, port=1, weight=1000), await stage.named("good")
    proxy, address = await stage.proxy(full, good)
    refuse_to_connect(monkeypatch, port=1)
    assert await call_without_trio(address) == "good"
    assert (proxy.counters["exhausted"], proxy.counters["connects_failed"]) == (1, 0)
    assert not proxy.upstreams["orders"].balancer.backends[key_of(full)].is_resting(trio.current_time())


async def test_that_this_host_has_no_address_for_an_instance_is_no_lack_of_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_to_connect(monkeypatch, port=80)
    for host, lacks_ports in (("127.0.0.1", True), ("255.255.255.255", False)):  # no datagram may go to the latter
        with pytest.raises(OSError, match=r"ports|assign") as raised:
            await connected(Address(host, 80), OwnAddresses())
        assert isinstance(raised.value, PortsExhausted) is lacks_ports


def refuse_to_connect(monkeypatch: pytest.MonkeyPatch, *, port: int) -> None:
    """Have the kernel say of every connection to that port that it has no address or port for it."""
    with trio.socket.socket() as any_socket:
        kind = type(any_socket)
    real = kind.connect

    async def connect(self: trio.socket.SocketType, to: tuple[str, int]) -> None:
        if to[1] == port:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        await real(self, to)

    monkeypatch.setattr(kind, "connect", connect)


async def test_a_connection_that_a_bug_ends_is_counted_as_that(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    proxy, address = await stage.proxy(await stage.named("a"))

    async def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("gossipreg.frontends.proxy.relay.Relay._copy", broken)
    assert await call(address) == ""
    await until(lambda: proxy.counters["failed"] == 1)
    assert proxy.counters["drained"] == 0
    assert "because of a bug" in caplog.text
    sticky, address = await stage.proxy(await stage.named("a"), sticky="source")
    monkeypatch.setattr("gossipreg.frontends.proxy.proxy.plain_host", lambda _: 1 / 0)
    assert await call(address) == ""
    await until(lambda: sticky.counters["failed"] == 1)
    assert (sticky.counters["accepted"], sticky.counters["drained"]) == (1, 0)


# What was found with real programs


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES])
async def test_whatever_a_connect_fails_with_another_instance_is_tried_and_this_one_rests(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bad, good = instance("bad", port=1, weight=1000), await stage.named("good")

    async def fail_for_bad(to: Address, own: OwnAddresses) -> trio.socket.SocketType:
        if to.port == 1:
            raise OSError(number, "it cannot be reached")
        return await connected(to, own)

    monkeypatch.setattr("gossipreg.frontends.proxy.upstream.connected", fail_for_bad)
    proxy, address = await stage.proxy(bad, good)
    assert [await call(address) for _ in range(5)] == ["good"] * 5
    assert proxy.counters["connects_failed"] == 1
    assert proxy.upstreams["orders"].balancer.backends[key_of(bad)].is_resting(trio.current_time())


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


async def test_a_download_that_is_taken_slowly_is_not_idle(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than the idle time until the kernel has room for another piece, yet bytes go out meanwhile."""
    left = iter(range(5, 0, -1))

    def unsent(_: object) -> int:
        return next(left, 0)

    monkeypatch.setattr("gossipreg.frontends.proxy.relay._unsent", unsent)
    proxy, address = await stage.proxy(await stage.instance("a"), idle_timeout=0.05)
    async with await trio.open_tcp_stream(*address) as stream:
        assert await ends(stream) == "reset"
    await until(lambda: proxy.counters["idle"] == 1)
    assert next(left, 0) == 0, "it was cut while the kernel still sent"


async def held(proxy: Proxy, address: Address) -> trio.SocketStream:
    """A caller that has an echo from an instance and stays."""
    stream = await trio.open_tcp_stream(*address)
    await stream.send_all(b"x")
    assert await stream.receive_some() == b"x"
    assert proxy.open
    return stream


async def test_connections_to_a_former_primary_are_cut_when_it_says_that_it_is_none(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600)
    async with await held(proxy, address) as stream:
        proxy.apply([added(attrs.evolve(old, role="replica"))])
        assert await ends(stream) == "reset"
    await until(lambda: proxy.counters["drained"] == 1)


async def test_connections_to_a_lost_primary_go_on_until_there_is_another(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600)
    async with await held(proxy, address) as stream:
        proxy.apply([removed(old)])
        await stream.send_all(b"y")
        assert await stream.receive_some() == b"y"
        proxy.apply([added(await stage.instance("b", role="primary", term=2))])
        assert await ends(stream) == "reset"


async def test_a_primary_that_is_drained_has_taken_the_role_all_the_same(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600)
    async with await held(proxy, address) as stream:
        drained = await stage.instance("b", role="primary", term=2, weight=0)
        proxy.apply([removed(old), added(drained)])
        assert await ends(stream) == "reset"


async def test_a_former_primary_is_not_used_in_panic_either(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600, panic=True)
    async with await held(proxy, address) as stream:
        proxy.apply([added(attrs.evolve(old, role="replica"))])
        assert await ends(stream) == "reset"
        assert await call(address) == ""


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


async def test_an_instance_that_comes_back_still_has_the_connections_that_it_had(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy, address = await stage.proxy(a, drain_time=3600)
    async with await held(proxy, address):
        proxy.apply([removed(a)])
        proxy.apply([added(a)])
        assert proxy.upstreams["orders"].balancer.backends[key_of(a)].in_flight == 1


async def test_connections_to_a_former_primary_drain_where_that_is_asked_for(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600, superseded="drain")
    stream = await held(proxy, address)
    proxy.apply([added(attrs.evolve(old, role="replica")), added(await stage.instance("b", role="primary", term=2))])
    await stream.send_all(b"y")
    assert await stream.receive_some() == b"y"
    await stream.aclose()


async def test_connections_to_an_instance_of_a_role_that_several_have_drain_when_it_goes(stage: Stage) -> None:
    gone, other = await stage.instance("a", role="replica"), await stage.instance("b", role="replica", weight=0)
    proxy, address = await stage.proxy(gone, other, role="replica", drain_time=3600, superseded="cut")
    async with await held(proxy, address) as stream:
        proxy.apply([removed(gone)])
        await stream.send_all(b"y")
        assert await stream.receive_some() == b"y"


async def test_connections_to_an_instance_that_has_another_role_now_are_cut_though_several_have_it(
    stage: Stage,
) -> None:
    changed, other = await stage.instance("a", role="replica"), await stage.instance("b", role="replica", weight=0)
    proxy, address = await stage.proxy(changed, other, role="replica", drain_time=3600, superseded="cut")
    async with await held(proxy, address) as stream:
        proxy.apply([added(attrs.evolve(changed, role="primary"))])
        assert await ends(stream) == "reset"


async def test_a_caller_that_goes_at_once_is_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"), sticky="source")

    def gone(_: object) -> None:
        raise OSError(errno.ENOTCONN, "it has gone")

    monkeypatch.setattr("gossipreg.frontends.proxy.proxy.tune", lambda _: None)
    monkeypatch.setattr("gossipreg.frontends.proxy.proxy.plain_host", gone)
    assert await call(address) == ""
    await until(lambda: (proxy.counters["accepted"], proxy.counters["finished"]) == (1, 1))
