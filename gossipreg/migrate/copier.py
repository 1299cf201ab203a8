"""Copier: brings one registry's copies of another up to date, round by round, and reports what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from gossipreg.migrate.plan import plan
from gossipreg.migrate.registry import ListedInstance, MigrationSide, RegistryRefused, RegistryUnreachable

#: How long a side that seems to have lost all its instances at once must say so before its copies are removed
#: (seconds). A registry that has just been restarted holds nothing for half a minute.
EMPTY_SECONDS: Final = 60.0

#: How long a copy that was written counts as written though the target does not list it yet (seconds). Eureka's
#: servers answer lists from caches of up to a minute.
_UNLISTED_SECONDS: Final = 90.0

#: Why a copy without an original is not removed.
_ELSEWHERE: Final = "another node holds this copy: what made it there removes it, or it lapses"

#: Why a removal came to nothing.
_NOT_HERE: Final = "the copy is gone already, or another node holds it, where it lapses"

#: What was done, to which instance, and why.
Report = Callable[[str, ListedInstance | None, str], None]

_Key = tuple[str, str]


@attrs.define(eq=False, repr=False)
class Copier:
    """Copies ``source`` into ``target``. ``report`` takes what it does; ``seconds`` is how long a copy lasts unrenewed.

    While the source gives no answer, its copies are kept and renewed as they are. With ``dry`` nothing is changed.
    """

    source: MigrationSide
    target: MigrationSide
    report: Report
    seconds: float | None
    dry: bool = False
    _known: Sequence[ListedInstance] | None = attrs.field(init=False, default=None)  # what the source held last
    _written: dict[_Key, tuple[str, float]] = attrs.field(init=False, factory=dict)  # digest, and when
    _removed: dict[_Key, float] = attrs.field(init=False, factory=dict)  # copies taken back, and when
    _renewed: dict[_Key, tuple[str, str, float]] = attrs.field(init=False, factory=dict)  # health, reason, and when
    _told: dict[_Key, str] = attrs.field(init=False, factory=dict)  # what was reported of an instance that is no copy
    _is_lost: bool = attrs.field(init=False, default=False)
    _is_refusing: bool = attrs.field(init=False, default=False)
    _empty_since: float | None = attrs.field(init=False, default=None)

    @property
    def copies(self) -> int:
        """How many copies there are by its own doing."""
        return len(self._written)

    def round(self, now: float) -> None:
        """Bring the copies up to date at ``now`` (seconds that never go back)."""
        source = self._look(now)
        if source is None:
            return
        try:
            there = self.target.instances()
            self._bring(source, there, now)
        except RegistryUnreachable as error:
            if not self._is_refusing:
                self.report("target lost", None, f"{error}; trying again until it answers")
            self._is_refusing = True
            return
        if self._is_refusing:
            self._is_refusing = False
            self.report("target back", None, f"{self.target.name} answers again")

    def _look(self, now: float) -> Sequence[ListedInstance] | None:
        """What the source holds, or held when it last answered; None if it never did."""
        try:
            found = self.source.instances()
        except RegistryUnreachable as error:
            if not self._is_lost:
                kept = "its copies are kept" if self._known is not None else "nothing is copied"
                self.report("source lost", None, f"{error}; {kept} until it answers")
            self._is_lost = True
            return self._known
        if self._is_lost:
            self._is_lost = False
            self.report("source back", None, f"{self.source.name} answers again")
        if found:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        if self._known is None or self._is_believed(now):
            self._known = found
        return self._known

    def _is_believed(self, now: float) -> bool:
        """Whether the source holds something, or has said for long enough that it does not."""
        return self._empty_since is None or now >= self._empty_since + EMPTY_SECONDS

    def _bring(self, source: Sequence[ListedInstance], there: Sequence[ListedInstance], now: float) -> None:
        wanted = plan(source, there, self.source.name)
        for each in wanted.write:
            written = self._written.get(each.key)
            if written is not None and written[0] == each.digest and now < written[1] + _UNLISTED_SECONDS:
                self._renew(each, now)
            else:
                self._write(each, now)
        for each in wanted.keep:
            self._written[each.key] = each.digest, now
            self._renew(each, now)
        for sentence, instances in (
            ("it is registered there itself", wanted.moved),
            ("there is a copy of another registry's under its id", wanted.foreign),
        ):
            for each in instances:
                self._skip(each, sentence)
        still = (*wanted.moved, *wanted.foreign, *wanted.write, *wanted.remove)
        self._forget_told({each.key for each in still})
        if self._empty_since == now and (self._written or wanted.remove):
            kept = f"its copies go in {EMPTY_SECONDS:.0f} s"
            self.report("source empty", None, f"{self.source.name} holds nothing: {kept}")
        if not self._is_lost and (self.dry or self._is_believed(now)):
            for copy in wanted.remove:
                self._remove(copy, now)

    def _write(self, each: ListedInstance, now: float) -> None:
        if self.dry:
            self.report("would copy", each, "")
            return
        is_new = each.key not in self._written
        try:
            self.target.write(each, each.mark(self.source.name), self.seconds)
        except RegistryRefused as error:
            self._skip(each, str(error))
            return
        self._told.pop(each.key, None)
        self._removed.pop(each.key, None)
        self._written[each.key] = each.digest, now
        self._renewed[each.key] = each.health, each.reason, now
        self.report("copied" if is_new else "changed", each, each.health)

    def _renew(self, each: ListedInstance, now: float) -> None:
        """Renew a copy if its original's health has changed, or a third of its time has passed."""
        if self.dry:
            return
        health, reason, at = self._renewed.get(each.key, ("", "", 0.0))
        is_due = not health or (self.seconds is not None and now >= at + self.seconds / 3)
        if not is_due and (health, reason) == (each.health, each.reason):
            return
        try:
            is_there = self.target.renew(each, self.seconds)
        except RegistryRefused as error:
            self._skip(each, str(error))
            return
        if not is_there:
            self._written.pop(each.key, None)
            self._write(each, now)
            return
        self._renewed[each.key] = each.health, each.reason, now
        if health and health != each.health:
            self.report("health", each, each.health)

    def _skip(self, each: ListedInstance, why: str) -> None:
        """Report once why an instance is not copied."""
        if self._told.get(each.key) != why:
            self._told[each.key] = why
            self.report("skipped", each, why)

    def _forget_told(self, still: set[_Key]) -> None:
        for key in self._told.keys() - still:
            del self._told[key]

    def _remove(self, copy: ListedInstance, now: float) -> None:
        if now < self._removed.get(copy.key, -_UNLISTED_SECONDS) + _UNLISTED_SECONDS:
            return
        if not self.target.holds(copy):
            self._skip(copy, _ELSEWHERE)
            return
        if self.dry:
            self.report("would remove", copy, "")
            return
        try:
            is_removed = self.target.remove(copy)
        except RegistryRefused as error:
            self._skip(copy, str(error))
            return
        self._removed[copy.key] = now
        self._written.pop(copy.key, None)
        self._renewed.pop(copy.key, None)
        if is_removed:
            self.report("removed", copy, "")
        else:
            self._skip(copy, _NOT_HERE)
