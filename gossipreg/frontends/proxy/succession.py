"""Succession: a new process of the balancer takes over the listening sockets of the one that runs.

The sockets stay open in one of the two at any time, so a caller waits in their queue and is not refused. The
descriptors are passed to the child under their numbers, which a variable of its environment tells; systemd's own
protocol (sd_listen_fds) cannot be used, for it wants the child's process id, which is known only when it runs.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from gossipreg.errors import ConfigError
from gossipreg.frontends.proxy.limits import SUCCESSOR_SECONDS
from gossipreg.frontends.proxy.listeners import listening_socket
from gossipreg.json_documents import read_json
from gossipreg.model import Address

log = logging.getLogger(__name__)

#: Tells a successor which descriptors it has. Not a setting: it lives from one process to the next only.
VARIABLE: Final = "_GOSSIPREG_PROXY_DESCRIPTORS"

_READY: Final = b"ready"


@attrs.define(eq=False, repr=False)
class Inheritance:
    """What a process has from the one that it follows; empty if it follows none."""

    listeners: dict[Address, list[socket.socket]] = attrs.field(factory=dict)  # by the address as it is configured
    metrics: list[socket.socket] = attrs.field(factory=list)
    _ready: int | None = None  # the descriptor on which the other one waits

    @property
    def is_successor(self) -> bool:
        """Whether there is another process, which goes on until this one is ready."""
        return self._ready is not None

    def tell_ready(self) -> None:
        """Tell the other process that this one accepts connections."""
        if self._ready is not None:
            os.write(self._ready, _READY)
            os.close(self._ready)
            self._ready = None

    @classmethod
    def taken(cls, environ: MutableMapping[str, str]) -> Inheritance:
        """Take the descriptors that ``environ`` names, and the variable out of it. Raises ``ConfigError``."""
        text = environ.pop(VARIABLE, None)
        if text is None:
            return cls()
        try:
            told = read_json(text)
            os.set_inheritable(told["ready"], False)
            listeners = {Address.parse(at): list(map(_taken, numbers)) for at, numbers in told["listeners"].items()}
            return cls(listeners, list(map(_taken, told["metrics"])), told["ready"])
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise ConfigError(f"{VARIABLE} is for a balancer that follows another one: unset it ({error})") from None


def _taken(descriptor: int) -> socket.socket:
    found = listening_socket(descriptor)
    if found is None:
        raise ValueError(f"descriptor {descriptor} is no listening socket")
    return found


async def start_successor(
    listeners: Mapping[Address, Sequence[socket.socket]], metrics: Sequence[socket.socket]
) -> trio.Process | None:
    """Start this program anew with these sockets, which stay the caller's; the process once it is ready.

    None, with a log line, if it is not in time, or ends before. Then, and when this is cancelled, it is killed. Raises
    ``OSError`` if no process can be started.
    """
    numbers = {str(address): [each.fileno() for each in found] for address, found in listeners.items()}
    more = [each.fileno() for each in metrics]
    with _pipe() as (waiting, telling):
        told = json.dumps({"ready": telling, "listeners": numbers, "metrics": more})
        try:
            process = await trio.lowlevel.open_process(
                [sys.executable, *sys.orig_argv[1:]],
                env=os.environ | {VARIABLE: told},
                pass_fds=[telling, *more, *(number for each in numbers.values() for number in each)],
            )
        finally:
            os.close(telling)
        is_ready = False
        try:
            with trio.move_on_after(SUCCESSOR_SECONDS):
                await trio.lowlevel.wait_readable(waiting)
                is_ready = os.read(waiting, len(_READY)) == _READY
        finally:
            if not is_ready:
                with trio.CancelScope(shield=True):
                    process.kill()
                    await process.wait()
    if not is_ready:
        log.error("process %d did not take over, and was ended: this one goes on", process.pid)
    return process if is_ready else None


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe, whose writing end the user of it closes."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
