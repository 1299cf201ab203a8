"""Ports in use: which of an agent's addresses other programs have, and which it could use instead."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from typing import Final

from gossipreg.agent_config import AgentConfig
from gossipreg.model import Address, place

#: Ports above one in use that are tried for an example.
_TRIES: Final = 100

_LISTENERS: Final = ("bind", "http", "dns", "dns_tls")


def of(config: AgentConfig) -> Mapping[str, Address]:
    """The addresses that other programs use, by flag."""
    taken = {}
    for name in _LISTENERS:
        text = getattr(config, name)
        where = None if text == "off" else place(text)
        if isinstance(where, Address) and where.port and _is_in_use(where, datagrams=name in ("bind", "dns")):
            taken[f"--{name.replace('_', '-')}"] = where
    return taken


def sentence(taken: Mapping[str, Address]) -> str:
    """What to say of them, with a command line that works: other ports, free at this moment."""
    named = ", ".join(f"{address} ({flag})" for flag, address in taken.items())
    free = _free(taken)
    example = " ".join(f"{flag} {address}" for flag, address in free.items())
    several = len(taken) > 1
    stop = "other programs: stop them" if several else "another program: stop it"
    off = [f"{flag} off" for flag in taken if flag != "--bind"]
    without = f"; {' and '.join(off)} {'do' if len(off) > 1 else 'does'} without" if off else ""
    return f"cannot listen on {named}: in use by {stop}, or pass for example {example}{without}"


def _free(taken: Mapping[str, Address]) -> dict[str, Address]:
    """A free address for each, on the same host. The first port above the old one, or one that the kernel gives."""
    free: dict[str, Address] = {}
    for flag, address in taken.items():
        for other in _others(address):
            if other not in free.values() and not _is_in_use(other, datagrams=True):
                free[flag] = other
                break
    return free


def _others(address: Address) -> Iterator[Address]:
    for port in range(address.port + 1, min(address.port + 1 + _TRIES, 65_536)):
        yield address._replace(port=port)
    yield address._replace(port=0)


def _is_in_use(address: Address, *, datagrams: bool) -> bool:
    for kind in (socket.SOCK_STREAM, *([socket.SOCK_DGRAM] if datagrams else [])):
        try:
            family, _, _, _, target = socket.getaddrinfo(address.host, address.port, type=kind)[0]
            with socket.socket(family, kind) as probe:
                if kind is socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(target)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
        except UnicodeError:  # no host name
            pass
    return False
