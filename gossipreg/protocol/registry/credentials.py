"""Sealed credentials: every node can carry them, and only holders of the credential key can read them.

Sealed they are ``key id (4) | nonce (12) | AES-256-GCM(length (2) | msgpack of names and values | zeros)``.

- The key is the credential key, not the gossip key: a node that may gossip may not for that reason log in everywhere.
  HKDF turns it into a subkey of this purpose and cluster.
- Sealed credentials belong to one instance at one place: cluster, service, owner, id, host and port are authenticated
  with them. Copied into another record, or into one that points elsewhere, they cannot be opened.
- Zeros fill them up to a multiple of `_BLOCK_BYTES`, so the size does not tell how long a password is.
- The nonce is random. 2^32 seals under one key are safe (NIST SP 800-38D, 8.3); the same credentials are not sealed
  twice, so that is 2^32 changes of a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.errors import CredentialsUnavailable, InvalidInstance
from gossipreg.key_format import key_id
from gossipreg.model import Instance
from gossipreg.protocol.cipher import Cipher
from gossipreg.text import is_text
from gossipreg.values import frozen

#: Random bytes that one sealing takes.
NONCE_BYTES: Final = 12

_ID_BYTES: Final = 4
_HEADER_BYTES: Final = _ID_BYTES + NONCE_BYTES
_LENGTH_BYTES: Final = 2
_TAG_BYTES: Final = 16

#: A user and a password of any sensible length are one block; so they still fit a record that travels in gossip.
_BLOCK_BYTES: Final = 256

_BODY_BYTES_MAX: Final = (limits.SEALED_BYTES_MAX - _HEADER_BYTES - _TAG_BYTES) // _BLOCK_BYTES * _BLOCK_BYTES


@frozen
class CredentialKeyring:
    """The credential keys that a node holds: the first seals, all open. So a key can be changed at any time."""

    cluster: str
    keys: tuple[bytes, ...] = attrs.field(default=(), repr=False)

    def seal(self, credentials: Mapping[str, str], instance: Instance, nonce: bytes, held: bytes = b"") -> bytes:
        """``credentials`` as ``instance`` carries them; empty if there are none. No ``nonce`` may ever come twice.

        ``held``, what the instance carried before, is returned if it says the same under the key that seals now:
        registering again is then no change. Raises ``InvalidInstance``, and ``CredentialsUnavailable`` without a key.
        """
        body = packed(credentials)
        if not credentials:
            return b""
        if not self.keys:
            raise CredentialsUnavailable(
                "credentials: this node has no credential key to seal them with: set credential_key_file to a file "
                "that holds one, as `gossipreg keygen --out FILE` makes"
            )
        key = self.keys[0]
        if held[:_ID_BYTES] == _id(key) and self._opened(key, instance, held) == body:
            return held
        assert len(nonce) == NONCE_BYTES, f"a nonce of {len(nonce)} bytes"
        plain = len(body).to_bytes(_LENGTH_BYTES) + body
        plain += bytes(-len(plain) % _BLOCK_BYTES)
        return _id(key) + nonce + self._cipher(key).encrypt(nonce, plain, self._belongs(instance))

    def supersedes(self, instance: Instance) -> bool:
        """Whether the credentials of ``instance`` are sealed with a key that is held but does not seal any more."""
        return instance.sealed[:_ID_BYTES] in [_id(key) for key in self.keys[1:]]

    def open(self, instance: Instance) -> Mapping[str, str]:
        """The credentials of ``instance``. Raises ``CredentialsUnavailable`` that says why they cannot be read here."""
        whose = f"instance {instance.id!r} of {instance.service!r}"
        if not instance.sealed:
            raise CredentialsUnavailable(f"{whose} has no credentials")
        sealer = instance.sealed[:_ID_BYTES]
        key = next((key for key in self.keys if _id(key) == sealer), None)
        if key is None:
            lacks = "is not among the credential keys" if self.keys else "is not here: this node has no credential key"
            raise CredentialsUnavailable(
                f"the credentials of {whose} are sealed with the key {sealer.hex()}, which {lacks}: "
                "add it to the file of credential_key_file"
            )
        body = self._opened(key, instance, instance.sealed)
        credentials = None if body is None else _unpacked(body)
        if credentials is None:
            raise CredentialsUnavailable(
                f"the credentials of {whose} cannot be opened: they were sealed for another instance, or changed on "
                "the way: register it again"
            )
        return credentials

    def _opened(self, key: bytes, instance: Instance, sealed: bytes) -> bytes | None:
        """The packed credentials in ``sealed``, if it is of this key and belongs to ``instance``."""
        if len(sealed) < _HEADER_BYTES + _LENGTH_BYTES + _TAG_BYTES:
            return None
        nonce = sealed[_ID_BYTES:_HEADER_BYTES]
        plain = self._cipher(key).decrypt(nonce, sealed[_HEADER_BYTES:], self._belongs(instance))
        if plain is None:
            return None
        length = int.from_bytes(plain[:_LENGTH_BYTES])
        return plain[_LENGTH_BYTES : _LENGTH_BYTES + length]

    def _belongs(self, instance: Instance) -> bytes:
        """What ties sealed credentials to one instance."""
        whose = [self.cluster, instance.service, instance.owner, instance.id, instance.host, instance.port]
        packed: bytes = msgpack.packb(whose)
        return packed

    @staticmethod
    def _cipher(key: bytes) -> Cipher:
        return Cipher(key, salt=b"", info=b"gossipreg credentials")


def _id(key: bytes) -> bytes:
    return bytes.fromhex(key_id(key))


def packed(credentials: Mapping[str, str]) -> bytes:
    """The names and values, the same for equal ones. Raises ``InvalidInstance`` that quotes none of them."""
    if not isinstance(credentials, Mapping) or len(credentials) > limits.CREDENTIALS_MAX:
        raise InvalidInstance("credentials", f"at most {limits.CREDENTIALS_MAX} names with their values are allowed")
    for name, value in credentials.items():
        if not is_text(name) or not 0 < len(name) <= limits.META_KEY_CHARS_MAX:
            raise InvalidInstance(
                "credentials", f"a name in it is not a string of 1 to {limits.META_KEY_CHARS_MAX} characters"
            )
        if not is_text(value):
            raise InvalidInstance("credentials", "a value in it is not a string of text")
    body: bytes = msgpack.packb(dict(sorted(credentials.items())))
    if _LENGTH_BYTES + len(body) > _BODY_BYTES_MAX:
        raise InvalidInstance("credentials", f"sealed they take more than {limits.SEALED_BYTES_MAX} bytes")
    return body


def _unpacked(body: bytes) -> dict[str, str] | None:
    """The names and values in ``body``; None if it is of another shape, as a later version might seal it."""
    try:
        value: Any = msgpack.unpackb(body, max_map_len=limits.CREDENTIALS_MAX)
    except (ValueError, msgpack.UnpackException):
        return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for pair in value.items() for each in pair):
        return None
    return value
