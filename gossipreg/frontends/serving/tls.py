"""TLS of a listener, for HTTP or DNS: its certificate, read again when that is asked for, and connections under it.

A client that shows a certificate of ``client_ca`` is known by the first name in that (a URI, else a DNS name, else the
common name), and may do what the token of that name may: see `Access`. One that shows none needs a token, as in clear.

A new certificate is for new connections; those that there are go on. TLS 1.2 is the oldest version that is spoken (RFC
9325).
"""

from __future__ import annotations

import contextlib
import ssl
from collections import Counter
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from gossipreg.counters import Count
from gossipreg.errors import ConfigError, UnsafeFile
from gossipreg.runtime.files import read_file

#: What is spoken under TLS (RFC 7301): HTTP, or DNS (RFC 7858).
HTTP: Final = ("http/1.1",)
DNS: Final = ("dot",)


@attrs.define(eq=False, repr=False)
class ServerTls:
    """The certificate of a listener, and of which clients it accepts certificates."""

    certificate: Path  # PEM: the listener's own, then those between it and a root
    key: Path  # PEM, without a passphrase; for this user alone
    client_ca: Path | None = None  # PEM: the authorities of clients' certificates; None: none is asked for
    protocols: tuple[str, ...] = HTTP
    failures: Count = Count.HTTP_TLS_FAILED  # counts handshakes that failed
    _context: ssl.SSLContext = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reload()

    def reload(self) -> None:
        """Read the files again. Raises ``ConfigError``, and ``UnsafeFile`` for a key that others can read.

        Then what was read before stays.
        """
        _check_files(self.certificate, self.key, self.client_ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(self.protocols)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"tls_cert {self.certificate}, tls_key {self.key}: they are not a certificate and its key in PEM, "
                f"without a passphrase: {_reason(error)}"
            ) from None
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except (ssl.SSLError, OSError) as error:
                raise ConfigError(
                    f"tls_client_ca {self.client_ca}: it holds no certificate in PEM: {_reason(error)}"
                ) from None
            context.verify_mode = ssl.CERT_OPTIONAL
        self._context = context

    def serve(self, stream: trio.abc.Stream, counters: Counter[str]) -> TlsStream:
        """A client's connection under TLS. Its handshake is made when it is first read."""
        transport = _Transport(stream)
        return TlsStream(
            trio.SSLStream(transport, self._context, server_side=True, https_compatible=True),
            transport,
            counters,
            self.failures,
        )


@attrs.define(eq=False, repr=False)
class _Transport(trio.abc.Stream):
    """What carries a connection under TLS, and whether anything has come over it."""

    _stream: trio.abc.Stream
    has_received: bool = attrs.field(init=False, default=False)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        received = bytes(await self._stream.receive_some(max_bytes))
        self.has_received |= bool(received)
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@attrs.define(eq=False, repr=False)
class TlsStream(trio.abc.HalfCloseableStream):
    """A stream under TLS; the end of what is sent is said by its alert, which a cut connection does not have."""

    _stream: trio.SSLStream[Any]
    _transport: _Transport  # of that stream, which forgets it when its TLS has ended
    _counters: Counter[str]
    _failures: Count
    _is_secure: bool = attrs.field(init=False, default=False)  # the handshake is done
    _has_ended: bool = attrs.field(init=False, default=False)  # we have said that no more will come

    @property
    def client(self) -> str | None:
        """The name in the client's certificate, once the handshake is done; None if it has shown none."""
        if not self._is_secure:
            return None
        certificate = self._stream.getpeercert()
        return name_in(certificate) if certificate else None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for some bytes; none when no more will come. Raises ``BrokenResourceError``.

        After `send_eof` they are still encrypted: they are read only so that the kernel does not reset the connection.
        """
        if self._has_ended:
            return bytes(await self._transport.receive_some(max_bytes))
        await self._handshake()
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``. Raises ``BrokenResourceError``."""
        await self._handshake()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until some more can be sent."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that no more will come, and wait until the client says so, too, or sends something else."""
        self._has_ended = True
        if self._is_secure:
            with contextlib.suppress(trio.BrokenResourceError):
                await self._stream.unwrap()

    async def aclose(self) -> None:
        """Close the connection."""
        await trio.aclose_forcefully(self._transport)

    async def _handshake(self) -> None:
        if self._is_secure:
            return
        try:
            await self._stream.do_handshake()
        except trio.BrokenResourceError:
            if self._transport.has_received:  # else it was opened and closed, as a check of the port does
                self._counters[self._failures] += 1
            raise
        self._is_secure = True


def name_in(certificate: dict[str, Any]) -> str | None:
    """The name by which a client is known, from what ``ssl`` tells of its certificate."""
    names: list[tuple[str, str]] = list(certificate.get("subjectAltName", ()))
    for kind in ("URI", "DNS"):
        for each, name in names:
            if each == kind:
                return name
    for part in certificate.get("subject", ()):
        for field, value in part:
            if field == "commonName":
                return str(value)
    return None


def _check_files(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Raise ``ConfigError`` for a file that cannot be read, or is not safe."""
    for setting, path in (("tls_cert", certificate), ("tls_key", key), ("tls_client_ca", client_ca)):
        if path is None:
            continue
        try:
            read = read_file(path)
            if path == key:
                read.check_secret()
            else:
                read.check_trusted()
        except UnsafeFile as unsafe:
            raise UnsafeFile(f"{setting}: {unsafe}") from None
        except OSError as error:
            raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None


def _no_passphrase() -> str:
    """What ``ssl`` asks for where a key is locked: it must not ask at the terminal."""
    return ""


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error).replace("_", " ").lower()
