"""Joining: seeds are resolved anew each time, and a join that does not succeed is logged with its reason."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg.config import Config
from gossipreg.model import Address
from gossipreg.node_info import JoinFailure
from gossipreg.protocol.wire.streams import StreamRefusal
from gossipreg.runtime import joining as module
from gossipreg.runtime.diagnostics import LogLimiter
from gossipreg.runtime.joining import JoinFailureReason, JoinReport, Seeds, reason_of
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node

SEED = Address("10.0.0.1", 7940)
KEYS = ("A" * 43 + "=", "B" * 42 + "A=")


async def report(*names: str) -> JoinReport:
    seeds = Seeds(names)
    await seeds.resolve(ipv6=False)
    return JoinReport("shop", seeds, trio.current_time())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{r.levelname} {r.message}" for r in caplog.records if r.name == module.__name__]


async def test_a_join_that_does_not_succeed_is_logged_within_ten_seconds_and_then_seldom(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    caplog.set_level(logging.INFO)
    one = await report("10.0.0.1", "10.0.0.2:9")
    one.failed(SEED, JoinFailureReason.REFUSED)
    one.failed(Address("10.0.0.2", 9), JoinFailureReason.UNREACHABLE, "it cannot be reached: No route to host")
    nursery.start_soon(one.run)
    await trio.sleep(1300.0)
    assert lines(caplog) == [
        f"WARNING not joined after {seconds} s: 10.0.0.1: nothing listens there: the connection is refused; "
        "10.0.0.2:9: it cannot be reached: No route to host; still trying"
        for seconds in (8, 60, 660, 1260)
    ]
    caplog.clear()
    one.answered(SEED)
    one.joined.set()
    await trio.testing.wait_all_tasks_blocked()
    assert lines(caplog) == ["INFO joined the cluster shop through 10.0.0.1 after 1300 s"]
    assert one.failures == ()


async def test_a_join_that_succeeds_is_one_line(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    caplog.set_level(logging.INFO)
    one = await report("10.0.0.1")
    one.answered(SEED)
    one.joined.set()
    await one.run()
    assert lines(caplog) == ["INFO joined the cluster shop through 10.0.0.1"]


async def test_the_last_failure_of_each_seed_counts_and_no_other_address() -> None:
    one = await report("10.0.0.1")
    assert one.reason == "no seed has answered yet"
    one.failed(Address("10.9.9.9", 1), JoinFailureReason.REFUSED)
    assert one.reason == "no seed has answered yet"
    one.failed(SEED, JoinFailureReason.REFUSED)
    one.failed(SEED, JoinFailureReason.OTHER_CLUSTER)
    assert one.failures == (JoinFailure("10.0.0.1", "other_cluster", "its cluster has another name than 'shop'"),)
    one.answered(SEED)
    assert one.reason == "no seed has answered yet"


async def test_a_name_that_does_not_resolve_is_a_reason() -> None:
    one = await report("no..name:1", "10.0.0.1")
    one.resolved()
    assert one.reason == "no..name:1: its name does not resolve: not a host name"


async def test_what_is_kept_and_said_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_MAX", 6)
    one = await report(*(f"10.0.1.{number}" for number in range(10, 20)))
    for number in range(10, 20):
        one.failed(Address(f"10.0.1.{number}", 7940), JoinFailureReason.NO_ANSWER)
    assert len(one.failures) == 6
    assert one.reason.endswith("; and 2 more")


async def test_a_refused_stream_is_logged_once_for_each_host_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    one = await report()
    for port in range(3):
        one.refused(Address("10.0.0.9", port), JoinFailureReason.OTHER_KEY)
    one.refused(Address("10.0.0.9", 1), JoinFailureReason.IN_CLEAR)
    one.refused(Address("10.0.0.8", 1), JoinFailureReason.OTHER_KEY)
    one.refused(Address("10.0.0.8", 1), JoinFailureReason.SILENT)
    assert [line.partition(":")[0] for line in lines(caplog)] == [
        "WARNING a stream from 10.0.0.9",
        "WARNING a stream from 10.0.0.9",
        "WARNING a stream from 10.0.0.8",
    ]


def test_seldom_forgets_after_its_time_and_says_no_more_than_so_much_in_it() -> None:
    seldom = LogLimiter(10.0, 2)
    assert [seldom.admit(thing, 0.0) for thing in "aab"] == [True, False, True]
    assert not seldom.admit("c", 9.9)
    assert seldom.admit("a", 10.0)
    assert len(seldom._logged) == 1


def test_every_refusal_has_a_trouble_and_every_trouble_a_sentence() -> None:
    assert {reason_of(each) for each in StreamRefusal} <= set(JoinFailureReason)
    assert set(module._SENTENCES) == set(JoinFailureReason)


# On real sockets


@contextmanager
def soon(within: float = 60.0) -> Iterator[None]:
    with trio.fail_after(within):
        yield


async def failing(node: Node) -> str:
    with soon():
        while not node.info().join_failures:  # noqa: ASYNC110 - a failure rings no bell
            await trio.sleep(0.01)
    assert not node.info().joined
    return node.info().join_failures[0].reason


def config(name: str, **fields: object) -> Config:
    return Config(name=name, bind="127.0.0.1:0", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("there", "here", "reason", "told"),
    [
        ({"key": KEYS[0]}, {"key": KEYS[1]}, "other_key", "it holds another key than this node"),
        ({"key": KEYS[0]}, {}, "sealed", "it gossips in clear, and this node holds a key"),
        ({}, {"key": KEYS[0]}, "in_clear", "its gossip is sealed, and this node holds no key"),
        ({}, {"cluster": "other"}, "other_cluster", "its cluster has another name than 'default'"),
        ({"key": KEYS[0]}, {"key": KEYS[0], "cluster": "other"}, "other_cluster", "another name than 'default'"),
    ],
)
async def test_each_side_knows_why_a_join_does_not_succeed(
    there: dict[str, str], here: dict[str, str], reason: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", **there)) as ann:
        joining = config("bob", join=[str(ann.address)], **here)
        async with open_node(joining) as bob:
            assert await failing(bob) == reason
            with soon():
                while not any(line.endswith(told) for line in lines(caplog)):  # noqa: ASYNC110 - likewise
                    await trio.sleep(0.01)


async def test_a_port_where_nothing_listens_is_told_from_one_that_speaks_something_else(nursery: trio.Nursery) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.receive_some(1000)

    [listener] = await nursery.start(partial(trio.serve_tcp, speak, 0, host="127.0.0.1"))
    at = "{}:{}".format(*listener.socket.getsockname())
    async with open_node(config("ann", join=[at])) as ann:
        assert await failing(ann) == "not_gossip"
    free = trio.socket.socket()
    await free.bind(("127.0.0.1", 0))
    async with open_node(config("ann", join=["{}:{}".format(*free.getsockname())])) as ann:
        assert await failing(ann) == "refused"
    free.close()


async def test_a_node_that_joins_and_one_that_is_told_to_be_alone_have_joined() -> None:
    async with open_node(config("ann")) as ann, open_node(config("bob", join=[str(ann.address)])) as bob:
        assert ann.info().joined
        with soon():
            await bob._lifecycle.context.driver.join_report.joined.wait()
        assert bob.info().joined
        assert bob.info().join_failures == ()


# Addresses of the seeds


@attrs.define
class FakeNames(trio.abc.HostnameResolver):
    """A name server whose entries can be changed."""

    entries: dict[str, list[str]] = attrs.field(factory=dict)

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.entries:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (address, port)) for address in self.entries[name]]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise AssertionError("no name is to be resolved")


@pytest.fixture
async def names() -> FakeNames:
    names = FakeNames()
    trio.socket.set_custom_hostname_resolver(names)  # for this run of trio only
    return names


async def test_every_address_of_a_name_counts_and_names_are_asked_again_each_time(names: FakeNames) -> None:
    seeds = Seeds(("seeds.test:7000",))
    names.entries["seeds.test"] = ["10.0.0.1", "10.0.0.2"]
    assert await seeds.resolve(ipv6=False) == [Address("10.0.0.1", 7000), Address("10.0.0.2", 7000)]
    names.entries["seeds.test"] = ["10.0.0.3"]
    assert await seeds.resolve(ipv6=False) == [Address("10.0.0.3", 7000)]


async def test_a_seed_without_a_port_has_the_usual_one(names: FakeNames) -> None:
    names.entries["seed.test"] = ["10.0.0.1"]
    assert await Seeds(("seed.test", "10.0.0.2")).resolve(ipv6=False) == [
        Address("10.0.0.1", 7940),
        Address("10.0.0.2", 7940),
    ]


async def test_only_addresses_that_our_socket_can_reach_are_given(names: FakeNames) -> None:
    names.entries["both.test"] = ["10.0.0.1", "fd00::1"]
    seeds = Seeds(("both.test:1",), (Address("fd00::2", 2), Address("10.0.0.2", 2)))
    assert await seeds.resolve(ipv6=False) == [Address("10.0.0.1", 1), Address("10.0.0.2", 2)]
    assert await seeds.resolve(ipv6=True) == [Address("fd00::1", 1), Address("fd00::2", 2)]


async def test_an_address_that_is_named_twice_is_given_once(names: FakeNames) -> None:
    names.entries["seed.test"] = ["10.0.0.1"]
    seeds = Seeds(("seed.test:1", "10.0.0.1:1"), (Address("10.0.0.1", 1),))
    assert await seeds.resolve(ipv6=False) == [Address("10.0.0.1", 1)]


async def test_a_name_that_cannot_be_found_is_said_once_and_tried_again(
    names: FakeNames, caplog: pytest.LogCaptureFixture
) -> None:
    seeds = Seeds(("late.test", "10.0.0.2"))
    for _ in range(2):
        assert await seeds.resolve(ipv6=False) == [Address("10.0.0.2", 7940)]
    assert caplog.messages == ["cannot resolve the seed late.test: Name or service not known; it is tried again"]
    names.entries["late.test"] = ["10.0.0.1"]
    assert len(await seeds.resolve(ipv6=False)) == 2
    del names.entries["late.test"]
    await seeds.resolve(ipv6=False)
    assert len(caplog.messages) == 2, "found in between, so it is news again"


@pytest.mark.parametrize("name", ["a..b", "x" * 64])
async def test_what_can_be_no_host_name_is_not_found_either(
    name: str, names: FakeNames, caplog: pytest.LogCaptureFixture
) -> None:
    assert await Seeds((name,)).resolve(ipv6=False) == []
    assert caplog.messages == [f"cannot resolve the seed {name}: not a host name; it is tried again"]


def test_seeds_are_true_when_there_is_anywhere_to_look() -> None:
    assert not Seeds(())
    assert Seeds(("seed.test",))
    assert Seeds((), (Address("10.0.0.1", 1),))
