"""Node for threaded programs: Flask, Django, scripts. Its methods block; reads do not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Generic, Self, TypeVar

import attrs

from gossipreg.check import Check, CheckReport
from gossipreg.config import Config
from gossipreg.embed.node_reads import NodeReads
from gossipreg.embed.node_thread import NodeThread, forked_message
from gossipreg.embed.signals import leave_first
from gossipreg.embed.watch_steps import WatchSteps
from gossipreg.errors import GossipregError, NodeClosed
from gossipreg.model import Event, Health, Instance, NodeInfo, ServiceChange, ServiceTerm
from gossipreg.policy import Policy, Rule
from gossipreg.spec import InstanceSpec

__all__ = ["BlockingNode", "BlockingWatch", "leave_first", "open_node", "start_node"]

log = logging.getLogger(__name__)

T = TypeVar("T")


@contextmanager
def open_node(config: Config | None = None) -> Iterator[BlockingNode]:
    """Start a node: bind, join in the background, answer at once. On leaving the block the node leaves the cluster.

    Raises ``ConfigError``, ``InsecureError``, ``BindError`` or ``StorageError`` when it cannot start. If the node has
    to stop in the middle because its name is held by another, its verbs raise ``NameConflict``, and so does leaving
    the block: a thread cannot be interrupted.
    """
    node = start_node(config)
    try:
        yield node
    finally:
        node.leave()
        node.check_failure()


def start_node(config: Config | None = None) -> BlockingNode:
    """`open_node` for servers that have one hook for the start and another for the end: call ``leave`` in that.

    A node that was not told to leave does so when the interpreter ends. Raises what `open_node` raises.
    """
    thread = NodeThread.start(config or Config())
    try:
        thread.opened.result()
    except BaseException:
        thread.stop()  # interrupted while opening: it would never be closed
        raise
    return BlockingNode(thread)


@attrs.define(eq=False, repr=False)
class BlockingNode(NodeReads):
    """One member of the cluster, living in this process. Get one from `open_node`.

    Every method may be called from any thread. ``timeout`` is in seconds; ``TimeoutError`` says that it was not enough.
    """

    def info(self) -> NodeInfo:
        """This node about itself."""

        async def info() -> NodeInfo:
            return self._node.info()

        return self._call(info)

    def watch(self, service: str) -> BlockingWatch[ServiceChange]:
        """The service's healthy instances over time: first a snapshot, then diffs."""
        return BlockingWatch(WatchSteps(self._thread, self._node.watch(service)))

    def events(self, service: str | None = None, *, panic: float = 0.0) -> BlockingWatch[tuple[Event, ...]]:
        """Members and instances over time, in batches: first a ``Snapshot``, then what changed.

        With ``panic``, of the instances that `lookup` returns with it.
        """
        return BlockingWatch(WatchSteps(self._thread, self._node.events(service, panic=panic)))

    def wait_for(self, service: str, *, at_least: int = 1, timeout: float | None = None) -> tuple[Instance, ...]:
        """Wait until ``service`` has at least ``at_least`` healthy instances, and return them."""
        return self._call(partial(self._node.wait_for, service, at_least=at_least), timeout)

    def wait_changed(self, service: str | None, index: int, *, timeout: float | None = None) -> None:
        """Return when `index` differs from ``index``. Raises ``NodeClosed``, or what closed the node."""
        self._call(partial(self._node.wait_changed, service, index), timeout)

    def register(
        self,
        service: str,
        *,
        port: int,
        host: str | None = None,
        tags: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        weight: int = 1,
        zone: str | None = None,
        role: str | None = None,
        term: int = 0,
        id: str | None = None,
        checks: Sequence[Check | Mapping[str, object]] = (),
        credentials: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Instance:
        """Register an instance, or replace this node's own one of the same id; returns it as lookups show it now.

        That is with the role that its term allows (``fenced`` below a higher one), with the weight that policies give
        it, and with the health of its checks; `note` says why it is not as it was stated.

        ``host`` and ``zone`` are this node's own unless given. The default id is made of service, member (or the given
        host) and port, so that registering again replaces; a check that stays the same then goes on unchanged. Without
        ``checks`` the instance can serve for as long as this node lives. ``credentials``, what a
        client needs to log in, are sealed under the credential key. With a data directory the registration is on disk
        when this returns. Raises ``InvalidInstance``, ``RecordTooLarge``, ``NodeClosed``, ``StorageError``, and
        ``CredentialsUnavailable`` for credentials without a credential key.
        """
        register = partial(
            self._node.register,
            service,
            port=port,
            host=host,
            tags=tags,
            meta=meta,
            weight=weight,
            zone=zone,
            role=role,
            term=term,
            id=id,
            checks=checks,
            credentials=credentials,
        )
        return self._call(register, timeout)

    def register_spec(self, spec: InstanceSpec, *, timeout: float | None = None) -> Instance:
        """Register what ``spec`` describes, in whatever form it was written. Returns and raises as `register` does."""
        return self._call(partial(self._node.register_spec, spec), timeout)

    def deregister(self, id: str, *, timeout: float | None = None) -> None:
        """Withdraw this node's own instance. Raises ``UnknownInstance``, ``NodeClosed``, ``StorageError``."""
        self._call(partial(self._node.deregister, id), timeout)

    def checks(self, id: str | None = None) -> tuple[CheckReport, ...]:
        """The checks of this node's own instance of that id, or of all of them, in the order of registration.

        Raises ``UnknownInstance``, ``NodeClosed``.
        """

        async def checks() -> tuple[CheckReport, ...]:
            return self._node.checks(id)

        return self._call(checks)

    def heartbeat(
        self,
        id: str,
        *,
        check: str | None = None,
        health: Health = Health.PASSING,
        note: str = "",
        timeout: float | None = None,
    ) -> None:
        """Report the health of this node's own instance to its ttl check of that name, or to all of its ttl checks.

        ``health`` is passing, warning or critical. Raises ``UnknownInstance``, ``NodeClosed``, and
        ``InvalidInstance`` if no check awaits a heartbeat.
        """
        self._call(partial(self._node.heartbeat, id, check=check, health=health, note=note), timeout)

    def set_maintenance(
        self,
        id: str,
        reason: str | None,
        *,
        timeout: float | None = None,
    ) -> Instance:
        """Put this node's own instance into maintenance, with a ``reason`` that all nodes see; None ends that.

        It stays in maintenance over a restart, and when it is registered again. Its checks go on. Returns it as lookups
        show it.
        Raises ``UnknownInstance``, ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        return self._call(partial(self._node.set_maintenance, id, reason), timeout)

    def set_policy(self, rule: Rule, *, timeout: float | None = None) -> Policy:
        """Put ``rule`` into force on every node, in place of any of its key; returns it as it is in force now.

        With a data directory it is on disk before it is published. Raises ``InvalidPolicy``, ``NodeClosed``, and
        ``StorageError`` if the disk refuses it: then it is in force nowhere.
        """
        return self._call(partial(self._node.set_policy, rule), timeout)

    def remove_policy(self, key: str, *, timeout: float | None = None) -> None:
        """Remove the policy of that key on every node. Raises ``UnknownPolicy``, ``NodeClosed``, ``StorageError``."""
        self._call(partial(self._node.remove_policy, key), timeout)

    def forget(self, name: str, *, timeout: float | None = None) -> None:
        """Have a failed member forgotten on every node at once, with its instances.

        Nothing happens if it has left. A member that lives after all, behind a split, is back when it is heard again.
        Raises ``UnknownMember``, ``MemberPresent`` for one that is alive or suspect, and ``NodeClosed``.
        """
        self._call(partial(self._node.forget, name), timeout)

    def reset_term(self, service: str, *, timeout: float | None = None) -> ServiceTerm:
        """Have the terms of ``service`` restart on every node from the highest that its instances state now.

        The only way to lower a term that was given by mistake: deregister the instance that states it, then reset. The
        term keeps by which node and when it was reset. Raises ``UnknownTerm``, ``NotJoined``, ``NodeClosed``, and
        ``StorageError`` if this node's disk refuses it: then nothing has changed.
        """
        return self._call(partial(self._node.reset_term, service), timeout)

    @property
    def drained(self) -> str | None:
        """Why this node was told to drain, which may be empty; None if it was not."""
        return self._node.drained

    def drain(self, reason: str = "", *, timeout: float | None = None) -> None:
        """Give every instance of this node the weight 0 on every node, until `undrain`; the node stays a member.

        Nothing else changes. With a data directory it outlives a restart, with its ``reason`` (at most 160 characters,
        for people). Idempotent. Raises ``InvalidInstance``, ``NodeClosed``, ``StorageError``.
        """
        self._call(partial(self._node.drain, reason), timeout)

    def undrain(self, *, timeout: float | None = None) -> None:
        """End `drain`: every instance has the weight that it was registered with. Idempotent.

        Raises ``NodeClosed``, ``StorageError``.
        """
        self._call(self._node.undrain, timeout)

    def leave(self, *, timeout: float | None = None) -> None:
        """Leave gracefully: drain, announce the departure, wait until that has spread, close. Idempotent."""
        if self._thread.is_forked:
            return  # it is not here, and the process that has it goes on
        self._thread.stop()
        self._thread.ended.exception(timeout)

    def wait_closed(self, *, timeout: float | None = None) -> None:
        """Return when the node has left or was closed. Raises ``NameConflict`` if it had to yield its name."""
        if self._thread.is_forked:
            raise NodeClosed(forked_message(self._thread.pid))
        self._thread.ended.result(timeout)

    def check_failure(self) -> None:
        """Raise what closed the node, if it was closed by an error."""
        failure = self._thread.failure()
        if failure is not None:
            raise failure

    def _call(self, verb: Callable[[], Awaitable[T]], timeout: float | None = None) -> T:
        future = self._thread.submit(verb)
        try:
            return future.result(timeout)
        finally:
            future.cancel()  # after a timeout or Ctrl-C; what is done stays done


class BlockingWatch(Generic[T]):
    """What changes, over time: ``for change in node.watch("orders")``, in one thread at a time.

    Ends when the node closes; raises what closed it, if that was an error. A timeout loses nothing: the next call
    gives what came meanwhile.
    """

    def __init__(self, steps: WatchSteps[T]) -> None:
        self._steps = steps

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        change = self._steps.result(None)
        if change is None:
            raise StopIteration
        return change

    def get(self, timeout: float | None = None) -> T:
        """The next change. Raises ``TimeoutError`` after ``timeout`` seconds, ``NodeClosed`` when there are no more."""
        change = self._steps.result(timeout)
        if change is None:
            raise NodeClosed("nothing more will change: the node is closed, or the watch")
        return change

    def each(self, callback: Callable[[T], object]) -> Self:
        """Call ``callback`` with every change from now on, in a thread of its own, until the watch or node is closed.

        What it raises is logged, and it is called again. It may use the node as any other thread may.
        """
        threading.Thread(target=self._tell, args=(callback,), name="gossipreg watch", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop watching: a waiting call ends as if there were no more changes. From any thread."""
        self._steps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, callback: Callable[[T], object]) -> None:
        try:
            for change in self:
                try:
                    callback(change)
                except Exception:
                    log.exception("a watch called back, and that failed")
        except GossipregError as error:
            log.error("a watch ends: %s", error)  # noqa: TRY400 - a sentence for users
