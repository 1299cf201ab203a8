"""Frames of the attach protocol: a length of four bytes, then one msgpack array whose first item is the kind.

Values of our own classes, such as instances, travel from the agent to the process only (`values`): what a process says
is plain, and the agent reads each field of it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import msgpack

from gossipreg.msgpack_documents import read_msgpack

#: The version that this release speaks. A side that is told of another closes the stream with a sentence.
VERSION: Final = 1

#: The bytes before each frame that say how long it is.
HEAD_BYTES: Final = 4

# What a process says.
HELLO: Final = "hello"  # [hello, {version, session, token, grace, patience}]; the agent answers with one of its own
ASK: Final = "ask"  # [ask, number, verb, {argument: value}]
CANCEL: Final = "cancel"  # [cancel, number]: the answer to that is not wanted any more
FOLLOW: Final = "follow"  # [follow, number, service, index]: index is that of the copy that the process has, or 0
EVENTS: Final = "events"  # [events, number, service or nil, panic, healthy]
REGIONAL: Final = "regional"  # [regional, number, service, region or nil, failover, threshold, tag, role]
UNFOLLOW: Final = "unfollow"  # [unfollow, number]
PONG: Final = "pong"  # [pong, number]: the answer to that ping

# What the agent says, besides a hello.
DONE: Final = "done"  # [done, number, value]
FAILED: Final = "failed"  # [failed, number, code, sentence, field or nil]
NODE: Final = "node"  # [node, {property: value}]: the agent's node, whenever any of these has changed
VIEW: Final = "view"  # [view, number, index, is_whole, is_last, removed keys, put entries]
BATCH: Final = "batch"  # [batch, number, events, is_last]
PING: Final = "ping"  # [ping, number]: only where the hello had a patience
REFUSED: Final = "refused"  # [refused, code, sentence]: the stream ends


#: How a frame of a view begins: an array of seven items, and the kind.
_VIEW_HEAD: Final = b"\x97" + msgpack.packb(VIEW)


class BadFrame(Exception):
    """Bytes that are no frame of this protocol; the text says what is wrong with them."""


def pack(frame: list[Any], default: Callable[[Any], Any] | None = None) -> bytes:
    """One frame with its length before it. ``default`` packs what msgpack cannot."""
    body: bytes = msgpack.packb(frame, default=default, strict_types=default is not None)
    return len(body).to_bytes(HEAD_BYTES, "big") + body


def pack_view(number: int, rest: bytes) -> bytes:
    """A frame of a view under ``number``. ``rest`` are the items after that, packed one after another."""
    body: bytes = _VIEW_HEAD + msgpack.packb(number) + rest
    return len(body).to_bytes(HEAD_BYTES, "big") + body


@attrs.define(eq=False, repr=False)
class FrameReader:
    """Cuts what a stream carries into frames.

    ``most`` is the longest body that is accepted (bytes). ``ext_hook`` makes values of msgpack's extension types;
    without one they are refused.
    """

    most: int
    _ext_hook: Callable[[int, bytes], Any] | None = None
    _held: bytearray = attrs.field(init=False, factory=bytearray)

    @property
    def has_part(self) -> bool:
        """Whether a part of a frame has come, and not the rest."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[list[Any]]:
        """The frames that are whole with ``data``. Raises ``BadFrame``: then nothing after it can be read."""
        held = self._held
        held += data
        start = 0
        try:
            while len(held) - start >= HEAD_BYTES:
                size = int.from_bytes(held[start : start + HEAD_BYTES], "big")
                if size > self.most:
                    raise BadFrame(f"a frame of {size} bytes, and {self.most} is the limit")
                end = start + HEAD_BYTES + size
                if len(held) < end:
                    break
                body = bytes(held[start + HEAD_BYTES : end])
                start = end
                yield self._frame(body)
        finally:
            del held[:start]

    def _frame(self, body: bytes) -> list[Any]:
        try:
            frame = read_msgpack(body, ext_hook=self._ext_hook, use_list=self._ext_hook is None)
        except (ValueError, TypeError, RecursionError) as error:
            raise BadFrame(f"a frame that cannot be read: {error}") from None
        if not isinstance(frame, list | tuple) or not frame or not isinstance(frame[0], str):
            raise BadFrame("a frame that is no array with a kind at its beginning")
        return list(frame)
