"""Recent changes, for clients that ask for deltas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import attrs

from gossipreg.frontends.eureka.instance_document import InstanceDocument
from gossipreg.values import frozen

#: How long a change is kept (seconds). A client that asks less often than that must compare hash codes, as
#: Eureka's do; this is Eureka's own number.
KEPT_SECONDS: Final = 180.0

#: Changes kept at most, one of each instance. Beyond it, to send everything costs little more.
KEPT_MAX: Final = 8192

ChangeAction = Literal["ADDED", "MODIFIED", "DELETED"]


@frozen
class RecentChange:
    """The last thing that happened to an instance, and how it looked then."""

    app: str
    action: ChangeAction
    shown: InstanceDocument
    at: float


@attrs.define(eq=False, repr=False)
class RecentChanges:
    """The changes of the last minutes, one of each instance, the latest last.

    There are times before which it cannot tell what changed: before it began, and before there was more than it keeps.
    While such a time is still within what clients ask for, the list is `torn`: they are then sent everything.
    """

    _changes: dict[tuple[str, str], RecentChange] = attrs.field(init=False, factory=dict)  # by application and id
    _torn_until: float | None = attrs.field(init=False, default=None)
    _version: int = attrs.field(init=False, default=0)

    def begin(self, now: float) -> None:
        """From ``now`` (seconds) on, all that changes is noted."""
        self._torn_until = now + KEPT_SECONDS

    def note(self, app: str, action: ChangeAction, shown: InstanceDocument, now: float) -> None:
        """An instance came, changed or went at ``now`` (seconds)."""
        before = self._changes.pop((app, shown.id), None)
        if before is not None and action == "ADDED":
            action = "MODIFIED"  # some know it from before, and would take nothing from one that is added again
        self._changes[app, shown.id] = RecentChange(app, action, shown, now)
        self._version += 1
        if len(self._changes) > KEPT_MAX:
            self._changes.clear()
            self.begin(now)

    def version(self, now: float) -> tuple[int, bool]:
        """What is the same for as long as there is the same to tell."""
        for key in list(self._changes):
            if self._changes[key].at + KEPT_SECONDS > now:
                break
            del self._changes[key]
            self._version += 1
        return self._version, self.torn(now)

    def torn(self, now: float) -> bool:
        """Whether clients may ask for changes that were not recorded."""
        return self._torn_until is None or now < self._torn_until

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._changes

    def __iter__(self) -> Iterator[RecentChange]:
        return iter(self._changes.values())
