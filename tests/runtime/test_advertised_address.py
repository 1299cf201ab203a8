"""A host that is renumbered under a running node."""

from __future__ import annotations

import errno
import logging
import socket

import attrs
import pytest
import trio.testing

from gossipreg.model import Address
from gossipreg.runtime.advertised_address import AdvertisedAddress, is_assigned
from gossipreg.runtime.sockets import outgoing_host

OLD, NEW = "10.0.0.5", "10.0.0.9"


@attrs.define
class Host:
    """A host with one address, or none."""

    address: str | None = OLD
    moves: list[Address] = attrs.field(factory=list)

    async def move(self, address: Address) -> None:
        self.moves.append(address)

    def own(self, *, follows: bool = True) -> AdvertisedAddress:
        return AdvertisedAddress(
            "0.0.0.0",
            Address(OLD, 7940),
            follows,
            self.move,
            is_assigned=lambda host: host == self.address,
            outgoing_host=lambda _: self.address,
        )


async def test_within_ten_seconds_it_is_at_the_new_address(autojump_clock: trio.testing.MockClock) -> None:
    host = Host()
    own = host.own()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(own.run)
        await trio.sleep(20)
        assert host.moves == []
        host.address = NEW
        await trio.sleep(9)
        assert host.moves == [Address(NEW, 7940)]
        assert str(own.problem) == "None"
        nursery.cancel_scope.cancel()


async def test_while_there_is_none_it_says_so_once_and_waits(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(address=None)
    own = host.own()
    with caplog.at_level(logging.WARNING):
        await own.look()
        await own.look()
    assert len(caplog.messages) == 1
    assert "waiting for another" in str(own.problem)
    host.address = OLD
    await own.look()
    assert str(own.problem) == "None"
    assert host.moves == []
    assert "again" in caplog.messages[1]


async def test_bound_to_one_address_it_does_not_move(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(address=NEW)
    own = host.own(follows=False)
    await own.look()
    assert host.moves == []
    assert "another --bind" in str(own.problem)


async def test_an_address_that_never_was_this_hosts_is_not_looked_for() -> None:
    await Host(address=NEW).own().run()


def test_which_addresses_are_this_hosts() -> None:
    assert is_assigned("127.0.0.1")
    assert not is_assigned("192.0.2.77")


def test_a_process_without_a_free_descriptor_does_not_take_its_address_for_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", exhausted)
    assert is_assigned("127.0.0.1")
    assert outgoing_host("0.0.0.0") is None
