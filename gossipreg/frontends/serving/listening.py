"""Listening at an address or a socket file, and the reasons why that can fail."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from gossipreg.errors import BindError
from gossipreg.model import Address, SocketFile

#: Connections that the kernel keeps until we accept them: a thousand clients that come back at once.
_BACKLOG = 1024


async def listen(asked: Address, *, what: str = "HTTP", flag: str = "--http") -> list[trio.SocketListener]:
    """Listeners for ``what`` at ``asked``; port 0 takes any free one. Raises ``BindError`` if it cannot be had.

    ``flag`` is the option that names the address.
    """
    try:
        return await trio.open_tcp_listeners(asked.port, host=asked.host, backlog=_BACKLOG)
    except OSError as error:
        reason, remedy = explain(error, flag=flag)
        raise BindError(f"cannot listen on {asked} for {what}: {reason}: {remedy}") from None


def explain(error: OSError, *, flag: str = "--http") -> tuple[str, str]:
    """Why an address cannot be had, and what to do about it, which is to pass another one with ``flag``."""
    if isinstance(error, socket.gaierror):
        return "no such host name", f"pass {flag} HOST:PORT with an address of this machine"
    match error.errno:
        case errno.EADDRINUSE:
            return "address already in use", f"stop the other program or pass {flag} HOST:PORT"
        case errno.EADDRNOTAVAIL:
            return "not an address of this machine", f"pass {flag} HOST:PORT with one that is"
        case errno.EACCES:
            return "permission denied", f"pass {flag} HOST:PORT with a port above 1023"
        case _:
            return (error.strerror or str(error)).lower(), f"pass {flag} HOST:PORT"


@contextmanager
def listen_at_file(
    asked: SocketFile, *, what: str = "HTTP", flag: str = "--http", group: int | None = None
) -> Iterator[trio.SocketListener]:
    """A listener for ``what`` at a socket file that only its owner, and ``group``, may open; it is gone afterwards.

    A stale socket, as a killed process leaves it, is replaced. Raises ``BindError``, which names ``flag``.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mode = 0o600 if group is None else 0o660
    try:
        os.fchmod(opened.fileno(), 0o600)  # Linux gives the file this mode; to change it later could follow a link
        _bind(opened, asked.path, what, flag)
        made = os.lstat(asked.path)
        if group is not None:
            os.chown(asked.path, -1, group)
        if stat.S_IMODE(made.st_mode) != mode:
            os.chmod(asked.path, mode)  # before a client can connect, which takes `listen`
    except OSError as error:
        opened.close()
        reason = (error.strerror or str(error)).lower()
        raise BindError(f"cannot listen on {asked} for {what}: {reason}: pass {flag} unix:PATH with another") from None
    except BindError:
        opened.close()
        raise
    opened.setblocking(False)
    opened.listen(_BACKLOG)
    try:
        yield trio.SocketListener(trio.socket.from_stdlib_socket(opened))
    finally:
        opened.close()
        with suppress(OSError):  # it was removed already
            if os.path.samestat(os.lstat(asked.path), made):
                asked.path.unlink()


def _bind(opened: socket.socket, path: Path, what: str, flag: str) -> None:
    try:
        opened.bind(str(path))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _clear(path, what, flag)
        opened.bind(str(path))


def _clear(path: Path, what: str, flag: str) -> None:
    """Remove a stale socket file. Raises ``BindError`` for any other file."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise BindError(f"cannot listen on unix:{path} for {what}: there is another file: remove it or name another")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # its queue is full: a busy program listens there
    raise BindError(
        f"cannot listen on unix:{path} for {what}: another program listens there: stop it or pass {flag} unix:PATH"
    )
