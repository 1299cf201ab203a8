"""Knows what lookups answer: per service an immutable tuple of instances, safe to read from any thread."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Protocol

import attrs

from gossipreg.model import Instance, ServiceCount, Status
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.roles import fenced

#: Services without instances whose change index is remembered one by one (about 200 bytes each).
_EMPTY_MAX = 4096


@attrs.frozen
class ServiceView:
    """One service at one moment: every instance, those that can serve, and their running total of weights."""

    index: int
    instances: tuple[Instance, ...] = ()
    healthy: tuple[Instance, ...] = ()
    shares: tuple[int, ...] = ()


class Owner(Protocol):
    """How the owner of instances stands, as far as its instances are concerned."""

    @property
    def status(self) -> Status:
        """What the cluster believes of it."""

    @property
    def draining(self) -> bool:
        """Whether it wants no new work."""


#: Finds the standing of an owner, by name, in the generation whose records are held; None when it is not known.
Standing = Callable[[str, int], Owner | None]


@attrs.define
class View:
    """What this node answers, service by service. Replaced, never changed: reading needs no lock.

    The index of a service grows at each change that a reader of that service could see, and at no other. It starts
    from the node's birth in ms, so that it does not fall when the node restarts.
    """

    _index: int
    _services: dict[str, ServiceView] = attrs.field(factory=dict)
    _vanished: ServiceView = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._vanished = ServiceView(self._index)

    def service(self, name: str) -> ServiceView:
        """The service as it is now; one that nobody offers is empty."""
        return self._services.get(name, self._vanished)

    @property
    def services(self) -> Mapping[str, ServiceView]:
        """Every service that has or had instances."""
        return MappingProxyType(self._services)

    def counts(self) -> dict[str, ServiceCount]:
        """How many instances each service has, for services that have any; sorted by name."""
        views = sorted(self._services.copy().items())
        return {name: ServiceCount(len(v.instances), len(v.healthy)) for name, v in views if v.instances}

    def refresh(
        self, names: Iterable[str], registry: Registry, standing: Standing, doubted: Container[str] = ()
    ) -> list[str]:
        """Look again at the services called ``names``; returns those that look different now.

        What a ``doubted`` owner offers is called only when there is nothing better: traffic leaves a host that is
        likely to be dead long before that is certain.
        """
        changed = []
        for name in names:
            instances = fenced(tuple(_visible(registry.offers(name), standing)), doubted)
            before = self._services.get(name)
            able = tuple(i for i in instances if i.health.can_serve)
            healthy = tuple(i for i in able if i.owner not in doubted) or able
            if before is not None and (instances, healthy) == (before.instances, before.healthy):
                continue
            if before is None and not instances:
                continue
            self._index += 1
            shares = tuple(accumulate(i.weight for i in healthy))
            self._services[name] = ServiceView(self._index, instances, healthy, shares)
            changed.append(name)
        if len(self._services) > _EMPTY_MAX:
            self._drop_empty()
        return changed

    def _drop_empty(self) -> None:
        empty = [name for name, view in self._services.items() if not view.instances]
        for name in empty[: max(0, len(empty) - _EMPTY_MAX // 2)]:
            self._vanished = ServiceView(max(self._vanished.index, self._services.pop(name).index))


def _visible(offers: Mapping[tuple[str, str], Record], standing: Standing) -> Iterable[Instance]:
    """The instances whose owner is known in that very life, with what the owner's standing makes of them."""
    for key in sorted(offers):
        record = offers[key]
        owner = standing(record.owner, record.generation)
        if owner is None or owner.status is Status.LEFT:
            continue
        instance = record.bereft if owner.status is Status.FAILED else record.instance
        if owner.draining:
            instance = attrs.evolve(instance, weight=0)
        yield instance
