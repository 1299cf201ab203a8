"""Ports of a balancer that are opened, changed and closed while connections go on."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio

from gossipreg.errors import BindError
from gossipreg.frontends.proxy import Forward, Ports
from gossipreg.frontends.proxy.follow import ALONE, Deliver, FollowRule
from gossipreg.model import Address, Instance
from tests.frontends.proxy.conftest import Stage, call, until
from tests.frontends.proxy.making import instance, snapshot


@attrs.define
class KnownInstances:
    """A source that knows the instances of each service once and for all."""

    services: dict[str, Sequence[Instance]] = attrs.field(factory=dict)
    counters: Counter[str] = attrs.field(factory=Counter)
    followed: list[str] = attrs.field(factory=list)

    async def follow(
        self,
        service: str,
        deliver: Deliver,
        *,
        rule: FollowRule = ALONE,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.followed.append(service)
        deliver([snapshot(*self.services.get(service, ()))])
        task_status.started()
        await trio.sleep_forever()


def forward(listen: str | Address, service: str = "a", **options: object) -> Forward:
    return Forward(listen=listen, service=service, **options)  # type: ignore[arg-type]


def free() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address(*server.getsockname())


@pytest.fixture
async def source(stage: Stage) -> KnownInstances:
    return KnownInstances({name: [await stage.named(name, service=name)] for name in "ab"})


async def test_a_port_that_changes_takes_no_time_off(stage: Stage, source: KnownInstances) -> None:
    ports = Ports(source, stage.nursery)
    at = free()
    await ports.open([forward(at)])
    answers: list[str] = []

    async def keep_calling() -> None:
        while True:
            answers.append(await call(at))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_calling)
        await until(lambda: len(answers) > 5)
        await ports.replace([forward(at, "b", tries=2)])
        changed = len(answers)
        await until(lambda: len(answers) > changed + 5)
        nursery.cancel_scope.cancel()
    assert set(answers) == {"a", "b"}, "no caller was refused"
    assert set(answers[changed + 2 :]) == {"b"}


async def test_connections_of_a_port_that_is_closed_or_changed_go_on(stage: Stage) -> None:
    source = KnownInstances({"a": [await stage.instance("a", service="a")]})
    ports = Ports(source, stage.nursery)
    one, other = free(), free()
    await ports.open([forward(one, drain_time=0.01), forward(other)])
    streams = [await trio.open_tcp_stream(*at) for at in (one, other)]
    for stream in streams:
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
    await ports.replace([forward(one, tries=1)])
    await trio.sleep(0.05)  # longer than the drain time of the port that was changed
    for stream in streams:
        await stream.send_all(b"y")
        assert await stream.receive_some() == b"y"
    assert ports.connections == 2
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream(*other)
    for stream in streams:
        await stream.aclose()


async def test_a_port_that_stays_as_it_is_is_left_alone(stage: Stage, source: KnownInstances) -> None:
    ports = Ports(source, stage.nursery)
    one, other = free(), free()
    await ports.open([forward(one)])
    kept = ports.proxies[0]
    await ports.replace([forward(one), forward(other, "b")])
    assert ports.proxies[0] is kept
    assert sorted(source.followed) == ["a", "b"]
    assert (await call(one), await call(other)) == ("a", "b")


async def test_what_a_port_counts_outlives_its_settings(stage: Stage, source: KnownInstances) -> None:
    ports = Ports(source, stage.nursery)
    at = free()
    await ports.open([forward(at)])
    await call(at)
    await ports.replace([forward(at, tries=1)])
    await call(at)
    await until(lambda: ports.proxies[0].counters["finished"] == 2)
    assert "accepted 2" in ports.total()


async def test_where_one_cannot_be_opened_all_stay_as_they_were(stage: Stage, source: KnownInstances) -> None:
    ports = Ports(source, stage.nursery)
    at = free()
    await ports.open([forward(at)])
    before = len(open_descriptors())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = [forward(at, "b"), forward(Address(*taken.getsockname()), "b")]
        with pytest.raises((BindError, ExceptionGroup)):
            await ports.replace(wanted)
    assert await call(at) == "a"
    await until(lambda: ports.connections == 0)
    assert len(open_descriptors()) <= before


async def test_an_instance_at_a_port_that_was_ours_is_used_once_that_is_closed(stage: Stage) -> None:
    one, other = free(), free()
    source = KnownInstances({"a": [instance("a", service="a", port=other.port)]})
    ports = Ports(source, stage.nursery)
    await ports.open([forward(one), forward(other, "b")])
    assert not ports.proxies[0].upstreams["a"].balancer.backends
    await ports.replace([forward(one)])
    await until(lambda: bool(ports.proxies[0].upstreams["a"].balancer.backends))
    await ports.replace([forward(one), forward(other, "b")])
    assert not ports.proxies[0].upstreams["a"].balancer.backends


async def test_a_port_by_tls_names_follows_each_of_its_services(stage: Stage, source: KnownInstances) -> None:
    ports = Ports(source, stage.nursery)
    await ports.open([Forward(listen=free(), service="a", tls=(("b.example", "b"), ("c.example", "b")))])
    assert sorted(source.followed) == ["a", "b"]
    [port] = ports.proxies
    assert {service: len(each.balancer.backends) for service, each in port.upstreams.items()} == {"a": 1, "b": 1}


async def test_ports_that_are_handed_over_let_no_caller_in_and_refuse_none(stage: Stage) -> None:
    ports = Ports(KnownInstances({"a": [await stage.instance("a", service="a")]}), stage.nursery)
    at = free()
    await ports.open([forward(at, drain_time=0.05), forward("127.0.0.1:0")])
    stream = await trio.open_tcp_stream(*at)
    await stream.send_all(b"x")
    assert await stream.receive_some() == b"x"
    with ports.listeners_for_another() as listeners:
        assert set(listeners) == {at}, "another process could not tell which port had any free address"
        ports.hand_over()
        await until(lambda: ports.connections == 0)
        with socket.create_connection(at) as waiting:
            accepted, _ = listeners[at][0].accept()
            accepted.close()
            assert waiting.recv(1) == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
    assert ports.proxies[0].counters["drained"] == 1
    await stream.aclose()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(at)


def open_descriptors() -> list[Path]:
    """Those of this process, where the kernel lists them."""
    return list(Path("/proc/self/fd").glob("*"))
