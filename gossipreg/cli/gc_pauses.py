"""GC pauses: garbage collection of an agent's process such that no full collection stops the loop for long.

CPython 3.11 to 3.13 looks at every object that can be part of a cycle in a full collection, and nothing else runs
meanwhile: half a second with nine thousand connections, or with a hundred thousand instances. So what survived a full
collection is frozen: the next one leaves it alone, and looks only at what is newer. Cycles that become garbage after
they were frozen are found by a whole collection: periodically, and when memory has grown since the last one. The
measure is the interpreter's number of allocated blocks: to read it takes some 0.3 ms with four million, whereas
counting the frozen objects takes as long as collecting them.

This concerns the whole process, so an embedded node leaves it to its program. CPython 3.14 collects in small steps.
"""

from __future__ import annotations

import gc
import sys
from typing import Any, Final

import attrs
import trio

#: How often everything is collected (seconds), and how often where that stops the loop for more than a moment.
_SECONDS: Final = 600.0
_SECONDS_IF_LARGE: Final = 3600.0

#: Allocated blocks of which a whole collection takes some 100 ms: about three for each object that it looks at.
_LARGE: Final = 600_000

#: By how many blocks memory may exceed twice what it was after the last whole collection: some 50 MiB. Beyond that
#: everything is collected, since some of it may be garbage.
_ROOM: Final = 800_000

#: After how many collections of each generation the next is collected. Since survivors are frozen, to collect more
#: often costs hardly more, and each full collection has fewer objects to look at: 20,000 instead of 70,000.
_THRESHOLDS: Final = (700, 10, 2)

#: The last generation of objects: a full collection is one of it.
_OLDEST: Final = 2


async def keep_pauses_short() -> None:
    """Freeze what survives full collections, and collect it all periodically, until cancelled."""
    if sys.version_info >= (3, 14):
        return
    freezing, thresholds = _Freezing(), gc.get_threshold()
    gc.freeze()  # what the start has made is in use
    gc.callbacks.append(freezing)
    gc.set_threshold(*_THRESHOLDS)
    try:
        collected = trio.current_time()
        while True:
            await trio.sleep(_SECONDS)
            since = trio.current_time() - collected
            if since >= _SECONDS_IF_LARGE or sys.getallocatedblocks() <= _LARGE:
                gc.unfreeze()
                gc.collect()
                collected = trio.current_time()
    finally:
        gc.callbacks.remove(freezing)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _room() -> int:
    """Allocated blocks beyond which everything is collected again, if it has just been."""
    return 2 * sys.getallocatedblocks() + _ROOM


@attrs.define(eq=False, repr=False)
class _Freezing:
    """Called by the interpreter before and after each collection."""

    _most: int = attrs.field(factory=_room)  # allocated blocks, beyond which everything is collected
    _is_whole: bool = False  # the collection that is due looks at everything

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] != _OLDEST:
            return
        if phase == "start":
            if self._is_whole:
                gc.unfreeze()
            return
        gc.freeze()
        if self._is_whole:
            self._most = _room()
        self._is_whole = sys.getallocatedblocks() > self._most
