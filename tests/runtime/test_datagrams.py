"""Packets are sealed and opened; those that cannot be sent or accepted are counted by reason."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import trio

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.wire.packets import FRESHNESS_SECONDS, ChecksummedPackets, PacketCodec, SealedPackets
from gossipreg.runtime import datagrams as module
from gossipreg.runtime.datagrams import Datagrams
from tests.keyrings import ring

KEY = bytes(range(32))


def sealed() -> SealedPackets:
    return SealedPackets(ring(KEY), "shop", os.urandom(8))


@attrs.define
class Ends:
    """Two ends that can hear each other; one end's socket may be used for junk."""

    here: Datagrams
    there: Datagrams

    def send(self, *payloads: bytes) -> None:
        """From there to here."""
        for payload in payloads:
            self.there.send(payload, address_of(self.here))

    def throw(self, packet: bytes) -> None:
        """A packet as it is, from there to here."""
        self.there.socket.sendto(packet, address_of(self.here))

    async def heard(self) -> list[bytes]:
        """What is here once something is; on loopback a packet is there as soon as it is sent."""
        with trio.fail_after(60):
            await self.here.wait()
        return [payload for payload, _ in self.here.receive()]


def address_of(end: Datagrams) -> Address:
    return Address(*end.socket.getsockname())


@pytest.fixture(params=[ChecksummedPackets, SealedPackets])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    codecs: list[PacketCodec] = (
        [ChecksummedPackets("shop"), ChecksummedPackets("shop")]
        if request.param is ChecksummedPackets
        else [sealed(), sealed()]
    )
    made = [Datagrams(loopback(), codec, Counter()) for codec in codecs]
    yield Ends(*made)
    for end in made:
        end.socket.close()


def loopback() -> socket.socket:
    bound = socket.socket(type=socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.bind(("127.0.0.1", 0))
    return bound


@attrs.define
class _Refusing:
    """A socket of a kernel that will not send."""

    error: OSError

    def sendto(self, packet: bytes, to: object) -> int:
        raise self.error


async def test_a_batch_ends_when_it_has_taken_long_enough(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [b"%d" % number for number in range(70)]
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.0)
    ends.send(*payloads)
    first = await ends.heard()
    assert len(first) == module._STRIDE - 1  # the clock is looked at now and then
    assert not ends.here.is_drained
    assert first + await ends.heard() + await ends.heard() == payloads


async def test_junk_counts_towards_a_batch(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.0)
    for _ in range(module._STRIDE):
        ends.throw(b"junk")
    ends.send(b"an ack")
    assert await ends.heard() == []
    assert not ends.here.is_drained
    assert await ends.heard() == [b"an ack"]


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (PermissionError(errno.EPERM, "its own firewall"), False),
        (OSError(errno.ENETUNREACH, "no route"), False),
        (OSError(errno.EMSGSIZE, "too long: nothing that the peer has to do with"), True),
        (BlockingIOError(errno.EAGAIN, "the buffer is full"), True),
    ],
)
def test_whether_the_kernel_rejects_a_packet_is_told(error: OSError, sent: bool) -> None:
    end = Datagrams(_Refusing(error), ChecksummedPackets("shop"), Counter())  # type: ignore[arg-type]
    assert end.send(b"one", Address("10.0.0.1", 7940)) is sent


async def test_what_is_sent_arrives_with_its_source(ends: Ends) -> None:
    ends.send(b"one", b"two")
    await ends.here.wait()
    assert list(ends.here.receive()) == [(b"one", address_of(ends.there)), (b"two", address_of(ends.there))]
    assert list(ends.here.receive()) == []
    assert ends.there.counters["packets_sent"] == 2
    assert ends.there.counters["bytes_sent"] == len(b"onetwo") + 2 * ends.there.codec.overhead
    assert ends.here.counters == {"bytes_received": ends.there.counters["bytes_sent"]}


async def test_what_cannot_be_believed_is_counted_by_its_reason_and_dropped(ends: Ends) -> None:
    ends.throw(b"")
    ends.throw(b"\x07 another protocol")
    ends.throw(b"\x01" if isinstance(ends.here.codec, SealedPackets) else b"\x81")
    ends.throw(ends.here.codec.encode(b"mine", time.time())[:-1])
    ends.send(b"good")
    assert await ends.heard() == [b"good"]
    assert sum(times for what, times in ends.here.counters.items() if what.startswith("packets_")) == 4
    assert ends.here.counters["packets_too_short"] == 1
    assert ends.here.counters["packets_wrong_version"] == 1


async def test_a_packet_that_is_longer_than_any_we_read_is_refused_whole(ends: Ends) -> None:
    head = ends.there.codec.encode(b"", time.time())
    ends.throw(head + bytes(limits.RECEIVE_BYTES_MAX))
    assert await ends.heard() == []
    assert ends.here.counters == {"packets_too_long": 1}


async def test_a_burst_is_taken_in_bounded_batches(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_MAX", 10)
    payloads = [b"%d" % number for number in range(25)]
    ends.send(*payloads)
    batches = [await ends.heard() for _ in range(3)]
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert [payload for batch in batches for payload in batch] == payloads


@pytest.mark.parametrize(
    "address",
    [
        Address("127.0.0.1", 0),  # EINVAL
        Address("::1", 7940),  # of another family than the socket
        Address("127.0.0.1", 70_000),  # no port: an OverflowError
    ],
)
def test_what_cannot_be_sent_is_counted(ends: Ends, address: Address) -> None:
    ends.here.send(b"lost", address)
    assert ends.here.counters["send_errors"] == 1


@attrs.define
class FakeSocket:
    """A socket that fails as told."""

    failures: list[OSError]

    def sendto(self, packet: bytes, to: Any) -> None:
        raise self.failures.pop(0)

    def recvfrom(self, most: int) -> tuple[bytes, tuple[str, int]]:
        if self.failures:
            raise self.failures.pop(0)
        raise BlockingIOError


def failing(*failures: OSError) -> Datagrams:
    fake: Any = FakeSocket(list(failures))
    return Datagrams(fake, ChecksummedPackets("shop"), Counter())


def test_a_full_send_buffer_loses_the_packet_and_is_counted() -> None:
    end = failing(BlockingIOError())
    end.send(b"lost", Address("127.0.0.1", 1))
    assert end.counters["packets_over_send_buffer"] == 1


def test_an_error_of_an_earlier_packet_is_counted_and_the_next_is_read() -> None:
    end = failing(ConnectionRefusedError(111, "refused"), OSError(113, "no route"))
    assert list(end.receive()) == []
    assert end.counters == {"receive_errors": 2}


# Clocks


@pytest.mark.parametrize(
    ("ahead", "words"), [(FRESHNESS_SECONDS * 4, "120 s ahead of ours"), (-FRESHNESS_SECONDS * 4, "120 s behind ours")]
)
async def test_a_refusal_for_the_clocks_is_logged_once_with_the_difference(
    ahead: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    ends = Ends(Datagrams(loopback(), sealed(), Counter()), Datagrams(loopback(), sealed(), Counter()))
    for _ in range(3):
        ends.throw(ends.there.codec.encode(b"hello", time.time() + ahead))
    assert await ends.heard() == []
    assert ends.here.counters == {"packets_stale": 3}
    [message] = caplog.messages
    assert message == (
        f"packets from {address_of(ends.there)} are refused: its clock is {words}; synchronise both clocks"
    )
    ends.here.socket.close()
    ends.there.socket.close()
