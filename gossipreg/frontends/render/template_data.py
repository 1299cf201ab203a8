"""Template data: what a template can read about the cluster, and what it has read.

What an instance's owner may write freely, such as its meta, is made harmless here: it cannot begin a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, overload

import attrs

from gossipreg.model import Health, Instance
from gossipreg.text import blanked
from gossipreg.values import frozen

#: What a host looks like that can be written into any file as it is: a name, or an address with its zone.
_HOST: Final = re.compile(r"[A-Za-z0-9._:%-]+")


#: Asks an agent for the JSON document at ``/api/v1/path...``, path by segments; a query of None is not asked.
Fetch = Callable[..., Any]

#: What an instance is known by: its owner, and the owner's id for it.
Key = tuple[str, str]

Instances = Mapping[Key, Instance]


@frozen
class TemplateService:
    """One service, and how many instances it has. It prints as its name."""

    name: str
    instances: int
    healthy: int

    def __str__(self) -> str:
        return self.name


@frozen
class TemplateMember:
    """One member of the cluster. It prints as its name."""

    name: str
    host: str
    port: int
    status: str  # alive, suspect, failed or left
    zone: str
    draining: bool

    def __str__(self) -> str:
        return self.name


class _LazySequence(Sequence[Any]):
    """A list that is asked for when it is first looked at."""

    def __init__(self, load: Callable[[], Sequence[Any]]) -> None:
        self._load = load

    @cached_property
    def _list(self) -> Sequence[Any]:
        return self._load()

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._list[index]

    def __len__(self) -> int:
        return len(self._list)


@attrs.define(eq=False, repr=False)
class TemplateData:
    """What one rendering has read. Each thing is asked for once, when the template first uses it."""

    _fetch: Fetch
    #: Instances by service that are given though the agent does not know them, unless it knows worse of them.
    _kept: Mapping[str, Instances] = attrs.field(factory=dict)
    #: Those that were given of each service that was wanted, and the keys of those that the agent itself gave.
    given: dict[str, Instances] = attrs.field(init=False, factory=dict)
    found: dict[str, frozenset[Key]] = attrs.field(init=False, factory=dict)
    #: Whether it wanted something that can change without an event.
    silent: bool = attrs.field(init=False, default=False)
    #: Whether it wanted to know which services there are, and there were none.
    has_no_services: bool = attrs.field(init=False, default=False)
    _everything: dict[str, Instances] = attrs.field(init=False, factory=dict)

    def variables(self) -> Mapping[str, Any]:
        """What a template sees, by name."""
        return {
            "services": _LazySequence(self._services),
            "instances": self.instances,
            "members": _LazySequence(self._members),
            "policies": _LazySequence(self._policies),
        }

    def instances(
        self,
        service: object,
        tag: str | None = None,
        zone: str | None = None,
        role: str | None = None,
        all: bool = False,  # noqa: A002 -- the word of the HTTP API
    ) -> list[Instance]:
        """The instances of a service that can be called now; ``all`` of them, in whatever state, if that is wanted."""
        name = str(service)
        instances = self._all(name) if all else self._serving(name)
        return [
            each
            for each in sorted(instances.values(), key=lambda each: (each.id, each.owner))
            if (tag is None or tag in each.tags)
            and (zone is None or each.zone == zone)
            and (role is None or each.role == role)
        ]

    def _serving(self, service: str) -> Instances:
        if service not in self.given:
            found = _readable(self._fetch("services", service))
            self.found[service] = frozenset(found)
            given = {key: each for key, each in found.items() if each.weight and each.is_callable}
            if kept := self._kept.get(service):
                known = _readable(self._fetch("services", service, all="true"))
                given |= {key: each for key, each in kept.items() if key not in known}
            self.given[service] = given
        return self.given[service]

    def _all(self, service: str) -> Instances:
        self.silent = True
        if service not in self._everything:
            self._everything[service] = _readable(self._fetch("services", service, all="true"))
        return self._everything[service]

    def _services(self) -> list[TemplateService]:
        counts = self._fetch("services")["services"]
        kept = {name: TemplateService(name, len(each), len(each)) for name, each in self._kept.items() if each}
        told = {name: TemplateService(name, count["instances"], count["healthy"]) for name, count in counts.items()}
        services = sorted((kept | told).values(), key=lambda each: each.name)
        self.has_no_services = not services
        return services

    def _members(self) -> list[TemplateMember]:
        return [_member(each) for each in self._fetch("members")["members"]]

    def _policies(self) -> list[dict[str, Any]]:
        self.silent = True
        return [_clean(each) for each in self._fetch("policies")["policies"]]


def _readable(document: Mapping[str, Any]) -> dict[Key, Instance]:
    """The instances, without any whose host has other characters than a host: they could inject text into the file."""
    known = [each.name for each in attrs.fields(Instance) if each.name != "sealed"]
    found = {}
    for each in document["instances"]:
        fields = {name: _clean(each[name]) for name in known if name in each}
        if _HOST.fullmatch(fields["host"]):
            instance = Instance(**fields | {"health": Health(fields["health"])})
            found[instance.owner, instance.id] = instance
    return found


def _member(document: Mapping[str, Any]) -> TemplateMember:
    host, _, port = document["address"].rpartition(":")
    return TemplateMember(
        name=document["name"],
        host=host.removeprefix("[").removesuffix("]"),
        port=int(port),
        status=document["status"],
        zone=document["zone"],
        draining=document["draining"],
    )


def _clean(value: Any) -> Any:
    """The value with a space for every character that is not printable, wherever in it a text stands."""
    match value:
        case str():
            return blanked(value)
        case list():
            return [_clean(each) for each in value]
        case dict():
            return {_clean(key): _clean(each) for key, each in value.items()}
        case _:
            return value
