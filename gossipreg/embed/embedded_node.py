"""Embedded node: a node that lives in a thread of its own, as programs of every kind hold it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import attrs

from gossipreg.embed.host_thread import HostThread, forked_message
from gossipreg.errors import NodeClosed

if TYPE_CHECKING:
    from gossipreg.embed.attached.verbs import AttachedVerbs
    from gossipreg.runtime.node import Node


@attrs.define(eq=False, repr=False)
class EmbeddedNode:
    """A node and the thread that it runs in. The methods of a node are derived: see ``tests/embed/node_modules.py``."""

    _thread: HostThread
    _node: Node | AttachedVerbs = attrs.field(init=False)  # so a type checker holds the second to the first's methods

    def __attrs_post_init__(self) -> None:
        self._node = self._thread.opened.result()
        _open.add(self)

    def _detach(self) -> None:
        """In a fork: make all reads fail, since the copy of the node does not change any more."""
        self._node = _ForkedNode(self._thread.pid)  # type: ignore[assignment]  # all of it fails


class _ForkedNode:
    """Replaces the node in a fork of its process, so that no read has to check the process id."""

    is_closed = True

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __getattr__(self, name: str) -> Any:
        raise NodeClosed(forked_message(self._pid))


_open: WeakSet[EmbeddedNode] = WeakSet()


def _forked() -> None:
    for node in list(_open):
        node._detach()  # noqa: SLF001 - of this module
    _open.clear()


os.register_at_fork(after_in_child=_forked)
