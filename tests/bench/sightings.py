"""Sightings: which agent saw what at which time, and waiting until all have."""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs
import trio

#: What there is to see: an instance (or a changed tag) is ``offered`` or ``gone``; a member is ``failed``.
OFFERED, GONE, FAILED = "offered", "gone", "failed"


@attrs.define(eq=False)
class Sightings:
    """By what was seen and of whom: every observer's first sight of it (``time.perf_counter``, seconds)."""

    _seen: dict[tuple[str, str], dict[str, float]] = attrs.field(factory=dict)
    _waiting: dict[tuple[str, str], tuple[set[str], trio.Event]] = attrs.field(factory=dict)
    _accused: set[tuple[str, str]] = attrs.field(factory=set)
    _victims: set[str] = attrs.field(factory=set)

    def note(self, observer: str, what: str, subject: str, at: float) -> None:
        """``observer`` sees ``what`` of ``subject`` since ``at``."""
        key = (what, subject)
        self._seen.setdefault(key, {}).setdefault(observer, at)
        if what == FAILED:
            self._accused.add((observer, subject))
        if key in self._waiting:
            blind, all_see = self._waiting[key]
            blind.discard(observer)
            if not blind:
                all_see.set()

    def condemn(self, subject: str) -> None:
        """``subject`` is about to be ended on purpose: a report that it failed is right."""
        self._victims.add(subject)

    @property
    def wrongly_accused(self) -> set[tuple[str, str]]:
        """Observers, and the untouched members that each saw fail."""
        return {(observer, subject) for observer, subject in self._accused if subject not in self._victims}

    def forget(self) -> None:
        """Forget what was seen, but not which members were reported as failed."""
        self._seen.clear()

    async def by_all(self, what: str, subject: str, observers: Iterable[str], patience: float) -> float:
        """The moment that the last of ``observers`` saw it; infinity if some did not within ``patience`` seconds."""
        key, wanted = (what, subject), set(observers)
        blind = wanted - self._seen.get(key, {}).keys()
        if blind:
            all_see = trio.Event()
            self._waiting[key] = (blind, all_see)
            with trio.move_on_after(patience):
                await all_see.wait()
            del self._waiting[key]
        seen = self._seen.get(key, {})
        return max((seen.get(observer, math.inf) for observer in wanted), default=math.inf)
