"""Key format: a secret key of 32 bytes as text, and the short id that names it in public."""

from __future__ import annotations

from typing import Final

from gossipreg.errors import ConfigError

KEY_BYTES: Final = 32


def parse_key(text: str, *, where: str) -> bytes:
    """The 32 bytes of a key written in base64. ``ConfigError`` says ``where`` the key was, not what it was."""
    try:
        return key_bytes(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def key_bytes(text: str) -> bytes:
    """The key in ``text``. Raises `ConfigError`, which does not quote it."""
    import base64  # neither this nor `hashlib` is needed by a process that attaches
    import binascii

    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("the key is not base64: make one with `gossipreg keygen --out FILE`") from None
    if len(key) != KEY_BYTES:
        raise ConfigError(f"the key has {len(key)} bytes, not {KEY_BYTES}: make one with `gossipreg keygen --out FILE`")
    return key


def encode_key(key: bytes) -> str:
    """A key as `parse_key` reads it."""
    import base64

    return base64.b64encode(key).decode()


def key_id(key: bytes) -> str:
    """A short public name of a key (hex), safe to log and compare."""
    import hashlib

    return hashlib.blake2b(key, digest_size=4, person=b"gossipreg key").hexdigest()
