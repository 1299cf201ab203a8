"""Attached thread: the thread of an attached node, and calls to it.

A verb of the node is a coroutine that waits for futures only, so it needs no event loop (`steps`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Self, TypeVar

import attrs

from gossipreg.config import Config
from gossipreg.embed.attached.link import Link
from gossipreg.embed.attached.steps import Steps
from gossipreg.embed.attached.verbs import AttachedVerbs
from gossipreg.embed.host_thread import HostThread, check_threads, dismiss, enroll, forked_message, settle
from gossipreg.errors import GossipregError, NodeClosed

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class AttachedThread(HostThread):
    """The link to the agent in a thread, from `start` to its end."""

    _link: Link = attrs.field(init=False)
    _node: AttachedVerbs = attrs.field(init=False)

    @classmethod
    def start(cls, config: Config) -> Self:
        """Attach in a new thread; ``opened`` is settled when that is done, or cannot be. Raises ``ConfigError``."""
        check_threads()
        assert config.attach is not None, "there is an agent to attach to"
        thread = cls(config)
        thread._node = AttachedVerbs(config.attach)
        thread._link = thread._node.link
        enroll(thread)
        # A daemon: a forgotten node must not keep the interpreter from exiting. See `enroll`.
        threading.Thread(target=thread._run, name="gossipreg attached", daemon=True).start()
        return thread

    def submit(self, verb: Callable[[], Awaitable[T]]) -> Future[T]:
        """See `HostThread.submit`."""
        future: Future[T] = self.new_call()
        if self.is_forked:
            future.set_exception(NodeClosed(forked_message(self.pid)))
        elif self.ended.done():
            future.set_exception(NodeClosed("the node is closed: open a new one"))
        else:
            Steps(verb(), future).begin()  # type: ignore[arg-type]  # a coroutine is what verbs are
        return future

    def stop(self) -> None:
        """See `HostThread.stop`."""
        self.set_leave_patience()
        if not self.is_forked:
            self._link.stop()

    def answer_in(self, loop: Callable[[Callable[[], object]], object]) -> None:
        """See `HostThread.answer_in`."""
        self._link.run_in_program = loop

    def disown(self) -> None:
        """See `HostThread.disown`."""
        self._link.close()

    # In the thread

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._link.run(self._opened, self._refused)
            if self._node.has_registered:
                time.sleep(self.config.protocol.drain_time)  # callers that chose it before are served meanwhile
        except BaseException as error:  # noqa: BLE001 - it is raised where the node is opened, used or closed
            failure = error
        self._link.end()
        self._link.close()
        if not self.opened.done():
            self.opened.set_exception(failure or NodeClosed("the node was stopped before it was open"))
        settle(self.ended, failure)
        dismiss(self)

    def _opened(self) -> None:
        self.opened.set_result(self._node)

    def _refused(self, error: GossipregError) -> None:
        self.opened.set_exception(error)
