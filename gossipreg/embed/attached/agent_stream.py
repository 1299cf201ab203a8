"""Agent stream: one stream to the agent, from connecting and the hello to its end."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

import attrs

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.attach.frames import BadFrame, FrameReader
from gossipreg.attach.values import ext_hook
from gossipreg.config import Attach
from gossipreg.errors import AgentRefused, AgentUnreachable, ConfigError, GossipregError
from gossipreg.model import SocketFile, place

#: How long connecting and the hello may take (seconds).
_CONNECT_SECONDS: Final = 5.0

_PIECE_BYTES: Final = 262_144

#: What a socket raises that has nothing to read, or no room.
_NOT_READY: Final = (BlockingIOError, InterruptedError)

#: What a frame raises that the agent should not have sent.
BAD_FRAMES: Final = (BadFrame, TypeError, ValueError, KeyError)


@attrs.define(eq=False, repr=False)
class AgentStream:
    """A connected stream. All its methods are for the thread of the link that opened it, and none waits."""

    boot: bytes  # the agent draws another one at each of its starts
    node: dict[str, Any]  # what the agent said of itself with its hello
    early: list[list[Any]]  # frames that came along with that
    _socket: Any
    _reader: FrameReader
    _not_ready: tuple[type[OSError], ...]
    _part: memoryview = attrs.field(init=False, factory=lambda: memoryview(b""))  # of a frame that is written in part

    @classmethod
    def open(cls, attach: Attach, session: bytes) -> Self:
        """Connect and say hello. Raises ``AgentUnreachable``, ``AgentRefused``, ``ConfigError``."""
        where = place(attach.agent)
        hello = {
            "version": frames.VERSION,
            "session": session,
            "grace": attach.grace,
            "patience": attach.patience,
            "token": _token(attach),
        }
        opened: Any = None
        not_ready: tuple[type[OSError], ...] = _NOT_READY
        try:
            if isinstance(where, SocketFile):
                opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                opened.settimeout(_CONNECT_SECONDS)
                opened.connect(str(where.path))
            else:
                opened = socket.create_connection((where.host, where.port), _CONNECT_SECONDS)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                if attach.tls_ca is not None:
                    from gossipreg.embed.attached.tls import NOT_READY, secured  # it loads OpenSSL

                    not_ready = NOT_READY
                    opened = secured(opened, where.host, attach)
            opened.sendall(frames.pack([frames.HELLO, hello]))
            reader = FrameReader(limits.ATTACH_ANSWER_BYTES_MAX, ext_hook)
            boot, node, early = _answered(opened, reader)
        except (OSError, BadFrame) as error:
            if opened is not None:
                opened.close()
            reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
            raise AgentUnreachable(
                f"no agent answers at {attach.agent}: {reason.lower()}: is one running there with --attach?"
            ) from None
        except GossipregError:
            opened.close()
            raise
        opened.setblocking(False)
        return cls(boot, node, early, opened, reader, not_ready)

    def fileno(self) -> int:
        """Its descriptor, for ``poll``."""
        return int(self._socket.fileno())

    @property
    def has_part(self) -> bool:
        """Whether a frame was written in part, so that the rest waits for room."""
        return bool(self._part)

    def receive(self, handle: Callable[[list[Any]], None]) -> bool:
        """Pass each frame that is there to ``handle``; whether more may come. Raises ``OSError``, ``BadFrame``."""
        while True:
            try:
                data = self._socket.recv(_PIECE_BYTES)
            except self._not_ready:
                return True
            if not data:
                return False
            for frame in self._reader.feed(data):
                handle(frame)
            if len(data) < _PIECE_BYTES and self._not_ready is _NOT_READY:
                return True  # under TLS bytes may have been read that the kernel does not tell of

    def send(self, outgoing: deque[bytes]) -> None:
        """Write as much of ``outgoing`` as there is room for, and take that from it. Raises ``OSError``."""
        while self._part or outgoing:
            if not self._part:
                self._part = memoryview(outgoing.popleft())
            try:
                self._part = self._part[self._socket.send(self._part) :]
            except self._not_ready:
                return

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()


def _answered(opened: Any, reader: FrameReader) -> tuple[bytes, dict[str, Any], list[list[Any]]]:
    """The boot id in the agent's hello, what it says of its node, and the frames after that."""
    said: list[list[Any]] = []
    while len(said) < 2 and not (said and said[0][0] == frames.REFUSED):
        data = opened.recv(_PIECE_BYTES)
        if not data:
            raise BadFrame("the stream has ended")
        said += reader.feed(data)
    match said:
        case [[frames.REFUSED, str(code), str(sentence)], *_]:
            raise AgentRefused(sentence, code)
        case [
            [frames.HELLO, {"version": frames.VERSION, "boot": bytes(boot)}],
            [frames.NODE, {"joined": bool()} as node],
            *early,
        ]:
            return boot, node, early
        case _:
            raise BadFrame("no hello of this version")


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is no UTF-8 text"


def _token(attach: Attach) -> str | None:
    if attach.token_file is None:
        return attach.token
    try:
        return attach.token_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"attach.token_file: cannot read {attach.token_file}: {_why(error)}") from None
