"""Garbage collection of an agent's process: no full collection stops the loop for long.

CPython 3.11 to 3.13 looks at every object that can be part of a cycle in a full collection, and nothing else runs
meanwhile: half a second with nine thousand connections, or with a hundred thousand instances. So what survived a full
collection is frozen: the next one leaves it alone, and looks only at what is newer. Cycles that become garbage after
they were frozen are found by a whole collection now and then, which takes a small share of the time.

This concerns the whole process, so an embedded node leaves it to its program. CPython 3.14 collects in small steps.
"""

from __future__ import annotations

import gc
import sys
from time import perf_counter
from typing import Any, Final

import attrs
import trio

#: Share of the time that whole collections may take, and the least time between two (seconds).
_SHARE: Final = 0.001
_SECONDS_MIN: Final = 60.0

#: Full collections after which everything is collected, too: what was frozen and then became garbage stays bounded.
_FREEZES_MAX: Final = 16

#: The last generation of objects: a full collection is one of it.
_OLDEST: Final = 2


async def keep_pauses_short() -> None:
    """Freeze what survives full collections, and collect it all now and then, until cancelled."""
    if sys.version_info >= (3, 14):
        return
    freezing = _Freezing()
    gc.callbacks.append(freezing)
    try:
        wait = _SECONDS_MIN
        while True:
            await trio.sleep(wait)
            began = perf_counter()
            freezing.thaw()
            gc.collect()
            wait = max(_SECONDS_MIN, (perf_counter() - began) / _SHARE)
    finally:
        gc.callbacks.remove(freezing)
        gc.unfreeze()


@attrs.define(eq=False, repr=False)
class _Freezing:
    """Called by the interpreter before and after each collection."""

    _frozen: int = 0  # how often, since all was collected

    def thaw(self) -> None:
        """Have the next full collection look at everything."""
        gc.unfreeze()
        self._frozen = 0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] != _OLDEST:
            return
        if phase == "stop":
            gc.freeze()
            self._frozen += 1
        elif self._frozen >= _FREEZES_MAX:
            self.thaw()
