"""Node for trio programs: a member that runs in the program's own loop, or one that is attached to the host's agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from gossipreg.config import Config

if TYPE_CHECKING:
    from gossipreg.runtime.node import Node

__all__ = ["open_node"]


def open_node(config: Config | None = None) -> AbstractAsyncContextManager[Node]:
    """Start a node: bind, join in the background, answer at once. On leaving the block the node leaves the cluster.

    Raises ``ConfigError``, ``InsecureError``, ``BindError`` or ``StorageError`` when it cannot start. If the node has
    to stop in the middle because its name is held by another, the block is cancelled and ``NameConflict`` raised.

    With ``attach`` in ``config`` the process becomes no member: the node is an `AttachedNode`, which has the same
    methods, and ``AgentUnreachable`` or ``AgentRefused`` is raised when it cannot start.
    """
    if config is not None and config.attach is not None:
        attached: Any = _attached(config)
        return attached  # type: ignore[no-any-return]  # a test compares the methods of the two classes
    from gossipreg.runtime.opening import open_node as open_member

    return open_member(config)


@asynccontextmanager
async def _attached(config: Config) -> AsyncIterator[Any]:
    import trio

    from gossipreg.embed.starting import start_thread
    from gossipreg.embed.trio_calls import wait_done, wait_left
    from gossipreg.embed.trio_node import AttachedNode

    thread = start_thread(config)
    thread.answer_in(trio.lowlevel.current_trio_token().run_sync_soon)
    try:
        await wait_done(thread.opened)
        yield AttachedNode(thread)
    finally:
        if not thread.is_forked:  # else it is not here, and the process that has it goes on
            thread.stop()
            with trio.CancelScope(shield=True):  # it leaves, even when cancelled; then the cancellation goes on
                await wait_left(thread)
