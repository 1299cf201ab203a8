"""The view: what lookups answer, service by service, in values that are replaced and safe to read from any thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

import attrs

from gossipreg.model import Instance, ServiceCount
from gossipreg.policy import Rule
from gossipreg.protocol.registry.panic import Since
from gossipreg.protocol.registry.refresh import CutOff, FindOwner, Refresh, in_reach
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.rows import Key
from gossipreg.protocol.registry.service_view import ServiceView

#: Indexes that a node may use up for each ms of its run, so that those of its next run are higher than all of them.
#: A node that learns of ten thousand services at once and restarts a second later is far below it, and an index stays
#: below 2**53, which JSON's readers take, until the year 2255.
INDEXES_PER_MS = 1000

#: The highest index that a run begins with: 2**53 is the bound of JSON's readers, and below it there is room for 2**45
#: changes. A generation beyond it (the year 2254) is a clock's fault or forged.
_FIRST_INDEX_MAX = 2**53 - 2**45

#: Services without instances whose change index is remembered one by one (about 200 bytes each).
_EMPTY_MAX = 4096


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
        return {name: ServiceCount(v.rows.shown_count, v.rows.healthy_count) for name, v in views if v.rows.shown_count}

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
            if not self.service(name).rows.shown_count:
                self._put(name, ServiceView.of(0, instances))

    def forget_recalled(self) -> list[str]:
        """Stop answering from recalled state; returns the services to refresh."""
        names = list(self._recalled)
        self._recalled = {}
        return names

    # Refreshing

    def refresh(
        self,
        dirty: Mapping[str, Collection[Key] | None],
        registry: Registry,
        find_owner: FindOwner,
        deprioritized: Collection[str] = (),
        rules_of: Rules = _no_rules,
        *,
        since: Since = _never,
        highest_term: HighestTerm = _no_term,
        cut_off: CutOff = in_reach,
    ) -> list[str]:
        """Refresh the ``dirty`` services, as `Registry.take_dirty` returns them; returns those that changed.

        The instances of a ``deprioritized`` owner are called only when there is nothing better: traffic leaves a host
        that is likely to be dead long before that is certain. So are those of an owner that is ``cut_off``, which are
        shown as stale.
        """
        changed = []
        refresh = Refresh(registry, find_owner, deprioritized, since, self._recalled, cut_off)
        for name, keys in dirty.items():
            before = self._services.get(name)
            view, differs = refresh.refreshed(name, keys, before or ServiceView(0), rules_of(name), highest_term(name))
            if differs:
                self._put(name, view)
                changed.append(name)
            elif before is not None:
                self._services[name] = view
        if len(self._services) > _EMPTY_MAX:
            self._drop_empty()
        return changed

    def _put(self, name: str, view: ServiceView) -> None:
        self._index += 1
        self._services[name] = attrs.evolve(view, index=self._index)

    def _drop_empty(self) -> None:
        empty = [name for name, view in self._services.items() if not view.rows.shown_count]
        for name in empty[: max(0, len(empty) - _EMPTY_MAX // 2)]:
            self._vanished = ServiceView(max(self._vanished.index, self._services[name].index))
            del self._services[name]  # after that: no reader may see the index fall
