"""Permission: what the caller of the present task may do with the node's own instances, checked while they are locked.

A caller that may change some services only cannot be checked before: what is registered under an id may have become
something else by the time that its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from gossipreg.model import Instance

#: Raises if the caller may not replace, change or withdraw an own instance. None: it may.
permission: Final[ContextVar[Callable[[Instance], None] | None]] = ContextVar("permission", default=None)
