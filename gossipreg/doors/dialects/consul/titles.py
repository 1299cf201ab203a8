"""Knows what clients call the checks that this node runs: their ids, names and notes.

A check keeps its plain name over a restart; what else a client called it is remembered for this life only. It can be
found by its id even so, since our name is made from that.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from gossipreg.check import CheckReport
from gossipreg.doors.dialects.consul.posted import PostedCheck, check_id, check_name
from gossipreg.doors.http.registry import Registry


@attrs.define(eq=False)
class Titles:
    """What the checks of each instance were called, by the instance's id and the check's own name."""

    _kept: dict[str, dict[str, PostedCheck]] = attrs.field(init=False, factory=dict)

    def keep(self, node: Registry, instance: str, posted: Iterable[PostedCheck]) -> None:
        """Remember what checks of an instance are called; those that are gone meanwhile are forgotten."""
        running = {report.instance for report in node.checks()}
        self._kept = {each: titles for each, titles in self._kept.items() if each in running}
        self._kept.setdefault(instance, {}).update({each.check.name: each for each in posted})

    def of(self, report: CheckReport) -> tuple[str, str, str]:
        """The id, the name and the notes of a check."""
        posted = self._kept.get(report.instance, {}).get(report.check.name)
        if posted is None or posted.check != report.check:
            return check_id(report.check.name, report.instance), f"Service {report.service!r} check", ""
        return posted.id, posted.title or f"Service {report.service!r} check", posted.notes

    def find(self, node: Registry, id_: str) -> CheckReport | None:
        """The check of this node's that a client means by ``id_``."""
        meant = [
            report
            for report in node.checks()
            if report.check.name == check_name(id_, report.instance)
            or id_ in (self.of(report)[0], check_id(report.check.name, report.instance))
        ]
        exact = [report for report in meant if self.of(report)[0] == id_]
        return next(iter(exact or meant), None)
