"""Processes and sockets of this host, as Linux shows them below ``/proc``. Elsewhere nothing is found."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, NamedTuple

from gossipreg.cli.doctor.facts import ListeningProgram
from gossipreg.model import Address, SocketFile

_PROC: Final = Path("/proc")

#: The state of a TCP socket that listens (Linux, ``TCP_LISTEN``).
_LISTENING: Final = "0A"

#: Characters of a command line that are shown.
_COMMAND_MAX: Final = 120


class ListeningSocket(NamedTuple):
    """A socket of this host: its address, its user and its inode."""

    address: Address
    uid: int
    inode: int
    drops: int  # packets that the kernel dropped; 0 for TCP


def listening(proc: Path = _PROC) -> Iterator[ListeningSocket]:
    """Every TCP socket that listens."""
    for each, state in _sockets(proc, "tcp", "tcp6"):
        if state == _LISTENING:
            yield each


def dropped(address: Address, proc: Path = _PROC) -> int | None:
    """How many packets the kernel dropped at the UDP socket that gets those to ``address``; None if there is none."""
    found = [each.drops for each, _ in _sockets(proc, "udp", "udp6") if _gets(each.address, address)]
    return max(found, default=None)


def program_at(address: Address | SocketFile, proc: Path = _PROC) -> ListeningProgram | None:
    """What listens at ``address``; None if nothing does, or it cannot be found out."""
    found: list[tuple[int | None, int]]
    if isinstance(address, SocketFile):
        found = [(None, inode) for inode in _unix_inodes(proc, str(address.path))]
    else:
        found = [(each.uid, each.inode) for each in listening(proc) if _gets(each.address, address)]
    for uid, inode in found:
        pid = _holder(proc, inode)
        return ListeningProgram(uid) if pid is None else _program(proc, pid)
    return None


def agents(first: int | None = None, proc: Path = _PROC) -> Iterator[Address]:
    """The addresses at which processes that look like agents may serve HTTP, and that this user may look into.

    Those of the process ``first`` come first. Ports at which packets are received, too, are of gossip or DNS: a request
    there would be counted and logged as a mistake of another host.
    """
    packets = {each.address for each, _ in _sockets(proc, "udp", "udp6")}
    sockets = {each.inode: each.address for each in listening(proc) if each.address not in packets}
    for pid in sorted(_pids(proc), key=lambda each: each != first):
        command = _command(proc, pid)
        if "gossipreg" in command and " agent" in command:
            yield from sorted(sockets[inode] for inode in _inodes(proc, pid) if inode in sockets)


def receive_buffer_max(proc: Path = _PROC) -> int | None:
    """``net.core.rmem_max`` (bytes)."""
    with suppress(OSError, ValueError):
        return int((proc / "sys/net/core/rmem_max").read_text())
    return None


def _gets(bound: Address, address: Address) -> bool:
    """Whether a socket bound to ``bound`` gets what is sent to ``address``."""
    host = "127.0.0.1" if address.host == "localhost" else address.host
    return bound.port == address.port and bound.host in (host, "0.0.0.0", "::")  # noqa: S104 -- compared, not bound


def _sockets(proc: Path, *names: str) -> Iterator[tuple[ListeningSocket, str]]:
    for name in names:
        with suppress(OSError):
            for line in (proc / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                drops = int(fields[12]) if name.startswith("udp") and len(fields) > 12 else 0
                yield ListeningSocket(_address(fields[1]), int(fields[7]), int(fields[9]), drops), fields[3]


def _address(text: str) -> Address:
    """An address as the kernel writes it: words of 32 bits in the machine's byte order, in hexadecimal."""
    host, _, port = text.partition(":")
    words = b"".join(bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
    ip: IPv4Address | IPv6Address = IPv4Address(words) if len(words) == 4 else IPv6Address(words)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return Address(str(ip), int(port, 16))


def _unix_inodes(proc: Path, path: str) -> Iterator[int]:
    with suppress(OSError):
        for line in (proc / "net/unix").read_text(errors="replace").splitlines()[1:]:
            fields = line.split(maxsplit=7)
            if len(fields) == 8 and fields[7] == path:
                yield int(fields[6])


def _pids(proc: Path) -> list[int]:
    with suppress(OSError):
        return sorted(int(each.name) for each in proc.iterdir() if each.name.isdecimal())
    return []


def _holder(proc: Path, inode: int) -> int | None:
    """The process that has the socket open; None if this user may not see that."""
    return next((pid for pid in _pids(proc) if inode in _inodes(proc, pid)), None)


def _inodes(proc: Path, pid: int) -> set[int]:
    found = set()
    with suppress(OSError):
        for each in (proc / str(pid) / "fd").iterdir():
            with suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(each)):
                    found.add(int(match[1]))
    return found


def _command(proc: Path, pid: int) -> str:
    with suppress(OSError):
        return (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def _program(proc: Path, pid: int) -> ListeningProgram:
    folder = proc / str(pid)
    uid = most = count = None
    with suppress(OSError):
        uid = folder.stat().st_uid
    with suppress(OSError):
        if match := re.search(r"^Max open files\s+(\d+)", (folder / "limits").read_text(), re.MULTILINE):
            most = int(match[1])
    with suppress(OSError):
        count = sum(1 for _ in (folder / "fd").iterdir())
    return ListeningProgram(uid, pid, _command(proc, pid)[:_COMMAND_MAX], most, count)
