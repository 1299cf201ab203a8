"""Packet proofs: codes at the end of packets and frames, which only their sender and their receiver can make.

Theory of operation (docs/decisions/0082). All members share the key that seals packets, so a packet shows only that
some holder of that key has sent it. Two members with certificates share a secret besides (X25519 between the keys that
they sign with), under which the sender adds a code (BLAKE2b) over the packet, the run that it is for, and a number.

    run id of the sender | messages ... | 92 18 c4 18 | number (8 bytes) | code (16 bytes)

The code is a message of a kind of its own, so a reader that does not know it skips it. A receiver that requires
identity takes a packet under a known member's run id without a code for a stranger's: it may state what is signed, and
is not heard as that member. A number counts once: a recorded packet is no packet of a member that is dead by now.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode, Signer
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.wire.messages import SENDER_BYTES
from gossipreg.signatures import PUBLIC_KEY_BYTES, shared_secret

#: An array of a kind, 24, and 24 bytes.
_HEAD: Final = b"\x92\x18\xc4\x18"
_NUMBER_BYTES: Final = 8
_CODE_BYTES: Final = 16

#: How many bytes the code takes at the end of a packet.
PROOF_BYTES: Final = len(_HEAD) + _NUMBER_BYTES + _CODE_BYTES

#: How far numbers may come out of order. Frames of a long stream are overtaken by packets, a hundred a second at most.
_WINDOW: Final = 4096
_WINDOW_MASK: Final = (1 << _WINDOW) - 1


@attrs.define(eq=False, repr=False)
class _Window:
    """The numbers of one run that were received: the highest, and which of those below it."""

    highest: int = -1
    seen: int = 0  # bit i: the number ``highest - i`` was received

    def admit(self, number: int) -> bool:
        """Whether ``number`` is received for the first time; it counts as received from then on."""
        ahead = number - self.highest
        if ahead > 0:
            self.seen = ((self.seen << min(ahead, _WINDOW)) | 1) & _WINDOW_MASK
            self.highest = number
            return True
        bit = 1 << -ahead
        if -ahead >= _WINDOW or self.seen & bit:
            return False
        self.seen |= bit
        return True


@attrs.define(eq=False, repr=False)
class PacketProofs:
    """Makes and verifies the codes of one node's packets and frames."""

    authenticator: Authenticator
    _keys: dict[bytes, bytes] = attrs.field(factory=dict)  # a member's public key -> the key of the pair
    _signer: Signer | None = None  # with which these were derived
    _number: int = 0  # of the last packet
    _own_run: int = 0  # the run that the windows are of
    _windows: dict[int, _Window] = attrs.field(factory=dict)  # by the sender's run id

    @property
    def are_made(self) -> bool:
        """Whether this node adds codes to what it sends to members that have a certificate."""
        return self.authenticator.is_on and self.authenticator.signer is not None

    @property
    def are_required(self) -> bool:
        """Whether what has no code is not taken for a member's."""
        return self.authenticator.mode is IdentityMode.REQUIRE and self.are_made

    @property
    def overhead(self) -> int:
        """How many bytes of each packet are kept free for a code."""
        return PROOF_BYTES if self.are_made else 0

    def seal(self, data: bytes, to: MemberUpdate | None) -> bytes:
        """``data`` with a code for the run ``to``; as it is, if that has no certificate."""
        key = None if to is None else self._key_of(to)
        if to is None or key is None:
            return data
        self._number += 1
        number = self._number.to_bytes(_NUMBER_BYTES)
        return data + _HEAD + number + _code(key, to.run_id, data, number)

    def without_code(self, data: bytes) -> bytes:
        """``data`` without its code, if it has one."""
        has_code = self.are_made and data.startswith(_HEAD, max(0, len(data) - PROOF_BYTES))
        return data[:-PROOF_BYTES] if has_code else data

    def verify(self, data: bytes, sender: MemberUpdate, own_run: int) -> bool:
        """Return whether ``data`` ends with a code that the member ``sender`` has made for the run ``own_run``.

        A code counts once only.
        """
        body, tail = data[:-PROOF_BYTES], data[-PROOF_BYTES:]
        if len(body) < SENDER_BYTES or not tail.startswith(_HEAD):
            return False
        key = self._key_of(sender)
        number = tail[len(_HEAD) : -_CODE_BYTES]
        if key is None or not compare_digest(_code(key, own_run, body, number), tail[-_CODE_BYTES:]):
            return False
        if own_run != self._own_run:
            self._own_run = own_run
            self._windows.clear()
        window = self._windows.setdefault(sender.run_id, _Window())
        return window.admit(int.from_bytes(number))

    def is_proven(self, run_id: int, own_run: int) -> bool:
        """Whether the run ``run_id`` has proven a packet to the run ``own_run``: from then on it proves each."""
        return own_run == self._own_run and run_id in self._windows

    def keep(self, run_ids: frozenset[int]) -> None:
        """Forget all members but these."""
        self._windows = {run_id: window for run_id, window in self._windows.items() if run_id in run_ids}

    def _key_of(self, member: MemberUpdate) -> bytes | None:
        """The key that this node shares with a member; None if either has no certificate that counts."""
        certificate, signer = self.authenticator.certificates.of_member(member), self.authenticator.signer
        if certificate is None or signer is None:
            return None
        if signer is not self._signer:
            self._keys.clear()
            self._signer = signer
        key = self._keys.get(certificate.public)
        if key is None:
            if len(self._keys) >= limits.CERTIFICATES_REMEMBERED_MAX:
                self._keys.clear()
            key = self._keys[certificate.public] = _pair_key(self.authenticator.cluster, signer, certificate.public)
        return key or None


def _pair_key(cluster: str, signer: Signer, public: bytes) -> bytes:
    """The key of two members; empty, if ``public`` is no point with which there is one."""
    secret = shared_secret(signer.key, public)
    if secret is None:
        return b""
    both = b"".join(sorted((signer.key.public, public)))
    assert len(both) == 2 * PUBLIC_KEY_BYTES
    return hashlib.blake2b(both + cluster.encode(), key=secret, digest_size=32, person=b"gossipreg pair").digest()


def _code(key: bytes, to: int, body: bytes, number: bytes) -> bytes:
    """The code of one packet for the run ``to``. The sender's run id is in ``body``."""
    code = hashlib.blake2b(to.to_bytes(SENDER_BYTES), key=key, digest_size=_CODE_BYTES, person=b"gossipreg packet")
    code.update(number)
    code.update(body)
    return code.digest()
