"""The stream codec: a hello each way, then frames; no socket, only bytes in and bytes out.

Both sides send a hello at once, so neither waits for the other to speak first::

    "GREG" | version | kind | nonce (16) | proof (8)

The kind is 0 (clear: the proof is a digest of the hello, keyed by the cluster's name) or 1 (sealed: the proof is the
id of the sender's primary key and 4 zero bytes). Frames follow: a 4-byte length, most significant first, and so many
bytes of body.

While the key of a cluster is replaced, two nodes may have different primary keys, and one of them may not know the
other's. Each seals with the peer's if it holds that, since the peer then does, too; else with its own, and hopes. Each
tries both on the first frame that comes. So a node that was away with the old key can come back, and learn the new one.

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
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, Protocol

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.node_info import PROTOCOL_VERSION
from gossipreg.protocol.cipher import Cipher
from gossipreg.protocol.wire.keyring import KEY_ID_BYTES, GossipKeyring, id_of

#: Random bytes that each side puts into its hello.
NONCE_BYTES: Final = 16

_MAGIC: Final = b"GREG"
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

    __slots__ = ("_cipher", "key_id")

    overhead: ClassVar[int] = 16

    def __init__(self, cluster: str, nonces: bytes, key: bytes) -> None:
        self._cipher = Cipher(key, salt=nonces, info=_PERSON + cluster.encode())
        self.key_id = id_of(key)

    def encode(self, place: bytes, body: bytes) -> bytes:
        return self._cipher.encrypt(place, body)

    def decode(self, place: bytes, sealed: bytes) -> bytes | None:
        return self._cipher.decrypt(place, sealed)


@attrs.define(eq=False, repr=False)
class StreamCodec:
    """One end of one stream. Send its `hello` at once; `frame` waits until it is `ready`, by being fed.

    ``cluster``: the cluster's name. ``keyring``: the node's keys, or none to speak in clear. ``nonce``: `NONCE_BYTES`
    random bytes, never used before. ``opened_by_us`` tells the two ends apart.
    """

    cluster: str
    keyring: GossipKeyring | None = attrs.field(repr=False)
    nonce: bytes
    opened_by_us: bool
    doubt: StreamRefusal | None = attrs.field(init=False, default=None)  # why the peer may not understand us
    _own: bytes | None = attrs.field(init=False, repr=False)  # the key that our hello names
    _outgoing: Iterator[bytes] = attrs.field(init=False, repr=False)
    _incoming: Iterator[bytes] = attrs.field(init=False, repr=False)
    _encoder: _FrameCodec | None = attrs.field(init=False, default=None, repr=False)
    _decoders: Sequence[_FrameCodec] = attrs.field(init=False, default=(), repr=False)  # one, once a frame has come
    peer_nonce: bytes | None = attrs.field(init=False, default=None)  # once its hello was read
    _refusal: StreamRefusal | None = attrs.field(init=False, default=None)
    _buffer: bytearray = attrs.field(init=False, factory=bytearray, repr=False)

    def __attrs_post_init__(self) -> None:
        assert self.cluster, "an empty name would key nothing"
        assert len(self.nonce) == NONCE_BYTES, f"a nonce of {len(self.nonce)} bytes"
        self._own = None if self.keyring is None else self.keyring.primary
        self._outgoing = _places(from_opener=self.opened_by_us)
        self._incoming = _places(from_opener=not self.opened_by_us)

    @property
    def ready(self) -> bool:
        """Whether the peer's hello was read, so that frames can be sent."""
        return self._encoder is not None

    @property
    def is_mid_frame(self) -> bool:
        """Whether the first bytes of a frame are here and its last are not."""
        return self._encoder is not None and bool(self._buffer)

    @property
    def key_ids(self) -> set[bytes]:
        """The ids of the keys that seal the stream, or may: before the peer's hello, that of our own. None in clear."""
        if self._own is not None and self._encoder is None:
            return {id_of(self._own)}
        codecs = (*self._decoders, self._encoder)
        return {each.key_id for each in codecs if isinstance(each, _SealedFrames)}

    def hello(self) -> bytes:
        """What to send first, without waiting for the peer."""
        return _HELLO.pack(_MAGIC, PROTOCOL_VERSION, self._kind, self.nonce, self._proof(self.nonce))

    def frame(self, body: bytes) -> bytes:
        """``body``, at most ``limits.FRAME_BYTES_MAX`` bytes, as it goes on the stream next."""
        assert self._encoder is not None, "a frame before the peer's hello"
        assert len(body) <= limits.FRAME_BYTES_MAX, f"a frame of {len(body)} bytes"
        sealed = self._encoder.encode(next(self._outgoing), body)
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
            if self._encoder is None:
                self._read_hello()
            return [] if self._encoder is None else self._read_frames(self._encoder.overhead)
        except StreamRefused as refused:
            self._refusal = refused.reason
            self._buffer.clear()
            raise

    @property
    def _kind(self) -> int:
        return _CLEAR if self._own is None else _SEALED

    def _proof(self, nonce: bytes) -> bytes:
        """The end of a hello with ``nonce`` from our cluster and, if it is sealed, with our primary key."""
        if self._own is None:
            key = self.cluster.encode()
            return hashlib.blake2b(nonce, key=key, digest_size=_PROOF_BYTES, person=_PERSON).digest()
        return id_of(self._own).ljust(_PROOF_BYTES, b"\0")

    def _read_hello(self) -> None:
        """Read the peer's hello, if it is here: it says how frames are encoded."""
        if not _MAGIC.startswith(self._buffer[: len(_MAGIC)]):
            raise StreamRefused(StreamRefusal.NOT_GOSSIPREG)
        if len(self._buffer) < _HELLO.size:
            return
        _, version, kind, nonce, proof = _HELLO.unpack_from(self._buffer)
        if version != PROTOCOL_VERSION or kind not in (_CLEAR, _SEALED):
            raise StreamRefused(StreamRefusal.WRONG_VERSION)
        if kind != self._kind:
            raise StreamRefused(StreamRefusal.IN_CLEAR if kind == _CLEAR else StreamRefusal.SEALED)
        if self._own is None and proof != self._proof(nonce):
            raise StreamRefused(StreamRefusal.WRONG_CLUSTER_OR_CORRUPT)
        if self._own is not None and proof[KEY_ID_BYTES:] != bytes(_PROOF_BYTES - KEY_ID_BYTES):
            raise StreamRefused(StreamRefusal.UNKNOWN_KEY)
        if nonce == self.nonce:
            raise StreamRefused(StreamRefusal.REFLECTED)
        del self._buffer[: _HELLO.size]
        self.peer_nonce = nonce
        nonces = self.nonce + nonce if self.opened_by_us else nonce + self.nonce
        if self._own is None:
            self._encoder = _ChecksummedFrames(self.cluster, nonces)
            self._decoders = (self._encoder,)
        else:
            self._choose_keys(self._own, proof[:KEY_ID_BYTES], nonces)

    def _choose_keys(self, own: bytes, named: bytes, nonces: bytes) -> None:
        """Choose the keys of both directions, when we named ``own`` and the peer the key of the id ``named``."""
        assert self.keyring is not None, "a key without a keyring"
        own_frames = _SealedFrames(self.cluster, nonces, own)
        if own_frames.key_id not in self.keyring:  # it was given up since our hello
            raise StreamRefused(StreamRefusal.UNKNOWN_KEY)
        theirs = own if named == own_frames.key_id else self.keyring.get(named)
        if theirs is None:
            self.doubt = StreamRefusal.UNKNOWN_KEY
        if theirs is None or theirs == own:
            self._encoder, self._decoders = own_frames, (own_frames,)
        else:
            self._encoder = _SealedFrames(self.cluster, nonces, theirs)
            self._decoders = (own_frames, self._encoder)

    def _read_frames(self, overhead: int) -> list[bytes]:
        bodies = []
        start = 0
        while len(self._buffer) >= start + _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length < overhead:
                raise StreamRefused(StreamRefusal.FRAME_TOO_SHORT)
            if length > limits.FRAME_BYTES_MAX + overhead:
                raise StreamRefused(StreamRefusal.FRAME_TOO_LONG)
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            bodies.append(self._decode(bytes(self._buffer[start + _LENGTH.size : end])))
            start = end
        del self._buffer[:start]
        return bodies

    def _decode(self, sealed: bytes) -> bytes:
        """The body of the next frame; the first one tells with which key the peer seals."""
        place = next(self._incoming)
        for decoder in self._decoders:
            body = decoder.decode(place, sealed)
            if body is not None:
                self._decoders = (decoder,)
                self.doubt = None
                return body
        raise StreamRefused(self.doubt or StreamRefusal.FORGED)


def _places(*, from_opener: bool) -> Iterator[bytes]:
    """The places of one side's frames, in order: 12 bytes each, no two alike on a stream."""
    side = 0 if from_opener else 1
    return (_PLACE.pack(side, counter) for counter in itertools.count())
