"""The view of one service: its instances at one moment, and which of them are called. It is immutable."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import accumulate

import attrs

from gossipreg.changes import InstanceDiff
from gossipreg.model import FENCED, PRIMARY, Instance
from gossipreg.policy import Split
from gossipreg.protocol.registry.panic import Loss, Lost, lost_at_once
from gossipreg.protocol.registry.roles import Claims, contenders
from gossipreg.protocol.registry.rows import Key, Row, Rows, decoded, key_of
from gossipreg.protocol.registry.ruling import split
from gossipreg.values import frozen


@frozen(eq=False)
class ServiceView:
    """One service at one moment: every instance, by id and owner, and those that can serve.

    It holds rows in chunks, most of which it shares with the view before; what readers want is put together when it is
    first read, and kept. The weights of a service with a ``rule`` depend on each other, so they are computed then, too.
    """

    index: int
    rows: Rows = attrs.field(factory=Rows)
    claims: Claims = Claims()
    losses: Mapping[Key, Loss] = attrs.field(factory=dict)  # instances whose owner has failed
    lost_set: Mapping[Key, Instance] = attrs.field(factory=dict)  # those of them that were lost at once
    rule: Split | None = None

    @classmethod
    def of(
        cls, index: int, instances: Iterable[Instance] = (), healthy: Iterable[Instance] | None = None
    ) -> ServiceView:
        """The view of these ``instances``. Called are those that can serve, unless ``healthy`` says which."""
        ordered = sorted(instances, key=key_of)
        able = {key_of(each): each for each in ordered if each.health.can_serve}
        if healthy is not None:
            able = {key_of(each): each for each in healthy}
        claims = {key_of(each): each for each in ordered if each.role in (PRIMARY, FENCED)}
        return cls(index, Rows.of([Row(each, able.get(key_of(each))) for each in ordered]), Claims(claims))

    @cached_property
    def healthy(self) -> tuple[Instance, ...]:
        """The instances to call, by id and owner."""
        healthy = self.rows.healthy()
        return healthy if self.rule is None else split(healthy, self.rule)

    @cached_property
    def instances(self) -> tuple[Instance, ...]:
        """Every instance, by id and owner."""
        shown = self.rows.shown()
        if self.rule is None:
            return shown
        weights = {key_of(each): each.weight for each in self.healthy}
        return tuple([_weighing(each, weights.get(key_of(each), each.weight)) for each in shown])

    @cached_property
    def shares(self) -> tuple[int, ...]:
        """The running total of the weights of the healthy; what has no port weighs 0."""
        return tuple(accumulate([each.weight if each.port else 0 for each in self.healthy]))

    @cached_property
    def lost(self) -> Lost | None:
        """The instances to call in a panic; None if they are the healthy ones."""
        rows = self.rows
        if not self.lost_set and rows.callable_count == rows.healthy_count:
            return None
        lost = lost_at_once(rows.callable(), rows.healthy(), self.lost_set)
        return lost if self.rule is None else attrs.evolve(lost, instances=split(lost.instances, self.rule))

    @cached_property
    def contenders(self) -> tuple[Instance, ...]:
        """The healthy instances that claim to be the primary; the one that is shown as primary comes first."""
        if not self.claims.by_key:
            return ()
        if self.rule is not None:
            return contenders(self.healthy)
        rows = self.rows
        claims = [row for row in map(rows.get, sorted(self.claims.by_key)) if row is not None]
        return contenders(
            [row.able for row in claims if row.able is not None and not (row.deferred and rows.preferred_count)]
        )

    def at(self, lot: float) -> Instance | None:
        """The healthy instance that ``lot``, from 0 up to 1, selects when the weights of all are laid end to end.

        None when all weights are 0, or there is no healthy instance.
        """
        if self.rule is None:
            return self.rows.at(lot)
        shares = self.shares
        return self.healthy[bisect_right(shares, lot * shares[-1])] if shares and shares[-1] else None

    def find(self, id: str, owner: str) -> Instance | None:
        """The instance of that id and owner, if there is one."""
        wanted = id, owner
        if self.rule is None:
            row = self.rows.get(wanted)
            return None if row is None else row.shown
        place = bisect_left(self.instances, wanted, key=key_of)
        found = self.instances[place : place + 1]
        return found[0] if found and key_of(found[0]) == wanted else None

    def to_call(self, panic: float) -> tuple[Instance, ...]:
        """Those that can serve; if fewer than that share can be reached, also what was lost at once."""
        return self.lost.instances if panic and self.lost is not None and self.lost.share < panic else self.healthy

    def reported(self, *, healthy: bool, panic: float) -> tuple[Instance, ...]:
        """What a watcher is told of: the healthy, or all; in a panic also what was lost at once, see `to_call`."""
        return self.to_call(panic) if healthy else self.instances

    def changes_since(self, before: ServiceView, *, healthy: bool = True, panic: float = 0.0) -> InstanceDiff:
        """The difference to what was `reported` of the view ``before``. Shared chunks are not compared."""
        falls_back = [not view.rows.preferred_count for view in (before, self)]
        has_rule = before.rule is not None or self.rule is not None
        has_losses = panic and not before.lost_set == self.lost_set == {}
        if has_rule or has_losses or (healthy and falls_back[0] is not falls_back[1]):
            then, now = (view.reported(healthy=healthy, panic=panic) for view in (before, self))
            return InstanceDiff.between(then, now)
        chunks = before.rows.without(self.rows), self.rows.without(before.rows)
        there, here = (
            {id(each): each for one in some for each in one.listed(healthy=healthy, falls_back=fallen) if each}
            for some, fallen in zip(chunks, falls_back, strict=True)
        )
        # The source of an unchanged row is the same, so that the few that differ are looked at, and decoded.
        return InstanceDiff.between(
            [decoded(each) for key, each in there.items() if key not in here],
            [decoded(each) for key, each in here.items() if key not in there],
        )

    def looks_like(self, other: ServiceView) -> bool:
        """Whether the two views differ in nothing but the index."""
        return (self.instances, self.healthy, self.lost) == (other.instances, other.healthy, other.lost)


def _weighing(instance: Instance, weight: int) -> Instance:
    return instance if instance.weight == weight else attrs.evolve(instance, weight=weight)
