"""Node for threaded programs: Flask, Django, scripts. Its methods block; reads do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gossipreg.config import Config
from gossipreg.embed.blocking_calls import BlockingWatch
from gossipreg.embed.blocking_node import BlockingNode
from gossipreg.embed.signals import leave_first
from gossipreg.embed.starting import start_thread

__all__ = ["BlockingNode", "BlockingWatch", "leave_first", "open_node", "start_node"]


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
    thread = start_thread(config)
    try:
        thread.opened.result()
    except BaseException:
        thread.stop()  # interrupted while opening: it would never be closed
        raise
    return BlockingNode(thread)
