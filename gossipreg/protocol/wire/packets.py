"""Packets: how a payload is encoded into a datagram, sealed or only checksummed, and how one is opened or refused.

A sealed packet is ``version | key id | sender id | counter | AES-256-GCM(send time | payload)`` (cf. OSCORE, RFC 8613:
sender id, sender key, replay window). Five rules make it work:

- **No nonce repeats, however long a key is used.** Each boot of a node draws a random *sender id*, HKDF turns (key,
  sender id) into a sender key, and the nonce is the sender's counter, which only rises, whichever key seals.
- **A known sender is checked by its counters.** Each is accepted once, within a sliding window behind the highest.
  What arrives out of order must also have been sent shortly before the newest, so that the packets a past run of this
  node opened cannot be replayed to the next. The sender's clock is compared with itself only: a clock that is set while
  the cluster runs cuts no sender off.
- **A window that was pushed goes back.** All holders of the key can seal under any sender id, so a forged packet may
  push the window ahead of its true owner. A leap that no sender can have made is refused; and a packet that was sent
  after all that were accepted of its sender is no replay, so it is accepted whatever the window says, and puts it back
  (docs/decisions/0038).
- **A sender stays the same under each key.** While the cluster's key is replaced its packets come under two keys: one
  window and one clock are kept for both, so that a key that is new to us makes no sender a stranger.
- **An unknown sender is checked by our clock.** Its first packet is accepted only if it is fresh. A sender is forgotten
  only when nothing we opened from it would still be fresh, so forgetting allows no replay.

What is left to an attacker who records packets: for `FRESHNESS_SECONDS` to replay one to a node that has just started,
or to a member that it was not meant for. UDP may duplicate and stray as well; the protocol above bears both.
Nothing is remembered of a packet that does not authenticate.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from typing import ClassVar, Final, Protocol

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.node_info import PROTOCOL_VERSION
from gossipreg.protocol.cipher import Cipher
from gossipreg.protocol.wire.derivations import DerivationBudget
from gossipreg.protocol.wire.keyring import GossipKeyring
from gossipreg.values import frozen

#: How far the send time of an unknown sender's packet may be from our clock (s). NTP keeps hosts within a second of
#: each other, so 30 forgives a clock that is not maintained; and it is far below the time for which tombstones and
#: departed members are remembered (an hour and more), so no replay can bring anything back.
FRESHNESS_SECONDS: Final = 30.0

#: Width of the replay window (packets). A sender counts its packets to *all* members, so the window must span what a
#: node sends to all while one packet is overtaken: 1024 is 100 ms of a burst of 10,000 packets a second, and a
#: network reorders by a few ms. It costs 160 bytes a sender; a packet later than that is lost, as UDP may lose any.
WINDOW_PACKETS: Final = 1024

#: How far a counter may be ahead of the newest of its sender (packets): so much at once, and so many more for each
#: second since that came. A node sends some thousands a second in a storm, and one in a large cluster is heard seldom.
LEAP_PACKETS: Final = 65_536
LEAP_PACKETS_PER_SECOND: Final = 100_000

#: How much more than at its first packet a sender's clock may be ahead of ours when its packets are put in order (s).
#: Else a packet from a made-up future would make all that its sender really sends look old.
_LEAD_SECONDS: Final = 1.0

#: For how long packets from the future may keep their sender remembered (s): its clock may be off, but no forged packet
#: may keep a place for ever.
_RECENT_SECONDS: Final = 3600.0

#: First byte of a packet: the version, with the high bit for "sealed", so that each kind can name the other.
_CLEAR: Final = bytes([PROTOCOL_VERSION])
_SEALED: Final = bytes([0x80 | PROTOCOL_VERSION])

_WINDOW_MASK: Final = (1 << WINDOW_PACKETS) - 1
_HEADER: Final = struct.Struct(">1s4s8sQ")  # version, key id, sender id, counter
_COUNTER_END: Final = 1 << 48  # a million packets a second for nine years, of one sender
_SENT_BYTES: Final = 6  # ms since the epoch: enough until the year 10889
_TAG_BYTES: Final = 16
_DIGEST_BYTES: Final = 8
_NONCE_PAD: Final = bytes(4)


class Refusal(enum.StrEnum):
    """Why a packet is refused; each has a counter."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    WRONG_VERSION = "wrong_version"
    IN_CLEAR = "in_clear"  # from a node without a key, and we hold one
    SEALED = "sealed"  # from a node with a key, and we hold none
    WRONG_CLUSTER_OR_CORRUPT = "wrong_cluster_or_corrupt"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"  # changed on the way, made without the key, or from another cluster that has the same key
    REFLECTED = "reflected"  # our own packet, sent back to us
    REPLAYED = "replayed"
    LATE = "late"  # so far behind its sender's newest that it cannot be told from a replay
    LEAPT = "leapt"  # so far ahead of its sender's newest that no sender can have come there: forged with our key
    STALE = "stale"  # from an unknown sender whose clock and ours differ by too much: an old packet, or a wrong clock
    TOO_MANY_SENDERS = "too_many_senders"
    OVER_BUDGET = "over_budget"  # from an unknown sender, when too many subkeys were derived for such lately

    @property
    def counter(self) -> Count:
        """The counter of such packets."""
        return Count[f"PACKETS_{self.name}"]


@frozen
class Refused:
    """A packet that is to be counted and dropped. ``skew`` (s) is told of stale ones: + if the sender is ahead."""

    reason: Refusal
    skew: float | None = None


class PacketCodec(Protocol):
    """Encodes payloads into datagrams and decodes them. ``wall`` is the time in seconds since the epoch."""

    @property
    def overhead(self) -> int:
        """Bytes that encoding adds to a payload."""

    def encode(self, payload: bytes, wall: float) -> bytes:
        """The packet that carries ``payload``; with it, at most ``limits.PACKET_BYTES_MAX`` bytes."""

    def decode(self, packet: bytes, wall: float, host: str = "") -> bytes | Refused:
        """The payload of ``packet``, or why it is refused. Never raises, whatever the bytes.

        ``host``: the IP address that it came from, as far as that can be believed.
        """

    def vouch(self, host: str) -> None:
        """A stream from ``host`` has proven to hold the key: its packets are not a stranger's."""


#: The refusal for a first byte of another kind of packet.
_FOREIGN: Final = {b"": Refusal.TOO_SHORT, _CLEAR: Refusal.IN_CLEAR, _SEALED: Refusal.SEALED}


def _misfit(packet: bytes, version: bytes, overhead: int) -> Refusal | None:
    """Why ``packet`` is refused by its first byte or size, if so."""
    if packet[:1] != version:
        return _FOREIGN.get(packet[:1], Refusal.WRONG_VERSION)
    if len(packet) < overhead:
        return Refusal.TOO_SHORT
    if len(packet) > limits.RECEIVE_BYTES_MAX:
        return Refusal.TOO_LONG
    return None


@attrs.define(eq=False, repr=False)
class ChecksummedPackets:
    """Packets with a checksum: no secrecy, no proof of origin, but clusters never merge and flipped bits are noticed.

    A packet is ``version | blake2b-64(payload), keyed by the cluster's name | payload``.
    """

    overhead: ClassVar[int] = 1 + _DIGEST_BYTES

    cluster: str
    _digest: hashlib.blake2b = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        assert self.cluster, "an empty name would key nothing"
        key = self.cluster.encode()
        self._digest = hashlib.blake2b(key=key, digest_size=_DIGEST_BYTES, person=b"gossipreg packet")

    def encode(self, payload: bytes, wall: float) -> bytes:  # noqa: ARG002 -- for a seal, which has the time in it
        """The packet that carries ``payload``."""
        assert len(payload) + self.overhead <= limits.PACKET_BYTES_MAX, f"a payload of {len(payload)} bytes"
        return _CLEAR + self._digest_of(payload) + payload

    def decode(self, packet: bytes, wall: float, host: str = "") -> bytes | Refused:  # noqa: ARG002 -- as above
        """The payload of ``packet``, or why it is refused."""
        if (refusal := _misfit(packet, _CLEAR, self.overhead)) is not None:
            return Refused(refusal)
        payload = packet[self.overhead :]
        if packet[1 : self.overhead] != self._digest_of(payload):
            return Refused(Refusal.WRONG_CLUSTER_OR_CORRUPT)
        return payload

    def vouch(self, host: str) -> None:
        """Nothing to do: in clear no sender costs more than another."""

    def _digest_of(self, payload: bytes) -> bytes:
        digest = self._digest.copy()
        digest.update(payload)
        return digest.digest()


@attrs.define(eq=False, repr=False)
class _Sender:
    """One sender: its cipher under each key that it has sealed with, and its replay window."""

    ciphers: dict[bytes, Cipher]  # by key id
    highest: int  # counter
    sent: float  # when the highest was sent, s, by the sender's clock
    heard: float  # when its last packet came, s
    lead: float  # how far ahead of our clock its own is at the most, s
    newest: float  # the latest of the times when its packets say that they were sent, as far as that can be, s
    recent: float  # until when what was opened may be fresh, less the freshness, s
    seen: int = 1  # bit i: the packet `highest - i` was opened

    @classmethod
    def met(cls, key_id: bytes, cipher: Cipher, counter: int, sent: float, wall: float) -> _Sender:
        """The sender whose first packet is this one."""
        return cls({key_id: cipher}, counter, sent, wall, sent - wall + _LEAD_SECONDS, sent, max(sent, wall))

    def leaps(self, counter: int, wall: float) -> bool:
        """Whether no sender could have come to ``counter`` since its last packet."""
        elapsed = max(0.0, wall - self.heard)
        return counter - self.highest > LEAP_PACKETS + int(elapsed * LEAP_PACKETS_PER_SECOND)

    def _refusal(self, counter: int, sent: float) -> Refusal | None:
        age = self.highest - counter
        if age < 0:
            return None
        if age >= WINDOW_PACKETS:
            return Refusal.LATE
        if self.seen >> age & 1:
            return Refusal.REPLAYED
        return Refusal.LATE if sent < self.sent - FRESHNESS_SECONDS else None

    def accept(self, counter: int, sent: float, wall: float) -> Refusal | None:
        """Enter an authentic packet, or say why it is refused.

        A packet that was sent after all others is no replay of any. If the window refuses it, then another holder of
        the key pushed the window: it is put back, and what is behind it counts as opened.
        """
        refusal = self._refusal(counter, sent)
        ahead = counter - self.highest
        if refusal is not None:
            is_newest = self.newest < sent <= wall + FRESHNESS_SECONDS
            if not is_newest or (counter, sent) == (self.highest, self.sent):
                return refusal
            self.highest, self.sent, self.seen = counter, sent, _WINDOW_MASK
        elif ahead > 0:
            self.seen = (self.seen << ahead | 1) & _WINDOW_MASK if ahead < WINDOW_PACKETS else 1
            self.highest = counter
            self.sent = sent
        else:
            self.seen |= 1 << -ahead
        self.heard = wall
        self.newest = max(self.newest, min(sent, wall + self.lead))
        self.recent = max(self.recent, min(sent, wall + _RECENT_SECONDS), wall)
        return None


@attrs.define(eq=False, repr=False)
class SealedPackets:
    """Packets that only holders of the cluster's keys can read and make, each accepted once.

    ``sender_id``: 8 random bytes, drawn anew at every boot. The primary key of ``keyring`` seals; all its keys open.
    """

    overhead: ClassVar[int] = _HEADER.size + _SENT_BYTES + _TAG_BYTES

    keyring: GossipKeyring = attrs.field(repr=False)
    cluster: str
    sender_id: bytes
    _sealer: bytes = attrs.field(init=False)  # the id of the key that `_cipher` seals under
    _cipher: Cipher = attrs.field(init=False, repr=False)
    _counter: int = attrs.field(init=False, default=0)
    _senders: dict[bytes, _Sender] = attrs.field(init=False, factory=dict, repr=False)
    _budget: DerivationBudget = attrs.field(init=False, factory=DerivationBudget)

    def __attrs_post_init__(self) -> None:
        assert len(self.sender_id) == 8, f"a run of {len(self.sender_id)} bytes"
        self._seal_with_primary()

    def encode(self, payload: bytes, wall: float) -> bytes:
        """The packet that carries ``payload``, stamped with ``wall`` (s) and the next counter of this sender."""
        assert len(payload) + self.overhead <= limits.PACKET_BYTES_MAX, f"a payload of {len(payload)} bytes"
        assert self._counter < _COUNTER_END, "a nonce would repeat"
        if self._sealer != self.keyring.primary_id:
            self._seal_with_primary()
        header = _HEADER.pack(_SEALED, self._sealer, self.sender_id, self._counter)
        self._counter += 1
        sent = int(wall * 1000).to_bytes(_SENT_BYTES, "big")
        return header + self._cipher.encrypt(_nonce(header), sent + payload, self._authenticated(header))

    def decode(self, packet: bytes, wall: float, host: str = "") -> bytes | Refused:
        """The payload of ``packet``, or why it is refused. Cheap checks come first."""
        if (refusal := _misfit(packet, _SEALED, self.overhead)) is not None:
            return Refused(refusal)
        _, key_id, sender_id, counter = _HEADER.unpack_from(packet)
        if (refusal := self._misfit_head(key_id, sender_id, counter)) is not None:
            return Refused(refusal)
        sender = self._senders.get(sender_id)
        if sender is None:
            return self._meet(packet, wall, host)
        if sender.leaps(counter, wall):
            return Refused(Refusal.LEAPT)
        cipher = sender.ciphers.get(key_id)
        if cipher is None:
            cipher = self._meet_again(sender, key_id, sender_id)
        if (opened := self._decrypt(cipher, packet)) is None:
            return Refused(Refusal.FORGED)
        sent, payload = opened
        refusal = sender.accept(counter, sent, wall)
        return payload if refusal is None else Refused(refusal)

    def vouch(self, host: str) -> None:
        """A stream from ``host`` has proven to hold the key: its packets are not a stranger's."""
        self._budget.vouch(host)

    def _seal_with_primary(self) -> None:
        self._sealer = self.keyring.primary_id
        self._cipher = self._cipher_of(self._sealer, self.sender_id)

    def _misfit_head(self, key_id: bytes, sender_id: bytes, counter: int) -> Refusal | None:
        if key_id not in self.keyring:
            return Refusal.UNKNOWN_KEY
        if counter >= _COUNTER_END:
            return Refusal.LEAPT
        return Refusal.REFLECTED if sender_id == self.sender_id else None

    def _meet(self, packet: bytes, wall: float, host: str) -> bytes | Refused:
        """Open the first packet of a sender, and remember the sender if it is accepted."""
        _, key_id, sender_id, counter = _HEADER.unpack_from(packet)
        if not self._budget.take(host, wall):
            return Refused(Refusal.OVER_BUDGET)
        cipher = self._cipher_of(key_id, sender_id)
        if (opened := self._decrypt(cipher, packet)) is None:
            return Refused(Refusal.FORGED)
        sent, payload = opened
        if abs(sent - wall) > FRESHNESS_SECONDS:
            return Refused(Refusal.STALE, skew=sent - wall)
        self._budget.vouch(host)
        if not self._make_room(wall):
            return Refused(Refusal.TOO_MANY_SENDERS)
        self._senders[sender_id] = _Sender.met(key_id, cipher, counter, sent, wall)
        return payload

    def _meet_again(self, sender: _Sender, key_id: bytes, sender_id: bytes) -> Cipher:
        """The cipher of a known sender under another key.

        It costs the budget nothing, or junk in a member's name would mute that member while a key is replaced. It is
        kept whether or not the packet proves authentic: so a sender costs one derivation for each key that is held.
        """
        sender.ciphers = {each: held for each, held in sender.ciphers.items() if each in self.keyring}
        cipher = sender.ciphers[key_id] = self._cipher_of(key_id, sender_id)
        return cipher

    def _make_room(self, wall: float) -> bool:
        """Forget the sender unheard for longest if there are too many; not if a packet of it might still be fresh.

        This looks at every sender, but only when a key holder presents a new one; so hearing a known one moves nothing.
        """
        if len(self._senders) < limits.SENDER_KEYS_MAX:
            return True
        oldest = min(self._senders, key=lambda sender: self._senders[sender].recent)
        if self._senders[oldest].recent >= wall - FRESHNESS_SECONDS:
            return False
        del self._senders[oldest]
        return True

    def _cipher_of(self, key_id: bytes, sender_id: bytes) -> Cipher:
        key = self.keyring.get(key_id)
        assert key is not None, "a cipher of a key that is not held"
        return Cipher(key, salt=sender_id, info=b"gossipreg packet" + self.cluster.encode())

    def _authenticated(self, header: bytes) -> bytes:
        return header + self.cluster.encode()

    def _decrypt(self, cipher: Cipher, packet: bytes) -> tuple[float, bytes] | None:
        """When ``packet`` was sent (s, by the sender's clock) and its payload, if it is authentic."""
        header = packet[: _HEADER.size]
        plain = cipher.decrypt(_nonce(header), packet[_HEADER.size :], self._authenticated(header))
        if plain is None:
            return None
        return int.from_bytes(plain[:_SENT_BYTES], "big") / 1000, plain[_SENT_BYTES:]


def _nonce(header: bytes) -> bytes:
    return _NONCE_PAD + header[-8:]
