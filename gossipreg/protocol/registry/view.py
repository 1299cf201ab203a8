"""The view: what lookups answer. Per service an immutable tuple of instances, safe to read from any thread."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Protocol

import attrs

from gossipreg.model import Instance, ServiceCount, Status
from gossipreg.policy import Rule
from gossipreg.protocol.registry.panic import Lost, Since, lost_at_once
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.roles import fenced
from gossipreg.protocol.registry.ruling import ruled, split

#: Indexes that a node may use up for each ms of its run, so that those of its next run are higher than all of them.
#: A node that learns of ten thousand services at once and restarts a second later is far below it, and an index stays
#: below 2**53, which JSON's readers take, until the year 2255.
INDEXES_PER_MS = 1000

#: The highest index that a run begins with: 2**53 is the bound of JSON's readers, and below it there is room for 2**45
#: changes. A generation beyond it (the year 2254) is a clock's fault or forged.
_FIRST_INDEX_MAX = 2**53 - 2**45

#: Services without instances whose change index is remembered one by one (about 200 bytes each).
_EMPTY_MAX = 4096


@attrs.frozen
class ServiceView:
    """One service at one moment: every instance, by id and owner; those that can serve; their running total of weights.

    ``lost`` is what to call in a panic, if that is anything else.
    """

    index: int
    instances: tuple[Instance, ...] = ()
    healthy: tuple[Instance, ...] = ()
    shares: tuple[int, ...] = ()
    lost: Lost | None = None

    def find(self, id: str, owner: str) -> Instance | None:
        """The instance of that id and owner, if there is one."""
        wanted = id, owner
        place = bisect_left(self.instances, wanted, key=lambda each: (each.id, each.owner))
        found = self.instances[place : place + 1]
        return found[0] if found and (found[0].id, found[0].owner) == wanted else None

    def to_call(self, panic: float) -> tuple[Instance, ...]:
        """Those that can serve; if fewer than that share can be reached, also what was lost at once."""
        return self.lost.instances if self.lost is not None and self.lost.share < panic else self.healthy


class Owner(Protocol):
    """The state of an owner, as far as its instances are concerned."""

    @property
    def status(self) -> Status:
        """The status in the membership list."""

    @property
    def draining(self) -> bool:
        """Whether it wants no new work."""


#: Finds the state of an owner, by name, in the generation whose records are held; None when it is not known.
FindOwner = Callable[[str, int], Owner | None]

#: Finds the rules about a service, by key.
Rules = Callable[[str], Mapping[str, Rule]]

#: Finds the highest term that was ever claimed of a service.
HighestTerm = Callable[[str], int]


def first_index(generation: int) -> int:
    """The index that a run of the given ``generation`` (ms since the epoch) begins with."""
    return min(generation * INDEXES_PER_MS, _FIRST_INDEX_MAX)


def _never(_owner: str) -> float | None:
    return None


def _no_rules(_service: str) -> Mapping[str, Rule]:
    return {}


def _no_term(_service: str) -> int:
    return 0


@attrs.define(eq=False, repr=False)
class View:
    """The answers of this node, service by service. Replaced, never changed: reading needs no lock.

    The index of a service grows at each change that a reader of that service could see, and when it is raised. It
    starts from the node's generation, in `INDEXES_PER_MS`, so that it does not fall when the node restarts; a node that
    has to take a later generation, since its clock was set back, raises it.
    """

    _index: int
    _services: dict[str, ServiceView] = attrs.field(factory=dict)
    _vanished: ServiceView = attrs.field(init=False)
    _recalled: Mapping[str, tuple[Instance, ...]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._vanished = ServiceView(self._index)

    def service(self, name: str) -> ServiceView:
        """The service as it is now; one without instances is empty."""
        return self._services.get(name, self._vanished)

    @property
    def services(self) -> Mapping[str, ServiceView]:
        """Every service that has or had instances."""
        return MappingProxyType(self._services)

    def counts(self) -> dict[str, ServiceCount]:
        """How many instances each service has, for services that have any; sorted by name."""
        views = sorted(self._services.copy().items())
        return {name: ServiceCount(len(v.instances), len(v.healthy)) for name, v in views if v.instances}

    # Its indexes

    @property
    def highest(self) -> int:
        """The highest index that any service has."""
        return self._index

    def raise_to(self, index: int) -> None:
        """Give no index below ``index`` any more, whatever the service: an earlier run may have given those."""
        if index <= self._index:
            return
        self._index = index
        self._vanished = ServiceView(index)
        for name, view in self._services.items():
            self._services[name] = attrs.evolve(view, index=index)

    # State recalled from before the start

    @property
    def recalled(self) -> Mapping[str, tuple[Instance, ...]]:
        """What is answered about services of which nothing else is known, until it is forgotten."""
        return self._recalled

    def recall(self, services: Mapping[str, tuple[Instance, ...]]) -> None:
        """Answer these instances, which can all serve, for each of these services until anything is known of it."""
        self._recalled = services
        for name, instances in services.items():
            if not self.service(name).instances:
                self._put(name, instances, instances, None)

    def forget_recalled(self) -> list[str]:
        """Stop answering from recalled state; returns the services to refresh."""
        names = list(self._recalled)
        self._recalled = {}
        return names

    # Refreshing

    def refresh(
        self,
        names: Iterable[str],
        registry: Registry,
        find_owner: FindOwner,
        deprioritized: Collection[str] = (),
        rules_of: Rules = _no_rules,
        *,
        since: Since = _never,
        highest_term: HighestTerm = _no_term,
    ) -> list[str]:
        """Refresh the services called ``names``; returns those that changed.

        The instances of a ``deprioritized`` owner are called only when there is nothing better: traffic leaves a host
        that is likely to be dead long before that is certain.
        """
        changed = []
        for name in names:
            rules = rules_of(name)
            records = registry.records_of(name)
            visible = _visible(records, find_owner, rules)
            visible = visible or tuple(ruled(each, rules) for each in self._recalled.get(name, ()))
            instances = fenced(visible, deprioritized, term=highest_term(name))
            before = self._services.get(name)
            able = tuple([i for i in instances if i.health.can_serve])
            healthy = (tuple([i for i in able if i.owner not in deprioritized]) if deprioritized else able) or able
            lost = None if len(healthy) == len(instances) else lost_at_once(instances, healthy, records, since)
            if rules:
                healthy = split(healthy, rules.values())
                lost = lost and attrs.evolve(lost, instances=split(lost.instances, rules.values()))
                weighed = {(i.id, i.owner): i for i in healthy}
                instances = tuple(weighed.get((i.id, i.owner), i) for i in instances)
            if deprioritized:
                instances = tuple(
                    _as_deprioritized(i) if i.owner in deprioritized and i.health.can_serve else i for i in instances
                )
            if before is not None and (instances, healthy, lost) == (before.instances, before.healthy, before.lost):
                continue
            if before is None and not instances:
                continue
            self._put(name, instances, healthy, lost)
            changed.append(name)
        if len(self._services) > _EMPTY_MAX:
            self._drop_empty()
        return changed

    def _put(
        self, name: str, instances: tuple[Instance, ...], healthy: tuple[Instance, ...], lost: Lost | None
    ) -> None:
        self._index += 1
        shares = tuple(accumulate([i.weight if i.port else 0 for i in healthy]))
        self._services[name] = ServiceView(self._index, instances, healthy, shares, lost)

    def _drop_empty(self) -> None:
        empty = [name for name, view in self._services.items() if not view.instances]
        for name in empty[: max(0, len(empty) - _EMPTY_MAX // 2)]:
            self._vanished = ServiceView(max(self._vanished.index, self._services[name].index))
            del self._services[name]  # after that: no reader may see the index fall


def _as_deprioritized(instance: Instance) -> Instance:
    """``instance`` as shown in a list of all: with the reason why it is called last, or not at all."""
    return attrs.evolve(instance, reason=instance.reason or f"its owner {instance.owner} is suspected")


def _visible(
    records: Mapping[tuple[str, str], Record], find_owner: FindOwner, rules: Mapping[str, Rule]
) -> tuple[Instance, ...]:
    """The instances whose owner is known in that very run, as policies and the owner's state make them."""
    seen: list[Instance] = []
    owners: dict[str, Owner | None] = {}  # of each, one run's records are held
    for key in sorted(records):
        record = records[key]
        if record.owner not in owners:
            owners[record.owner] = find_owner(record.owner, record.generation)
        owner = owners[record.owner]
        if owner is None or owner.status is Status.LEFT:
            continue
        instance = record.as_owner_failed if owner.status is Status.FAILED else record.instance
        if rules:
            instance = ruled(instance, rules)
        if owner.draining:
            instance = attrs.evolve(instance, weight=0)
        seen.append(instance)
    return tuple(seen)
