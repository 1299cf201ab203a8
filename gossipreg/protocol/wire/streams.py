"""The stream codec: a hello each way, then frames; no socket, only bytes in and bytes out.

Both sides send a hello at once, so neither waits for the other to speak first::

    "GREG" | version | kind | nonce (16) | proof (8)

The kind is 0 (clear: the proof is a digest of the hello, keyed by the cluster's name) or 1 (sealed: the proof is the
id of the key and 4 zero bytes). Frames follow: a 4-byte length, most significant first, and so many bytes of body.

Each frame is bound to its *place*: which side sent it, and how many came before it from there. A sealed body is
AES-256-GCM with the place as nonce, under a subkey that HKDF derives from the key and *both* nonces. Each side chose
one of them, so a recorded stream replayed to any node fails at its first frame, and so does a frame that is moved,
dropped or sent back. A clear body is preceded by a digest over the same things: no secret, but flipped bits, splices
and other clusters are noticed. What neither notices is an end that comes too early: a peer can always die.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import struct
from collections.abc import Iterator
from typing import ClassVar, Final, Protocol

import attrs

from gossipreg import config, limits
from gossipreg.counters import Count
from gossipreg.protocol.cipher import Cipher

#: Random bytes that each side puts into its hello.
NONCE_BYTES: Final = 16

_MAGIC: Final = b"GREG"
_VERSION: Final = 1
_CLEAR: Final = 0
_SEALED: Final = 1
_HELLO: Final = struct.Struct(">4sBB16s8s")  # magic, version, kind, nonce, proof
_PROOF_BYTES: Final = 8
_LENGTH: Final = struct.Struct(">I")
_PLACE: Final = struct.Struct(">B3xQ")  # 0 from the side that opened the stream and 1 from the other; counter
_PERSON: Final = b"gossipreg stream"


class StreamRefusal(enum.StrEnum):
    """Why a stream is closed; each has a counter."""

    NOT_GOSSIPREG = "not_gossipreg"
    WRONG_VERSION = "wrong_version"
    IN_CLEAR = "in_clear"  # the peer holds no key, and we do
    SEALED = "sealed"  # the peer holds a key, and we do not
    UNKNOWN_KEY = "unknown_key"
    WRONG_CLUSTER_OR_CORRUPT = "wrong_cluster_or_corrupt"
    REFLECTED = "reflected"  # our own hello, sent back to us
    FRAME_TOO_SHORT = "frame_too_short"
    FRAME_TOO_LONG = "frame_too_long"
    FORGED = "forged"  # a frame that this peer did not send here, now, or in this order

    @property
    def counter(self) -> Count:
        """The counter of such streams."""
        return Count[f"STREAMS_{self.name}"]


class StreamRefused(Exception):
    """The peer sent junk, for ``reason``; count it and close the stream. For the driver only: users never see it."""

    def __init__(self, reason: StreamRefusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class _FrameCodec(Protocol):
    """The encoding of one stream's frames, each bound to its place."""

    overhead: ClassVar[int]

    def encode(self, place: bytes, body: bytes) -> bytes: ...

    def decode(self, place: bytes, sealed: bytes) -> bytes | None: ...


class _ChecksummedFrames:
    """A digest, then the body as it is."""

    __slots__ = ("_digest",)

    overhead: ClassVar[int] = 8

    def __init__(self, cluster: str, nonces: bytes) -> None:
        self._digest = hashlib.blake2b(nonces, key=cluster.encode(), digest_size=self.overhead, person=_PERSON)

    def encode(self, place: bytes, body: bytes) -> bytes:
        return self._digest_of(place, body) + body

    def decode(self, place: bytes, sealed: bytes) -> bytes | None:
        body = sealed[self.overhead :]
        return body if sealed[: self.overhead] == self._digest_of(place, body) else None

    def _digest_of(self, place: bytes, body: bytes) -> bytes:
        digest = self._digest.copy()
        digest.update(place)
        digest.update(body)
        return digest.digest()


class _SealedFrames:
    """The body encrypted, and its tag."""

    __slots__ = ("_cipher",)

    overhead: ClassVar[int] = 16

    def __init__(self, cluster: str, nonces: bytes, key: bytes) -> None:
        self._cipher = Cipher(key, salt=nonces, info=_PERSON + cluster.encode())

    def encode(self, place: bytes, body: bytes) -> bytes:
        return self._cipher.encrypt(place, body)

    def decode(self, place: bytes, sealed: bytes) -> bytes | None:
        return self._cipher.decrypt(place, sealed)


@attrs.define(eq=False, repr=False)
class StreamCodec:
    """One end of one stream. Send its `hello` at once; `frame` waits until it is `ready`, by being fed.

    ``cluster``: the cluster's name. ``key``: the cluster's key, or none to speak in clear. ``nonce``: `NONCE_BYTES`
    random bytes, never used before. ``opened_by_us`` tells the two ends apart.
    """

    cluster: str
    key: bytes | None = attrs.field(repr=False)
    nonce: bytes
    opened_by_us: bool
    _outgoing: Iterator[bytes] = attrs.field(init=False, repr=False)
    _incoming: Iterator[bytes] = attrs.field(init=False, repr=False)
    _frames: _FrameCodec | None = attrs.field(init=False, default=None, repr=False)
    _refusal: StreamRefusal | None = attrs.field(init=False, default=None)
    _buffer: bytearray = attrs.field(init=False, factory=bytearray, repr=False)

    def __attrs_post_init__(self) -> None:
        assert self.cluster, "an empty name would key nothing"
        assert len(self.nonce) == NONCE_BYTES, f"a nonce of {len(self.nonce)} bytes"
        self._outgoing = _places(from_opener=self.opened_by_us)
        self._incoming = _places(from_opener=not self.opened_by_us)

    @property
    def ready(self) -> bool:
        """Whether the peer's hello was read, so that frames can be sent."""
        return self._frames is not None

    @property
    def is_mid_frame(self) -> bool:
        """Whether the first bytes of a frame are here and its last are not."""
        return self._frames is not None and bool(self._buffer)

    def hello(self) -> bytes:
        """What to send first, without waiting for the peer."""
        return _HELLO.pack(_MAGIC, _VERSION, self._kind, self.nonce, self._proof(self.nonce))

    def frame(self, body: bytes) -> bytes:
        """``body``, at most ``limits.FRAME_BYTES_MAX`` bytes, as it goes on the stream next."""
        assert self._frames is not None, "a frame before the peer's hello"
        assert len(body) <= limits.FRAME_BYTES_MAX, f"a frame of {len(body)} bytes"
        sealed = self._frames.encode(next(self._outgoing), body)
        return _LENGTH.pack(len(sealed)) + sealed

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies of the frames that ``data`` completes; a frame that it leaves begun is kept for the next call.

        Raises ``StreamRefused`` on junk, and again at every later call. Frames before the junk in the same data are
        given up with the stream.
        """
        if self._refusal is not None:
            raise StreamRefused(self._refusal)
        self._buffer += data
        try:
            if self._frames is None:
                self._frames = self._read_hello()
            return [] if self._frames is None else self._read_frames(self._frames)
        except StreamRefused as refused:
            self._refusal = refused.reason
            self._buffer.clear()
            raise

    @property
    def _kind(self) -> int:
        return _CLEAR if self.key is None else _SEALED

    def _proof(self, nonce: bytes) -> bytes:
        """The end of a hello with ``nonce`` that comes from our cluster and has our key, if any."""
        if self.key is None:
            key = self.cluster.encode()
            return hashlib.blake2b(nonce, key=key, digest_size=_PROOF_BYTES, person=_PERSON).digest()
        return bytes.fromhex(config.key_id(self.key)).ljust(_PROOF_BYTES, b"\0")

    def _read_hello(self) -> _FrameCodec | None:
        if not _MAGIC.startswith(self._buffer[: len(_MAGIC)]):
            raise StreamRefused(StreamRefusal.NOT_GOSSIPREG)
        if len(self._buffer) < _HELLO.size:
            return None
        _, version, kind, nonce, proof = _HELLO.unpack_from(self._buffer)
        if version != _VERSION or kind not in (_CLEAR, _SEALED):
            raise StreamRefused(StreamRefusal.WRONG_VERSION)
        if kind != self._kind:
            raise StreamRefused(StreamRefusal.IN_CLEAR if kind == _CLEAR else StreamRefusal.SEALED)
        if proof != self._proof(nonce):
            in_clear = self.key is None
            raise StreamRefused(StreamRefusal.WRONG_CLUSTER_OR_CORRUPT if in_clear else StreamRefusal.UNKNOWN_KEY)
        if nonce == self.nonce:
            raise StreamRefused(StreamRefusal.REFLECTED)
        del self._buffer[: _HELLO.size]
        nonces = self.nonce + nonce if self.opened_by_us else nonce + self.nonce
        if self.key is None:
            return _ChecksummedFrames(self.cluster, nonces)
        return _SealedFrames(self.cluster, nonces, self.key)

    def _read_frames(self, codec: _FrameCodec) -> list[bytes]:
        bodies = []
        start = 0
        while len(self._buffer) >= start + _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length < codec.overhead:
                raise StreamRefused(StreamRefusal.FRAME_TOO_SHORT)
            if length > limits.FRAME_BYTES_MAX + codec.overhead:
                raise StreamRefused(StreamRefusal.FRAME_TOO_LONG)
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            body = codec.decode(next(self._incoming), bytes(self._buffer[start + _LENGTH.size : end]))
            if body is None:
                raise StreamRefused(StreamRefusal.FORGED)
            bodies.append(body)
            start = end
        del self._buffer[:start]
        return bodies


def _places(*, from_opener: bool) -> Iterator[bytes]:
    """The places of one side's frames, in order: 12 bytes each, no two alike on a stream."""
    side = 0 if from_opener else 1
    return (_PLACE.pack(side, counter) for counter in itertools.count())
