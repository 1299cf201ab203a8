"""The directory: names that a case-insensitive query cannot look up, which are members and services in capitals."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Final

import attrs
import trio

from gossipreg.errors import GossipregError
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import Event, Instance, InstanceEvent, Member, MemberEvent, Snapshot

log = logging.getLogger(__name__)

_NONE: Final[Mapping[str, str]] = {}


@attrs.define(eq=False, repr=False)
class Directory:
    """Follows the node's events. ``epoch`` grows whenever any answer that was made from it may differ.

    Services in lower case are not in it: they are looked up in the node's view, which is never behind.
    """

    node: NodeApi
    epoch: int = 0
    is_closed: bool = False  # the node has left: what it knows ages from that moment
    _members: dict[str, dict[str, str]] = attrs.field(factory=dict)  # lower case -> name -> host, for those present
    _services: dict[str, set[str]] = attrs.field(factory=dict)  # lower case -> names that are not in lower case

    async def follow(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until the node is closed. Starts when the first snapshot has been read."""
        begun = False
        try:
            async for batch in self.node.events():
                for event in batch:
                    self.note(event)
                if not begun:
                    begun = True
                    task_status.started()
        except GossipregError as error:
            log.debug("the node was closed: %s", error)
        self.is_closed = True
        if not begun:
            task_status.started()

    def note(self, event: Event) -> None:
        """Learn from one event."""
        if isinstance(event, Snapshot):
            for member in event.members:
                self._see(member, present=member.status.is_present)
            for instance in event.instances:
                self._spell(instance)
        elif isinstance(event, MemberEvent):
            self._see(event.member, present=event.kind not in ("failed", "left"))
        elif isinstance(event, InstanceEvent):
            self._spell(event.instance)

    def spellings(self, service: str) -> Iterator[str]:
        """The names under which a service may be registered that is asked for in lower case."""
        yield service
        yield from sorted(self._services.get(service, ()))

    def hosts(self, member: str) -> tuple[str, ...]:
        """The IP addresses of the members present that have this name, asked for in lower case."""
        return tuple(dict.fromkeys(self._members.get(member, _NONE).values()))

    def members_at(self, host: str) -> list[str]:
        """The names of the members present that are at an IP address, sorted."""
        return sorted(
            name for group in self._members.values() for name, their_host in group.items() if their_host == host
        )

    def _see(self, member: Member, *, present: bool) -> None:
        folded, host = member.name.lower(), member.address.host if present else None
        group = self._members.setdefault(folded, {})
        if group.get(member.name) != host:
            self.epoch += 1
        if host is None:
            group.pop(member.name, None)
        else:
            group[member.name] = host
        if not group:
            del self._members[folded]

    def _spell(self, instance: Instance) -> None:
        service = instance.service
        folded = service.lower()
        if service == folded:
            return
        known = self._services.setdefault(folded, set())
        if not self.node.lookup(service, healthy=False):
            known.discard(service)
        elif service not in known:
            known.add(service)
            self.epoch += 1
        if not known:
            del self._services[folded]
