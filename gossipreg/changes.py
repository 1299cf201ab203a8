"""Changes: the difference between two states of a service's instances, or of a member, as watchers report it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from gossipreg.events import Event, InstanceEvent
from gossipreg.model import Instance, Member, Status
from gossipreg.values import frozen

MemberKind = Literal["joined", "suspect", "alive", "failed", "left"]

_KINDS: Final[dict[Status, MemberKind]] = {
    Status.ALIVE: "alive",
    Status.SUSPECT: "suspect",
    Status.FAILED: "failed",
    Status.LEFT: "left",
}


@frozen
class InstanceDiff:
    """What became of the instances that were there before, and which are new."""

    added: tuple[Instance, ...]
    changed: tuple[Instance, ...]
    removed: tuple[Instance, ...]
    before: tuple[Instance, ...] = ()  # what each of those that changed was

    @classmethod
    def between(cls, before: Collection[Instance], after: Collection[Instance]) -> InstanceDiff:
        """The difference of two collections. An instance is the same if its region, owner and id are."""
        # An unchanged instance is the same object, and most are unchanged: identity spares the comparison.
        unchanged = set(map(id, before)) & set(map(id, after))
        old = {(each.region, each.owner, each.id): each for each in before if id(each) not in unchanged}
        new = {(each.region, each.owner, each.id): each for each in after if id(each) not in unchanged}
        changed = [(old[key], instance) for key, instance in new.items() if key in old and old[key] != instance]
        return cls(
            added=tuple(instance for key, instance in new.items() if key not in old),
            changed=tuple(instance for _, instance in changed),
            removed=tuple(instance for key, instance in old.items() if key not in new),
            before=tuple(instance for instance, _ in changed),
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def events(self) -> list[Event]:
        """The same as events."""
        return [
            *(InstanceEvent("added", instance) for instance in self.added),
            *(InstanceEvent("changed", now, was) for now, was in zip(self.changed, self.before, strict=True)),
            *(InstanceEvent("removed", instance) for instance in self.removed),
        ]


def member_transition(before: Member | None, after: Member | None) -> MemberKind | None:
    """The event to report of a member; None when nothing that a watcher can see has changed."""
    if after is None:
        return "left" if before is not None and before.status.is_present else None
    if before is None or (before.generation, before.address) != (after.generation, after.address):
        return "joined" if after.status is Status.ALIVE else _KINDS[after.status]
    if before.status is after.status and before.draining == after.draining:
        return None
    return _KINDS[after.status]
