"""Host thread: the thread in which the node of a program lives that is not trio, whatever kind of node it is.

Three rules keep a caller from ever hanging: every call is a future that is always settled, every method of a node ends
when the node does, and a process that was forked from the node's process cannot call it.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar
from weakref import WeakSet

import attrs

from gossipreg.config import Config
from gossipreg.errors import ConfigError, GossipregError

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Finalizers of a higher priority run first: the node leaves before anything that it offers is taken down.
_BEFORE_OTHERS = 1000

#: How much longer than its drain and its farewell a node may delay the end of its program (seconds): a disk that hangs,
#: a starved thread. With the default settings a program so waits 3.2 s at most.
_LEAVE_PATIENCE = 2.0


@attrs.define(eq=False, repr=False)
class HostThread(ABC):
    """A thread with one node in it, from its start to its end. Settle ``opened`` and ``ended``, whatever happens."""

    config: Config
    pid: int = attrs.field(init=False, factory=os.getpid)
    opened: Future[Any] = attrs.field(init=False, factory=Future)  # the node, or why there is none
    ended: Future[None] = attrs.field(init=False, factory=Future)  # or what ended it
    _unsettled: set[Future[Any]] = attrs.field(init=False, factory=set)  # calls
    _stop_by: float | None = attrs.field(init=False, default=None)  # until when it may leave; None: it is to stay

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one in which the node lives."""
        return os.getpid() != self.pid

    def new_call(self) -> Future[Any]:
        """The future of a new call, which is known until it is settled."""
        future: Future[Any] = Future()
        self._unsettled.add(future)
        future.add_done_callback(self._unsettled.discard)
        return future

    @abstractmethod
    def submit(self, verb: Callable[[], Awaitable[T]]) -> Future[T]:
        """Run ``verb`` where the node lives. Cancelling the future cancels it there; ``NodeClosed`` after its end."""

    @abstractmethod
    def stop(self) -> None:
        """Make the node leave gracefully; ``ended`` is settled when it has. A signal handler may call this."""

    @abstractmethod
    def answer_in(self, loop: Callable[[Callable[[], object]], object]) -> None:
        """Have an agent that asks whether the program runs be answered by what ``loop`` calls in the program's loop."""

    @abstractmethod
    def disown(self) -> None:
        """In a fork: close the copies of the node's sockets and locks."""

    def set_leave_patience(self) -> None:
        """Have the time begin within which the node is to leave."""
        if self._stop_by is None:
            settings = self.config.protocol
            self._stop_by = time.monotonic() + settings.drain_time + settings.leave_linger + _LEAVE_PATIENCE

    @property
    def leave_patience(self) -> float:
        """How long a program that has called `stop` still waits for the node to leave (seconds)."""
        assert self._stop_by is not None, "it was stopped"
        return max(0.0, self._stop_by - time.monotonic())

    def wait_left(self) -> None:
        """Return when the node has ended after `stop`, or when it should have: the program ends all the same."""
        wait([self.ended], self.leave_patience)
        self.warn_unless_left()

    def warn_unless_left(self) -> None:
        """Log that the program goes on without waiting for the node any longer, if it does."""
        if not self.ended.done():
            log.warning("the node has not left in time: its program goes on, and its peers will find that it failed")

    def failure(self) -> GossipregError | None:
        """What ended the node, if it was not asked to end. Bugs are raised."""
        error = self.ended.exception() if self.ended.done() else None
        if error is not None and not isinstance(error, GossipregError):
            raise error
        return error


def enroll(thread: HostThread) -> None:
    """Have the node of ``thread`` leave at the exit of this process, and be detached in its forks."""
    _open_threads.add(thread)
    _leave_when_a_child_exits()


def dismiss(thread: HostThread) -> None:
    """End that: the node has ended."""
    _open_threads.discard(thread)


def settle(future: Future[Any], error: BaseException | None, result: Any = None) -> None:
    """Settle ``future``, unless it is settled or cancelled."""
    if not future.done() and future.set_running_or_notify_cancel():
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def check_threads() -> None:
    """Raise ``ConfigError`` where a thread is none: a node would run only while all else waits, and trio not at all."""
    for library, module in (("gevent", "gevent.monkey"), ("eventlet", "eventlet.patcher")):
        patcher = sys.modules.get(module)
        is_patched = getattr(patcher, "is_module_patched", None) or getattr(patcher, "is_monkey_patched", None)
        if is_patched is not None and (is_patched("threading") or is_patched("thread")):
            raise ConfigError(
                f"{library} has replaced threads, so no node can run in this process: run `gossipreg agent` beside it"
            )


def forked_message(pid: int) -> str:
    """Why a fork of the process ``pid`` cannot use the node that it opened."""
    return (
        f"the node lives in process {pid}, and {os.getpid()} is a fork of that: open one in each worker, after the fork"
    )


#: The modules with whose finalizers the leave is registered, and in which process: a child begins with none of them.
_child_exits: set[tuple[str, int]] = set()

#: Every thread of this process whose node has not ended.
_open_threads: WeakSet[HostThread] = WeakSet()


def _leave_at_exit() -> None:
    """At exit of the interpreter, make the nodes that are still open leave, in bounded time."""
    threads = list(_open_threads)
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.wait_left()


def _leave_when_a_child_exits() -> None:
    """Make the nodes of this process leave also where it is a child that exits without the interpreter's exit.

    The children of multiprocessing, if they are forked, and those of Celery (billiard) end by ``os._exit``, after the
    finalizers of their own that are registered in the child. A recycled worker ends so as well.
    """
    for name in ("multiprocessing.util", "billiard.util"):
        module = sys.modules.get(name)
        if module is not None and (name, os.getpid()) not in _child_exits:
            _child_exits.add((name, os.getpid()))
            module.Finalize(None, _leave_at_exit, exitpriority=_BEFORE_OTHERS)


def _forked() -> None:
    """Detach all nodes in a process that was just forked."""
    for thread in list(_open_threads):
        thread.disown()
    _open_threads.clear()


atexit.register(_leave_at_exit)
os.register_at_fork(after_in_child=_forked)
