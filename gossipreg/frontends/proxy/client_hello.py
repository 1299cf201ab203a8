"""The TLS ClientHello: reads the server name (SNI) that a caller asks for, without taking part in the handshake.

Pure. It follows RFC 8446 (TLS 1.3) §5.1 and §4.1.2, RFC 5246 (TLS 1.2) §6.2.1 and §7.4.1.2, and RFC 6066 §3. The hello
may be cut into any number of records, and those into any packets. What the hello offers besides is not looked at:
whether a version or a cipher will do is between the caller and the instance. So OpenSSL's own parser, which refuses a
hello that OpenSSL itself could not answer, is not used (docs/decisions/0056).
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from gossipreg.frontends.proxy.limits import HELLO_BYTES_MAX

#: A fatal alert "unrecognized_name" (RFC 6066 §3) as a record: no service has the name that was asked for.
UNRECOGNIZED_NAME: Final = bytes.fromhex("15 03 03 0002 02 70")

_RECORD_HEAD: Final = 5  # bytes: type, version, length
_RECORD_BYTES_MAX: Final = 2**14  # RFC 8446 §5.1
_HANDSHAKE: Final = 22
_MESSAGE_HEAD: Final = 4  # bytes: type, length
_CLIENT_HELLO: Final = 1
_RANDOM: Final = 2 + 32  # bytes: version, random
_SERVER_NAME: Final = 0  # the extension, and in it the kind of name

#: What a server name may be (RFC 6066 §3): ASCII, as in DNS, with the underscore that hosts have in practice.
_NAME: Final = re.compile(rb"[A-Za-z0-9_.-]{1,255}")


class BadHello(Exception):
    """What came is no TLS ClientHello, or a larger one than is read."""


@attrs.define(eq=False, repr=False)
class HelloReader:
    """Takes the first bytes of a connection, as they come, until the ClientHello is whole."""

    name: str | None = None  # once it is whole: the server name in lower case, "" if there is none
    _rest: bytearray = attrs.field(factory=bytearray)  # of a record that is not whole
    _message: bytearray = attrs.field(factory=bytearray)  # of the handshake
    _size: int = 0  # bytes so far

    def receive(self, data: bytes) -> None:
        """Take the next bytes. Raises ``BadHello``. What comes after the hello is ignored."""
        if self.name is not None:
            return
        self._size += len(data)
        self._rest += data
        while self.name is None and self._take_record():
            self._read_message()
        if self.name is None and self._size >= HELLO_BYTES_MAX:
            raise BadHello(f"it is larger than {HELLO_BYTES_MAX} bytes")

    def _take_record(self) -> bool:
        """Move one record's content to the message; False while it is not whole."""
        rest = self._rest
        if (rest and rest[0] != _HANDSHAKE) or (len(rest) > 1 and rest[1] != 3):
            raise BadHello("it is no TLS handshake")
        if len(rest) < _RECORD_HEAD:
            return False
        length = int.from_bytes(rest[3:5])
        if not 0 < length <= _RECORD_BYTES_MAX:
            raise BadHello(f"a record of {length} bytes")
        end = _RECORD_HEAD + length
        if len(rest) < end:
            return False
        self._message += rest[_RECORD_HEAD:end]
        del rest[:end]
        return True

    def _read_message(self) -> None:
        message = self._message
        if message[0] != _CLIENT_HELLO:
            raise BadHello("the handshake does not begin with a ClientHello")
        if len(message) < _MESSAGE_HEAD:
            return
        end = _MESSAGE_HEAD + int.from_bytes(message[1:4])
        if end > HELLO_BYTES_MAX:
            raise BadHello(f"it is larger than {HELLO_BYTES_MAX} bytes")
        if len(message) >= end:
            self.name = _name_in(bytes(message[_MESSAGE_HEAD:end]))


def _name_in(hello: bytes) -> str:
    """The server name in a ClientHello's body; "" if there is none. Raises ``BadHello``."""
    body = _Vectors(hello, _RANDOM)
    body.next(1)  # session id
    body.next(2)  # cipher suites
    body.next(1)  # compression methods
    if body.is_at_end:  # TLS 1.2 and before: a hello without extensions
        return ""
    extensions = _Vectors(body.last(2))
    found: str | None = None
    while not extensions.is_at_end:
        kind, content = extensions.number(2), extensions.next(2)
        if kind == _SERVER_NAME:
            if found is not None:
                raise BadHello("it has two lists of server names")
            found = _name_of(content)
    return found or ""


def _name_of(content: bytes) -> str:
    """The name in the extension: it has exactly one, for there is one kind of names."""
    names = _Vectors(_Vectors(content).last(2))
    kind, name = names.number(1), names.last(2)
    if kind != _SERVER_NAME or not _NAME.fullmatch(name):
        raise BadHello("its server name is none")
    return name.decode("ascii").lower().removesuffix(".")


@attrs.define(eq=False, repr=False)
class _Vectors:
    """Reads numbers and vectors (RFC 8446 §3.4) one after the other. Raises ``BadHello`` where one is cut off."""

    data: bytes
    at: int = 0

    @property
    def is_at_end(self) -> bool:
        return self.at == len(self.data)

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def next(self, size_of_length: int) -> bytes:
        return self._take(self.number(size_of_length))

    def last(self, size_of_length: int) -> bytes:
        """The next vector, after which there may be nothing."""
        found = self.next(size_of_length)
        if not self.is_at_end:
            raise BadHello("it goes on after its end")
        return found

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise BadHello("it is cut off")
        taken = self.data[self.at : end]
        self.at = end
        return taken
