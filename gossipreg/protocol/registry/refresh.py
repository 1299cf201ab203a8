"""Refresh: brings the view of one service up to date, at the cost of what has changed in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import attrs

from gossipreg.model import Instance, Status
from gossipreg.policy import Rule, Split
from gossipreg.protocol.registry.panic import Loss, Since, largest, loss_of
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.roles import Claims, as_seen
from gossipreg.protocol.registry.rows import Key, Row, key_of
from gossipreg.protocol.registry.ruling import ruled
from gossipreg.protocol.registry.service_view import ServiceView


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

#: Says why nothing new is known of an owner, by name; None if something may be.
CutOff = Callable[[str], str | None]


def in_reach(_owner: str) -> str | None:
    """A `CutOff` of a node that no owner is cut off from."""
    return None


@attrs.define(eq=False, repr=False)
class Refresh:
    """What views are made of at one moment: the records, the state of their owners, and what may be answered at first.

    ``deprioritized`` are owners whose instances are called only when there is nothing better; ``since`` tells since
    when an owner has failed; ``recalled`` are instances known from before the node's start; ``cut_off`` tells of which
    owners nothing new is known: their instances are shown as stale, and called when there is nothing better.
    """

    registry: Registry
    find_owner: FindOwner
    deprioritized: Collection[str]
    since: Since
    recalled: Mapping[str, tuple[Instance, ...]]
    cut_off: CutOff = in_reach
    _owners: dict[str, Owner | None] = attrs.field(init=False, factory=dict)  # of each, one run's records are held

    def refreshed(
        self, name: str, keys: Collection[Key] | None, before: ServiceView, rules: Mapping[str, Rule], term: int
    ) -> tuple[ServiceView, bool]:
        """The view of the service called ``name`` now, and whether a reader sees a difference from the one ``before``.

        ``keys`` are those whose records, or whose owners, have changed; None if any may have, or the rules have.
        ``term`` is the highest of the service. The index is the one before.
        """
        is_whole = keys is None or name in self.recalled
        held = {row.key: row for row in before.rows} if is_whole else {}
        looked_at = {**dict.fromkeys(held), **dict.fromkeys(self.registry.keys_of(name))} if is_whole else keys or ()
        records = {key: self.registry.record_of(name, key) for key in looked_at}
        visible = {key: self._visible(record, rules) for key, record in records.items()}
        if is_whole and not any(visible.values()):
            visible |= {key_of(each): ruled(each, rules) for each in self.recalled.get(name, ())}
        claims, turned = before.claims.changed(visible, self.deprioritized, term=term)
        records |= {key: self.registry.record_of(name, key) for key in turned}
        changes: dict[Key, Row | None] = {}
        lost: dict[Key, Loss | None] = {}
        for key, instance in (visible | turned).items():
            record = records.get(key)
            row = loss = None
            if instance is not None:
                seen = as_seen(instance, claims.primary)
                row = self._row(seen, record)
                if record is not None and row.able_source is None:
                    loss = loss_of(seen, record, self.since)
            if loss != before.losses.get(key):
                lost[key] = loss
            was = held.get(key) if is_whole else before.rows.get(key)
            if not (was is None if row is None else row.is_like(was)):
                changes[key] = row
        view, differs = self._changed(before, changes, lost, claims, rules)
        if not before.rows.reading.has_begun:
            for record in records.values():
                if record is not None and record.owner != self.registry.own_name:  # its own a node holds anyway
                    record.forget_instance()
        return view, differs

    def _changed(
        self,
        before: ServiceView,
        changes: Mapping[Key, Row | None],
        lost: Mapping[Key, Loss | None],
        claims: Claims,
        rules: Mapping[str, Rule],
    ) -> tuple[ServiceView, bool]:
        """The view after these changes, and whether a reader sees a difference."""
        rule = next((rule for rule in rules.values() if isinstance(rule, Split)), None)
        if not (changes or lost) and (claims, rule) == (before.claims, before.rule):
            return before, False
        losses, lost_set = before.losses, before.lost_set
        if lost:
            losses = {key: loss for key, loss in {**losses, **lost}.items() if loss is not None}
            lost_set = largest(losses)
        now = ServiceView(before.index, before.rows.replaced(changes), claims, losses, lost_set, rule)
        return now, _differs(before, now, changes)

    def _visible(self, record: Record | None, rules: Mapping[str, Rule]) -> Instance | None:
        """The instance of a record as policies and its owner's state make it; None if it is not there."""
        if record is None:
            return None
        if record.owner not in self._owners:
            self._owners[record.owner] = self.find_owner(record.owner, record.generation)
        owner = self._owners[record.owner]
        if owner is None or owner.status is Status.LEFT:
            return None
        instance = record.as_owner_failed if owner.status is Status.FAILED else record.instance
        if rules:
            instance = ruled(instance, rules)
        return attrs.evolve(instance, weight=0) if owner.draining else instance

    def _row(self, seen: Instance, record: Record | None) -> Row:
        why = self.cut_off(seen.owner)
        if why is not None:
            seen = attrs.evolve(seen, stale=True, reason=seen.reason or why)
        source = record if record is not None and record.instance is seen else seen
        if why is not None and seen.health.can_serve:
            return Row(seen, seen, deferred=True)
        if not seen.health.can_serve:
            return Row(source, None)
        if seen.owner not in self.deprioritized:
            return Row(source, source)
        reason = seen.reason or f"its owner {seen.owner} is suspected"
        return Row(attrs.evolve(seen, reason=reason), source, deferred=True)


def _differs(before: ServiceView, now: ServiceView, changes: Mapping[Key, Row | None]) -> bool:
    """Whether a reader sees a difference. All instances are compared only where those that changed do not tell."""
    if before.rule is None and now.rule is None:
        if now.lost_set != before.lost_set:
            return True
        if any(_shown(row) != _shown(before.rows.get(key)) for key, row in changes.items()):
            return True
    return not now.looks_like(before)


def _shown(row: Row | None) -> Instance | None:
    return None if row is None else row.shown
