"""TLS of the stream to an agent on another address: its certificate is checked, and one of our own may be shown."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from gossipreg.config import Attach
from gossipreg.errors import ConfigError
from gossipreg.failures import reason_of

#: What a socket under TLS raises that has nothing to read, or no room.
NOT_READY: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def secured(opened: socket.socket, host: str, attach: Attach) -> ssl.SSLSocket:
    """The connection under TLS, after its handshake. Raises ``OSError``, and ``ConfigError`` for a file of no use."""
    try:
        context = ssl.create_default_context(cafile=attach.tls_ca)
        if attach.tls_cert is not None:
            context.load_cert_chain(attach.tls_cert, attach.tls_key)
    except (OSError, ssl.SSLError) as error:
        opened.close()
        raise ConfigError(f"attach: tls_ca, tls_cert, tls_key: they cannot be used: {reason_of(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context.wrap_socket(opened, server_hostname=host)
