"""Addresses of listeners: a host and a port, or a socket file.

Named tuples: what asks an agent one question reads an address, and attrs takes longer to import than the question.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from gossipreg import hosts, limits
from gossipreg.errors import ConfigError
from gossipreg.text import is_text, shown

if TYPE_CHECKING:
    from pathlib import Path


class Address(NamedTuple):
    """Where a socket listens: an IP address as text, and a port. It prints as ``host:port``, IPv6 in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, default_port: int | None = None, any_host: bool = False) -> Address:
        """Read ``HOST:PORT``, ``[V6]:PORT`` or, with ``default_port``, a bare ``HOST``.

        The host may be a name; a caller that needs an IP address resolves it. Raises ``ConfigError`` naming ``text``,
        also for a host that resolvers read in different ways, such as ``127.1``. With ``any_host`` the host was
        checked before, or the caller checks it.
        """
        host, colon, port = text.rpartition(":")
        if text.startswith("[") and text.endswith("]"):
            host, colon, port = text, "", ""
        elif not colon:
            host, port = text, ""
        elif ":" in host and not (host.startswith("[") and host.endswith("]")):
            host, colon, port = text, "", ""  # a bare IPv6 address
        host = host.removeprefix("[").removesuffix("]")
        if ":" in host and not _is_ipv6(host):
            raise ConfigError(f"cannot read {shown(text)} as an address: write HOST:PORT, for example 127.0.0.1:7940")
        if not colon and default_port is not None:
            port = str(default_port)
        if not host or len(host) > limits.HOST_CHARS_MAX or any(c.isspace() or c in "[]/" for c in host):
            raise ConfigError(f"cannot read {shown(text)} as an address: write HOST:PORT, for example 127.0.0.1:7940")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
            raise ConfigError(f"cannot read the port of {shown(text)}: write HOST:PORT with a port from 0 to 65535")
        flaw = None if any_host else hosts.listening_flaw(host)
        if flaw is not None:
            raise ConfigError(f"the host of {shown(text)} is {flaw}")
        return cls(host, int(port))

    def check_called(self) -> None:
        """Raise ``ConfigError`` unless this can be called: port 0 stands for any free port, for a listener only."""
        if self.port == 0:
            raise ConfigError(f"{shown(str(self))} cannot be called: name a port from 1 to 65535")


class SocketFile(NamedTuple):
    """Where a socket listens for processes of this machine only: a file. It prints as ``unix:/path``."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @classmethod
    def parse(cls, text: str) -> SocketFile:
        """Read ``unix:/path``. Raises ``ConfigError`` naming ``text``."""
        path = text.removeprefix("unix:")
        if path == text or not path.startswith("/") or "\0" in path or not is_text(path, 0, len(path)):
            raise ConfigError(f"cannot read {shown(text)} as a socket file: write unix:/path, from the root on")
        if len(path.encode()) > limits.SOCKET_PATH_BYTES_MAX:
            raise ConfigError(
                f"the path of {shown(text)} is over {limits.SOCKET_PATH_BYTES_MAX} bytes: sockets need less"
            )
        from pathlib import Path  # addresses are read at each start of the command, and few of them are files

        return cls(Path(path))


def place(text: str) -> Address | SocketFile:
    """Read ``HOST:PORT`` or ``unix:/path``. Raises ``ConfigError`` naming ``text``."""
    return SocketFile.parse(text) if text.startswith("unix:") else Address.parse(text)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
