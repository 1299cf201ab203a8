"""Signatures: Ed25519 keys (RFC 8032), the one place that makes and verifies signatures, and secrets of two keys."""

from __future__ import annotations

import hashlib
from typing import Final

#: Sizes of a secret key, of its public key, and of a signature (bytes).
SECRET_KEY_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


class SigningKey:
    """An Ed25519 key that signs. ``secret``: 32 bytes."""

    __slots__ = ("_key", "public", "secret")

    def __init__(self, secret: bytes) -> None:
        # Imported here so that a node without identity never loads it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        assert len(secret) == SECRET_KEY_BYTES, f"a key of {len(secret)} bytes"
        self.secret = secret
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()[:8]})"

    def sign(self, kind: bytes, data: bytes) -> bytes:
        """The signature of ``data`` as a statement of this ``kind``: it is no signature of another kind."""
        return self._key.sign(_message(kind, data))


class VerifyingKey:
    """An Ed25519 public key that verifies. Raises ``ValueError`` for other than 32 bytes.

    32 bytes that are no point of the curve are a key for which no signature is right.
    """

    __slots__ = ("_invalid", "_key")

    def __init__(self, public: bytes) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        self._key = Ed25519PublicKey.from_public_bytes(public)
        self._invalid = InvalidSignature

    def is_signed(self, kind: bytes, data: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's, of ``data`` as a statement of this ``kind``."""
        try:
            self._key.verify(signature, _message(kind, data))
        except self._invalid:
            return False
        return True


#: The prime of Curve25519 (RFC 7748).
_PRIME: Final = 2**255 - 19


def shared_secret(own: SigningKey, public: bytes) -> bytes | None:
    """A secret of the holders of two Ed25519 keys, by X25519 (RFC 7748); None for a ``public`` key that has none.

    Both keys are taken to the curve's Montgomery form, as libsodium does: the secret scalar is the one that signs.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y % _PRIME == 1:
        return None  # the neutral element has no such form
    u = (1 + y) * pow(1 - y, -1, _PRIME) % _PRIME
    scalar = X25519PrivateKey.from_private_bytes(hashlib.sha512(own.secret).digest()[:SECRET_KEY_BYTES])
    try:
        return scalar.exchange(X25519PublicKey.from_public_bytes(u.to_bytes(PUBLIC_KEY_BYTES, "little")))
    except ValueError:
        return None  # a point of a small order: the secret would be zero


def _message(kind: bytes, data: bytes) -> bytes:
    """What is signed: the kind goes first, so that bytes signed as one kind are never read as another."""
    return b"gossipreg " + kind + b"\0" + data
