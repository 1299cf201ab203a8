"""The instance table: the instances of one service that can serve, and suspected owners, from a node's events."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from gossipreg.events import Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.model import Instance, Status
from gossipreg.protocol.registry.choose import Key, key_of, matching


@attrs.define(eq=False, repr=False)
class InstanceTable:
    """The instances after all events so far. It must be given every event of one service, in order."""

    tag: str | None = None
    role: str | None = None
    suspects: set[str] = attrs.field(factory=set)
    _instances: dict[Key, Instance] = attrs.field(factory=dict)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Those that can serve and have the tag and the role that are asked for."""
        return matching(self._instances.values(), tag=self.tag, zone=None, role=self.role)

    def has_lost_role(self, region: str, owner: str, id: str, host: str, port: int) -> bool:
        """Whether that instance is there and does not have the role that is asked for."""
        found = self._instances.get((region, owner, id))
        return found is not None and (found.host, found.port) == (host, port) and self.role not in (None, found.role)

    def apply(self, events: Iterable[Event]) -> None:
        """Apply events."""
        for event in events:
            match event:
                case Snapshot():
                    self._instances = {key_of(each): each for each in event.instances}
                    self.suspects = {each.name for each in event.members if each.status is Status.SUSPECT}
                case InstanceEvent(kind="removed"):
                    self._instances.pop(key_of(event.instance), None)
                case InstanceEvent():
                    self._instances[key_of(event.instance)] = event.instance
                case MemberEvent(kind="suspect"):
                    self.suspects.add(event.member.name)
                case MemberEvent():
                    self.suspects.discard(event.member.name)
