"""Seeds are looked up afresh each time, and one that cannot be found is no reason to stop."""

from __future__ import annotations

import socket
from typing import Any

import attrs
import pytest
import trio

from gossipreg.model import Address
from gossipreg.runtime.joining import Seeds


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
        raise AssertionError("nobody asks for names")


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
