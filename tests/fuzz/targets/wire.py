"""Targets of the gossip port: packets, the messages in them, streams, and a complete engine."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.errors import NodeClosed
from gossipreg.model import Status
from gossipreg.policy import Split
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen, Listing, Want
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.outputs import CloseStream, OpenStream, SendFrame, Transmit
from gossipreg.protocol.registry.policy_version import PolicyVersion, pack_rule
from gossipreg.protocol.registry.records import Announcement, Fetch, TableDigest
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.messages import Message, message_of, pack, pack_sender
from gossipreg.protocol.wire.packets import ChecksummedPackets, PacketCodec, Refused, SealedPackets
from gossipreg.protocol.wire.reader import Reader, unpack
from gossipreg.protocol.wire.streams import StreamCodec, StreamRefused
from tests.fuzz.target import Target
from tests.keyrings import ring, ring_or_clear
from tests.protocol.making import BORN, engine, history, update

_KEY: Final = bytes(range(32))
_CLUSTER: Final = "fuzz"
_WALL: Final = 1_767_225_600.0
_SENDER: Final = b"sender__"


# Packets


def _codecs() -> tuple[PacketCodec, PacketCodec]:
    """Return a sealed and a clear receiver that know no sender yet."""
    return SealedPackets(ring(_KEY), _CLUSTER, b"receiver"), ChecksummedPackets(_CLUSTER)


def _sealed(payload: bytes) -> bytes:
    return SealedPackets(ring(_KEY), _CLUSTER, _SENDER).encode(payload, _WALL)


def _packets(data: bytes) -> str:
    mode, data = data[:1], data[1:]
    if mode == b"p":  # a payload that a keyholder seals
        return _round_trip(data)
    if mode == b"x":  # a true packet, with these bytes over it
        return _corrupted(data)
    return " ".join(_refusal(codec.decode(data, _WALL)) for codec in _codecs())


def _refusal(opened: bytes | Refused) -> str:
    return opened.reason if isinstance(opened, Refused) else "opened"


def _round_trip(payload: bytes) -> str:
    payload = payload[: limits.PACKET_BYTES_MAX - SealedPackets.overhead]
    sealed, clear = _codecs()
    packet = _sealed(payload)
    assert sealed.decode(packet, _WALL) == payload
    assert isinstance(sealed.decode(packet, _WALL), Refused), "a packet is accepted only once"
    assert clear.decode(ChecksummedPackets(_CLUSTER).encode(payload, _WALL), _WALL) == payload
    return "round trip"


def _corrupted(data: bytes) -> str:
    found = []
    for codec, true in zip(
        _codecs(), (_sealed(b"a payload"), ChecksummedPackets(_CLUSTER).encode(b"a payload", _WALL)), strict=True
    ):
        packet = bytes(a ^ b for a, b in zip(true, data.ljust(len(true), b"\0"), strict=False)) + data[len(true) :]
        opened = codec.decode(packet, _WALL)
        assert isinstance(opened, Refused) or packet == true, "a changed packet is not accepted"
        found.append(_refusal(opened))
    return " ".join(found)


def _packet_seeds() -> Iterator[bytes]:
    yield b"r" + _sealed(b"payload")
    yield b"r" + ChecksummedPackets(_CLUSTER).encode(b"payload", _WALL)
    yield b"r" + ChecksummedPackets("another").encode(b"payload", _WALL)
    yield b"r\x81" + bytes(60)
    yield b"p" + b"a payload"
    yield b"x"
    yield b"x\0\0\1"


# Messages


def messages() -> Iterator[Message]:
    """One message of each kind, and some that depend on each other."""
    b = update("b", port=7001)
    yield Ping(1, b.run_id, 2**64 - 1)
    yield Ack(1, b.run_id, 7)
    yield Nack(1)
    yield PingReq(1, b.run_id, 500)
    yield b
    yield update("c", Status.SUSPECT, port=7002, accuser=b.run_id, age=100)
    yield NameConflictQuery("a", b.run_id, BORN, announced=True)
    yield from history([("x", 1), ("y", 1), ("x", None)]).said
    yield Announcement("b", BORN, 4, "large", 1, 2, 5_000)
    yield TableDigest("b", BORN, 3, 1, ("x",))
    yield Fetch("b", BORN, 1, "x")
    yield Compare(tuple(range(BUCKETS)))
    yield Listing(3, (1, 2**64 - 1))
    yield Want(3, (1,))
    yield End()
    yield KeepOpen()
    rule = Split("orders", {"v1": 90, "v2": 10})
    yield PolicyVersion(rule.key, BORN, 0, "b", pack_rule(rule))
    yield PolicyVersion(rule.key, BORN + 1, 0, "b", None)
    yield TermRegister("orders", BORN, 0, "b", 3, 4)
    yield WallClock(BORN)


def _messages(data: bytes) -> str:
    reader = Reader()
    try:
        run_id, found = reader.read(data)
    except Junk as junk:
        assert reader.read(pack_sender(1) + pack(Nack(1))) == (1, [Nack(1)]), "junk leaves no state behind"
        return f"junk: {str(junk)[:20]}"
    assert reader.read(data) == (run_id, found), "cached messages are equal"
    for each in found:
        assert message_of(pack(each)) == each, "a read message can be forwarded"
    return " ".join(sorted({type(each).__name__ for each in found}))


def _message_seeds() -> Iterator[bytes]:
    for each in messages():
        yield pack_sender(1) + pack(each)
    yield pack_sender(1) + b"".join(map(pack, messages()))
    yield pack_sender(1) + b"\x92\x7f\x01"  # a kind that a later version may have


# Streams

_NONCES: Final = (b"o" * 16, b"p" * 16)


def _codec(key: bytes | None, *, opener: bool) -> StreamCodec:
    return StreamCodec(_CLUSTER, ring_or_clear(key), _NONCES[0 if opener else 1], opened_by_us=opener)


def _streams(data: bytes) -> str:
    """First byte: with or without a key, hello given or not; second: the size of the pieces."""
    mode, piece, data = data[:1] or b"\0", (data[1:2] or b"\1")[0] + 1, data[2:]
    key = _KEY if mode[0] & 1 else None
    ours, theirs = _codec(key, opener=False), _codec(key, opener=True)
    said = None
    if mode[0] & 4:  # frames from a key holder
        theirs.feed(ours.hello())
        said = data.split(b"|")
        data = theirs.hello() + b"".join(map(theirs.frame, said))
    elif mode[0] & 2:
        data = theirs.hello() + data
    bodies: list[bytes] = []
    try:
        for at in range(0, len(data), piece):
            bodies += ours.feed(data[at : at + piece])
            assert len(ours._buffer) <= len(data)
    except StreamRefused as refused:
        assert not ours._buffer, "refused bytes are not kept"
        return str(refused.reason)
    assert said is None or bodies == said, "frames arrive complete and in order"
    return f"ready {ours.ready} {min(len(bodies), 3)}"


def _stream_seeds() -> Iterator[bytes]:
    for key, bit in ((None, 0), (_KEY, 1)):
        theirs = _codec(key, opener=True)
        hello = theirs.hello()
        theirs.feed(_codec(key, opener=False).hello())
        yield bytes((bit, 7)) + hello
        yield bytes((bit, 200)) + hello + theirs.frame(b"one") + theirs.frame(b"two")
        yield bytes((bit | 2, 3)) + struct.pack(">I", 2**31)
        yield bytes((bit | 4, 3)) + b"one|two||three"


# An engine with an arbitrary peer


@attrs.define
class _Script:
    """Reads an input as a sequence of events."""

    data: bytes
    at: int = 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def part(self) -> bytes:
        size = self.byte() << 8 | self.byte()
        part = self.data[self.at : self.at + size]
        self.at += size
        return part

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.data)


_PEERS: Final = (update("b", port=7001), update("c", port=7002))

#: Maximum number of events in one input.
_STEPS_MAX: Final = 24

#: Maximum number of datagrams and frames caused by one packet; a comparison of states causes the most.
_OUTPUTS_MAX: Final = 2048


def _engine(data: bytes) -> str:
    node, script, now, done = engine("a"), _Script(data), 0.0, set()
    for peer in _PEERS:
        node.receive(pack_sender(peer.run_id) + pack(peer), peer.address, now)
    for _ in range(_STEPS_MAX):
        if script.is_over:
            break
        op = script.byte()
        peer = _PEERS[op >> 4 & 1]
        run_id = peer.run_id if op & 0x20 else op
        try:
            match op & 7:
                case 0 | 1 | 2:
                    outputs = node.receive(pack_sender(run_id) + script.part(), peer.address, now)
                case 3 | 4:
                    outputs = node.stream_frame(
                        (op >> 3 & 1) - 1, pack_sender(run_id) + script.part(), peer.address, now
                    )
                case 5:
                    outputs = node.stream_ended((op >> 3 & 1) - 1, now, refused=bool(op & 0x40))
                case 6:
                    now += (0.01, 0.3, 1.0, 5.0)[op >> 3 & 3]
                    outputs = []
                case _:
                    outputs = node.register(history([("x", 1)]).offered[0].instance, now) if op & 8 else node.drain(now)
        except NodeClosed:
            outputs = []
        outputs += node.handle_timeout(now)
        assert len(outputs) <= _OUTPUTS_MAX, f"{len(outputs)} outputs at once"
        assert node.deadline() > now, "no timer is due afterwards"
        assert not node.counters[Count.MESSAGES_FAILED], "no exception was contained"
        for output in outputs:
            done.add(type(output).__name__)
            _readable(output, node.outbox.packet_room)
    return " ".join(sorted(done))


def _readable(output: object, server: int) -> None:
    """Check that every node can read what a node packs."""
    match output:
        case Transmit():
            assert len(output.data) <= server
            unpack(output.data)
        case SendFrame() | OpenStream():
            assert len(output.frame) <= limits.FRAME_BYTES_MAX
            unpack(output.frame)
        case CloseStream():
            pass


def _step(op: int, *said: Message) -> bytes:
    packed = b"".join(map(pack, said))
    return bytes((op, len(packed) >> 8, len(packed) & 255)) + packed


def _engine_seeds() -> Iterator[bytes]:
    for each in messages():
        yield _step(0x20, each) + bytes((0x1E,))
        yield _step(0x33, each) + bytes((0x1E,))
    yield b"".join(_step(0x20, each) + bytes((0x16,)) for each in messages())[:4000]
    yield bytes((0x0F,)) + _step(0x23, Compare((0,) * BUCKETS)) + bytes((0x1E, 0x1E))


_HEADS: Final = (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xcf\x00\x1f\xff\xff\xff\xff\xff\xff", b"\xc2", b"\xc0")

TARGETS: Final = (
    Target("packets", "a packet is opened or refused; a changed or repeated one is refused", _packets, _packet_seeds),
    Target(
        "messages",
        "messages are read or are Junk; what was read packs alike",
        _messages,
        _message_seeds,
        _HEADS,
        cost=4,
    ),
    Target(
        "streams", "frames come whole and in order, or StreamRefused; nothing is kept then", _streams, _stream_seeds
    ),
    Target(
        "engine",
        "an engine bears all that peers say, and tells only what can be read",
        _engine,
        _engine_seeds,
        _HEADS,
        cost=10,
    ),
)
