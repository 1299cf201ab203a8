"""Check ids: the ids, names and notes that clients gave to this node's checks.

A check keeps its plain name over a restart; the rest of what a client gave it is kept until the restart only. It can
still be found by its id, since its plain name is derived from the id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from gossipreg.check import CheckReport
from gossipreg.frontends.consul.posted import DEFAULT_ID, PostedCheck, check_id, check_name
from gossipreg.frontends.serving.node_api import NodeApi

#: Instances whose check ids are kept before those of removed instances are looked for.
_KEPT_LEAST: Final = 1024


@attrs.define(eq=False, repr=False)
class CheckIdMap:
    """What the checks of each instance were called, by the instance's id and the check's own name."""

    _kept: dict[str, dict[str, PostedCheck]] = attrs.field(init=False, factory=dict)
    _instances: dict[str, str] = attrs.field(init=False, factory=dict)  # by the ids of their checks
    _room: int = attrs.field(init=False, default=_KEPT_LEAST)

    def keep(self, node: NodeApi, instance: str, posted: Iterable[PostedCheck]) -> None:
        """Remember what checks of an instance are called."""
        if len(self._kept) >= self._room:
            self._forget(node)
        for each in posted:
            self._kept.setdefault(instance, {})[each.check.name] = each
            self._instances[each.id] = instance

    def _forget(self, node: NodeApi) -> None:
        """Forget what instances are called that are gone; to be done again when there are twice as many."""
        self._kept = {id_: check_ids for id_, check_ids in self._kept.items() if node.own(id_) is not None}
        self._instances = {id_: instance for id_, instance in self._instances.items() if instance in self._kept}
        self._room = max(_KEPT_LEAST, 2 * len(self._kept))

    def of(self, report: CheckReport) -> tuple[str, str, str]:
        """The id, the name and the notes of a check."""
        posted = self._kept.get(report.instance, {}).get(report.check.name)
        if posted is None or posted.check != report.check:
            return check_id(report.check.name, report.instance), f"Service {report.service!r} check", ""
        return posted.id, posted.title or f"Service {report.service!r} check", posted.notes

    def find(self, node: NodeApi, id_: str) -> CheckReport | None:
        """The check of this node's that a client means by ``id_``."""
        for instance in self._likely(id_):
            if node.own(instance) is not None:
                for report in node.checks(instance):
                    if self._is_meant(report, id_):
                        return report
        return next((report for report in node.checks() if self._is_meant(report, id_)), None)

    def _likely(self, id_: str) -> Iterator[str]:
        """The instances that a check of that id most probably belongs to: heartbeats come often, and to many."""
        known = self._instances.get(id_)
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
