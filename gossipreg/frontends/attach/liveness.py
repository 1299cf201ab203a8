"""Liveness: asks an attached process whether it still runs, and has its instances be critical while it does not answer.

The end of a stream tells of a process that dies. One that is stopped, or whose event loop is blocked, keeps its stream:
the kernel acknowledges for it. So the process is asked over the stream, and answers where its work is done. Only a
process that has registered something is asked (docs/decisions/0098).
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Final

import attrs
import trio

from gossipreg.counters import Count
from gossipreg.frontends.attach.bindings import Binding

log = logging.getLogger(__name__)

#: How much later than due this task may run (seconds). Beyond it the agent itself was stopped, and no answer is missed.
_LATE_SECONDS: Final = 0.25

#: Pings are sent at multiples of this (seconds), so that an agent of many processes wakes a few times a second for all.
#: Longer ones would have all processes of a host run at the same moment.
_TICK: Final = 0.25

#: How long an answer that has come may wait to be read (seconds).
_READ_SECONDS: Final = 0.1

#: Instances that a line of the log names.
_NAMED_MAX: Final = 5


@attrs.define(eq=False, repr=False)
class Liveness:
    """Whether one attached process answers, over one stream.

    ``patience``: how long it may take to answer, and how long after an answer it is asked again, at least (seconds).
    ``ask`` sends a ping with a number; ``reads`` says whether the agent reads what the process sends, which it does not
    while it has enough requests of it.
    """

    _binding: Binding
    _patience: float
    _ask: Callable[[int], None]
    _reads: Callable[[], bool]
    _counters: Counter[str]
    _number: int = attrs.field(init=False, default=0)
    _answer: trio.Event = attrs.field(init=False, factory=trio.Event)

    def take_answer(self, number: int) -> None:
        """The process has answered the ping of that number."""
        if number == self._number:
            self._answer.set()

    async def run(self) -> None:
        """Ask until the stream ends. Without patience, only what an earlier stream has found is taken back."""
        binding = self._binding
        if not self._patience:
            binding.set_silence(None)
            return
        while True:
            await binding.wait_registered()
            self._number, self._answer = self._number + 1, trio.Event()
            self._ask(self._number)
            if binding.silence is None and not await self._is_answered():
                binding.set_silence(f"its process has not answered its agent for {self._patience:g} s")
                if binding.ids:
                    self._counters[Count.ATTACH_SILENT] += 1
                    log.warning("an attached process does not answer: %s: critical until it does", self._named())
            await self._answer.wait()
            if binding.silence is not None:
                binding.set_silence(None)
                if binding.ids:
                    log.info("an attached process answers again: %s", self._named())
            await trio.sleep_until(math.ceil((trio.current_time() + self._patience) / _TICK) * _TICK)

    async def _is_answered(self) -> bool:
        """Whether the process answers in time. Time in which the agent did not run, or did not read, is not counted."""
        while True:
            with trio.move_on_after(self._patience) as waiting:
                await self._answer.wait()
                return True
            late = trio.current_time() - waiting.deadline
            with trio.move_on_after(_READ_SECONDS):
                await self._answer.wait()
                return True
            if late < _LATE_SECONDS and self._reads():
                return False

    def _named(self) -> str:
        ids = self._binding.ids
        return ", ".join(islice(ids, _NAMED_MAX)) + (", ..." if len(ids) > _NAMED_MAX else "")
