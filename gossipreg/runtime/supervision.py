"""Supervision: an unforeseen exception of one task is logged and counted, and ends neither other tasks nor the node.

Whatever a user, a peer or an outsider can cause must be handled where it happens. This is for the rest: a bug costs
the one check, connection or write in which it occurs. Only the engine's own state ends the node, where it cannot be
trusted any more: an assertion has failed in a call of the engine, or any exception has come out of a call by which it
takes what peers send, or runs a timer. What is raised there before anything has changed, it keeps to itself
(docs/decisions/0092). All else is passed on, whichever task made the call.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol

import attrs
import trio

from gossipreg.counters import Count
from gossipreg.errors import GossipregError

log = logging.getLogger(__name__)

#: How long a task that must go on waits before it is restarted (seconds), so that a bug that occurs at once every time
#: neither keeps the loop busy nor fills the log.
RETRY_SECONDS: Final = 5.0

#: How often each bug occurred, by the node's counters and by the place in the code.
_occurrences: Final[dict[int, Counter[str]]] = {}

_ENGINE: Final = "gossipreg.protocol.engine"

#: The engine's calls that no user makes.
_INPUTS: Final = frozenset({"receive", "stream_frame", "stream_ended", "handle_timeout", "unsent"})


def count_bug(counters: Counter[str], error: BaseException) -> bool:
    """Count ``error`` as a bug. Returns whether it is to be logged.

    A client or a peer may be able to trigger the same one again and again, so each is logged the first time, the
    second, the fourth, the eighth. Raises ``error`` if an invariant of the engine did not hold.
    """
    if is_broken_invariant(error):
        raise error
    counters[Count.TASKS_FAILED] += 1
    return _is_to_be_logged(counters, error)


def _is_to_be_logged(counters: Counter[str], error: BaseException) -> bool:
    times = 1
    for place in dict.fromkeys(map(_place, leaves(error))):
        times = _times(counters, place)
    return times & (times - 1) == 0


def log_contained(counters: Counter[str], what: str, error: BaseException) -> None:
    """Log ``error``, for which the engine has left out ``what``, unless it was just logged; it has counted it."""
    if _is_to_be_logged(counters, error):
        log.error("%s is left out, by a bug in gossipreg; nothing has changed, the node goes on", what, exc_info=error)


def log_bug(counters: Counter[str], what: str, error: BaseException) -> None:
    """Log ``error`` as a bug in ``what``, unless it was just logged, and count it; otherwise as `count_bug`."""
    if count_bug(counters, error):
        log.error("%s failed, by a bug in gossipreg; the node goes on", what, exc_info=error)


def is_broken_invariant(error: BaseException) -> bool:
    """Whether an exception came out of the engine after which its state cannot be relied on any more."""
    return any(map(_is_of_engine, leaves(error)))


def _is_of_engine(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if trace.tb_frame.f_globals.get("__name__") == _ENGINE:
            is_bug = isinstance(error, AssertionError) or code.co_name in _INPUTS
            return is_bug and isinstance(error, Exception)
        trace = trace.tb_next
    return False


async def run_contained(counters: Counter[str], what: str, work: Callable[[], Awaitable[object]]) -> None:
    """Do ``work``, which is called ``what`` in the log. Raises nothing but cancellation and broken invariants."""
    try:
        await work()
    except* Exception as errors:  # noqa: BLE001 - it is logged
        log_bug(counters, what, errors)


async def run_restarting(counters: Counter[str], what: str, work: Callable[[], Awaitable[object]]) -> None:
    """Do ``work`` until it returns; restart it, after a while, whenever it fails. Raises as `run_contained` does."""
    while True:
        try:
            await work()
        except* Exception as errors:  # noqa: BLE001 - it is logged
            log_bug(counters, what, errors)
        else:
            return
        await trio.sleep(RETRY_SECONDS)


class RestartableTask(Protocol):
    """Work that calls ``task_status.started()`` when it has caught up, and then goes on."""

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: D102 - the class says it
        ...


async def start_restarting(
    counters: Counter[str],
    what: str,
    work: RestartableTask,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `run_restarting`, for a task begun by ``nursery.start``; raises a ``GossipregError``, which is no bug.

    Starts when ``work`` does, or when it has failed for the first time: what waits for it must not wait forever.
    """
    started = _Started(task_status)
    while True:
        try:
            await work(task_status=started)
        except* GossipregError:
            raise
        except* Exception as errors:  # noqa: BLE001 - it is logged
            log_bug(counters, what, errors)
        else:
            return
        started.started()
        await trio.sleep(RETRY_SECONDS)


@attrs.define(eq=False, repr=False)
class _Started:
    """A task's status that may be reported more than once."""

    _status: trio.TaskStatus[None]
    _is_told: bool = False

    def started(self, value: None = None) -> None:
        if not self._is_told:
            self._is_told = True
            self._status.started(value)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, also those in groups in it; an exception that is no group alone."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def _place(error: BaseException) -> str:
    """Where in the code an exception was raised, and of what type it is."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno} "
    return f"{where}{type(error).__name__}"


def _times(counters: Counter[str], place: str) -> int:
    """How often the bug at ``place`` has occurred by now."""
    key = id(counters)
    if key not in _occurrences:
        _occurrences[key] = Counter()
        weakref.finalize(counters, _occurrences.pop, key, None)
    _occurrences[key][place] += 1
    return _occurrences[key][place]
