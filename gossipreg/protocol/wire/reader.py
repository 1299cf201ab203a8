"""The message reader: remembers the messages read lately, so that repeated bytes are decoded once.

Gossip is repetitive on purpose: each update reaches each node some twenty times. To find where a message ends costs a
tenth of decoding it, and the same bytes are the same message; so its bytes are looked up first. Nodes that share a
reader, as those of a simulator may, share the messages too, and with them the caches that these fill.
"""

from __future__ import annotations

import attrs
import msgpack

from gossipreg import limits
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.messages import MESSAGES_MAX, SENDER_BYTES, Message, read_message

#: Messages remembered, half of them for certain. Hundreds are being gossiped at one moment, even in a storm.
READ_MAX = 2048

#: Lengths worth remembering (bytes): longer than an ack, which never comes twice; no longer than a packet, for what
#: comes over a stream comes once.
_WORTH_REMEMBERING = range(26, limits.PACKET_BYTES_MAX + 1)

_KNOWN_TO_NOBODY = object()  # a kind of message that a later version may have added
_JUNK = object()


def _new_unpacker() -> msgpack.Unpacker:
    return msgpack.Unpacker(
        max_buffer_size=limits.FRAME_BYTES_MAX,
        max_str_len=limits.FRAME_BYTES_MAX,
        max_bin_len=limits.FRAME_BYTES_MAX,
        max_array_len=limits.RECORDS_PER_OWNER_MAX,
    )


@attrs.define(eq=False, repr=False)
class Reader:
    """Reads packets and frames; equal bytes give the very same message."""

    room: int = READ_MAX  # messages remembered
    junk: int = 0  # messages, and items of lists, left out of what was read last
    is_broken: bool = False  # whether what was read last ended in bytes that are no msgpack
    _young: dict[bytes, object] = attrs.field(factory=dict)
    _old: dict[bytes, object] = attrs.field(factory=dict)
    _unpacker: msgpack.Unpacker = attrs.field(factory=_new_unpacker)

    def read(self, data: bytes) -> tuple[int, list[Message]]:
        """The sender's run id and the messages of a packet or frame; `junk` counts what could not be read.

        A message that cannot be read is left out; so is all from where the bytes are no msgpack. Raises `Junk` for
        bytes that are too short to be a packet; nothing else, whatever the bytes, unless by a bug.
        """
        self.junk, self.is_broken = 0, False
        if len(data) < SENDER_BYTES:
            raise Junk("too short")
        messages: list[Message] = []
        try:
            self._read_into(messages, data)
        except (ValueError, msgpack.UnpackException):
            self.junk += 1
            self.is_broken = True
            self._unpacker = _new_unpacker()  # the old one may be waiting for the rest
        except Exception:
            self._unpacker = _new_unpacker()
            raise
        return int.from_bytes(data[:SENDER_BYTES]), messages

    def _read_into(self, messages: list[Message], data: bytes) -> None:
        unpacker = self._unpacker
        start = SENDER_BYTES
        base = start - unpacker.tell()
        unpacker.feed(memoryview(data)[start:])
        for _ in range(MESSAGES_MAX):
            if start == len(data):
                return
            unpacker.skip()
            end = base + unpacker.tell()
            raw = data[start:end]
            message = self._young.get(raw) or self._recall(raw)
            if message is _JUNK:
                self.junk += 1
            elif message is not _KNOWN_TO_NOBODY:
                messages.append(message)  # type: ignore[arg-type]  # what is left
            start = end
        if start < len(data):
            raise ValueError("more messages than a frame may have")

    def _recall(self, raw: bytes) -> object:
        message = self._old.get(raw)
        if message is None:
            message = self._decode(raw)
        if len(raw) in _WORTH_REMEMBERING:
            if len(self._young) >= self.room // 2:
                self._old, self._young = self._young, {}
            self._young[raw] = message
        return message

    def _decode(self, raw: bytes) -> object:
        try:
            message, lost = read_message(raw)
        except Junk:
            return _JUNK
        self.junk += lost
        return _KNOWN_TO_NOBODY if message is None else message


def unpack(data: bytes) -> tuple[int, list[Message]]:
    """Read one packet or frame, and remember nothing. Raises `Junk` for what is too short to be one."""
    return Reader().read(data)
