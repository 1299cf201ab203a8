"""Junk packets: what real nodes sent each other, with bits flipped, cut, spliced, replayed, or plain noise."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Final

import attrs
import pytest
import trio

from gossipreg import Config, Settings, open_node
from gossipreg.model import Address
from gossipreg.protocol.wire.packets import PacketCodec
from gossipreg.runtime.datagrams import Datagrams
from gossipreg.runtime.driver import Driver

#: The host that every address in a recording has. It is left as it is, so that no junk leads to other machines.
_HOST: Final = b"127.0.0.1"

#: Bytes that stand at interesting places: msgpack's heads of long strings, lists and numbers, and the ends of ranges.
_NASTY: Final = bytes((0x00, 0x01, 0x7F, 0x80, 0x81, 0xC0, 0xC4, 0xC6, 0xCB, 0xCF, 0xD3, 0xD9, 0xDB, 0xDD, 0xDF, 0xFF))


@attrs.define
class Recording:
    """What some real nodes said to each other, before it was sealed."""

    payloads: list[bytes] = attrs.field(factory=list)
    frames: list[bytes] = attrs.field(factory=list)


async def record(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Have real nodes live through a join, registrations small and large, a removal, a crash and a goodbye."""
    heard = Recording()
    send, frame = Datagrams.send, Driver.frame

    def tapped_send(self: Datagrams, payload: bytes, to: Address) -> None:
        heard.payloads.append(payload)
        send(self, payload, to)

    def tapped_frame(self: Driver, stream: int, data: bytes, source: Address) -> None:
        heard.frames.append(data)
        frame(self, stream, data, source)

    with monkeypatch.context() as tap:
        tap.setattr(Datagrams, "send", tapped_send)
        tap.setattr(Driver, "frame", tapped_frame)
        await _live()
    return heard


async def _live() -> None:
    settings = Settings(
        probe_interval=0.1, probe_timeout=0.05, probe_timeout_min=0.05, drain_time=0.1, leave_linger=0.1
    )

    def config(name: str, *seeds: str) -> Config:
        return Config(name=name, bind="127.0.0.1:0", cluster="recorded", join=seeds, protocol=settings)

    async with open_node(config("a")) as a, open_node(config("b", str(a.address))) as b:
        seed = str(a.address)
        async with open_node(config("c", seed)) as c, open_node(config("d", seed)) as d:
            await a.register("orders", port=80, tags=("v1",), meta={"team": "x"})
            await b.register("orders", port=81, meta={"large": "x" * 5_000})
            await c.register("stock", port=82, role="primary")
            await d.register("orders", port=83)
            await a.wait_for("orders", at_least=3)
            await a.deregister("orders-a-80")
            with trio.move_on_after(10 * settings.probe_interval):
                await trio.sleep_forever()
            c._lifecycle.context.close()  # as if it had crashed
            async for change in a.watch("stock"):
                if not change.instances:
                    break


@attrs.define
class Junk:
    """Packets by the million, the same for the same rng."""

    recording: Recording
    codec: Callable[[], PacketCodec]  # a new sender's, each time
    rng: random.Random
    _packets: list[bytes] = attrs.field(init=False, factory=list)
    _codecs: list[PacketCodec] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self._codecs = [self.codec() for _ in range(8)]

    def packets(self) -> Iterator[bytes]:
        """Noise, real packets, the same again, and what is left of them after a hard way."""
        real = [self.sealed(payload) for payload in self.recording.payloads]
        kinds = (self._noise, self._noise_with_a_head, *[self._bruised] * 4, self._spliced, self._real)
        while True:
            yield self.rng.choice(kinds)(real)

    def insider_packets(self) -> Iterator[bytes]:
        """What a member with failing memory would send: nonsense, but properly sealed."""
        while True:
            payload = self.bruised(self.rng.choice(self.recording.payloads))
            yield self.sealed(payload[:1200])

    def insider_frames(self) -> Iterator[bytes]:
        """The same, for streams."""
        while True:
            yield self.bruised(self.rng.choice(self.recording.frames))

    def bruised(self, data: bytes) -> bytes:
        """``data`` with some bytes changed, dropped, doubled or cut off; hosts stay whole."""
        parts = data.split(_HOST)
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            place = self.rng.randrange(len(parts))
            parts[place] = self._bruise(parts[place])
        return _HOST.join(parts)

    def sealed(self, payload: bytes) -> bytes:
        """``payload`` as one of the senders would send it."""
        return self.rng.choice(self._codecs).encode(payload, time.time())

    def _bruise(self, part: bytes) -> bytes:
        at, rng = self.rng.randrange(len(part) + 1), self.rng
        match rng.randrange(5):
            case 0:
                return part[:at] + rng.randbytes(1) + part[at + 1 :]
            case 1:
                return part[:at] + bytes((rng.choice(_NASTY),)) + part[at + 1 :]
            case 2:
                return part[:at] + part[at + rng.randrange(1, 9) :]
            case 3:
                return part[:at] + part[at - rng.randrange(1, 40) :]
            case _:
                return part[:at]

    def _noise(self, _: list[bytes]) -> bytes:
        return self.rng.randbytes(self.rng.choice((0, 1, 8, 9, 52, 53, 100, 1400, 1500, 9217)))

    def _noise_with_a_head(self, real: list[bytes]) -> bytes:
        return self.rng.choice(real)[: self.rng.randrange(60)] + self.rng.randbytes(self.rng.randrange(200))

    def _bruised(self, real: list[bytes]) -> bytes:
        return self._bruise(self.rng.choice(real))

    def _spliced(self, real: list[bytes]) -> bytes:
        one, other = self.rng.choice(real), self.rng.choice(real)
        return one[: self.rng.randrange(len(one))] + other[self.rng.randrange(len(other)) :]

    def _real(self, real: list[bytes]) -> bytes:
        return self.rng.choice(real)
