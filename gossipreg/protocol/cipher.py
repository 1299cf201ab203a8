"""The one cipher for all that is sealed: packets, streams, credentials, each under a subkey of its own."""

from __future__ import annotations

from gossipreg.key_format import KEY_BYTES


class Cipher:
    """AES-256-GCM under the subkey that HKDF-SHA256 derives from ``key``, ``salt`` and ``info``."""

    __slots__ = ("_aes", "_invalid")

    def __init__(self, key: bytes, *, salt: bytes, info: bytes) -> None:
        # Imported here so that a node without a key never loads it.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        assert len(key) == KEY_BYTES, f"a key of {len(key)} bytes"
        self._aes = AESGCM(HKDF(SHA256(), KEY_BYTES, salt, info).derive(key))
        self._invalid = InvalidTag

    def encrypt(self, nonce: bytes, plain: bytes, header: bytes = b"") -> bytes:
        """``plain`` encrypted, with a tag that also covers ``header``. No ``nonce`` may ever come twice."""
        return self._aes.encrypt(nonce, plain, header)

    def decrypt(self, nonce: bytes, sealed: bytes, header: bytes = b"") -> bytes | None:
        """What was encrypted, or ``None`` if any of the three is not what it was then."""
        try:
            return self._aes.decrypt(nonce, sealed, header)
        except self._invalid:
            return None
