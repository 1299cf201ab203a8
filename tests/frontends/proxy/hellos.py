"""ClientHellos as OpenSSL writes them, and as they can be cut."""

from __future__ import annotations

import ssl
import struct
from contextlib import suppress


def hello(name: str | None, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The ClientHello of a caller that asks for ``name``, or for none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    given, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(given, sent, server_hostname=name).do_handshake()
    return sent.read()


def cut(data: bytes, size: int) -> bytes:
    """A hello in records of so many bytes each, in place of one."""
    message = data[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(record(part) for part in parts)


def record(content: bytes, kind: int = 22) -> bytes:
    """A TLS record of that content."""
    return struct.pack("!BHH", kind, 0x0301, len(content)) + content


def made(*extensions: tuple[int, bytes], kind: int = 1) -> bytes:
    """The smallest ClientHello with these extensions, by number and content."""
    packed = b"".join(struct.pack("!HH", number, len(content)) + content for number, content in extensions)
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + struct.pack("!H", len(packed)) + packed
    return record(struct.pack("!B", kind) + len(body).to_bytes(3) + body)


def names(*named: bytes, kind: int = 0) -> tuple[int, bytes]:
    """The extension that asks for these server names."""
    content = b"".join(struct.pack("!BH", kind, len(name)) + name for name in named)
    return 0, struct.pack("!H", len(content)) + content
