"""The directory: what a query cannot look up by one name: members, services in capitals, and names above others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import attrs
import trio

from gossipreg.errors import GossipregError
from gossipreg.events import Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import NODE_SERVICE, Instance, Member

log = logging.getLogger(__name__)

#: How the id of a node's record begins that was written to Consul's catalog; then comes the node's name.
_WRITTEN: Final = f"{NODE_SERVICE}/"
_NO_NAMES: Final[frozenset[str]] = frozenset()


@attrs.define(eq=False, repr=False)
class Directory:
    """Follows the node's events. ``epoch`` grows whenever any answer that was made from it may differ.

    Services in lower case and without a dot are not in it: they are looked up in the node's view, which is never
    behind.
    """

    node: NodeApi
    epoch: int = 0
    is_closed: bool = False  # the node has left: what it knows ages from that moment
    _members: dict[str, dict[str, str]] = attrs.field(factory=dict)  # lower case -> name -> host, for those present
    _services: dict[str, set[str]] = attrs.field(factory=dict)  # lower case -> names with capitals or dots
    _above_members: Counter[str] = attrs.field(factory=Counter)  # "eu" for a member "web-1.eu", each as often as needed
    _above_services: Counter[str] = attrs.field(factory=Counter)
    _nodes: Mapping[str, list[str]] = attrs.field(factory=dict)  # as of `_nodes_index` of the service that holds them
    _nodes_index: int | None = None

    async def follow(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until the node is closed. Starts when the first snapshot has been read."""
        begun = False
        try:
            async for batch in self.node.events(all_cells=True):
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
        yield from sorted(self._services.get(service, _NO_NAMES) - {service})

    def is_above_services(self, suffix: str) -> bool:
        """Whether there is a service whose name ends in a dot and ``suffix``, in lower case."""
        return suffix in self._above_services

    def is_above_members(self, suffix: str) -> bool:
        """Whether there is a member present, or a node, whose name ends in a dot and ``suffix``, in lower case."""
        return suffix in self._above_members or any(name.endswith(f".{suffix}") for name in self._written())

    def hosts(self, member: str) -> tuple[str, ...]:
        """The IP addresses of the members present that have this name, asked for in lower case.

        If there is none: the hosts of the nodes of this name that no agent runs on.
        """
        group = self._members.get(member)
        return tuple(dict.fromkeys(self._written().get(member, ()) if group is None else group.values()))

    def _written(self) -> Mapping[str, list[str]]:
        """The hosts of the nodes that were written to Consul's catalog, by name in lower case."""
        index = self.node.index(NODE_SERVICE)
        if index != self._nodes_index:
            found: dict[str, list[str]] = {}
            for each in self.node.lookup(NODE_SERVICE, healthy=False):
                if each.id.startswith(_WRITTEN):  # the others are what members say of themselves
                    found.setdefault(each.id.removeprefix(_WRITTEN).lower(), []).append(each.host)
            self._nodes, self._nodes_index = found, index
        return self._nodes

    def members_at(self, host: str) -> list[str]:
        """The names of the members present that are at an IP address, sorted."""
        return sorted(
            name
            for group in self._members.values()
            for name, their_host in group.items()
            if their_host.partition("%")[0] == host
        )

    def addresses(self) -> Iterator[str]:
        """The IP addresses of all members present."""
        for group in self._members.values():
            yield from group.values()

    def _see(self, member: Member, *, present: bool) -> None:
        folded, host = member.name.lower(), member.address.host if present else None
        group = self._members.get(folded, {})
        before = group.get(member.name)
        if before == host:
            return
        self.epoch += 1
        if host is None:
            del group[member.name]
        else:
            group[member.name] = host
        if before is None or host is None:
            _count(self._above_members, folded, 1 if before is None else -1)
        if group:
            self._members[folded] = group
        else:
            del self._members[folded]

    def _spell(self, instance: Instance) -> None:
        service = instance.service
        folded = service.lower()
        if (service == folded and "." not in service) or service == NODE_SERVICE:
            return
        known = self._services.get(folded, set())
        exists = bool(self.node.lookup(service, healthy=False))
        if exists == (service in known):
            return
        self.epoch += 1
        _count(self._above_services, folded, 1 if exists else -1)
        if exists:
            known.add(service)
        else:
            known.remove(service)
        if known:
            self._services[folded] = known
        else:
            del self._services[folded]


def _count(above: Counter[str], name: str, change: int) -> None:
    """Add ``change`` to the number of names below each of the names above ``name``."""
    suffix = name
    while suffix := suffix.partition(".")[2]:
        above[suffix] += change
        if not above[suffix]:
            del above[suffix]
