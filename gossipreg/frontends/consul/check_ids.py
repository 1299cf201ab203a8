"""Check ids: the ids, names and notes that clients gave to this node's checks.

What a client gave is kept with the instance, over a restart too. A check of another origin has an id made of its name.
In Consul an id belongs to one check of the agent: a service that is registered with the id of another's takes it over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from gossipreg.check import CheckReport
from gossipreg.frontends.consul.kept import KeptCheck, kept_of, type_of
from gossipreg.frontends.consul.posted import DEFAULT_ID, PostedCheck, check_id, check_name
from gossipreg.frontends.serving.node_api import NodeApi, each_check

#: Ids that are remembered before those of removed instances are looked for.
_KEPT_LEAST: Final = 1024


@attrs.define(eq=False, repr=False)
class CheckIdMap:
    """Which instance a check of an id belongs to. It only saves looking at every check."""

    _instances: dict[str, str] | None = attrs.field(init=False, default=None)  # by the ids of their checks
    _room: int = attrs.field(init=False, default=_KEPT_LEAST)

    def keep(self, node: NodeApi, instance: str, posted: Iterable[PostedCheck]) -> None:
        """Remember that these checks belong to an instance."""
        known = self._known(node)
        for each in posted:
            known[each.id] = instance
        if len(known) >= self._room:
            self._instances = None
            self._room = max(_KEPT_LEAST, 2 * len(self._known(node)))

    def _known(self, node: NodeApi) -> dict[str, str]:
        if self._instances is None:
            self._instances = {self.of(node, report).id: report.instance for report in each_check(node)}
        return self._instances

    @staticmethod
    def of(node: NodeApi, report: CheckReport) -> KeptCheck:
        """The id, the name and the notes of a check."""
        there = node.own(report.instance)
        kept = None if there is None else kept_of(there)
        found = None if kept is None else kept.checks.get(report.check.name)
        title = f"Service '{report.service}' check"
        if found is None:
            return KeptCheck(check_id(report.check.name, report.instance), title, "", type_of(report.check))
        return attrs.evolve(found, title=found.title or title, type=type_of(report.check))

    def taken_from(self, node: NodeApi, posted: PostedCheck, instance: str) -> CheckReport | None:
        """The check of another instance that has the id of one which ``instance`` is registered with."""
        other = self._known(node).get(posted.id, instance)
        if other == instance or node.own(other) is None:
            return None
        return next((each for each in node.checks(other) if self.of(node, each).id == posted.id), None)

    def find(self, node: NodeApi, id_: str) -> CheckReport | None:
        """The check of this node's that a client means by ``id_``."""
        for instance in self._likely(node, id_):
            if node.own(instance) is not None:
                for report in node.checks(instance):
                    if self._is_meant(report, id_):
                        return report
        return next((report for report in each_check(node) if self._is_meant(report, id_)), None)

    def _likely(self, node: NodeApi, id_: str) -> Iterator[str]:
        """The instances that a check of that id most probably belongs to: heartbeats come often, and to many."""
        known = self._known(node).get(id_)
        if known is not None:
            yield known
        rest = id_.removeprefix(DEFAULT_ID)
        if rest != id_:
            yield rest
            yield rest.rpartition(":")[0]

    @staticmethod
    def _is_meant(report: CheckReport, id_: str) -> bool:
        """Whether it is called so: our name is made from the id, or the id from our name."""
        name, instance = report.check.name, report.instance
        return name == check_name(id_, instance) or id_ == check_id(name, instance)
