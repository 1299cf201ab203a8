"""Waiting in drills: until a condition holds, and for many answers at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import trio

from tests.drills.asking import NoAnswer

#: How long anything may take before a drill has failed (seconds), unless it says otherwise. The machine may be busy:
#: this says nothing of how long it should take.
PATIENCE: Final = 120.0

#: Time between two looks (seconds).
_POLL: Final = 0.05

T = TypeVar("T")


async def eventually(check: Callable[[], Awaitable[object]], *, within: float = PATIENCE) -> float:
    """Repeat ``check`` until it asserts nothing that is false; returns how long that took (seconds).

    After ``within`` seconds, its last assertion stands.
    """
    started = trio.current_time()
    while True:
        try:
            await check()
        except (AssertionError, NoAnswer):
            if trio.current_time() - started > within:
                raise
        else:
            return trio.current_time() - started
        await trio.sleep(_POLL)


async def gathered(questions: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """The answers to questions asked at once, in order; raises the first thing that went wrong."""
    answers: dict[int, T] = {}

    async def ask(number: int, question: Callable[[], Awaitable[T]]) -> None:
        answers[number] = await question()

    try:
        async with trio.open_nursery() as nursery:
            for number, question in enumerate(questions):
                nursery.start_soon(ask, number, question)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [answers[number] for number in range(len(questions))]
